import type { AnchorHTMLAttributes, MouseEvent } from 'react'
import { navigate } from '../state/location.ts'

/** A link within the console. Modified clicks are the browser's. */
export function Link({ href, ...rest }: AnchorHTMLAttributes<HTMLAnchorElement> & { href: string }) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    event.preventDefault()
    navigate(href)
  }
  return <a href={href} {...rest} onClick={follow} />
}
