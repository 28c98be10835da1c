import type { ButtonHTMLAttributes } from 'react'

type Props = ButtonHTMLAttributes<HTMLButtonElement> & {
  look?: 'plain' | 'strong' | 'danger' | 'quiet' | 'text'
}

export function Button({ look = 'plain', className = '', ...rest }: Props) {
  return <button type="button" {...rest} className={`button button-${look} ${className}`} />
}
