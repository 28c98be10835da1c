import { availableParallelism, cpus, totalmem } from 'node:os'

export { random } from '../src/stdx/prng.ts'

/**
 * What every benchmark needs: sizes that are small in `npm test` (so that a benchmark cannot rot) and real with
 * BENCH=full, and one line of JSON per result. A size can be set alone: `node bench/x.bench.ts --packets=1000000`.
 */
const isFull = process.env['BENCH'] === 'full'

export function parameter(name: string, sizes: { smoke: number; full: number }): number {
  const prefix = `--${name}=`
  const argument = process.argv.find((it) => it.startsWith(prefix))
  if (argument === undefined) return isFull ? sizes.full : sizes.smoke
  const value = Number(argument.slice(prefix.length).replaceAll('_', ''))
  if (!Number.isFinite(value)) throw new Error(`--${name} is not a number: ${argument}`)
  return value
}

/** Prints one result. Give at least one figure that changes when the work is skipped. */
export function report(name: string, figures: Record<string, number | string | boolean | number[]>): void {
  const machine = `${cpus()[0]?.model ?? process.arch} x${availableParallelism()}`
  const memoryGib = Math.round(totalmem() / 2 ** 30)
  process.stdout.write(
    `${JSON.stringify({ name, ...figures, size: isFull ? 'full' : 'smoke', node: process.version, machine, memoryGib })}\n`,
  )
}

export function median(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** Runs the variants in turn, A B A B, so that a slow minute of the machine hits all of them. */
export function interleave<Name extends string>(
  rounds: number,
  variants: Record<Name, () => number>,
): Record<Name, number[]> {
  const names = Object.keys(variants) as Name[]
  const results = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>
  for (let round = 0; round < rounds; round++) {
    for (const name of names) results[name].push(variants[name]())
  }
  return results
}
