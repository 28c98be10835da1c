import assert from 'node:assert/strict'
import { execFile, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { text } from 'node:stream/consumers'
import { after, test } from 'node:test'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { writeCapture } from '../../bench/capture-generator.ts'
import { pcap } from '../support/capture-writer.ts'
import { ethernet, ipv4, udp } from '../support/packet-corpus.ts'
import { missingForRadosgw } from '../support/radosgw.ts'
import { S3World } from '../support/s3-world.ts'

// `weir convert` as a process among others: pipes, terminals, memory, a real object store.

const NODE = path.resolve('node_modules/.bin/node')
const WEIR = path.resolve('bin/weir.js')
const T0 = 1_700_000_400 // A multiple of 600.
const DNS = ethernet(0x0800, ipv4(udp(4000, 53, 10)))
const HEAD = '2 0 00000000-0000-0000-0000-000000000000 192.0.2.1 198.51.100.7 4000 53 17'

const directory = mkdtempSync(path.join(tmpdir(), 'weir-command-'))
after(() => rmSync(directory, { recursive: true, force: true }))

/** Writes the peak of its memory, in MiB, behind everything else on stderr. */
const WITH_PEAK = `process.on('exit',()=>process.stderr.write('peak '+process.resourceUsage().maxRSS/1024))`

test('pipes are read once: captures out of other commands lose nothing', async () => {
  const files = [0, 1, 2].map((i) => save(`part-${i}`, pcap([{ bytes: DNS, time: T0 + i }])))
  const pipes = files.map((file) => `<(cat ${file})`).join(' ')

  const { stdout } = await bash(
    `${NODE} ${WEIR} convert -q ${pipes} && cat ${files[0]} | ${NODE} ${WEIR} convert -q - ${files[1]} &&
    mkfifo ${directory}/named && { cat ${files[2]} > ${directory}/named & timeout 30 ${NODE} ${WEIR} convert -q ${directory}/named; }`,
  )

  assert.deepEqual(stdout.trim().split('\n'), [
    `${HEAD} 3 114 ${T0} ${T0 + 2} ACCEPT OK`,
    `${HEAD} 2 76 ${T0} ${T0 + 1} ACCEPT OK`,
    `${HEAD} 1 38 ${T0 + 2} ${T0 + 2} ACCEPT OK`,
  ])
})

test('records of a live stream appear when their window is over; when nobody reads them it ends', async () => {
  const child = spawn(NODE, [WEIR, 'convert', '--window', '1', '--late', '0', '-'])
  const ended = once(child, 'exit')
  const packets = (second: number): Buffer =>
    pcap([{ bytes: DNS, time: T0 + second }]).subarray(second === 0 ? 0 : 24)
  for (let second = 0; second < 3; second++) {
    child.stdin.write(packets(second))
    if (second === 0) continue
    const [text] = (await once(child.stdout, 'data')) as [Buffer]
    assert.equal(text.toString(), `${HEAD} 1 38 ${T0 + second - 1} ${T0 + second - 1} ACCEPT OK\n`)
  }

  child.stdout.destroy()
  child.stdin.on('error', () => {}) // It may be gone before all is written.
  for (let second = 3; child.exitCode === null && second < 1000; second++) {
    child.stdin.write(packets(second))
    await new Promise((resolve) => setTimeout(resolve, 10))
  }

  assert.deepEqual(await ended, [0, null])
})

test('a terminal gets a progress bar that is gone at the end, a pipe gets the summary only', async () => {
  const file = path.join(directory, 'progress.pcap')
  writeCapture(file, 'imix', 30_000, 3)
  const out = path.join(directory, 'progress.log')
  const command = `${NODE} ${WEIR} convert -o ${out} ${file}`

  const run = (line: string): string =>
    execFileSync('script', ['-qec', line, '/dev/null'], { encoding: 'utf8' })
  const terminal = run(command).replaceAll('\r\u001b[K', '<')
  const failed = run(`${command.replace(out, '/dev/full')} || true`).replaceAll('\r\u001b[K', '<')
  const { stderr: piped } = await bash(command)
  const records = run(`${NODE} ${WEIR} convert ${save('one', pcap([{ bytes: DNS, time: T0 }]))}`)

  assert.match(terminal, /^<\d+ % {2}\d+ packets.*<30000 packets, /)
  assert.match(failed, /<weir convert: .dev.full cannot be written: ENOSPC/)
  assert.match(piped, /^30000 packets, /)
  assert.match(records, /^2 0 .* ACCEPT OK\r\n1 packet, |^1 packet, /) // No bar among the records.
})

test('memory does not depend on the size of what comes through standard input', async () => {
  const file = path.join(directory, 'memory.pcap')
  writeCapture(file, 'imix', 60_000, 5)
  const peak = async (times: number): Promise<number> => {
    const packets = `(head -c 24 ${file}; for i in $(seq ${times}); do tail -c +25 ${file}; done)`
    const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(WITH_PEAK)}` }
    const { stderr } = await bash(`${packets} | ${NODE} ${WEIR} convert --json -o /dev/null -`, env)
    assert.equal(JSON.parse(stderr.split('\n')[0]!).packets, times * 60_000)
    return Number(/peak (.*)/.exec(stderr)![1])
  }

  const [small, large] = [await peak(2), await peak(40)]

  assert.ok(large < 150, `${large} MiB`)
  assert.ok(large - small < 25, `${small} MiB for 11 MB, ${large} MiB for 210 MB`)
})

const missing = missingForRadosgw()
test('windows go to a bucket of radosgw as they end, under names that are free', {
  skip: missing ?? false,
}, async () => {
  await using world = await S3World.start()
  using tenant = world.tenant(31_000_001)
  const bucket = await tenant.createBucket()
  const names = async (): Promise<string[]> =>
    ((await tenant.client.send(new ListObjectsV2Command({ Bucket: bucket }))).Contents ?? []).map(
      (it) => it.Key!,
    )
  const { accessKeyId, secretAccessKey } = tenant.user
  const env = { WEIR_S3_ACCESS_KEY_ID: accessKeyId, WEIR_S3_SECRET_ACCESS_KEY: secretAccessKey }
  const args = ['convert', '--json', '--bucket', `${bucket}/web`, '--s3-endpoint', world.ceph.endpoint]
  const capture = pcap([0, 700, 1300].map((s) => ({ bytes: DNS, time: T0 + s })))
  const firstTwo = capture.length - 16 - DNS.length

  const outputs: string[][] = []
  for (const threads of ['1', '2']) {
    const there = (await names()).length
    const child = spawn(NODE, [WEIR, ...args, '--threads', threads, '-'], { env: { ...process.env, ...env } })
    const summary = text(child.stderr)
    child.stdin.write(capture.subarray(0, firstTwo))
    for (let tries = 0; (await names()).length === there; tries++) {
      assert.ok(tries < 200, 'no object while the stream goes on')
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    child.stdin.end(capture.subarray(firstTwo))
    assert.deepEqual(await once(child, 'exit'), [0, null])
    outputs.push(JSON.parse(await summary).outputs)
  }
  const expected = [0, 600, 1200].flatMap((s) => [`web-${T0 + s}.log.gz`, `web-${T0 + s + 1}.log.gz`])
  assert.deepEqual((await names()).sort(), expected)
  assert.deepEqual(
    outputs,
    [0, 1].map((run) => expected.filter((_, i) => i % 2 === run).map((name) => `s3://${bucket}/${name}`)),
  )
  for (const [i, Key] of expected.entries()) {
    const { Body } = await tenant.client.send(new GetObjectCommand({ Bucket: bucket, Key }))
    const second = T0 + [0, 700, 1300][i >> 1]!
    const records = gunzipSync(await Body!.transformToByteArray()).toString()
    assert.equal(records, `${HEAD} 1 38 ${second} ${second} ACCEPT OK\n`)
  }
  const absent = [...args.slice(0, 3), 'absent', ...args.slice(4), save('absent', capture)]
  const refused = promisify(execFile)(NODE, [WEIR, ...absent], { env: { ...process.env, ...env } })
  await assert.rejects(refused, { code: 1, stderr: /did not reach bucket absent: 404/ })
})

function save(name: string, bytes: Uint8Array): string {
  const file = path.join(directory, `${name}.pcap`)
  writeFileSync(file, bytes)
  return file
}

function bash(script: string, env: Record<string, string> = {}): Promise<{ stdout: string; stderr: string }> {
  return promisify(execFile)('bash', ['-c', script], { env: { ...process.env, ...env } })
}
