import { type Description, isTyped, resolved, type Schema, schemaNameOf } from '../api/description.ts'
import { Disclosure } from '../ui/disclosure.tsx'

/** The attributes of a body, one below the other; what is not required opens on demand. */
export function SchemaTree({ schema, description }: { schema: Schema; description: Description }) {
  const { node, isList } = inside(schema, description)
  if (node.anyOf !== undefined) {
    return node.anyOf.map((it, index) => (
      // biome-ignore lint/suspicious/noArrayIndexKey: alternatives have no other identity.
      <div key={index}>
        <p className="muted small">{index === 0 ? 'Either' : 'or'}</p>
        <SchemaTree schema={it} description={description} />
      </div>
    ))
  }
  const attributes = Object.entries(node.properties ?? {}).filter(([, it]) => isTyped(it))
  if (attributes.length === 0) return <p className="muted small">{typeText(schema)}</p>
  return (
    <ul className="schema">
      {isList && <li className="muted small">Each of the list:</li>}
      {attributes.map(([name, it]) => (
        <li key={name}>
          <Attribute
            name={name}
            schema={it}
            required={node.required?.includes(name) ?? false}
            description={description}
          />
        </li>
      ))}
    </ul>
  )
}

function Attribute({
  name,
  schema,
  required,
  description,
}: {
  name: string
  schema: Schema
  required: boolean
  description: Description
}) {
  const { node } = inside(schema, description)
  return (
    <>
      <p className="schema-line">
        <code>{name}</code> <span className="muted">{typeText(schema)}</span>
        {required && <span className="schema-required">required</span>}
        <span className="muted small">{limitsText(schema)}</span>
      </p>
      {schema.description !== undefined && <p className="small">{schema.description}</p>}
      {node.properties !== undefined &&
        (required ? (
          <SchemaTree schema={schema} description={description} />
        ) : (
          <Disclosure summary={`Inside ${name}`}>
            {() => <SchemaTree schema={schema} description={description} />}
          </Disclosure>
        ))}
    </>
  )
}

/** What a schema is about, whether by name or as the items of a list. */
function inside(schema: Schema, description: Description): { node: Schema; isList: boolean } {
  const node = resolved(schema, description)
  if (node.items) return { node: resolved(node.items, description), isList: true }
  return { node, isList: false }
}

export function typeText(schema: Schema): string {
  if (schema.$ref !== undefined) return schemaNameOf(schema.$ref)
  if (schema.items) return `list of ${typeText(schema.items)}`
  const types = [schema.type ?? []].flat()
  const word = types.map((it) => (it === 'array' ? 'list' : it)).join(' or ')
  if (word === '') return schema.anyOf === undefined ? 'anything' : schema.anyOf.map(typeText).join(' or ')
  return schema.format === undefined ? word : `${word} (${schema.format})`
}

function limitsText(it: Schema): string {
  const limits = [
    it.const !== undefined && `always ${JSON.stringify(it.const)}`,
    it.enum !== undefined && `one of ${it.enum.join(', ')}`,
    it.minimum !== undefined && it.minimum > 0 && `from ${it.minimum}`,
    it.maximum !== undefined && it.maximum < 2 ** 31 - 1 && `to ${it.maximum}`,
    it.multipleOf !== undefined && `a multiple of ${it.multipleOf}`,
    it.maxLength !== undefined && `up to ${it.maxLength} characters`,
    it.pattern !== undefined && `like ${it.pattern}`,
    it.default !== undefined && `else ${String(it.default)}`,
  ]
  return limits.filter((text) => text !== false).join('; ')
}
