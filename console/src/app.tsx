import { type ComponentType, lazy, Suspense, useCallback, useEffect, useRef, useState } from 'react'
import { ApiError } from './api/http.ts'
import { currentSession, type Session, signOut, switchContract } from './api/session.ts'
import { SignIn } from './pages/sign-in.tsx'
import { useDismiss } from './state/dismiss.ts'
import { RETRY_MS } from './state/load.ts'
import { navigate, pathWithScope, usePlace } from './state/location.ts'
import { SessionContext } from './state/session.ts'
import { chooseTheme, type Theme, useTheme } from './state/theme.ts'
import { chooseZone, useZone, type Zone } from './state/zone.ts'
import { Boundary } from './ui/boundary.tsx'
import { Button } from './ui/button.tsx'
import { Select } from './ui/choice.tsx'
import { Link } from './ui/link.tsx'
import { Mark } from './ui/mark.tsx'
import { Empty, Failure, Loading } from './ui/states.tsx'

interface PageEntry {
  path: string
  title: string
  page: ComponentType
  /** Stands in the menu of the account, not in the bar. */
  isAside?: boolean
}

const PAGES: PageEntry[] = [
  {
    path: '/resources',
    title: 'Resources',
    page: lazy(async () => ({ default: (await import('./pages/resources.tsx')).Resources })),
  },
  {
    path: '/explore',
    title: 'Explore',
    page: lazy(async () => ({ default: (await import('./pages/explore.tsx')).Explore })),
  },
  {
    path: '/firewall',
    title: 'Firewall',
    page: lazy(async () => ({ default: (await import('./pages/firewall.tsx')).Firewall })),
  },
  {
    path: '/throughput',
    title: 'Throughput',
    page: lazy(async () => ({ default: (await import('./pages/throughput.tsx')).Throughput })),
  },
  {
    path: '/delivery',
    title: 'Delivery',
    page: lazy(async () => ({ default: (await import('./pages/delivery.tsx')).Delivery })),
  },
  {
    path: '/docs',
    title: 'API',
    page: lazy(async () => ({ default: (await import('./pages/docs.tsx')).Docs })),
    isAside: true,
  },
]

export function App() {
  const [session, setSession] = useState<Session | 'unknown' | undefined>('unknown')
  const [error, setError] = useState<ApiError>()
  const [ended, setEnded] = useState(false)
  const isIn = useRef(false)
  isIn.current = session !== 'unknown' && session !== undefined
  const find = useCallback((signal: AbortSignal) => {
    currentSession(signal).then(
      (found) => {
        setSession(found)
        setError(undefined)
      },
      (cause) => {
        if (!signal.aborted) setError(cause instanceof ApiError ? cause : new ApiError(0, String(cause)))
      },
    )
  }, [])
  useEffect(() => {
    if (error?.isPassing !== true) return
    const controller = new AbortController()
    const timer = setTimeout(() => find(controller.signal), RETRY_MS)
    return () => {
      clearTimeout(timer)
      controller.abort()
    }
  }, [error, find])
  useEffect(() => {
    const controller = new AbortController()
    find(controller.signal)
    const { signal } = controller
    const onSignedOut = () => {
      setEnded(isIn.current)
      setSession(undefined)
    }
    addEventListener('weir-signed-out', onSignedOut, { signal })
    // Another tab may have gone to another contract meanwhile: all tabs have one session.
    const onSeen = () => {
      if (!document.hidden) currentSession(signal).then(setSession, () => undefined)
    }
    document.addEventListener('visibilitychange', onSeen, { signal })
    return () => controller.abort()
  }, [find])

  if (error !== undefined) {
    return (
      <main className="alone">
        <h1 className="visually-hidden">Weir</h1>
        <Failure error={error} again={() => find(new AbortController().signal)} />
      </main>
    )
  }
  if (session === 'unknown') return <Loading what="the console" rows={0} />
  if (session === undefined) return <SignIn ended={ended} onSignedIn={setSession} />
  return (
    <SessionContext value={session}>
      <Shell key={session.contractNumber} session={session} onSession={setSession} />
    </SessionContext>
  )
}

interface ShellProps {
  session: Session
  /** Signed out, or gone to another contract. */
  onSession(session: Session | undefined): void
}

