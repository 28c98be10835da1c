/** The weir: water comes in high, falls over the edge, goes on below. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M3 11c3 0 3 2.5 6 2.5h6c3.5 0 2.5 11 6 11 2 0 2-2 4-2s2 2 4 2" />
      <path d="M15 6v21" />
    </svg>
  )
}
