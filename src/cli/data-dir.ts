import {
  accessSync,
  chmodSync,
  constants,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'
import { WeirError } from '../model/errors.ts'

/** What `<data-dir>/credentials.json` holds (mode 0600): the owner's way into the local control plane. */
export interface Credentials {
  /** Base path of the API, such as http://127.0.0.1:8080/cloudapi/v6. */
  url: string
  username: string
  password: string
  token: string
  contractNumber: number
}

/** `--data-dir`, `WEIR_DATA_DIR`, /var/lib/weir as root, else below the user's data directory. */
export function dataDirectory(
  option: string | undefined,
  env: Record<string, string | undefined>,
  isRoot = process.getuid?.() === 0,
): string {
  const chosen = option ?? env['WEIR_DATA_DIR']
  if (chosen !== undefined && chosen !== '') return path.resolve(chosen)
  if (isRoot) return '/var/lib/weir'
  return path.join(env['XDG_DATA_HOME'] || path.join(homedir(), '.local/share'), 'weir')
}

/** Makes the directory; nothing that this process writes from now on is for other users to read. */
export function makeDataDirectory(directory: string): void {
  process.umask(0o027)
  try {
    makeDirectory(directory, 0o750)
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    const reason = REASONS[code ?? ''] ?? code ?? String(cause)
    throw new WeirError('WEIR_CONFIG_INVALID', `data directory ${directory} cannot be used: ${reason}`, {
      cause,
    })
  }
}

const REASONS: Record<string, string | undefined> = {
  EEXIST: 'a part of its path is no directory (EEXIST)',
  EACCES: 'it, or a directory above it, belongs to another user (EACCES)',
  ENOENT: 'no directory can be made there (ENOENT)',
  EPERM: 'no directory can be made there (EPERM)',
  EROFS: 'its file system is read-only (EROFS)',
}

/** With those above it. Node's own `recursive` tries for ever where there are none to be made, as in /proc. */
export function makeDirectory(directory: string, mode: number): void {
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true) return
  makeDirectory(path.dirname(directory), mode) // Ends: the root is a directory.
  mkdirSync(directory, { mode })
}

export function credentialsPath(directory: string): string {
  return path.join(directory, 'credentials.json')
}

export function readCredentials(directory: string): Credentials | undefined {
  return readJson<Credentials>(credentialsPath(directory))
}

/** Replaces the file in one step: a reader sees the old credentials or the new ones. */
export function writeCredentials(directory: string, credentials: Credentials): void {
  writeSecret(credentialsPath(directory), credentials)
}

/** What `<data-dir>/agent.json` holds (mode 0600) after `weir agent enroll`: this host's way in. */
export interface Enrolment {
  /** Origin of the control plane, such as https://weir.example.org. */
  server: string
  /** As the control plane calls this machine. */
  host: string
  token: string
  /** Authorities to trust for the control plane and the object store. */
  caFile?: string
}

export function enrolmentPath(directory: string): string {
  return path.join(directory, 'agent.json')
}

export function readEnrolment(directory: string): Enrolment | undefined {
  return readJson<Enrolment>(enrolmentPath(directory))
}

export function writeEnrolment(directory: string, enrolment: Enrolment): void {
  writeSecret(enrolmentPath(directory), enrolment)
}

function readJson<T>(file: string): T | undefined {
  let text: string
  try {
    text = readFileSync(file, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new WeirError('WEIR_CONFIG_INVALID', `${file} cannot be read: ${reason}`, { cause })
  }
  try {
    return JSON.parse(text) as T
  } catch (cause) {
    throw new WeirError('WEIR_CONFIG_INVALID', `${file} is not JSON`, { cause })
  }
}

function writeSecret(file: string, content: object): void {
  try {
    writeFileSync(`${file}.new`, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 })
    chmodSync(`${file}.new`, 0o600) // The mode above is only for a file that did not exist.
    renameSync(`${file}.new`, file)
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new WeirError('WEIR_CONFIG_INVALID', `${file} cannot be written: ${reason}`, { cause })
  }
}
