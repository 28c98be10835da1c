/** A number as people read it, with the exact one beside it for whoever takes it elsewhere. */
export function Amount({ value, text }: { value: number; text(value: number): string }) {
  return <data value={String(value)}>{text(value)}</data>
}
