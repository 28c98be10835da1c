import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { WeirError } from '../model/errors.ts'
import type { CommandContext } from './command.ts'

export const PASSWORD_HELP = `  --password-file F the first line of this file is the password, '-' reads standard input; without it Weir makes a
                    password and prints it once`

export interface ChosenPassword {
  password: string
  /** Nobody knows it yet: it must be printed. */
  isNew: boolean
}

/** Passwords are never taken from arguments, which all users of a machine may see. */
export async function choosePassword(
  file: string | undefined,
  context: CommandContext,
): Promise<ChosenPassword> {
  if (file === undefined) return { password: randomBytes(18).toString('base64url'), isNew: true }
  const [password = ''] = (file === '-' ? await text(context.stdin) : read(file)).split(/\r?\n/, 1)
  if (password === '')
    throw new WeirError('WEIR_USAGE', `${file === '-' ? 'standard input' : file} holds no password`)
  return { password, isNew: false }
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new WeirError('WEIR_CONFIG_INVALID', `password file ${file} cannot be read (${reason})`, { cause })
  }
}
