import { missingForMetering } from '../capture/ebpf/kernel-meter.ts'
import { WeirError } from '../model/errors.ts'

/** Says what is missing for metering, and what works without it. */
export function requireMetering(): void {
  const missing = missingForMetering()
  if (missing.length === 0) return
  throw new WeirError(
    'WEIR_UNSUPPORTED',
    [
      'this machine cannot meter packets in the kernel:',
      ...missing.map((sentence) => `  - ${sentence}`),
      "What works without: 'weir convert FILE' makes flow log records from packet captures, 'weir server' runs the control plane.",
    ].join('\n'),
  )
}
