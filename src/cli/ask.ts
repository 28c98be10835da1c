import type { Answer, Question } from '../explore/question.ts'
import { WeirError } from '../model/errors.ts'
import type { CommandContext } from './command.ts'
import { type ExploreValues, openExploring, showReading, warnOfGaps } from './explore.ts'
import { ProgressLine } from './progress-line.ts'

/** Asks one question of delivered objects, with progress before it and gaps told behind it. */
export async function askOnce<Q extends Question>(
  question: Q,
  values: ExploreValues,
  context: CommandContext,
): Promise<Answer<Q['kind']>> {
  using progress = new ProgressLine(context)
  await using exploring = await openExploring(values, context)
  const { explorer, access } = exploring
  try {
    const answer = await explorer.ask(question, access, {
      signal: context.signal,
      onProgress: showReading(progress),
    })
    progress[Symbol.dispose]()
    warnOfGaps(context, answer.coverage, answer.skipped)
    return answer
  } catch (error) {
    throw asUsage(error)
  }
}

/** A filter or a time that cannot be read was typed here: that is a matter of usage. */
export function asUsage(error: unknown): unknown {
  const isTyped = error instanceof WeirError && error.code === 'WEIR_INVALID'
  return isTyped ? new WeirError('WEIR_USAGE', error.message, { cause: error }) : error
}

/** An address with the name that the inventory has for it. */
export function named(answer: Answer, key: unknown): string {
  if (key === null || key === undefined) return '-'
  const text = String(key)
  const interfaceName = answer.names.interfaces[text]
  if (interfaceName !== undefined) return `${interfaceName.server ?? ''} ${interfaceName.name}`.trim()
  const addressName = answer.names.addresses[text]
  return addressName === undefined ? text : `${text} (${addressName})`
}

export function timeText(timeS: number | null): string {
  return timeS === null ? '-' : new Date(timeS * 1000).toISOString().slice(0, 19).replace('T', ' ')
}

/** Bytes per second as the bits per second that networks are measured in: 1250000 → '10.0 Mbit/s'. */
export function formatRate(bytesPerSecond: number): string {
  const units = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']
  let value = bytesPerSecond * 8
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}
