import { type TSchema, Type } from 'typebox'
import { RESOURCE_TYPES, type ResourceType } from '../resource-types.ts'

// Clients send back envelopes that they got: what is read-only in them is accepted and ignored.
const ENVELOPE = {
  id: Type.Optional(Type.Unknown()),
  type: Type.Optional(Type.Unknown()),
  href: Type.Optional(Type.Unknown()),
  metadata: Type.Optional(Type.Unknown()),
}

/** POST: the resource with, if wanted, what hangs below it. */
export function createBody(type: ResourceType): TSchema {
  return Type.Object(
    {
      ...ENVELOPE,
      properties: propertiesSchema(type, { readOnly: false, required: true }),
      entities: Type.Optional(nullableObject(entitiesSchema(type))),
    },
    { additionalProperties: false },
  )
}

export function putBody(type: ResourceType): TSchema {
  return Type.Object(
    {
      ...ENVELOPE,
      properties: propertiesSchema(type, { readOnly: true, required: true }),
      entities: Type.Optional(Type.Unknown()),
    },
    { additionalProperties: false },
  )
}

/** PATCH comes bare, or wrapped by some clients; it is wrapped before it is looked at. */
export function patchBody(type: ResourceType): TSchema {
  return Type.Object(
    {
      ...ENVELOPE,
      properties: propertiesSchema(type, { readOnly: true, required: false }),
      entities: Type.Optional(Type.Unknown()),
    },
    { additionalProperties: false },
  )
}

function propertiesSchema(type: ResourceType, options: { readOnly: boolean; required: boolean }): TSchema {
  const properties: Record<string, TSchema> = {}
  for (const [name, schema] of Object.entries(type.properties)) {
    if (type.readOnly.includes(name)) {
      if (options.readOnly) properties[name] = Type.Optional(Type.Unknown())
      continue
    }
    properties[name] = options.required && type.required.includes(name) ? schema : Type.Optional(schema)
  }
  return Type.Object(properties, { additionalProperties: false })
}

function entitiesSchema(type: ResourceType): Record<string, TSchema> {
  const collections: Record<string, TSchema> = {}
  for (const child of type.children) {
    const childType = RESOURCE_TYPES[child]
    collections[childType.collection] = Type.Optional(
      nullableObject({
        ...ENVELOPE,
        items: Type.Optional(Type.Array(createBody(childType), { maxItems: 10_000 })),
      }),
    )
  }
  return collections
}

/** Objects that may be null and may have more than we know, such as collections that are empty here. */
function nullableObject(properties: Record<string, TSchema>): TSchema {
  return Type.Unsafe<unknown>({ ...Type.Object(properties), type: ['object', 'null'] })
}
