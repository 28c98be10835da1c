import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import type { FastifyInstance } from 'fastify'
import { describeApi } from '../../../src/api/openapi.ts'

interface Described {
  method: string
  /** As the routes have it. */
  url: string
  path: RegExp
  /** Where the operation stands in the document. */
  pointer: string
  responses: Record<string, { $ref?: string; content?: Record<string, unknown> }>
}

/** The description of the API as a judge of its answers. */
export class Description {
  // biome-ignore lint/suspicious/noExplicitAny: an OpenAPI document is looked into at many places.
  readonly document: any
  readonly #operations: Described[]
  readonly #ajv: Ajv2020
  readonly #checks = new Map<string, ValidateFunction>()

  constructor(app: FastifyInstance) {
    this.document = describeApi(app.routeTable, 'http://localhost', '0')
    this.#ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: true })
    addFormats.default(this.#ajv)
    this.#ajv.addSchema(this.document, 'api')
    this.#operations = Object.entries(this.document.paths as Record<string, object>).flatMap(
      ([path, methods]) =>
        Object.entries(methods).map(([method, { responses }]) => ({
          method: method.toUpperCase(),
          url: path.replace('{object}', '*').replace(/\{(\w+)\}/g, ':$1'),
          path: new RegExp(`^${path.replace(/[.+^$()|[\]\\]/g, '\\$&').replace(/\{\w+\}/g, '[^/]+')}/?$`),
          pointer: `/paths/${escaped(path)}/${method}/responses`,
          responses,
        })),
    )
  }

  /** What is wrong with an answer; nothing when it is as described. */
  faultOf(method: string, url: string, answer: { status: number; body: unknown }): string | undefined {
    const { pathname } = new URL(url)
    const operation = this.#operations.find((it) => it.method === method && it.path.test(pathname))
    if (operation === undefined) {
      return [401, 404, 405].includes(answer.status) ? undefined : `no such operation, but ${answer.status}`
    }
    return this.#faultOf(operation, answer)
  }

  /** The same for whoever knows the route. */
  faultOfRoute(method: string, url: string, answer: { status: number; body: unknown }): string | undefined {
    return this.#faultOf(this.#operations.find((it) => it.method === method && it.url === url)!, answer)
  }

  #faultOf(operation: Described, { status, body }: { status: number; body: unknown }): string | undefined {
    const response = operation.responses[status]
    if (response === undefined) return `${status} is not among its answers`
    if (body === undefined) {
      return response.content?.['application/json'] === undefined ? undefined : `${status} has no body`
    }
    const where = response.$ref ?? `#${operation.pointer}/${status}`
    const validate = this.#checkFor(`api${where}/content/application~1json/schema`)
    if (validate(body)) return undefined
    return this.#ajv.errorsText(validate.errors, { separator: '; ' })
  }

  #checkFor(pointer: string): ValidateFunction {
    const known = this.#checks.get(pointer)
    if (known !== undefined) return known
    const check = this.#ajv.compile({ $ref: encodeURI(pointer) })
    this.#checks.set(pointer, check)
    return check
  }
}

/** For a JSON pointer. */
function escaped(name: string): string {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
