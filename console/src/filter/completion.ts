import { type KeyboardEvent, useEffect, useRef, useState } from 'react'
import { flushSync } from 'react-dom'
import { type FilterHelp, filterHelp, type Suggestion, seenValues } from '../api/explore.ts'
import { useScope } from '../state/scope.ts'

const ASK_AFTER_MS = 120
const SHOWN_MAX = 12

/** What is typed, what could come next and what is wrong, in the server's word, and what the keys do. */
export function useCompletion(value: string, onApply: (text: string) => void) {
  const [text, setText] = useState(value)
  const [cursor, setCursor] = useState(value.length)
  const [found, setHelp] = useState<FilterHelp & { of: string }>()
  const [open, setOpen] = useState(false)
  const [chosen, setChosen] = useState(-1)
  const input = useRef<HTMLInputElement>(null)
  const { scope } = useScope()
  useEffect(() => setText(value), [value])
  const help = async (typed: string, at: number, signal: AbortSignal) => {
    const known = await filterHelp(typed, at, signal)
    setHelp({ ...known, of: typed })
    if (known.values === undefined || !open) return
    const { filter: _filter, ...range } = scope // What is being typed is not what is applied.
    const seen = await seenValues(known.values, range, signal)
    const others = known.suggestions.filter((it) => !seen.some(({ text }) => text === it.text))
    if (!signal.aborted) setHelp({ ...known, suggestions: [...seen, ...others], of: typed })
  }
  // biome-ignore lint/correctness/useExhaustiveDependencies: for each change of what is typed; the range is what it is then.
  useEffect(() => {
    if (!open && text === value) return
    const controller = new AbortController()
    const timer = setTimeout(() => {
      help(text, cursor, controller.signal).catch(() => undefined) // The line can be typed without it.
    }, ASK_AFTER_MS)
    return () => {
      clearTimeout(timer)
      controller.abort()
    }
  }, [text, cursor, open, value])

  // What was proposed for another text would be put in the wrong place.
  const suggestions = open && found?.of === text ? found.suggestions.slice(0, SHOWN_MAX) : []
  const isUnasked = text.trim() === '' || (text === value && !open)
  // Until the next word of the server the last one stands, about the text that it was said of.
  const fault = isUnasked || found?.fault === undefined ? undefined : { ...found.fault, of: found.of }
  const close = () => {
    setOpen(false)
    setChosen(-1)
  }
  const type = (typed: string, at: number) => {
    setText(typed)
    setCursor(at)
    setOpen(true)
    setChosen(-1)
  }
  const select = ({ at, length }: { at: number; length: number }) => {
    input.current?.focus()
    input.current?.setSelectionRange(at, at + length)
  }
  const take = (it: Suggestion) => {
    const next = `${text.slice(0, it.from)}${it.text}${text.slice(it.to)}`
    const at = it.from + it.text.length
    // At once: a moment later the next letter may have been typed, and the cursor would go back behind it.
    flushSync(() => type(next.endsWith(' ') || at < next.length ? next : `${next} `, at + 1))
    input.current?.setSelectionRange(at + 1, at + 1)
  }
  const apply = (applied = text.trim()) => {
    close()
    onApply(applied)
  }
  const onKeyDown = (event: KeyboardEvent) => {
    const { key } = event
    const marked = chosen >= 0 ? suggestions[chosen] : undefined
    if (key === 'Escape') return close()
    const isTaking = key === 'Enter' || (key === 'Tab' && !event.shiftKey)
    if (isTaking && marked !== undefined) {
      event.preventDefault()
      return take(marked)
    }
    if (key === 'Enter') return apply()
    if (key !== 'ArrowDown' && key !== 'ArrowUp') return
    event.preventDefault()
    if (!open) return setOpen(true)
    const count = suggestions.length
    if (count > 0) setChosen((it) => (it + (key === 'ArrowDown' ? 1 : it < 0 ? 0 : -1) + count) % count)
  }
  return { text, input, suggestions, chosen, fault, setCursor, setOpen, type, select, take, apply, onKeyDown }
}
