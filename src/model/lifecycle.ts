/** Objects whose names begin with `prefix` are removed when they are `days` old. */
export interface LifecycleRule {
  prefix: string
  days: number
}

export const LIFECYCLE_DAYS_MAX = 36_500
