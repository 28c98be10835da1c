import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import fs from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Certificate } from './certificate.ts'

/** What is missing for a real S3 server on this machine; undefined when nothing is. */
export function missingForRadosgw(): string | undefined {
  if (process.getuid?.() !== 0) return 'radosgw needs root'
  const found = ['ceph-mon', 'ceph-osd', 'radosgw', 'radosgw-admin'].every((name) =>
    ['/usr/bin', '/usr/sbin', '/usr/local/bin'].some((folder) => fs.existsSync(path.join(folder, name))),
  )
  return found ? undefined : 'radosgw is missing: apt-get install ceph-mon ceph-osd radosgw'
}

export interface S3User {
  uid: string
  accessKeyId: string
  secretAccessKey: string
}

const START_MS_MAX = 30_000

/**
 * A throw-away Ceph on loopback: one monitor, one OSD in memory, one radosgw. Without cephx, without systemd; up in
 * about a second. Several may run side by side: each has its own folder, ports and cluster.
 */
export class Radosgw implements AsyncDisposable {
  readonly #folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weir-radosgw-'))
  readonly #processes = new Map<string, ChildProcess>()
  readonly #dnsName: string | undefined
  readonly #tls: Certificate | undefined
  #port = 0
  #reservation: net.Server | undefined
  #users = 0

  private constructor(options: { dnsName?: string; tls?: Certificate }) {
    this.#dnsName = options.dnsName
    this.#tls = options.tls
  }

  /**
   * `lifecycleDayS`: how many seconds pass for a day in lifecycle rules. `dnsName`: the store's own, before which
   * buckets' names may stand; whoever gives it sees to it that it leads to loopback.
   */
  static async start(
    options: { lifecycleDayS?: number; dnsName?: string; tls?: Certificate } = {},
  ): Promise<Radosgw> {
    const ceph = new Radosgw(options)
    try {
      await ceph.#up(options.lifecycleDayS ?? 10)
      return ceph
    } catch (error) {
      await ceph[Symbol.asyncDispose]()
      throw error
    }
  }

  get port(): number {
    return this.#port
  }

  get endpoint(): string {
    return `${this.#tls === undefined ? 'http' : 'https'}://${this.#dnsName ?? '127.0.0.1'}:${this.#port}`
  }

  /** `uid` is the canonical id; any characters. */
  createUser(uid: string): S3User {
    const n = ++this.#users
    const user = { uid, accessKeyId: `ACCESS${n}${randomUUID().slice(0, 8)}`, secretAccessKey: randomUUID() }
    this.admin('user', 'create', `--uid=${uid}`, `--display-name=user ${n}`, [
      `--access-key=${user.accessKeyId}`,
      `--secret-key=${user.secretAccessKey}`,
    ])
    return user
  }

  admin(...args: (string | string[])[]): string {
    return this.#run('radosgw-admin', args.flat())
  }

  /** The gateway alone dies; what it had stored stays. */
  async killGateway(): Promise<void> {
    await this.#kill('rgw')
  }

  async startGateway(): Promise<void> {
    this.#start('rgw', 'radosgw', ['-n', 'client.rgw', '-f'])
    const endMs = performance.now() + START_MS_MAX
    for (;;) {
      if (await answers(this.endpoint)) return
      if (performance.now() > endMs) throw new Error(`radosgw does not answer: ${this.#logs()}`)
      await pause(25)
    }
  }

  /** What its processes have used of the cores so far. */
  cpuMs(): number {
    let ticks = 0
    for (const { pid } of this.#processes.values()) {
      const stat = fs.readFileSync(`/proc/${pid}/stat`, 'latin1')
      const [user, system] = stat
        .slice(stat.lastIndexOf(')') + 2)
        .split(' ')
        .slice(11, 13)
      ticks += Number(user) + Number(system)
    }
    return ticks * 10 // Linux tells times in hundredths of a second.
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const name of ['rgw', 'osd', 'mon']) await this.#kill(name)
    this.#reservation?.close()
    fs.rmSync(this.#folder, { recursive: true, force: true })
  }

