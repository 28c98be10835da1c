import { type ReactNode, useState } from 'react'

/** What is long and wanted by few: made only once somebody opens it. */
export function Disclosure({ summary, children }: { summary: string; children(): ReactNode }) {
  const [open, setOpen] = useState(false)
  return (
    <details className="disclosure" open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{summary}</summary>
      {open && children()}
    </details>
  )
}
