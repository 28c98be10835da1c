import { useMemo } from 'react'
import {
  type Description,
  exampleOf,
  isTyped,
  loadDescription,
  type Operation,
  operationsOf,
  type Parameter,
} from '../api/description.ts'
import { useLoaded } from '../state/load.ts'
import { setQuery, usePlace } from '../state/location.ts'
import { Badge, type Tone } from '../ui/badge.tsx'
import { Button } from '../ui/button.tsx'
import { Snippet } from '../ui/copy.tsx'
import { Disclosure } from '../ui/disclosure.tsx'
import { Find } from '../ui/find.tsx'
import { Empty, Failure, Loading } from '../ui/states.tsx'
import { type Column, Table } from '../ui/table.tsx'
import { SchemaTree, typeText } from './docs-schema.tsx'
import { canBeTried, Try } from './docs-try.tsx'

/** What the server says of its API, to read and to search. */
export function Docs() {
  const { value: description, error, again } = useLoaded('description', loadDescription)
  const { query } = usePlace()
  const find = query.get('find') ?? ''
  const operations = useMemo(
    () => (description === undefined ? [] : operationsOf(description)),
    [description],
  )
  const words = find.toLowerCase().split(/\s+/)
  const found = operations.filter(({ method, path, summary, tag }) => {
    const text = `${method} ${path} ${summary} ${tag}`.toLowerCase()
    return words.every((word) => text.includes(word))
  })
  return (
    <>
      <header className="page-head">
        <h1>API</h1>
        <a href="/openapi.json">OpenAPI 3.1</a>
      </header>
      {description === undefined && error === undefined && <Loading what="the description of the API" />}
      {description === undefined && error !== undefined && <Failure error={error} again={again} />}
      {description !== undefined && (
        <>
          <Find find={find} found={found.length} placeholder="method, path or words" />
          {found.length === 0 && (
            <Empty
              title="No operation has that"
              action={<Button onClick={() => setQuery({ find: undefined })}>Show all</Button>}
            />
          )}
          {description.tags.map((tag) => (
            <Group
              key={tag.name}
              tag={tag}
              operations={found.filter((it) => it.tag === tag.name)}
              description={description}
            />
          ))}
        </>
      )}
    </>
  )
}

function Group({
  tag,
  operations,
  description,
}: {
  tag: Description['tags'][number]
  operations: Operation[]
  description: Description
}) {
  const { query } = usePlace()
  if (operations.length === 0) return null
  const id = `tag-${tag.name.replaceAll(' ', '-')}`
  return (
    <section className="panel" aria-labelledby={id}>
      <header className="panel-head">
        <h2 id={id}>{tag.name}</h2>
        <p className="muted">{tag.description}</p>
      </header>
      <div>
        {operations.map((it) => (
          <OperationLine
            key={it.id}
            operation={it}
            description={description}
            open={query.get('open') === it.id}
          />
        ))}
      </div>
    </section>
  )
}

const TONES: Record<string, Tone> = { GET: 'accept', POST: 'good', PUT: 'warn', PATCH: 'warn', DELETE: 'bad' }

/** One of them is open, and the URL says which. */
function OperationLine({
  operation,
  description,
  open,
}: {
  operation: Operation
  description: Description
  open: boolean
}) {
  const { id, method, path, summary } = operation
  return (
    <details
      className="operation"
      open={open}
      onToggle={({ currentTarget }) => {
        if (currentTarget.open !== open) setQuery({ open: open ? undefined : id }, { replace: true })
      }}
    >
      <summary>
        <span className="operation-method">
          <Badge tone={TONES[method] ?? 'off'}>{method}</Badge>
        </span>
        <span className="operation-summary">{summary}</span>
        <code>{path}</code>
      </summary>
      {open && <OperationBody operation={operation} description={description} />}
    </details>
  )
}

function OperationBody({ operation, description }: { operation: Operation; description: Description }) {
  const { body, parameters, answers, caller } = operation
  return (
    <div className="operation-body">
      {caller !== 'user' && (
        <p className="note">
          {caller === 'agent'
            ? 'For agents: the token of a host opens it, and no other.'
            : 'It takes no credentials in the header.'}
        </p>
      )}
      {parameters.length > 0 && <Parameters parameters={parameters} />}
      {body !== undefined && (
        <section>
          <h3>Body</h3>
          <SchemaTree schema={body} description={description} />
          <Snippet label="Example of the body" text={JSON.stringify(exampleOf(body, description), null, 2)} />
        </section>
      )}
      <section>
        <h3>Answers</h3>
        <dl className="answers">
          {answers.map((it) => (
            <div key={it.status}>
              <dt>{it.status}</dt>
              <dd>
                {it.description}
                {it.mediaTypes.some((type) => type !== 'application/json') && `: ${it.mediaTypes.join(', ')}`}
              </dd>
            </div>
          ))}
        </dl>
        <BodyOf title="What the answer holds" answer={answers[0]} description={description} />
        <BodyOf title="What every error holds" answer={answers.at(-1)} description={description} />
      </section>
      <section>
        <h3>With curl</h3>
        <Snippet label="curl" text={curlOf(operation, description)} />
      </section>
      {canBeTried(operation) && (
        <section>
          <h3>Try it</h3>
          <Try operation={operation} />
        </section>
      )}
    </div>
  )
}

function BodyOf({
  title,
  answer,
  description,
}: {
  title: string
  answer: Operation['answers'][number] | undefined
  description: Description
}) {
  const schema = answer?.schema
  if (schema === undefined || !isTyped(schema)) return null
  return (
    <Disclosure summary={title}>{() => <SchemaTree schema={schema} description={description} />}</Disclosure>
  )
}

function Parameters({ parameters }: { parameters: Parameter[] }) {
  const filters = parameters.filter(({ name }) => name.startsWith('filter.'))
  const columns: Column<Parameter>[] = [
    { title: 'Name', value: ({ name }) => <code>{name}</code> },
    { title: 'In', value: (it) => `${it.in}${it.required === true ? ', required' : ''}` },
    { title: 'Type', value: ({ schema }) => typeText(schema) },
    {
      title: 'Else',
      value: ({ schema }) => (schema.default === undefined ? '' : String(schema.default)),
    },
    { title: 'What', value: ({ description = '' }) => description },
  ]
  return (
    <section>
      <h3>Parameters</h3>
      <Table
        caption="Parameters"
        columns={columns}
        rows={parameters.filter((it) => !filters.includes(it))}
        rowKey={({ name }) => name}
      />
      {filters.length > 0 && (
        <Disclosure summary={`${filters.length} filters`}>
          {() => (
            <p className="filters">
              {filters.map(({ name }) => (
                <code key={name}>{name}</code>
              ))}
            </p>
          )}
        </Disclosure>
      )}
    </section>
  )
}

function curlOf({ method, path, body, caller }: Operation, description: Description): string {
  const url = `${description.servers[0]?.url ?? location.origin}${path}`
  const token = caller === 'agent' ? 'WEIR_AGENT_TOKEN' : 'WEIR_TOKEN'
  return [
    `curl${method === 'GET' ? '' : ` -X ${method}`} '${url}'`,
    ...(caller === 'anybody' ? [] : [`-H "Authorization: Bearer $${token}"`]),
    ...(body === undefined
      ? []
      : [`-H 'Content-Type: application/json'`, `-d '${JSON.stringify(exampleOf(body, description))}'`]),
  ].join(' \\\n  ')
}
