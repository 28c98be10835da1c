import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { type TSchema, Type } from 'typebox'
import { EXPORT_FORMATS, EXPORT_ROWS_MAX, type ExportFormat } from '../../explore/ask.ts'
import type { Explorer, Progress } from '../../explore/explorer.ts'
import { FILTER_FIELDS, knownValues, operatorsOf } from '../../explore/filter-fields.ts'
import { checkFilter } from '../../explore/filter-suggest.ts'
import { DIMENSIONS, FLOW_COLUMNS, METRICS, type Question } from '../../explore/question.ts'
import { WeirError } from '../../model/errors.ts'
import type { Services } from '../app.ts'
import { InvalidInputError } from '../errors.ts'
import { accessOf } from '../explore-access.ts'
import { liveSourceOf } from '../live-source.ts'

/** Questions of one contract that are worked on or wait at a time: others want answers too. */
const QUESTIONS_AT_ONCE = 8

function oneOf(values: readonly string[]): TSchema {
  return Type.Unsafe<string>({ type: 'string', enum: [...values] })
}

function whole(minimum: number, maximum: number): TSchema {
  return Type.Integer({ minimum, maximum })
}

const TIME_S_MAX = 0xffff_ffff
const dimension = oneOf(Object.keys(DIMENSIONS))
const text = Type.String({ minLength: 1, maxLength: 100 })

/** All attributes that some kind of question has; `ATTRIBUTES` says which. */
const attributes = {
  kind: oneOf([
    'summary',
    'series',
    'flows',
    'top',
    'sankey',
    'heat',
    'rejects',
    'changed',
    'unused',
    'reach',
    'throughput',
    'values',
  ]),
  since: text,
  until: Type.Optional(text),
  filter: Type.Optional(Type.String({ maxLength: 4_096 })),
  buckets: Type.Optional(Type.Array(Type.String({ minLength: 1, maxLength: 600 }), { maxItems: 100 })),
  live: Type.Optional(Type.Boolean()),
  metric: Type.Optional(oneOf(METRICS)),
  splitBy: Type.Optional(dimension),
  top: Type.Optional(whole(1, 50)),
  stepS: Type.Optional(whole(1, 604_800)),
  previous: Type.Optional(Type.Boolean()),
  sort: Type.Optional(
    Type.Object({ by: oneOf(FLOW_COLUMNS), order: oneOf(['asc', 'desc']) }, { additionalProperties: false }),
  ),
  limit: Type.Optional(whole(1, 1_000)),
  offset: Type.Optional(whole(0, 100_000)),
  within: Type.Optional(
    Type.Object(
      { sinceS: whole(0, TIME_S_MAX), untilS: whole(0, TIME_S_MAX) },
      { additionalProperties: false },
    ),
  ),
  by: Type.Optional(Type.Array(dimension, { minItems: 1, maxItems: 6, uniqueItems: true })),
  path: Type.Optional(Type.Array(dimension, { minItems: 2, maxItems: 4, uniqueItems: true })),
  rows: Type.Optional(dimension),
  lookback: Type.Optional(text),
  src: Type.Optional(text),
  dst: Type.Optional(text),
  port: Type.Optional(whole(0, 65_535)),
  protocol: Type.Optional(whole(0, 255)),
  field: Type.Optional(text),
  text: Type.Optional(Type.String({ maxLength: 100 })),
}
const QuestionBody = Type.Object(attributes, { additionalProperties: false })

const SCOPE = ['kind', 'since', 'until', 'filter', 'buckets', 'live']

/** Beyond the scope; those with an exclamation mark must be given. */
const ATTRIBUTES: Record<Question['kind'], string[]> = {
  summary: [],
  series: ['metric!', 'splitBy', 'top', 'stepS', 'previous'],
  flows: ['sort', 'limit', 'offset'],
  top: ['by!', 'metric!', 'within', 'limit', 'offset'],
  sankey: ['metric!', 'path', 'top'],
  heat: ['metric!', 'rows', 'top', 'stepS'],
  rejects: ['limit'],
  changed: ['limit'],
  unused: ['lookback', 'limit'],
  reach: ['src!', 'dst!', 'port', 'protocol'],
  throughput: ['stepS', 'limit'],
  values: ['field!', 'text', 'limit'],
}

const ExportQuery = Type.Object({
  format: oneOf(EXPORT_FORMATS),
  question: Type.String({ maxLength: 16_384 }),
})
const FilterBody = Type.Object(
  { text: Type.String({ maxLength: 8_192 }), cursor: Type.Optional(whole(0, 8_192)) },
  { additionalProperties: false },
)
const MEDIA_TYPES: Record<ExportFormat, string> = {
  csv: 'text/csv; charset=utf-8',
  json: 'application/json; charset=utf-8',
  parquet: 'application/vnd.apache.parquet',
}

