import { setFlagsFromString } from 'node:v8'

/**
 * V8 lets a heap of some tens of megabytes grow to several times what is in use before it looks for what is not. A
 * server that answers all day makes little that lasts: it is to collect when 60 % have come on top.
 */
export function keepHeapSmall(): void {
  setFlagsFromString('--heap-growing-percent=60')
}