  async #up(lifecycleDayS: number): Promise<void> {
    const { reservation, ports } = await reservePorts()
    const [gatewayPort, monitorPort, osdPortMin] = ports
    this.#reservation = reservation
    this.#port = gatewayPort
    for (const name of ['mon', 'osd', 'rgw', 'log', 'run']) fs.mkdirSync(path.join(this.#folder, name))
    const fsid = randomUUID()
    const dnsName = this.#dnsName === undefined ? '' : `rgw_dns_name = ${this.#dnsName}\n`
    const tls = this.#tls && `ssl_certificate=${this.#tls.certFile} ssl_private_key=${this.#tls.keyFile}`
    const frontend = `${tls === undefined ? '' : 'ssl_'}endpoint=127.0.0.1:${gatewayPort} ${tls ?? ''}`
    fs.writeFileSync(
      this.#conf,
      configuration({ folder: this.#folder, fsid, frontend, monitorPort, osdPortMin, lifecycleDayS }) +
        dnsName,
    )
    const monmap = path.join(this.#folder, 'monmap')
    const address = `[v2:127.0.0.1:${monitorPort}]`
    this.#run('monmaptool', [
      '--create',
      '--fsid',
      fsid,
      '--enable-all-features',
      '--addv',
      'a',
      address,
      monmap,
    ])
    this.#run('ceph-mon', ['-i', 'a', '--mkfs', '--monmap', monmap])
    this.#start('mon', 'ceph-mon', ['-i', 'a', '-f'])
    const osd = randomUUID()
    this.#run('ceph', ['--connect-timeout', '20', 'osd', 'new', osd])
    this.#run('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', osd])
    this.#start('osd', 'ceph-osd', ['-i', '0', '-f'])
    await this.#untilOsdIsActive() // Pools made before that would wait for the monitor's next tick.
    await this.startGateway()
  }

  async #untilOsdIsActive(): Promise<void> {
    const log = path.join(this.#folder, 'log', 'osd.0.log')
    const endMs = performance.now() + START_MS_MAX
    while (!fs.existsSync(log) || !fs.readFileSync(log, 'utf8').includes('booting -> active')) {
      if (performance.now() > endMs) throw new Error(`the OSD does not boot: ${this.#logs()}`)
      await pause(25)
    }
  }

  get #conf(): string {
    return path.join(this.#folder, 'ceph.conf')
  }

  #run(command: string, args: string[]): string {
    const env = { ...process.env, CEPH_CONF: this.#conf }
    return execFileSync(command, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
  }

  #start(name: string, command: string, args: string[]): void {
    const out = fs.openSync(path.join(this.#folder, 'log', `${name}.out`), 'a')
    const env = { ...process.env, CEPH_CONF: this.#conf }
    const child = spawn(command, args, { env, stdio: ['ignore', out, out] })
    fs.closeSync(out)
    this.#processes.set(name, child)
  }

  /** At once: an orderly end takes six seconds, and there is nothing to keep. */
  async #kill(name: string): Promise<void> {
    const child = this.#processes.get(name)
    this.#processes.delete(name)
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
  }

  #logs(): string {
    const folder = path.join(this.#folder, 'log')
    return fs
      .readdirSync(folder)
      .map((name) => `${name}: ${fs.readFileSync(path.join(folder, name), 'utf8').slice(-500)}`)
      .join('\n')
  }
}

interface Cluster {
  folder: string
  fsid: string
  frontend: string
  monitorPort: number
  osdPortMin: number
  lifecycleDayS: number
}

/**
 * `ms_mon_client_mode`: without cephx, radosgw would else try for ever to encrypt what it says to the monitor.
 * `osd_client_watch_timeout`: what a killed radosgw had watched is else waited for, for half a minute.
 * `tcp_nodelay`: an answer with a body would else wait 40 ms for an acknowledgement of its head.
 */
function configuration(it: Cluster): string {
  return `[global]
fsid = ${it.fsid}
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
mon_host = v2:127.0.0.1:${it.monitorPort}
mon_initial_members = a
public_addr = 127.0.0.1
cluster_addr = 127.0.0.1
ms_bind_msgr1 = false
ms_mon_client_mode = crc
ms_bind_port_min = ${it.osdPortMin}
ms_bind_port_max = ${it.osdPortMin + 40}
run_dir = ${it.folder}/run
log_file = ${it.folder}/log/$name.log
admin_socket = ${it.folder}/run/$name.asok
crash_dir = ${it.folder}/log
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
paxos_propose_interval = 0.02
paxos_min_wait = 0.01
[mon]
mon_data = ${it.folder}/mon
mon_data_avail_warn = 1
mon_data_avail_crit = 1
mon_tick_interval = 1
[osd]
osd_data = ${it.folder}/osd
osd_objectstore = memstore
osd_client_watch_timeout = 3
memstore_device_bytes = 2147483648
osd_memory_target = 939524096
[client]
rgw_frontends = beast ${it.frontend} tcp_nodelay=1
rgw_data = ${it.folder}/rgw
rgw_thread_pool_size = 32
rgw_override_bucket_index_max_shards = 1
rgw_dynamic_resharding = false
rgw_run_sync_thread = false
rgw_lc_debug_interval = ${it.lifecycleDayS}
`
}

async function answers(url: string): Promise<boolean> {
  try {
    await (await fetch(url)).arrayBuffer()
    return true
  } catch (error) {
    return /CERT/.test((error as { cause?: { code?: string } }).cause?.code ?? '') // One that nobody trusts yet.
  }
}

/**
 * A port for the gateway, one for the monitor, and the first of a range for the OSD, below the ephemeral ones. The last
 * of fifty is listened at as long as the cluster is there, or another that is starting could choose the same.
 */
async function reservePorts(): Promise<{ reservation: net.Server; ports: [number, number, number] }> {
  const base = 12_000 + (process.pid % 180) * 100
  for (let port = base; port < 32_000; port += 50) {
    const reservation = await listening(port + 49)
    if (reservation === undefined) continue
    const others = await Promise.all([port, port + 1, port + 2, port + 3].map(listening))
    await Promise.all(others.map((it) => it && new Promise((resolve) => it.close(resolve))))
    if (!others.includes(undefined)) return { reservation, ports: [port, port + 1, port + 2] }
    reservation.close()
  }
  throw new Error('no free ports for a Ceph cluster')
}

/** Undefined when somebody else has the port. */
function listening(port: number): Promise<net.Server | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
