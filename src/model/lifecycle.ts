import { WeirError } from './errors.ts'

/** Objects whose names begin with `prefix` are removed when they are `days` old. */
export interface LifecycleRule {
  prefix: string
  days: number
}

export const LIFECYCLE_DAYS_MAX = 36_500

/** To clear it was asked for, and who asks may have mistyped its prefix. */
export function noRule(bucket: string, prefix: string): WeirError {
  return new WeirError('WEIR_NOT_FOUND', `weir has made no rule for prefix '${prefix}' of bucket '${bucket}'`)
}
