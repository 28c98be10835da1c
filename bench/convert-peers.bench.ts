import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { median, parameter, report } from './bench.ts'
import { capture } from './capture-generator.ts'

// Question: what do capture files to flow records cost, in CPU seconds and memory, with Weir and with the
// tools of Debian that can do it? Whole processes, start included; the same file; rounds interleaved. Weir
// to gzip, the others to text. A tool that is not installed is left out. Budget: Weir to gzip at least 20
// times as fast as the fastest to text, 150 MB.
//   apt-get install nfdump argus-server argus-client softflowd pmacct time
const sizes = {
  imix: parameter('imix', { smoke: 5000, full: 10_000_000 }),
  scan: parameter('scan', { smoke: 2000, full: 5_000_000 }),
}
const NETFLOW_PORT = 20_000 + (process.pid % 10_000)
/** Runs of Weir in each round: it takes a second, where the others take half a minute. */
const RUNS = 3
const arePeersRun = parameter('peers', { smoke: 0, full: 1 }) === 1
const rounds = parameter('rounds', { smoke: 1, full: 3 })
const directory = mkdtempSync(path.join(tmpdir(), 'weir-peers-'))
const node = process.execPath
const convert = `${node} bin/weir.js convert -q`

interface Tool {
  needs: string[]
  /** A shell command; its standard output is what the sums are taken from. */
  command(file: string): string
  /** Columns of packets and octets in the output, from 1, and what separates them. */
  columns?: [number, number]
  separator?: string
}

const TOOLS: Record<string, Tool> = {
  'weir to gzip': {
    needs: [],
    command: (file) => `${convert} -o ${directory}/weir.gz ${file}; zcat ${directory}/weir.gz`,
    columns: [9, 10],
  },
  'weir to text': {
    needs: [],
    command: (file) => `${convert} -o ${directory}/weir.log ${file}; cat ${directory}/weir.log`,
    columns: [9, 10],
  },
  'weir to gzip (zlib)': {
    needs: [],
    command: (file) => `${convert} --codec zlib -o ${directory}/zlib.gz ${file}`,
  },
  'nfpcapd + nfdump': {
    needs: ['nfpcapd', 'nfdump'],
    command: (file) =>
      `rm -rf ${directory}/nf; mkdir ${directory}/nf; nfpcapd -r ${file} -w ${directory}/nf -t 600 -e 600,600 -B 4194304 -s 96 >/dev/null 2>&1; ` +
      `nfdump -R ${directory}/nf -q -N -o 'fmt:%tsr %ter %sa %da %sp %dp %pr %pkt %byt'`,
    columns: [8, 9],
  },
  'argus + ra': {
    needs: ['argus', 'ra'],
    command: (file) =>
      `rm -f ${directory}/argus; argus -X -S 600 -r ${file} -w ${directory}/argus; ` +
      `ra -X -n -u -r ${directory}/argus -c ' ' -s stime ltime saddr daddr sport dport proto pkts bytes`,
    columns: [8, 9],
  },
  'softflowd + nfcapd + nfdump': {
    needs: ['softflowd', 'nfcapd', 'nfdump'],
    command: (file) =>
      `rm -rf ${directory}/sf; mkdir ${directory}/sf; ` +
      `nfcapd -w ${directory}/sf -b 127.0.0.1 -p ${NETFLOW_PORT} -B 67108864 -t 86400 >/dev/null 2>&1 & collector=$!; sleep 1; ` +
      `softflowd -d -r ${file} -v 9 -6 -m 6000000 -t maxlife=600 -t tcp=600 -t udp=600 -t icmp=600 -t general=600 ` +
      `-t tcp.rst=600 -t tcp.fin=600 -n 127.0.0.1:${NETFLOW_PORT} -c none >/dev/null 2>&1; ` +
      `sleep 1; kill -INT $collector; wait $collector; ` +
      `nfdump -R ${directory}/sf -q -N -o 'fmt:%tsr %ter %sa %da %sp %dp %pr %pkt %byt'`,
    columns: [8, 9],
  },
  pmacctd: {
    needs: ['pmacctd'],
    command: (file) =>
      `rm -f ${directory}/pmacct.csv; pmacctd -f ${pmacctConfig(file)} >/dev/null 2>&1; cat ${directory}/pmacct.csv`,
    columns: [6, 7],
    separator: ',',
  },
}

