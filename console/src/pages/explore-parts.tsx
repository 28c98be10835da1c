import type { ReactNode } from 'react'
import { type Around, askProgress, type Dimension, type Key, type Names } from '../api/explore.ts'
import { type Loaded, useLoaded } from '../state/load.ts'
import { pathWithScope, setQuery } from '../state/location.ts'
import { useScope, withCondition } from '../state/scope.ts'
import { useSession } from '../state/session.ts'
import { plural } from '../text/numbers.ts'
import { conditionFor, keyText } from '../text/words.ts'
import { Button } from '../ui/button.tsx'
import { Coverage } from '../ui/coverage.tsx'
import { Link } from '../ui/link.tsx'
import { LiveState } from '../ui/live.tsx'
import { Empty, Failure, failureTitle, Loading } from '../ui/states.tsx'

/** The frame of every answer: loading, failed, nothing found, or the answer with what it is made of. */
export function AnswerFrame<T extends Around>({
  loaded,
  what,
  isEmpty,
  empty,
  brief = false,
  paged = false,
  children,
}: {
  loaded: Loaded<T>
  what: string
  isEmpty(answer: T): boolean
  /** Instead of the general words. */
  empty?: ReactNode
  /** Beside another answer that says the same about the range. */
  brief?: boolean
  /** That there is more need not be said: it can be paged to, or only the first were asked for. */
  paged?: boolean
  children(answer: T): ReactNode
}) {
  const { value, error, loading, again } = loaded
  const isNews = value !== undefined && value.live === undefined && !loading && !brief
  // What was there stays while the server is away for a moment, as it does while another answer is awaited.
  const isAway = value !== undefined && error?.isPassing === true
  return (
    <>
      <p className="visually-hidden" role="status">
        {isNews && `Found ${plural(value.totals.flows, 'record')}.`}
      </p>
      {error !== undefined && !isAway && <Failure error={error} again={again} />}
      {error === undefined && value === undefined && <Awaited what={what} brief={brief} />}
      {value !== undefined && (error === undefined || isAway) && (
        <div>
          {isAway && (
            <Asking brief={brief} fault={`${failureTitle(error!)}. It is asked again every few seconds.`} />
          )}
          {!isAway && loading && value.live === undefined && <Asking brief={brief} />}
          <div className="answer" aria-busy={loading}>
            {!brief && value.live !== undefined && <LiveState around={value} live={value.live} />}
            {isEmpty(value) ? (empty ?? <NothingFound around={value} />) : children(value)}
            <Coverage around={value} brief={brief} paged={paged} />
          </div>
        </div>
      )}
    </>
  )
}

const PROGRESS_INTERVAL_MS = 1_000

/** Objects that nobody has asked about yet take a while: how many are read. */
function useReading(brief: boolean): string | undefined {
  const { value } = useLoaded(brief ? undefined : 'progress', askProgress, PROGRESS_INTERVAL_MS)
  const reading = value?.reading
  if (reading === undefined || reading.read >= reading.objects) return undefined
  return `Reading ${plural(reading.objects, 'object')}: ${reading.read} done.`
}

/** The place of an answer to come. */
function Awaited({ what, brief }: { what: string; brief: boolean }) {
  const reading = useReading(brief)
  return (
    <>
      {reading !== undefined && <p className="muted">{reading}</p>}
      <Loading what={what} rows={7} />
    </>
  )
}

/** Over an answer to what was asked before. */
function Asking({ brief, fault }: { brief: boolean; fault?: string }) {
  const reading = useReading(brief || fault !== undefined)
  return (
    <p className="asking-place" role="status">
      <span className="asking">{fault ?? reading ?? 'Asking…'}</span>
    </p>
  )
}

function NothingFound({ around }: { around: Around }) {
  const { scope } = useScope()
  const { role, operator } = useSession()
  const { objects, objectsOutside } = around.coverage
  const { live } = around
  if (scope.filter !== undefined) {
    return (
      <Empty
        title="No flow matches the filter"
        action={<Button onClick={() => setQuery({ filter: undefined })}>Clear the filter</Button>}
      >
        In this time range there is nothing that fits it.
      </Empty>
    )
  }
  if (live !== undefined && live.flowLogs > 0) {
    return live.answering > 0 ? (
      <Empty title="Silence">
        No packet has passed in the last 15 minutes. The page goes on watching by itself.
      </Empty>
    ) : (
      <Empty title="Nothing to see live">
        No agent tells of these flow logs at the moment, and nothing of the last 15 minutes is delivered.
      </Empty>
    )
  }
  if (objects + objectsOutside === 0) {
    return (
      <Empty
        title="No flows yet"
        action={
          <Link className="button button-strong" href={pathWithScope('/resources')}>
            To the resources
          </Link>
        }
      >
        {role === 'member' && !operator
          ? 'You see the flows of data centers that are shared with a group that you are in. Owners and administrators of the contract can share them.'
          : 'Enable a flow log on an interface. Its first object comes when the current window has closed.'}
      </Empty>
    )
  }
  return (
    <Empty
      title="No flows in this time range"
      action={
        <Button onClick={() => setQuery({ since: '7d', until: undefined, live: undefined })}>
          Show the last 7 days
        </Button>
      }
    >
      There are objects, but none from this time.
    </Empty>
  )
}

/** A value that, clicked, becomes a condition of the filter. */
export function FilterBy({
  dimension,
  value,
  names,
  label,
  to,
  children,
}: {
  dimension: Dimension
  value: Key
  names?: Names
  label?: string
  /** Shown instead of the label. */
  children?: ReactNode
  /** Another page that has the filter line; the current one otherwise. */
  to?: string
}) {
  const { scope } = useScope()
  const text = label ?? keyText(dimension, { key: value }, names)
  const condition = conditionFor(dimension, value)
  if (condition === undefined) return <span>{text}</span>
  const filter = withCondition(scope.filter ?? '', condition)
  if (to !== undefined) {
    return (
      <Link
        className="filter-by"
        href={pathWithScope(to, { filter })}
        title={`${text}: explore ${condition}`}
      >
        {children ?? text}
      </Link>
    )
  }
  return (
    <button
      type="button"
      className="filter-by"
      title={`${text}: filter by ${condition}`}
      onClick={() => setQuery({ filter, page: undefined })}
    >
      {children ?? text}
    </button>
  )
}

/** Adds conditions for what was clicked in a chart: a value, or both ends of a link. */
export function filterByClick(
  filter: string | undefined,
  ...clicked: readonly { dimension: Dimension; key: Key }[]
): void {
  const conditions = clicked.flatMap(({ dimension, key }) => conditionFor(dimension, key) ?? [])
  if (conditions.length === 0) return
  setQuery({ filter: conditions.reduce(withCondition, filter ?? ''), page: undefined })
}
