import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { type CapturedPacket, readCapture } from './capture.ts'

/** Why the tests that need the kernel cannot run here; undefined as root. `npm test` with CI=true refuses to start then. */
export const withoutRoot = process.getuid?.() === 0 ? false : 'needs root'

/** What the kernel would send by itself, at moments of its own: not while a test counts packets. */
const QUIET = [
  ...['all', 'default'].flatMap((which) => [
    `net.ipv6.conf.${which}.accept_dad=0`,
    `net.ipv6.conf.${which}.router_solicitations=0`,
    `net.ipv6.conf.${which}.mldv2_unsolicited_report_interval=1`,
  ]),
]

let count = 0

/**
 * Network namespaces, veth pairs, captures and listeners of one test. All names are its own, so that tests can run
 * side by side, and everything is gone when it is disposed of, also after a failure.
 */
export class TestNetwork implements AsyncDisposable {
  /** Distinguishes this network's names from those of any other test on the machine. */
  readonly id = `${process.pid.toString(36)}${(count++).toString(36)}`
  readonly #folder = mkdtempSync(path.join(tmpdir(), 'weir-net-'))
  readonly #namespaces: string[] = []
  readonly #children: ChildProcess[] = []
  readonly #cleanups: (() => void)[] = []

  /** Makes a namespace `w<id><name>`, with loopback up and without the noise of IPv6 autoconfiguration. */
  namespace(name: string): string {
    const namespace = `w${this.id}${name}`
    execFileSync('ip', ['netns', 'add', namespace])
    this.#namespaces.push(namespace)
    this.run(namespace, 'ip', 'link', 'set', 'lo', 'up')
    this.run(namespace, 'sysctl', '-qw', ...QUIET)
    return namespace
  }

  /** A veth pair between two namespaces, both ends up, without offloads so that what is captured is what is sent. */
  veth(a: { namespace: string; device: string }, b: { namespace: string; device: string }): void {
    const peer = ['type', 'veth', 'peer', 'name', b.device, 'netns', b.namespace]
    this.run(a.namespace, 'ip', 'link', 'add', a.device, ...peer)
    for (const { namespace, device } of [a, b]) {
      this.run(
        namespace,
        'ethtool',
        '-K',
        device,
        ...['tx', 'tso', 'gso', 'gro'].flatMap((it) => [it, 'off']),
      )
      const neighbours = `net.ipv6.neigh.${device}`
      this.run(
        namespace,
        'sysctl',
        '-qw',
        `${neighbours}.base_reachable_time_ms=3600000`,
        `${neighbours}.delay_first_probe_time=3600`,
      )
      this.run(namespace, 'ip', 'link', 'set', device, 'up')
    }
  }

  /** A guest behind a device of its host: the host is `<net>.1` there, the guest `<net>.2` on its eth0. */
  connect(host: string, device: string, guest: string, net: string): void {
    this.veth({ namespace: host, device }, { namespace: guest, device: 'eth0' })
    this.address(host, device, `${net}.1/24`)
    this.address(guest, 'eth0', `${net}.2/24`)
  }

  /** A host and a guest, connected. */
  hostAndGuest(device: string, net: string): [host: string, guest: string] {
    const ends: [string, string] = [this.namespace('h'), this.namespace('g')]
    this.connect(ends[0], device, ends[1], net)
    return ends
  }

  address(namespace: string, device: string, ...addresses: string[]): void {
    for (const address of addresses) {
      this.run(
        namespace,
        'ip',
        'address',
        'add',
        address,
        'dev',
        device,
        ...(address.includes(':') ? ['nodad'] : []),
      )
    }
  }

  /** Runs a program inside a namespace and returns what it printed; throws when it fails. */
  run(namespace: string, program: string, ...args: string[]): string {
    return execFileSync('ip', ['netns', 'exec', namespace, program, ...args], {
      encoding: 'utf8',
      stdio: 'pipe',
    })
  }

  /** Runs a program that may fail, such as a ping that must not come through. */
  attempt(namespace: string, program: string, ...args: string[]): boolean {
    try {
      this.run(namespace, program, ...args)
      return true
    } catch {
      return false
    }
  }

  /** Loads nftables rules. */
  nft(namespace: string, rules: string): void {
    execFileSync('ip', ['netns', 'exec', namespace, 'nft', '-f', '-'], { input: rules })
  }

  /** Starts a program inside a namespace; it is ended with the network. */
  start(namespace: string, program: string, ...args: string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', namespace, program, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    this.#children.push(child)
    return child
  }

  /** Captures a device with tcpdump until `stop` is called, which returns the packets. */
  async capture(namespace: string, device: string): Promise<{ stop(): Promise<CapturedPacket[]> }> {
    const file = path.join(this.#folder, `${namespace}-${device}-${count++}.pcap`)
    const child = this.start(
      namespace,
      'tcpdump',
      ...['-i', device, '-U', '--immediate-mode', '-s', '256', '-B', '32768', '-Z', 'root', '-w', file],
    )
    await said(child, /listening on/)
    return {
      stop: async () => {
        await stopCapture(child)
        return readCapture(file)
      },
    }
  }

  /** Something to be undone at the end, before the namespaces go. */
  onEnd(cleanup: () => void): void {
    this.#cleanups.push(cleanup)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cleanup of this.#cleanups.reverse()) cleanup()
    await Promise.all(this.#children.map((child) => ended(child, 'SIGKILL')))
    for (const namespace of this.#namespaces) execFileSync('ip', ['netns', 'delete', namespace])
    rmSync(this.#folder, { recursive: true, force: true })
  }
}

/** Resolves when a child has printed something, with what that was. */
export function said(child: ChildProcess, wanted: RegExp): Promise<RegExpExecArray> {
  return new Promise((resolve, reject) => {
    let output = ''
    const streams = [child.stdout, child.stderr]
    const read = (chunk: Buffer): void => {
      output += chunk.toString()
      const found = wanted.exec(output)
      if (found === null) return
      for (const it of streams) it?.off('data', read)
      child.off('close', closed)
      resolve(found)
    }
    const closed = (code: number | null): void =>
      reject(new Error(`ended with ${code} before saying ${wanted}: ${output}`))
    for (const it of streams) it?.on('data', read)
    // 'close' comes after the last of its output, 'exit' may come before.
    child.once('close', closed)
  })
}

/** Ends a child; resolves when it is gone, and with it whatever it still sent. */
export async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = new Promise((resolve) => child.once('exit', resolve))
  child.kill(signal)
  await exit
}

/**
 * Ends a tcpdump once it has written all packets. It is asked how many there are until it says the same three times:
 * an answer shows that it has been running, so nothing can wait for it in the kernel, however late it got round to it.
 * Fails when the kernel had to drop some: nothing can be compared with what is left.
 */
export async function stopCapture(child: ChildProcess): Promise<void> {
  let [answer, equal] = ['', 0]
  while (equal < 2) {
    await new Promise((resolve) => setTimeout(resolve, 100))
    const told = said(child, /\d+ packets? captured, \d+ packets? received by filter, (\d+) packets? dropped/)
    child.kill('SIGUSR1')
    const [counts, dropped] = await told
    if (dropped !== '0') throw new Error(`tcpdump: ${counts}`)
    equal = counts === answer ? equal + 1 : 0
    answer = counts
  }
  await ended(child, 'SIGINT')
}
