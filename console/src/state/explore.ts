import { type Answer, type Around, ask, type Kind, type Question } from '../api/explore.ts'
import { type Loaded, useLoaded } from './load.ts'

/** Asks a question, and asks again when it changes. */
export function useAnswer<K extends Kind>(
  question: Question<K> | undefined,
  refreshMs?: number,
): Loaded<Answer<K>> {
  const key = question === undefined ? undefined : JSON.stringify(question)
  const loaded = useLoaded(
    key,
    async (signal) => ({ kind: question!.kind, answer: await ask(question!, signal) }),
    refreshMs,
  )
  const value = loaded.value
  // While the next answer is awaited the last one stays, but never under a question of another kind.
  return { ...loaded, value: value !== undefined && value.kind === question?.kind ? value.answer : undefined }
}

/** From when on windows have neither been delivered nor told live; undefined where the range ends before. */
export function openFromS({ range, coverage, live }: Around, windowSizeS: number): number | undefined {
  const { newestWindowS } = coverage
  if (newestWindowS === null || (live?.answering ?? 0) > 0) return undefined
  const fromS = newestWindowS + windowSizeS
  // Of a range of the past all has come that ever will.
  const isRecent = range.untilS > Date.now() / 1000 - 2 * windowSizeS
  return isRecent && fromS < range.untilS ? fromS : undefined
}
