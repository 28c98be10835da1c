import { type FormEvent, useEffect, useId, useState } from 'react'
import { ApiError } from '../api/http.ts'
import { type Session, signIn } from '../api/session.ts'
import { Button } from '../ui/button.tsx'
import { Choice } from '../ui/choice.tsx'
import { Mark } from '../ui/mark.tsx'

const WAYS = [
  { value: 'password', label: 'Password' },
  { value: 'token', label: 'Token' },
] as const
type Way = (typeof WAYS)[number]['value']

interface Props {
  /** By itself, in the middle of something. */
  ended: boolean
  onSignedIn(session: Session): void
}

export function SignIn({ ended, onSignedIn }: Props) {
  const [way, setWay] = useState<Way>('password')
  const [fault, setFault] = useState('')
  const [busy, setBusy] = useState(false)
  useEffect(() => {
    document.title = 'Sign in · Weir'
  }, [])
  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const fields = new FormData(event.currentTarget)
    const read = (name: string) => String(fields.get(name) ?? '')
    setBusy(true)
    setFault('')
    try {
      const credentials =
        way === 'token'
          ? { token: read('token') }
          : { username: read('username'), password: read('password') }
      onSignedIn(await signIn(credentials))
    } catch (error) {
      setFault(faultText(error, way))
      setBusy(false)
    }
  }
  return (
    <main className="sign-in">
      <div className="sign-in-water" aria-hidden="true">
        <Water />
      </div>
      <form className="sign-in-card" onSubmit={submit}>
        <h1>
          <Mark /> Weir
        </h1>
        {ended ? (
          <p className="note" role="status">
            Your session has ended. Sign in to go on where you were.
          </p>
        ) : (
          <p className="muted">Flow logs for networks you run yourself.</p>
        )}
        <Choice<Way> label="Sign in with" value={way} options={WAYS} onChange={(value) => setWay(value)} />
        {way === 'token' ? (
          <Field name="token" label="Token" type="password" autoComplete="off" />
        ) : (
          <>
            <Field name="username" label="User" type="text" autoComplete="username" />
            <Field name="password" label="Password" type="password" autoComplete="current-password" />
          </>
        )}
        <p className="form-fault" role="alert">
          {fault}
        </p>
        <Button look="strong" type="submit" disabled={busy}>
          {busy ? 'Signing in…' : 'Sign in'}
        </Button>
        <p className="muted small">
          On the machine that runs <code>weir up</code>, user, password and token are in{' '}
          <code>credentials.json</code> in its data directory.
        </p>
      </form>
    </main>
  )
}

function faultText(error: unknown, way: Way): string {
  if (!(error instanceof ApiError)) return String(error)
  if (error.status !== 401) return error.message
  return way === 'token' ? 'This token opens nothing here.' : 'User or password is wrong.'
}

function Field({
  name,
  label,
  type,
  autoComplete,
}: {
  name: string
  label: string
  type: string
  autoComplete: string
}) {
  const id = useId()
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input id={id} name={name} type={type} autoComplete={autoComplete} required />
    </div>
  )
}

/** Packets over the weir: lines that run level, fall at the edge, and spread out. */
function Water() {
  const lines = Array.from({ length: 26 }, (_, index) => {
    const high = 120 + index * 9
    const low = 420 + index * 15
    return `M-20 ${high} H760 C840 ${high} 800 ${low} 890 ${low} S 1010 ${low - 14} 1090 ${low} S 1240 ${low + 12} 1340 ${low} S 1540 ${low - 8} 1640 ${low}`
  })
  return (
    <svg viewBox="0 0 1600 900" preserveAspectRatio="xMidYMid slice" aria-hidden="true">
      {lines.map((line, index) => (
        <path key={line} d={line} className={index % 7 === 3 ? 'refused' : ''} />
      ))}
    </svg>
  )
}
