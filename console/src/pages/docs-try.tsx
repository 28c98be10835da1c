import { type SubmitEvent, useId, useState } from 'react'
import type { Operation, Parameter } from '../api/description.ts'
import { ApiError, send } from '../api/http.ts'
import { Button } from '../ui/button.tsx'
import { Snippet } from '../ui/copy.tsx'

/** What only reads can be tried with the reader's own session. */
export function canBeTried({ method, path, caller, answers }: Operation): boolean {
  const isJson = answers[0]?.mediaTypes.includes('application/json') === true
  return method === 'GET' && caller === 'user' && isJson && /^\/(cloudapi|weir)\//.test(path)
}

export function Try({ operation }: { operation: Operation }) {
  const [values, setValues] = useState<Record<string, string>>({})
  const [answer, setAnswer] = useState<{ text: string; title: string }>()
  const [busy, setBusy] = useState(false)
  const fields = operation.parameters.filter(isField)
  const ask = async (event: SubmitEvent) => {
    event.preventDefault()
    setBusy(true)
    setAnswer(await answerOf(pathWith(operation, fields, values)))
    setBusy(false)
  }
  return (
    <form className="docs-try" onSubmit={ask}>
      {fields.map((it) => (
        <Field
          key={it.name}
          parameter={it}
          value={values[it.name] ?? ''}
          onChange={(value) => setValues({ ...values, [it.name]: value })}
        />
      ))}
      <Button type="submit" disabled={busy}>
        Send
      </Button>
      <div className="docs-answer" role="status">
        {answer !== undefined && (
          <>
            <p>
              <strong>{answer.title}</strong>
            </p>
            {answer.text !== '' && <Snippet label="Answer" text={answer.text} />}
          </>
        )}
      </div>
    </form>
  )
}

/** Not every filter there is: one can be put into the URL by hand. */
function isField({ in: place, name }: Parameter): boolean {
  return place === 'path' || (place === 'query' && !name.startsWith('filter.') && name !== 'pretty')
}

function Field({
  parameter,
  value,
  onChange,
}: {
  parameter: Parameter
  value: string
  onChange(value: string): void
}) {
  const id = useId()
  return (
    <span className="docs-field">
      <label htmlFor={id}>{parameter.name}</label>
      <input
        id={id}
        value={value}
        required={parameter.required === true}
        placeholder={parameter.schema.default === undefined ? '' : String(parameter.schema.default)}
        autoComplete="off"
        spellCheck={false}
        onChange={({ target }) => onChange(target.value)}
      />
    </span>
  )
}

function pathWith({ path }: Operation, fields: Parameter[], values: Record<string, string>): string {
  const filled = path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(values[name] ?? ''))
  const given = fields.filter((it) => it.in === 'query' && (values[it.name] ?? '') !== '')
  const query = new URLSearchParams(given.map((it) => [it.name, values[it.name]!]))
  return query.size === 0 ? filled : `${filled}?${query}`
}

async function answerOf(path: string): Promise<{ title: string; text: string }> {
  try {
    const response = await send('GET', path)
    return { title: `${response.status} ${response.statusText}`.trim(), text: await response.text() }
  } catch (cause) {
    if (!(cause instanceof ApiError)) throw cause
    return { title: cause.status === 0 ? 'No answer' : String(cause.status), text: cause.message }
  }
}
