/** The weir: water comes in high, falls over the edge, goes on below. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M2 7h13c6 0 3 11 9 11h6" />
      <path d="M2 14h9c6 0 3 11 9 11h10" />
    </svg>
  )
}
