import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

/**
 * JSON lines with lowercase constant messages. Secrets never get into a log: these fields are cut out
 * wherever met.
 */
export function createLogger(options: { level?: string; destination?: DestinationStream } = {}): Logger {
  const settings = {
    level: options.level ?? 'info',
    base: null,
    timestamp: pino.stdTimeFunctions.isoTime,
    redact: ['req.headers.authorization', 'authorization', 'password', 'token', '*.password', '*.token'],
  }
  return options.destination === undefined ? pino(settings) : pino(settings, options.destination)
}

/** For tests and for programs that print for people. */
export const silentLogger: Logger = pino({ level: 'silent' })
