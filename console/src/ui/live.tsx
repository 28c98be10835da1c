import type { Around, Live } from '../api/explore.ts'
import { bytesText, countText, plural } from '../text/numbers.ts'
import { interfaceText } from '../text/words.ts'
import { Badge } from './badge.tsx'
import { Time } from './time.tsx'

/** What of an answer is live, how old that is, and what is missing of it. */
export function LiveState({ around, live }: { around: Around; live: Live }) {
  const { flowLogs, answering, ageS, left, underway } = live
  if (flowLogs === 0) return null // There is nothing to watch, and the page says so.
  const silent = live.silent.filter(({ reason }) => reason !== 'not yet')
  const waiting = live.silent.length - silent.length
  return (
    <div className="live-state">
      <p>
        <Badge tone={answering > 0 ? 'good' : 'warn'}>{answering > 0 ? 'Live' : 'Not live'}</Badge>{' '}
        {ageS !== null && (
          <>
            as of <Time s={Math.round(around.range.untilS - ageS)} />,{' '}
          </>
        )}
        {countText(answering)} of {plural(flowLogs, 'flow log')}
        {waiting > 0 && '; asking the agents'}
      </p>
      {silent.length > 0 && (
        <details className="note note-warn" open={silent.length < 4}>
          <summary>
            Only what is delivered of{' '}
            {plural(Math.max(silent.length, flowLogs - answering - waiting), 'flow log')}
          </summary>
          <ul>
            {silent.map((it) => (
              <li key={it.interface}>
                <b>{interfaceText(it.interface, around.names)}</b>: {whySilent(it)}
              </li>
            ))}
          </ul>
        </details>
      )}
      {underway.windows > 0 && (
        <p className="note note-warn">
          {plural(underway.windows, 'window')}
          {underway.oldestWindowS !== null && (
            <>
              {' '}
              (from <Time s={underway.oldestWindowS} />)
            </>
          )}{' '}
          had closed before you began to watch and {underway.windows === 1 ? 'is' : 'are'} on the way to the
          bucket: the flows are shown when they are there.
        </p>
      )}
      {left.flows > 0 && (
        <p className="note note-warn">
          {plural(left.flows, 'smaller flow')} ({bytesText(left.bytes)} in {plural(left.packets, 'packet')})
          are in no number here until they are delivered: agents tell the largest of each flow log.
        </p>
      )}
    </div>
  )
}

function whySilent({ reason, host }: Live['silent'][number]): string {
  switch (reason) {
    case 'no agent':
      return 'no agent has this interface'
    case 'not connected':
      return `the agent on ${host} is not connected; it goes on counting, and delivers when it is back`
    case 'waiting':
      return `the agent${host === undefined ? '' : ` on ${host}`} waits for the device`
    case 'too many':
      return 'one page follows 50 flow logs; name this interface in the filter'
    case 'not yet':
      return 'the agent was asked just now'
  }
}
