export type Tone = 'accept' | 'good' | 'bad' | 'warn' | 'off' | 'busy'

/** A state in a word; the colour only repeats it. */
export function Badge({
  tone,
  children,
  title,
}: {
  tone: Tone
  children: string
  title?: string | undefined
}) {
  return (
    <span className={`badge badge-${tone}`} title={title}>
      {children}
    </span>
  )
}

export function ActionBadge({ action }: { action: 'ACCEPT' | 'REJECT' | null }) {
  if (action === null) return <span className="muted">–</span>
  return (
    <Badge tone={action === 'ACCEPT' ? 'accept' : 'bad'}>
      {action === 'ACCEPT' ? 'Accepted' : 'Rejected'}
    </Badge>
  )
}