/** Structured questions about flows (docs/reference/explore.md). No SQL comes in here. */
export async function exploreRoutes(
  app: FastifyInstance,
  { services, explorer }: { services: Services; explorer: Explorer },
): Promise<void> {
  const asking = new Asking()

  app.post('/weir/v1/explore', { schema: { body: QuestionBody } }, async (request, reply) => {
    const question = checked(request.body as Record<string, unknown>)
    const access = await accessOf(services, request.account!)
    return asking.ask(request, reply, async (signal, onProgress) => {
      const live = await liveSourceOf(services, access, { question, signal })
      return explorer.ask(question, access, { signal, onProgress, live })
    })
  })

  app.get('/weir/v1/explore/export', { schema: { querystring: ExportQuery } }, async (request, reply) => {
    const { format, question: json } = request.query as { format: ExportFormat; question: string }
    const question = checked(parsed(app, json))
    const access = await accessOf(services, request.account!)
    return asking.ask(request, reply, async (signal, onProgress) => {
      const live = await liveSourceOf(services, access, { question, signal })
      const { content, rows } = await explorer.export(question, access, { format, signal, onProgress, live })
      const name = rows < EXPORT_ROWS_MAX ? 'flows' : `flows-first-${rows}`
      reply.header('content-disposition', `attachment; filename="${name}.${format}"`)
      return reply.type(MEDIA_TYPES[format]).send(content)
    })
  })

  app.get('/weir/v1/explore/progress', async (request) => asking.progressOf(request.account!.userId))

  app.get('/weir/v1/explore/fields', async () => ({
    fields: FILTER_FIELDS.map((field) => {
      const { name, aliases, type, description } = field
      return { name, aliases, type, description, operators: operatorsOf(field), values: knownValues(field) }
    }),
    dimensions: Object.entries(DIMENSIONS).map(([name, title]) => ({ name, title })),
    metrics: METRICS,
  }))

  app.post('/weir/v1/explore/filter', { schema: { body: FilterBody } }, async (request) => {
    const { text: line, cursor } = request.body as { text: string; cursor?: number }
    return checkFilter(line, cursor ?? line.length, services.store.clock.nowMs())
  })
}

/** Whether the attributes fit the kind of question, which one flat schema cannot say. */
function checked(body: Record<string, unknown>): Question {
  const allowed = ATTRIBUTES[body['kind'] as Question['kind']]
  const names = allowed.map((it) => it.replace('!', ''))
  const missing = allowed.filter((it) => it.endsWith('!') && body[it.slice(0, -1)] === undefined)
  const excess = Object.keys(body).filter((it) => !SCOPE.includes(it) && !names.includes(it))
  const messages = [
    ...missing.map((it) => `[(root).${it.slice(0, -1)}] Attribute is required`),
    ...excess.map((it) => `[(root).${it}] Attribute is not for questions of kind '${body['kind']}'`),
  ]
  if (messages.length > 0) throw new InvalidInputError(messages)
  return body as unknown as Question
}

/** The question of an export stands in the URL, so that a browser can download it by itself. */
function parsed(app: FastifyInstance, json: string): Record<string, unknown> {
  let body: unknown
  try {
    body = JSON.parse(json)
  } catch (cause) {
    throw new WeirError('WEIR_BAD_REQUEST', 'the question is not JSON', { cause })
  }
  const validate = app.validatorCompiler!({ schema: QuestionBody, method: 'GET', url: '', httpPart: 'body' })
  if (validate(body) === true) return body as Record<string, unknown>
  const faults =
    (validate as unknown as { errors?: { instancePath: string; message?: string }[] }).errors ?? []
  const messages = faults.map(
    (it) => `[(root)${it.instancePath.replaceAll('/', '.')}] Attribute value ${it.message}`,
  )
  throw new InvalidInputError([...new Set(messages)].slice(0, 20))
}

/** Counts the questions of each contract, stops those whose asker has gone, and knows how far they are. */
class Asking {
  readonly #byContract = new Map<number, number>()
  /** Objects read and to be read, of questions that read objects. */
  readonly #reading = new Map<symbol, { userId: string; read: number; objects: number }>()

  /** Of the user's question that has the most to read. */
  progressOf(userId: string): { reading?: { read: number; objects: number } } {
    const own = [...this.#reading.values()].filter((it) => it.userId === userId)
    const largest = own.toSorted((a, b) => b.objects - a.objects)[0]
    return largest === undefined ? {} : { reading: { read: largest.read, objects: largest.objects } }
  }

  async ask<T>(
    request: FastifyRequest,
    reply: FastifyReply,
    work: (signal: AbortSignal, onProgress: (progress: Progress) => void) => Promise<T>,
  ): Promise<T | FastifyReply> {
    const { contractNumber, userId } = request.account!
    const count = this.#byContract.get(contractNumber) ?? 0
    if (count >= QUESTIONS_AT_ONCE) {
      throw new WeirError('WEIR_QUERY_BUSY', `${count} questions of this contract are being answered already`)
    }
    this.#byContract.set(contractNumber, count + 1)
    const gone = new AbortController()
    const leave = (): void => {
      if (!reply.raw.writableEnded) gone.abort()
    }
    reply.raw.once('close', leave)
    const id = Symbol(userId)
    try {
      return await work(gone.signal, ({ stage, done, total }) => {
        if (stage === 'read') this.#reading.set(id, { userId, read: done, objects: total })
        else this.#reading.delete(id)
      })
    } catch (error) {
      if (!gone.signal.aborted) throw error
      return reply.hijack() // Nobody is there to be answered.
    } finally {
      this.#reading.delete(id)
      const left = this.#byContract.get(contractNumber)! - 1
      if (left === 0) this.#byContract.delete(contractNumber)
      else this.#byContract.set(contractNumber, left)
    }
  }
}
