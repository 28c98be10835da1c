export interface Colours {
  ink: string
  muted: string
  line: string
  surface: string
  accent: string
  accept: string
  reject: string
  other: string
  series: string[]
  /** Of labels, in pixels: charts have no rem. */
  labelPx: number
  /** From little to much. */
  scale: string[]
}

const SERIES_COUNT = 10
const LABEL_REM = 0.74

/** Charts are painted, so they cannot use the style sheet's variables: they are read from it. */
export function readColours(): Colours {
  const probe = document.body.appendChild(document.createElement('span'))
  probe.style.setProperty('forced-color-adjust', 'none') // Else all of them are one, where colours are forced.
  // A variable's own value is text such as `light-dark(…)`; a colour made of it is what is meant just now.
  const read = (name: string) => {
    probe.style.color = `var(--${name})`
    return getComputedStyle(probe).color
  }
  const colours = {
    ink: read('ink'),
    muted: read('muted'),
    line: read('line'),
    surface: read('surface'),
    accent: read('accent'),
    accept: read('accept'),
    reject: read('reject'),
    other: read('other'),
    series: Array.from({ length: SERIES_COUNT }, (_, index) => read(`series-${index + 1}`)),
    labelPx: LABEL_REM * Number.parseFloat(getComputedStyle(document.documentElement).fontSize),
    scale: [read('scale-0'), read('scale-1'), read('scale-2'), read('scale-3')],
  }
  probe.remove()
  return colours
}

/** The class that gives a swatch the colour of the series at `index`. */
export function swatchClass(line: { key: unknown; other: boolean }, index: number): string {
  if (line.other) return 'swatch swatch-other'
  if (line.key === 'ACCEPT') return 'swatch swatch-accept'
  if (line.key === 'REJECT') return 'swatch swatch-reject'
  return `swatch swatch-${(index % SERIES_COUNT) + 1}`
}

export function colourOf(colours: Colours, line: { key: unknown; other: boolean }, index: number): string {
  if (line.other) return colours.other
  if (line.key === 'ACCEPT') return colours.accept
  if (line.key === 'REJECT') return colours.reject
  return colours.series[index % SERIES_COUNT]!
}
