import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pg from 'pg'

/** Where Debian keeps the programs of its newest PostgreSQL; undefined when there is none. */
export function postgresPrograms(): string | undefined {
  const root = '/usr/lib/postgresql'
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(a) - Number(b)) : []
  const programs = versions
    .map((it) => path.join(root, it, 'bin'))
    .filter((it) => existsSync(path.join(it, 'initdb')))
  return programs.at(-1)
}

/** A PostgreSQL server of its own, on a socket in a temporary directory. */
export class PostgresServer implements AsyncDisposable {
  /** Of its first database. */
  readonly url: string
  readonly #directory: string
  readonly #process: ChildProcess

  constructor(parts: { url: string; directory: string; process: ChildProcess }) {
    this.url = parts.url
    this.#directory = parts.directory
    this.#process = parts.process
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#process, 'exit')
    this.#process.kill('SIGINT') // Fast shutdown.
    await ended
    await rm(this.#directory, { recursive: true, force: true })
  }
}

export async function startPostgres(programs: string): Promise<PostgresServer> {
  const directory = await mkdtemp(path.join(tmpdir(), 'weir-pg-'))
  const user = postgresUser()
  if (user !== undefined) chownSync(directory, user.uid, user.gid)
  const data = path.join(directory, 'data')
  const options = { stdio: 'ignore', cwd: directory, ...user } as const
  execFileSync(
    path.join(programs, 'initdb'),
    ['-D', data, '-U', 'weir', '-A', 'trust', '-N', '-E', 'UTF8'],
    options,
  )
  // Durability is PostgreSQL's business; its tests need not wait for a disk.
  const settings = [
    'listen_addresses=',
    `unix_socket_directories=${directory}`,
    'fsync=off',
    'max_connections=200',
  ]
  const args = ['-D', data, ...settings.flatMap((it) => ['-c', it])]
  const child = spawn(path.join(programs, 'postgres'), args, options)
  const url = `postgres://weir@localhost/postgres?host=${encodeURIComponent(directory)}`
  for (;;) {
    if (child.exitCode !== null) throw new Error(`postgres ended with ${child.exitCode}`)
    if (await isUp(url)) break
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  return new PostgresServer({ url, directory, process: child })
}

/** PostgreSQL refuses to run as root. */
function postgresUser(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const idOf = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: idOf('-u'), gid: idOf('-g') }
}

async function isUp(url: string): Promise<boolean> {
  try {
    await query(url, 'select 1')
    return true
  } catch {
    return false
  }
}

/** A new, empty database on the server. */
export async function createDatabase(url: string): Promise<string> {
  const name = `weir_${crypto.randomUUID().replaceAll('-', '')}`
  await query(url, `create database ${name}`)
  return url.replace('/postgres?', `/${name}?`)
}

async function query(url: string, text: string): Promise<void> {
  const client = new pg.Client({ connectionString: url })
  client.on('error', () => {})
  await client.connect()
  try {
    await client.query(text)
  } finally {
    await client.end()
  }
}
