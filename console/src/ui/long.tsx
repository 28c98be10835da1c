/** A name that may be longer than there is room: the rest is in its title. */
export function Long({ text }: { text: string }) {
  return (
    <span className="long" title={text}>
      {text}
    </span>
  )
}
