import assert from 'node:assert/strict'
import { test } from 'node:test'
import { flowlog } from '../../src/cli/commands/flowlog.ts'
import { status as statusCommand } from '../../src/cli/commands/status.ts'
import type { AgentHealth, PendingDelivery } from '../../src/model/agent-protocol.ts'
import { issueAgentToken } from '../../src/store/agents.ts'
import { runCommand } from '../support/run-command.ts'
import { TestAgent } from './support/agent.ts'
import { type Answer, type ControlPlane, FLOW_LOG, startControlPlane } from './support/control-plane.ts'

const HEALTH = {
  windowStartS: 0,
  windowSizeS: 60,
  flows: 0,
  flowsMax: 1,
  skippedPackets: 0,
  spool: { segments: 3, bytes: 1234 },
} as const

function report(
  weir: ControlPlane,
  health: Omit<Partial<AgentHealth>, 'deliveries'> & { deliveries?: unknown },
  token = weir.owner.agentToken,
): Promise<Answer> {
  const body = {
    protocol: 1,
    agentVersion: '0.1.0',
    startedAt: '2026-01-01T00:00:00Z',
    assignmentsVersion: '0',
    points: [],
    health: { ...HEALTH, ...health },
  }
  return weir.call('POST', '/agent/v1/report', body, { authorization: `Bearer ${token}` })
}

function pendingOf(flowLogId: string): PendingDelivery {
  return {
    flowLogId,
    segments: 3,
    bytes: 1234,
    oldestWindowStartS: 1_700_000_000,
    lastError: { reason: 'AccessDenied', message: 'bucket answered 403', at: '2026-01-02T03:04:05.000Z' },
  }
}

test('what a host still has of a flow log that has left it is shown, and nothing that others have', async () => {
  await using weir = await startControlPlane({ attachGraceMs: 1 })
  const { id } = (await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)).body
  const other = (await weir.post(`${weir.owner.nics[1]!.path}/flowlogs`, FLOW_LOG)).body.id
  const agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
  await agent.poll(0)
  await agent.report()
  await weir.call('PATCH', weir.nicPath, { binding: { host: 'host-9', device: 'tap0', side: 'guest' } })
  await agent.poll(0)
  await agent.report() // It has let go of it.
  await report(weir, { deliveries: [pendingOf(id), pendingOf(other)] })

  const { delivery } = (await weir.get(`/weir/v1/flowlogs/${id}`)).body
  const { items } = (await weir.get('/weir/v1/flowlogs')).body

  assert.deepEqual([delivery.points, delivery.pendingSegments], [[], 3])
  const pending = items.map((it: { id: string; delivery: { pendingSegments: number } }) => {
    return [it.id, it.delivery.pendingSegments]
  })
  assert.deepEqual(Object.fromEntries(pending), { [id]: 3, [other]: 3 })
})

test('a flow log shows what waits for its bucket on its host, and why', async () => {
  await using weir = await startControlPlane()
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)

  const reported = await report(weir, { deliveries: [pendingOf(created.body.id)] })
  const failing = (await weir.get(`/weir/v1/flowlogs/${created.body.id}`)).body.delivery
  const status = (await weir.get('/weir/v1/status')).body
  const metrics = await metricsOf(weir)
  await report(weir, { deliveries: [] })
  const well = (await weir.get(`/weir/v1/flowlogs/${created.body.id}`)).body.delivery
  const metricsAfter = await metricsOf(weir)

  assert.equal(reported.status, 204, JSON.stringify(reported.body))
  assert.equal(failing.status, 'delivery fails')
  assert.equal(failing.pendingSegments, 3)
  assert.equal(failing.pendingBytes, 1234)
  assert.equal(failing.oldestPendingWindow, '2023-11-14T22:13:20.000Z')
  assert.equal(failing.lastError, 'bucket answered 403')
  assert.equal(failing.lastErrorAt, '2026-01-02T03:04:05.000Z')
  assert.equal(status.flowLogs[0].delivery.pendingSegments, 3)
  assert.equal(status.agents[0].health.deliveries, undefined)
  assert.deepEqual(status.buckets, [
    {
      bucket: 'flowlogs',
      lastDeliveredAt: null,
      oldestPendingWindow: '2023-11-14T22:13:20.000Z',
      lastError: 'bucket answered 403',
      lastErrorAt: '2026-01-02T03:04:05.000Z',
    },
  ])
  assert.match(metrics, /^weir_bucket_failing\{bucket="flowlogs"\} 1$/m)
  assert.match(metrics, /^weir_bucket_oldest_pending_seconds\{bucket="flowlogs"\} 1700000000$/m)
  assert.match(metricsAfter, /^weir_bucket_failing\{bucket="flowlogs"\} 0$/m)
  assert.equal(well.pendingSegments, 0)
  assert.equal(well.lastError, null)
})

