import type { ReactNode } from 'react'
import { type ApiError, sentence } from '../api/http.ts'
import { Button } from './button.tsx'

/** A place where there is nothing yet, and what would change that. */
export function Empty({
  title,
  children,
  action,
  brief = false,
}: {
  title: string
  children?: ReactNode
  action?: ReactNode
  /** One line: a part of a page, which has other parts. */
  brief?: boolean
}) {
  if (brief) {
    return (
      <p>
        {title}. <span className="muted">{children}</span>
      </p>
    )
  }
  return (
    <div className="state">
      <svg className="state-mark" viewBox="0 0 96 40" aria-hidden="true">
        <path d="M4 10h40c6 0 6 18 12 18" />
        <path d="M50 2v14" />
        <path d="M56 30c4 0 4-3 8-3s4 3 8 3 4-3 8-3 4 3 8 3" />
        <path d="M60 36c4 0 4-3 8-3s4 3 8 3 4-3 8-3" />
      </svg>
      <p className="state-title">{title}</p>
      {children !== undefined && <p>{children}</p>}
      {action}
    </div>
  )
}

export function Failure({ error, again }: { error: ApiError; again?: () => void }) {
  if (error.status === 403) return <Forbidden message={error.message} />
  return (
    <div className="state state-bad" role="alert">
      <p className="state-title">{failureTitle(error)}</p>
      <p>
        {error.message} {error.isPassing && 'It is asked again every few seconds.'}
      </p>
      {again !== undefined && error.status !== 422 && <Button onClick={again}>Try again</Button>}
    </div>
  )
}

export function failureTitle({ status }: ApiError): string {
  if (status === 0) return 'No answer from the server'
  if (status === 404) return 'This server cannot answer that'
  if (status === 422) return 'That cannot be answered as it stands'
  if (status === 429 || status === 503) return 'The server is busy'
  return 'The server could not answer'
}

export function Forbidden({ message }: { message: string }) {
  const reason = sentence(message.replace(/^Access Denied: /, ''))
  const isOfRole = reason.startsWith('Only ') // No group has what only some roles may.
  return (
    <div className="state" role="alert">
      <svg className="state-mark" viewBox="0 0 96 40" aria-hidden="true">
        <path d="M36 18h24v18H36zM41 18v-6a7 7 0 0 1 14 0v6" />
      </svg>
      <p className="state-title">You have no permission for this</p>
      <p>{reason}</p>
      {!isOfRole && <p>Owners and administrators of the contract can grant it to a group that you are in.</p>}
    </div>
  )
}

/** Holds the place of what is being loaded, so that nothing jumps when it comes. */
export function Loading({ what, rows = 4 }: { what: string; rows?: number }) {
  return (
    <div className="loading" role="status">
      <span className="visually-hidden">Loading {what}</span>
      {Array.from({ length: rows }, (_, row) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: rows of a placeholder have no other identity.
        <div key={row} className="loading-row" />
      ))}
    </div>
  )
}
