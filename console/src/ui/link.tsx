import type { AnchorHTMLAttributes, MouseEvent } from 'react'
import { navigate } from '../state/location.ts'

type Props = AnchorHTMLAttributes<HTMLAnchorElement> & {
  href: string
  /** Closes what the link stands in. */
  onFollow?: () => void
}

/** A link within the console. Modified clicks are the browser's. */
export function Link({ href, onFollow, ...rest }: Props) {
  const follow = (event: MouseEvent) => {
    if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return
    event.preventDefault()
    navigate(href)
    onFollow?.()
  }
  return <a href={href} {...rest} onClick={follow} />
}