function Shell({ session, onSession }: ShellProps) {
  useZone() // All pages have times.
  const { path } = usePlace()
  const shown = PAGES.find((it) => it.path === path)
  const isStart = path === '/' || path === '/sign-in'
  useEffect(() => {
    if (isStart) navigate(pathWithScope('/resources'), { replace: true })
  }, [isStart])
  useEffect(() => {
    document.title = shown === undefined ? 'Weir' : `${shown.title} · Weir`
  }, [shown])
  useArrival(path)
  return (
    <div className="shell">
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <header className="bar">
        <Link className="brand" href={pathWithScope('/resources')} aria-label="Weir, to the resources">
          <Mark />
          <span>Weir</span>
        </Link>
        <nav className="nav" aria-label="Pages">
          {PAGES.filter((it) => it.isAside !== true).map((it) => (
            <Link
              key={it.path}
              href={pathWithScope(it.path)}
              {...(it === shown ? { 'aria-current': 'page' as const } : {})}
            >
              {it.title}
            </Link>
          ))}
        </nav>
        <AccountMenu session={session} onSession={onSession} />
      </header>
      <main id="content" className="content" tabIndex={-1} aria-label={shown?.title}>
        {shown === undefined && !isStart && (
          <>
            <h1>There is no such page</h1>
            <Empty
              title="Nothing is at this address"
              action={
                <Link className="button button-strong" href="/resources">
                  To the resources
                </Link>
              }
            >
              <code>{path}</code> may be mistyped, or part of a longer address.
            </Empty>
          </>
        )}
        {shown !== undefined && (
          <Boundary key={shown.path} title={shown.title}>
            <Suspense fallback={<Loading what={shown.title} />}>
              <shown.page />
            </Suspense>
          </Boundary>
        )}
      </main>
    </div>
  )
}

/** Another page begins at its top, and whoever reads with the ears or the keyboard is there, too. */
function useArrival(path: string): void {
  const from = useRef(path)
  useEffect(() => {
    if (from.current === path) return
    from.current = path
    document.getElementById('content')?.focus()
  }, [path])
}

const ROLES = { owner: 'Owner', admin: 'Administrator', member: 'Member' }

const THEMES: { value: Theme; label: string }[] = [
  { value: 'auto', label: 'As the system' },
  { value: 'light', label: 'Light' },
  { value: 'dark', label: 'Dark' },
]

const READERS_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone

const ZONES: { value: Zone; label: string }[] = [
  { value: 'local', label: `As here, ${READERS_ZONE}` },
  { value: 'utc', label: 'UTC' },
]

function AccountMenu({ session, onSession }: ShellProps) {
  const { chosen } = useTheme()
  const zone = useZone()
  const [open, setOpen] = useState(false)
  const menu = useRef<HTMLDetailsElement>(null)
  const own = session.contracts.find(({ contractNumber }) => contractNumber === session.contractNumber)
  const isOneOfMany = session.contracts.length > 1
  const close = useCallback(() => setOpen(false), [])
  useDismiss(menu, open, close)
  const leave = async () => {
    await signOut().catch(() => undefined) // An expired session is as good as none.
    onSession(undefined)
    navigate('/sign-in')
  }
  return (
    <div className="account-place">
      {zone === 'utc' && <span className="account-zone">UTC</span>}
      {isOneOfMany && <span className="account-contract">{own?.name}</span>}
      <details
        ref={menu}
        className="account"
        open={open}
        onToggle={(event) => setOpen(event.currentTarget.open)}
      >
        <summary aria-label={`Account ${session.email}`}>
          <span className="account-letter" aria-hidden="true">
            {session.email.charAt(0).toUpperCase()}
          </span>
        </summary>
        <div className="account-menu">
          <p>
            <strong>{session.email}</strong>
            <br />
            <span className="muted">
              {session.operator ? 'Operator' : ROLES[session.role]}
              {own !== undefined && ` of ${own.name}`}, contract {session.contractNumber}
            </span>
          </p>
          {isOneOfMany && <Contracts session={session} onSession={onSession} />}
          <Preference name="Colours" options={THEMES} value={chosen} onChange={chooseTheme} />
          <Preference name="Times" options={ZONES} value={zone} onChange={chooseZone} />
          <Link href="/docs" onFollow={close}>
            API reference
          </Link>
          <Button onClick={leave}>Sign out</Button>
        </div>
      </details>
    </div>
  )
}

/** Kept in this browser. */
function Preference<T extends string>({
  name,
  options,
  value,
  onChange,
}: {
  name: string
  options: readonly { value: T; label: string }[]
  value: T
  onChange(value: T): void
}) {
  return (
    <fieldset className="preference">
      <legend>{name}</legend>
      {options.map((it) => (
        <label key={it.value}>
          <input type="radio" name={name} checked={it.value === value} onChange={() => onChange(it.value)} />
          {it.label}
        </label>
      ))}
    </fieldset>
  )
}

/** What is shown belongs to one contract; another one has other buckets, and so begins at its resources. */
function Contracts({ session, onSession }: ShellProps) {
  const [fault, setFault] = useState('')
  const go = async (contractNumber: string) => {
    try {
      const next = await switchContract(Number(contractNumber))
      navigate('/resources')
      onSession(next)
    } catch (error) {
      setFault(error instanceof Error ? error.message : String(error))
    }
  }
  return (
    <div className="contracts">
      <Select
        label="Contract"
        value={String(session.contractNumber)}
        options={session.contracts.map(({ contractNumber, name }) => ({
          value: String(contractNumber),
          label: `${name} (${contractNumber})`,
        }))}
        onChange={go}
      />
      <p className="form-fault" role="alert">
        {fault}
      </p>
    </div>
  )
}
