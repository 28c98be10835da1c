import { type Answer, ask, type Kind, type Question } from '../api/explore.ts'
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
