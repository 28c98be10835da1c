import { type FormEvent, type ReactNode, useId } from 'react'
import type { Answer, Counters, Question, Reach, Seen } from '../api/explore.ts'
import type { Loaded } from '../state/load.ts'
import { pathWithScope, setQuery, usePlace } from '../state/location.ts'
import { useScope } from '../state/scope.ts'
import { countText } from '../text/numbers.ts'
import { shellWord } from '../text/shell.ts'
import { interfaceText } from '../text/words.ts'
import { Amount } from '../ui/amount.tsx'
import { ActionBadge, Badge } from '../ui/badge.tsx'
import { Button } from '../ui/button.tsx'
import { Snippet } from '../ui/copy.tsx'
import { Disclosure } from '../ui/disclosure.tsx'
import { Link } from '../ui/link.tsx'
import { Failure, Loading } from '../ui/states.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { IsoTime, Time } from '../ui/time.tsx'

const ANSWERS = {
  allowed: { tone: 'accept', text: 'Yes' },
  refused: { tone: 'bad', text: 'No' },
  both: { tone: 'warn', text: 'Sometimes' },
  unseen: { tone: 'off', text: 'Not seen' },
} as const

/** What the URL asks; undefined when it asks nothing. */
export function useReachQuestion(): Question<'reach'> | undefined {
  const { query } = usePlace()
  const { scope } = useScope()
  const [src, dst, port] = [query.get('from'), query.get('to'), query.get('port')]
  if (src === null || dst === null) return undefined
  const { filter: _filter, ...range } = scope // The question has its own conditions.
  return { kind: 'reach', ...range, src, dst, ...(port === null ? {} : { port: Number(port) }) }
}

interface Props {
  question: Question<'reach'> | undefined
  loaded: Loaded<Answer<'reach'>>
}

/** "Can A reach B on port P?", answered by what was seen. */
export function ReachPanel({ question, loaded }: Props) {
  const { query } = usePlace()
  const read = (name: string) => query.get(name) ?? ''
  return (
    <section className="panel reach" aria-labelledby="reach">
      <h2 id="reach">Can it reach that?</h2>
      <ReachForm src={read('from')} dst={read('to')} port={read('port')} />
      <div className="answer" aria-live="polite">
        {question !== undefined && loaded.error !== undefined && (
          <Failure error={loaded.error} again={loaded.again} />
        )}
        {question !== undefined && loaded.value === undefined && loaded.error === undefined && (
          <Loading what="the answer" rows={8} />
        )}
        {question !== undefined && loaded.value !== undefined && (
          <ReachAnswer question={question} answer={loaded.value} />
        )}
      </div>
    </section>
  )
}

function ReachForm({ src, dst, port }: { src: string; dst: string; port: string }) {
  const id = useId()
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const fields = new FormData(event.currentTarget)
    const read = (name: string) => String(fields.get(name) ?? '').trim()
    setQuery({ from: read('from'), to: read('to'), port: read('port') })
  }
  return (
    <form key={`${src} ${dst} ${port}`} className="reach-form" onSubmit={submit}>
      <label htmlFor={`${id}-from`}>Can</label>
      <input
        id={`${id}-from`}
        name="from"
        required
        defaultValue={src}
        placeholder="10.0.0.7, 10.0.0.0/8 or any"
        spellCheck={false}
      />
      <label htmlFor={`${id}-to`}>reach</label>
      <input
        id={`${id}-to`}
        name="to"
        required
        defaultValue={dst}
        placeholder="10.0.0.2"
        spellCheck={false}
      />
      <label htmlFor={`${id}-port`}>on port</label>
      <input
        id={`${id}-port`}
        name="port"
        type="number"
        min={1}
        max={65535}
        defaultValue={port}
        placeholder="any"
        className="short"
      />
      <Button look="strong" type="submit">
        Ask
      </Button>
    </form>
  )
}

/** The sentence has its times in UTC; here they are the reader's, as everywhere. */
function withLocalTimes(sentence: string): ReactNode[] {
  return sentence.split(/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z)/).map((part, index) => {
    // biome-ignore lint/suspicious/noArrayIndexKey: parts of one sentence keep their places.
    return index % 2 === 1 ? <IsoTime key={index} at={part} /> : part
  })
}

interface Way extends Counters, Seen {
  name: string
}

/** What shows the flows of the answer in Explore; `any` and a missing port leave their side open. */
function filterOf({ src, dst, port }: Question<'reach'>): string {
  const sides = [
    ...(src === 'any' ? [] : [`src ${isIn(src)}`]),
    ...(dst === 'any' ? [] : [`dst ${isIn(dst)}`]),
    ...(port === undefined ? [] : [`dstport = ${port}`]),
  ]
  return sides.join(' and ')
}

function isIn(place: string): string {
  return place.includes('/') ? `in ${place}` : `= ${place}`
}

function commandOf({ src, dst, port, since, until }: Question<'reach'>): string {
  const words = ['weir', 'why', src, dst, ...(port === undefined ? [] : [String(port)]), '--since', since]
  return [...words, ...(until === undefined ? [] : ['--until', until])].map(shellWord).join(' ')
}

function ReachAnswer({ question, answer }: { question: Question<'reach'>; answer: Answer<'reach'> }) {
  const { result, names } = answer
  const { tone, text } = ANSWERS[result.answer]
  const ways: Way[] = [
    { name: 'Allowed', ...result.accepted },
    { name: 'Refused', ...result.refused },
    { name: 'Answered', ...result.answered },
  ]
  return (
    <>
      <p className="reach-answer">
        <Badge tone={tone}>{text}</Badge> <strong>{withLocalTimes(result.sentence)}</strong>
      </p>
      {result.answer !== 'unseen' && (
        <Table caption="What was seen" columns={WAYS} rows={ways} rowKey={({ name }) => name} />
      )}
      {result.answer !== 'unseen' && (
        <p>
          <Link href={pathWithScope('/explore', { filter: filterOf(question), view: 'flows' })}>
            The flows that say so
          </Link>
        </p>
      )}
      <Disclosure summary="The same as a command">
        {() => <Snippet label="weir" text={commandOf(question)} />}
      </Disclosure>
      {result.changes.length > 1 && <Changes changes={result.changes} />}
      {result.interfaces.length > 1 && (
        <p className="muted small">
          Seen at {result.interfaces.map((it) => interfaceText(it.interface, names)).join(', ')}.
        </p>
      )}
    </>
  )
}

const WAYS: Column<Way>[] = [
  { title: 'Flows that were', value: ({ name }) => name },
  { title: 'Count', value: ({ flows }) => <Amount value={flows} text={countText} />, numeric: true },
  { title: 'First', value: ({ firstS }) => <Time s={firstS} /> },
  { title: 'Last', value: ({ lastS }) => <Time s={lastS} /> },
]

function Changes({ changes }: { changes: Reach['changes'] }) {
  return (
    <div>
      <h3>When the verdict turned</h3>
      <ol className="turns">
        {changes.map(({ atS, action }) => (
          <li key={`${atS} ${action}`}>
            <Time s={atS} /> <ActionBadge action={action} />
          </li>
        ))}
      </ol>
    </div>
  )
}
