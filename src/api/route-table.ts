import type { FastifyInstance } from 'fastify'

export interface RouteRow {
  method: string
  /** With `:parameters`. */
  url: string
  schema: { body?: unknown; params?: unknown; querystring?: unknown } | undefined
}

declare module 'fastify' {
  interface FastifyInstance {
    /** Every route there is: what answers 405, the API's description and the authorisation test go by. */
    routeTable: readonly RouteRow[]
  }
}

/** Call before any route is added. */
export function collectRoutes(app: FastifyInstance): void {
  const table: RouteRow[] = []
  app.decorate('routeTable', table)
  app.addHook('onRoute', ({ method, url, schema }) => {
    for (const it of [method].flat()) table.push({ method: it, url, schema: schema as RouteRow['schema'] })
  })
}

/** The methods that some route has for this path. */
export function methodsOf(app: FastifyInstance, path: string): string[] {
  const matching = app.routeTable.filter(({ url }) => patternOf(url).test(path))
  return [...new Set(matching.map(({ method }) => method))]
}

function patternOf(url: string): RegExp {
  const literal = url.replace(/[.+^${}()|[\]\\]/g, '\\$&')
  return new RegExp(`^${literal.replace(/:[A-Za-z]+/g, '[^/]+').replace('*', '.+')}/?$`)
}
