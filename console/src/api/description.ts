import { getJson } from './http.ts'

/** As much of OpenAPI 3.1 as the server says of itself. */
export interface Description {
  servers: { url: string }[]
  tags: { name: string; description: string }[]
  paths: Record<string, Record<string, Described>>
  components: {
    schemas: Record<string, Schema>
    parameters: Record<string, Parameter>
    responses: Record<string, Answer>
  }
}

export interface Schema {
  $ref?: string
  type?: string | string[]
  description?: string
  enum?: string[]
  const?: unknown
  examples?: unknown[]
  default?: unknown
  pattern?: string
  format?: string
  minimum?: number
  maximum?: number
  multipleOf?: number
  minLength?: number
  maxLength?: number
  required?: string[]
  properties?: Record<string, Schema>
  items?: Schema | false
  prefixItems?: Schema[]
  anyOf?: Schema[]
}

export interface Parameter {
  $ref?: string
  name: string
  in: 'path' | 'query' | 'header'
  required?: boolean
  description?: string
  schema: Schema
}

export interface Answer {
  $ref?: string
  description: string
  content?: Record<string, { schema?: Schema }>
}

interface Described {
  operationId: string
  tags: string[]
  summary: string
  security?: Record<string, unknown>[]
  parameters: Parameter[]
  requestBody?: { content: Record<string, { schema: Schema }> }
  responses: Record<string, Answer>
}

/** One method of one path, its references to shared parameters and answers resolved. */
export interface Operation {
  id: string
  method: string
  path: string
  tag: string
  summary: string
  /** Whose credentials it takes. */
  caller: 'user' | 'agent' | 'anybody'
  parameters: Parameter[]
  body: Schema | undefined
  answers: { status: string; description: string; mediaTypes: string[]; schema: Schema | undefined }[]
}

export async function loadDescription(signal: AbortSignal): Promise<Description> {
  return getJson<Description>('/openapi.json?pretty=false', signal)
}

export function operationsOf({ paths, components }: Description): Operation[] {
  const last = (ref: string) => ref.slice(ref.lastIndexOf('/') + 1)
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, it]) => ({
      id: it.operationId,
      method: method.toUpperCase(),
      path,
      tag: it.tags[0] ?? '',
      summary: it.summary,
      caller: callerOf(it),
      parameters: it.parameters.map((one) =>
        one.$ref === undefined ? one : components.parameters[last(one.$ref)]!,
      ),
      body: it.requestBody?.content['application/json']?.schema,
      answers: Object.entries(it.responses).map(([status, one]) => {
        const { description, content = {} } =
          one.$ref === undefined ? one : components.responses[last(one.$ref)]!
        const schema = content['application/json']?.schema
        return { status, description, mediaTypes: Object.keys(content), schema }
      }),
    })),
  )
}

function callerOf({ security }: Described): Operation['caller'] {
  if (security === undefined) return 'user'
  return security.length === 0 ? 'anybody' : 'agent'
}

export function resolved(schema: Schema, { components }: Description): Schema {
  if (schema.$ref === undefined) return schema
  return components.schemas[schemaNameOf(schema.$ref)] ?? {}
}

export function schemaNameOf(ref: string): string {
  return ref.slice(ref.lastIndexOf('/') + 1)
}

/** What somebody would send: what must be there and what has an example, or else all of it. */
export function exampleOf(schema: Schema, description: Description): unknown {
  const it = resolved(schema, description)
  if (it.anyOf !== undefined) return exampleOf(it.anyOf[0]!, description)
  const ready = it.examples?.[0] ?? it.const ?? it.enum?.[0] ?? it.default
  if (ready !== undefined) return ready
  const type = [it.type].flat()[0]
  if (type === 'object') return exampleObject(it, description)
  if (type === 'array') return it.items ? [exampleOf(it.items, description)] : []
  if (type === 'integer' || type === 'number') return it.minimum ?? 0
  if (type === 'boolean') return true
  return type === 'string' ? 'string' : null
}

function exampleObject({ properties = {}, required = [] }: Schema, description: Description): unknown {
  const all = Object.keys(properties).filter((name) => isTyped(properties[name]))
  const telling = all.filter((name) => required.includes(name) || properties[name]?.examples !== undefined)
  const names = telling.length > 0 ? telling : all
  return Object.fromEntries(names.map((name) => [name, exampleOf(properties[name]!, description)]))
}

/** What is read-only may be sent, and is ignored: its schema says nothing. */
export function isTyped(schema: Schema | undefined): boolean {
  return schema !== undefined && Object.keys(schema).length > 0
}
