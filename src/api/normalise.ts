import type { ResourceType } from './resource-types.ts'
import { childOf, enumOf } from './resource-types.ts'

type Json = Record<string, unknown>

/** Some clients wrap a PATCH in an envelope, most do not: afterwards all are wrapped. */
export function wrapPatch(body: unknown): unknown {
  if (!isObject(body)) return body
  return isObject(body['properties']) ? body : { properties: body }
}

/**
 * Enum values come in any case and are kept in upper case. Changes `body` in place, inline children
 * included.
 */
export function raiseEnums(type: ResourceType, body: unknown): void {
  if (!isObject(body)) return
  const properties = body['properties']
  if (isObject(properties)) {
    for (const [name, value] of Object.entries(properties)) {
      if (typeof value === 'string' && enumOf(type, name) !== undefined)
        properties[name] = value.toUpperCase()
    }
  }
  const entities = body['entities']
  if (!isObject(entities)) return
  for (const [collection, content] of Object.entries(entities)) {
    const child = childOf(type, collection)
    if (child === undefined || !isObject(content) || !Array.isArray(content['items'])) continue
    for (const item of content['items']) raiseEnums(child, item)
  }
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