test('a host has no say in flow logs that it never carried', async () => {
  await using weir = await startControlPlane()
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const { id } = created.body
  const liar = await weir.store.change((change) =>
    issueAgentToken(change, { host: 'host-2', purpose: 'test' }),
  )

  const lie = await report(weir, { deliveries: [pendingOf(id), pendingOf(crypto.randomUUID())] }, liar)
  const { delivery } = (await weir.get(`/weir/v1/flowlogs/${id}`)).body
  const status = (await weir.get('/weir/v1/status')).body
  const metrics = await metricsOf(weir)

  assert.equal(lie.status, 204)
  assert.deepEqual([delivery.pendingSegments, delivery.lastError], [0, null])
  assert.equal(delivery.status, 'waiting for an interface')
  assert.equal(status.buckets[0].lastError, null)
  assert.match(metrics, /^weir_bucket_failing\{bucket="flowlogs"\} 0$/m)
})

test('a report that would break whoever shows it is refused whole', async () => {
  await using weir = await startControlPlane()
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const pending = pendingOf(created.body.id)

  const answers = [
    await report(weir, { deliveries: [{ ...pending, oldestWindowStartS: 1e300 }] }),
    await report(weir, { deliveries: [{ ...pending, bytes: -1 }] }),
    await report(weir, { windowStartS: 1e300 }),
    await report(weir, { spool: { segments: 1, bytes: 1, oldestWindowStartS: -1 } }),
    await report(weir, { lastError: null } as never),
    await report(weir, { lastDelivery: 5 } as never),
  ]
  const status = await weir.get('/weir/v1/status')

  assert.deepEqual(
    answers.map((it) => it.status),
    [422, 422, 422, 422, 422, 422],
  )
  assert.equal(status.status, 200)
})

test('losses, fill and faults stand in metrics, weir status and weir flowlog get, and steer no terminal', async () => {
  await using weir = await startControlPlane()
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const pending = pendingOf(created.body.id)
  const message = 'bucket answered \u001b[31m403'
  const env = { WEIR_SERVER: weir.origin, WEIR_TOKEN: weir.owner.token }

  await report(weir, {
    spool: {
      ...{ segments: 3, bytes: 1234, bytesMax: 2 ** 20, oldestWindowStartS: 1_700_000_000 },
      ...{ parkedSegments: 1, damagedSegments: 2, damagedManifestLines: 4, setAsideFiles: 7 },
      ...{ givenUpSegments: 5, givenUpPackets: 600 },
    },
    lastError: { message, at: '2026-01-02T03:04:05.000Z' },
    deliveries: [{ ...pending, lastError: { ...pending.lastError, message } }],
  })
  const metrics = await metricsOf(weir)
  const shown = await runCommand(statusCommand, [], { env })
  const flowLog = await runCommand(flowlog, ['get', created.body.id], { env })
  const asJson = JSON.parse((await runCommand(flowlog, ['get', created.body.id, '--json'], { env })).stdout)
  await weir.call('DELETE', '/weir/v1/agents/host-1')
  const metricsAfter = await metricsOf(weir)

  const gauges = Object.fromEntries(
    [...metrics.matchAll(/^(weir_spool_\w+)\{host="host-1"\} (\d+)$/gm)].map(([, name, value]) => [
      name,
      Number(value),
    ]),
  )
  assert.deepEqual(gauges, {
    weir_spool_segments: 3,
    weir_spool_bytes: 1234,
    weir_spool_bytes_max: 2 ** 20,
    weir_spool_parked_segments: 1,
    weir_spool_damaged_segments: 2,
    weir_spool_damaged_manifest_lines: 4,
    weir_spool_set_aside_files: 7,
    weir_spool_given_up_segments: 5,
    weir_spool_given_up_packets: 600,
  })
  assert.match(
    shown.stdout,
    /spool {6}3 segments, 1\.2 KiB of 1\.0 MiB, oldest from 2023-11-14.*, 1 refused\n/,
  )
  assert.match(
    shown.stdout,
    /lost {7}5 segments given up \(600 packets\), 2 segments damaged, 4 manifest lines damaged, 7 files set aside\n/,
  )
  assert.match(shown.stdout, /flowlogs +- +2023-11-14T22:13:20.000Z +bucket answered \ufffd\[31m403 \(2026-/)
  assert.match(flowLog.stdout, /status +delivery fails\n/)
  assert.match(flowLog.stdout, /waiting +3 segments, 1\.2 KiB, oldest window 2023-11-14T22:13:20.000Z\n/)
  assert.match(flowLog.stdout, /error +bucket answered .*403 \(2026-01-02T03:04:05.000Z\)\n/)
  assert.equal(shown.stdout.includes('\u001b') || flowLog.stdout.includes('\u001b'), false)
  assert.equal(asJson.delivery.pendingSegments, 3)
  assert.doesNotMatch(metricsAfter, /host="host-1"/)
})

async function metricsOf(weir: ControlPlane): Promise<string> {
  const headers = { authorization: `Bearer ${weir.owner.token}` }
  return (await fetch(`${weir.origin}/metrics`, { headers })).text()
}
