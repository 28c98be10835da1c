const ROWS_MAX = 500 // Statements have a limit of parameters, and one that is prepared for each length is kept.

/** Parts of a long list, each short enough for one statement. */
export function* someAtATime<T>(all: readonly T[]): Generator<T[]> {
  for (let at = 0; at < all.length; at += ROWS_MAX) yield all.slice(at, at + ROWS_MAX)
}
