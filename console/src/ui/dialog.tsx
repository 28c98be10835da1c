import { type ReactNode, useId, useLayoutEffect, useRef } from 'react'

/** The browser's modal dialog: keeps the focus in, Escape closes, and gives the focus back. */
export function Dialog({
  title,
  children,
  onClose,
}: {
  title: string
  children: ReactNode
  onClose(): void
}) {
  const element = useRef<HTMLDialogElement>(null)
  const id = useId()
  // Before the page is painted, and before the dialog is taken out of it: else nothing gives the focus back.
  useLayoutEffect(() => {
    const dialog = element.current
    if (dialog === null || dialog.open) return
    dialog.showModal()
    dialog.querySelector('input')?.focus() // Where there is something to fill in, Enter sends it.
    return () => dialog.close()
  }, [])
  return (
    <dialog ref={element} className="dialog" aria-labelledby={id} onClose={onClose}>
      <header className="dialog-head">
        <h2 id={id}>{title}</h2>
        <button type="button" className="icon-button" aria-label="Close" onClick={onClose}>
          <svg viewBox="0 0 16 16" aria-hidden="true">
            <path d="M4 4l8 8M12 4l-8 8" />
          </svg>
        </button>
      </header>
      {children}
    </dialog>
  )
}
