import { useState } from 'react'
import type { Around } from '../api/explore.ts'
import { bytesText, countText, plural } from '../text/numbers.ts'
import { Button } from './button.tsx'
import { Snippet } from './copy.tsx'
import { Time } from './time.tsx'

/** What an answer is made of, and what it lacks. A total never stays silent about what was skipped. */
export function Coverage({ around }: { around: Around }) {
  const [sql, setSql] = useState(false)
  const { coverage, skipped, totals, tookMs, truncated } = around
  const failed = coverage.objectsFailed + coverage.linesFailed
  return (
    <div className="coverage">
      <p>
        {plural(totals.flows, 'flow record')}, {bytesText(totals.bytes)} in {plural(totals.packets, 'packet')}
        , from {plural(coverage.objects, 'object')} in {countText(Math.round(tookMs))} ms.
        {coverage.newestWindowS !== null && (
          <>
            {' '}
            Newest window: <Time s={coverage.newestWindowS} />.
          </>
        )}{' '}
        <Button look="text" aria-expanded={sql} onClick={() => setSql(!sql)}>
          {sql ? 'Hide the SQL' : 'Show the SQL'}
        </Button>
      </p>
      {skipped.packets > 0 && (
        <p className="note note-warn">
          {plural(skipped.packets, 'packet')} ({bytesText(skipped.bytes)}) could not be attributed to flows:
          there were more flows than the limit. They are in no number above.
        </p>
      )}
      {failed > 0 && (
        <details className="note note-warn">
          <summary>
            {plural(coverage.objectsFailed, 'object')} and {plural(coverage.linesFailed, 'line')} could not be
            read.
          </summary>
          <ul>
            {coverage.faults.map(({ object, reason }) => (
              <li key={`${object} ${reason}`}>
                <code>{object}</code>: {reason}
              </li>
            ))}
          </ul>
        </details>
      )}
      {truncated && (
        <p className="note note-warn">There is more than is shown. Narrow the time range or the filter.</p>
      )}
      {sql && <Snippet label="The same as SQL, for weir query" text={around.sql} />}
    </div>
  )
}
