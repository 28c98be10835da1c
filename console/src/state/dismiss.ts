import { type RefObject, useEffect } from 'react'

/** Calls `close` when Escape is pressed, or something outside of `element` is. */
export function useDismiss(element: RefObject<HTMLElement | null>, isOpen: boolean, close: () => void): void {
  useEffect(() => {
    if (!isOpen) return
    const controller = new AbortController()
    const { signal } = controller
    const onKey = (event: KeyboardEvent) => {
      if (event.key !== 'Escape') return
      close()
      element.current?.querySelector<HTMLElement>('summary, [aria-expanded]')?.focus()
    }
    const onPointer = ({ target }: PointerEvent) => {
      if (!element.current?.contains(target as Node)) close()
    }
    addEventListener('keydown', onKey, { signal })
    addEventListener('pointerdown', onPointer, { signal })
    return () => controller.abort()
  }, [element, isOpen, close])
}
