import type { FlowLog } from '../api/cloud.ts'
import type { FlowLogDelivery } from '../api/delivery.ts'
import type { Tone } from '../ui/badge.tsx'

export interface FlowLogState {
  word: string
  tone: Tone
  /** In a sentence, with what to do where there is something to do. */
  why?: string
}

/** One word for a flow log, out of what API, agent and delivery say of it. */
export function stateOf(flowLog: FlowLog | undefined, delivery: FlowLogDelivery | undefined): FlowLogState {
  if (flowLog === undefined) return { word: 'Off', tone: 'off' }
  const failed = delivery?.delivery.points.find(({ state }) => state === 'failed')
  if (delivery?.delivery.lastError) {
    return { word: 'Failing', tone: 'bad', why: withRemedy(delivery.delivery.lastError) }
  }
  if (failed !== undefined) {
    return {
      word: 'Failing',
      tone: 'bad',
      why: withRemedy(failed.message ?? 'the interface cannot be attached'),
    }
  }
  if (flowLog.state === 'INACTIVE') return { word: 'Disabling', tone: 'busy' }
  const attached = delivery?.delivery.points.filter((it) => it.state === 'attached') ?? []
  if (attached.length === 0) {
    const waiting = delivery?.delivery.points.find((it) => it.state === 'waiting')
    return { word: 'Waiting', tone: 'warn', why: waiting?.message ?? waitingText(delivery) }
  }
  if (!attached.some(({ live }) => live)) {
    return {
      word: 'Silent',
      tone: 'bad',
      why: withRemedy(attached[0]?.message ?? 'its host does not report'),
    }
  }
  if ((delivery?.delivery.objects ?? 0) > 0) return { word: 'Delivering', tone: 'good' }
  return {
    word: 'Capturing',
    tone: 'good',
    why: 'The first object comes when the current window has closed.',
  }
}

function waitingText(delivery: FlowLogDelivery | undefined): string {
  const host = delivery?.host
  if (host) return `The agent on ${host} has not reported this interface yet.`
  return 'No agent has this interface. Bind it to a host and a device, or start an agent on its host.'
}

/** What usually helps. The message itself stays: it has the facts. */
export function withRemedy(message: string): string {
  const text = `${message.charAt(0).toUpperCase()}${message.slice(1)}`.replace(/[.!]?$/, '.')
  const remedy = REMEDIES.find(({ pattern }) => pattern.test(message))
  return remedy === undefined ? text : `${text} ${remedy.words}`
}

const REMEDIES: { pattern: RegExp; words: string }[] = [
  {
    pattern: /has not reported since/,
    words: 'Start it again; the kernel of a host that runs goes on counting meanwhile.',
  },
  { pattern: /no longer let in/, words: 'Enrol the host again, or bind the interface to another one.' },
  {
    pattern: /no such device|not found.*device|device.*(missing|absent)/i,
    words: "Check the NIC's binding: the device may have another name, or be in another network namespace.",
  },
  {
    pattern: /bucket.*(not exist|missing)|NoSuchBucket/i,
    words: 'Create the bucket again; what is waiting is then delivered by itself.',
  },
  {
    pattern: /access denied|forbidden|not writable|AccessDenied/i,
    words:
      'Grant the technical user write access to the bucket; what is waiting is then delivered by itself.',
  },
  {
    pattern: /ECONNREFUSED|ETIMEDOUT|ENOTFOUND|does not answer|timed? ?out/i,
    words: 'The object store cannot be reached from the host; delivery is tried again until it can.',
  },
  {
    pattern: /spool.*full|no space|ENOSPC/i,
    words: 'Give the spool more room on the host, or repair the delivery that it is waiting for.',
  },
]