if (isThere('/usr/bin/time')) {
  for (const kind of ['imix', 'scan'] as const) run(kind)
} else report('convert-peers', { skipped: '/usr/bin/time is not installed' })
rmSync(directory, { recursive: true, force: true })

function run(kind: 'imix' | 'scan'): void {
  const { file, truth } = capture(kind, sizes[kind])
  spawnSync('cat', [file], { stdio: 'ignore' }) // Into the page cache: disks are not compared.
  const tools = Object.entries(TOOLS).filter(
    ([, it]) => (arePeersRun || it.needs.length === 0) && it.needs.every(isThere),
  )
  const results = new Map(tools.map(([name]) => [name, { cpuS: [] as number[], memoryMib: 0, sums: '' }]))
  for (let round = 0; round < rounds; round++) {
    for (const [name, tool] of tools) {
      const result = results.get(name)!
      for (let run = 0; run < (tool.needs.length === 0 ? RUNS : 1); run++) {
        const { cpuS, memoryMib } = timed(tool, file)
        result.cpuS.push(cpuS)
        result.memoryMib = Math.max(result.memoryMib, memoryMib)
      }
      if (round === 0) result.sums = sums(tool, file)
    }
  }
  for (const [name, { cpuS, memoryMib, sums }] of results) {
    const [records = 0, packets = 0, octets = 0] = sums.split(' ').map(Number)
    const isExact = packets === truth.ipPackets && octets === truth.octets
    const kpps = Math.round(truth.packets / median(cpuS) / 1000)
    const totals = sums === '' ? {} : { records, packets, octets, isExact }
    report(`${kind} ${name}`, { cpuMedianS: median(cpuS), cpuS, kpacketsPerCpuS: kpps, memoryMib, ...totals })
    if (name === 'weir to gzip' && !isExact) throw new Error(`weir: ${sums} is not ${JSON.stringify(truth)}`)
  }
}

/**
 * CPU and peak memory of the tool alone: what it writes goes to a file, what reads it again is not
 * measured.
 */
function timed(tool: Tool, file: string): { cpuS: number; memoryMib: number } {
  const command = tool.command(file).replace(/; (z?cat) [^;]*$/, '')
  const { stderr } = spawnSync(
    '/usr/bin/time',
    ['-f', '%U %S %M', 'sh', '-c', `{ ${command}; } > ${directory}/out`],
    {
      encoding: 'utf8',
    },
  )
  const [user = 0, system = 0, memoryKib = 0] = stderr.trim().split('\n').at(-1)!.split(' ').map(Number)
  return { cpuS: Number((user + system).toFixed(2)), memoryMib: Math.round(memoryKib / 1024) }
}

/** Records, packets and octets in what the tool wrote. */
function sums(tool: Tool, file: string): string {
  if (tool.columns === undefined) return ''
  const [packets, octets] = tool.columns
  const awk = `awk -F'${tool.separator ?? ' '}' '$${octets} ~ /^[0-9]+$/ {n++; p+=$${packets}; b+=$${octets}} END {printf "%.0f %.0f %.0f", n, p, b}'`
  const again = /; (z?cat .*)$/.exec(tool.command(file))?.[1] ?? `cat ${directory}/out`
  return spawnSync('sh', ['-c', `${again} | ${awk}`], { encoding: 'utf8', maxBuffer: 1 << 20 }).stdout
}

/**
 * Of a file, pmacctd's reading process waits a millisecond after each buffer, and overwrites what its counting process has
 * not fetched when the pipe was full. Large buffers are few pauses: it then loses packets. These are the fastest settings
 * that were found with which it counts all.
 */
function pmacctConfig(file: string): string {
  const config = path.join(directory, 'pmacct.conf')
  writeFileSync(
    config,
    `daemonize: false
pcap_savefile: ${file}
aggregate: src_host, dst_host, src_port, dst_port, proto
plugins: print
print_output: csv
print_output_file: ${directory}/pmacct.csv
print_output_file_append: true
print_refresh_time: 600
print_history: 10m
print_history_roundoff: m
print_cache_entries: 524287
plugin_buffer_size: 307200
plugin_pipe_size: 1024000000
`,
  )
  return config
}

function isThere(command: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${command}`]).status === 0
}
