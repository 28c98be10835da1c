import { useState } from 'react'
import type { Around } from '../api/explore.ts'
import { bytesText, countText, plural } from '../text/numbers.ts'
import { Button } from './button.tsx'
import { Snippet } from './copy.tsx'
import { Time } from './time.tsx'

/** What an answer is made of, and what it lacks. A total never stays silent about what was skipped. */
export function Coverage({
  around,
  brief = false,
  paged = false,
}: {
  around: Around
  brief?: boolean
  /** All of it can be reached, page by page. */
  paged?: boolean
}) {
  const [sql, setSql] = useState(false)
  const { coverage, skipped, truncated } = around
  const failed = coverage.objectsFailed + coverage.linesFailed
  return (
    <div className="coverage">
      <p>
        {!brief && <Sum around={around} />}{' '}
        <Button look="text" aria-expanded={sql} onClick={() => setSql(!sql)}>
          {sql ? 'Hide the SQL' : 'Show the SQL'}
        </Button>
      </p>
      {!brief && skipped.packets > 0 && (
        <p className="note note-warn">
          {plural(skipped.packets, 'packet')} ({bytesText(skipped.bytes)}) could not be attributed to flows:
          there were more flows than the limit. They are in no number above.
        </p>
      )}
      {failed > 0 && (
        <details className="note note-warn">
          <summary>{failedText(around)} could not be read.</summary>
          <ul>
            {coverage.faults.map(({ object, reason }) => (
              <li key={`${object} ${reason}`}>
                <code>{object}</code>: {reason}
              </li>
            ))}
          </ul>
        </details>
      )}
      {truncated && !paged && (
        <p className="note note-warn">There is more than is shown. Narrow the time range or the filter.</p>
      )}
      {sql && <Snippet label="The same as SQL, for weir query" text={around.sql} />}
    </div>
  )
}

function Sum({ around: { totals, coverage, live, range, tookMs } }: { around: Around }) {
  const { oldestWindowS, newestWindowS } = coverage
  return (
    <>
      {plural(totals.flows, 'flow record')}, {bytesText(totals.bytes)} in {plural(totals.packets, 'packet')},
      from {plural(coverage.objects, 'object')}
      {live !== undefined && live.answering > 0 && ` and ${plural(live.answering, 'flow log')} live`} in{' '}
      {countText(Math.round(tookMs))} ms.
      {oldestWindowS !== null && oldestWindowS > range.sinceS && (
        <>
          {' '}
          No records before <Time s={oldestWindowS} />.
        </>
      )}
      {newestWindowS !== null && (
        <>
          {' '}
          Newest window: <Time s={newestWindowS} />.
        </>
      )}
    </>
  )
}

function failedText({ coverage: { objectsFailed, linesFailed } }: Around): string {
  return [
    ...(objectsFailed > 0 ? [plural(objectsFailed, 'object')] : []),
    ...(linesFailed > 0 ? [plural(linesFailed, 'line')] : []),
  ].join(' and ')
}
