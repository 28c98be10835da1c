import { type TSchema, Type } from 'typebox'

// The words that descriptions of answers are made of.

export type Schemas = Record<string, TSchema>

export const ref = (name: string): TSchema => Type.Unsafe<unknown>({ $ref: `#/components/schemas/${name}` })
export const text = Type.String()
export const count = Type.Integer({ minimum: 0 })
export const flag = Type.Boolean()
export const someObject = Type.Unsafe<unknown>({ type: 'object' })
export const uri = Type.Unsafe<string>({ type: 'string', format: 'uri' })
export const time = Type.Unsafe<string>({ type: 'string', format: 'date-time' })
export const constant = (value: string) => Type.Unsafe<string>({ type: 'string', const: value })
export const textOrNull = Type.Unsafe<string | null>({ type: ['string', 'null'] })
export const timeOrNull = Type.Unsafe<string | null>({ type: ['string', 'null'], format: 'date-time' })
export const oneOf = (...values: string[]) => Type.Unsafe<string>({ type: 'string', enum: values })

export function closed(properties: Record<string, TSchema>): TSchema {
  return Type.Object(properties, { additionalProperties: false })
}

export function itemsOf(item: TSchema, more: Record<string, TSchema> = {}): TSchema {
  return closed({ items: Type.Array(item), ...more })
}

export function optional(properties: Record<string, TSchema>): Record<string, TSchema> {
  return Object.fromEntries(Object.entries(properties).map(([name, it]) => [name, Type.Optional(it)]))
}
