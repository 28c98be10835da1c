import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import { ACTIONS, DIRECTIONS } from '../../model/flow-log.ts'
import {
  type ApiClient,
  connect,
  type FlowLog,
  type PlacedNic,
  SERVER_HELP,
  SERVER_OPTIONS,
} from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { type Column, formatBytes, printable, printTable } from '../table.ts'

export const flowlog: Command = {
  usage: [
    'weir flowlog list [--nic NIC]',
    'weir flowlog get FLOWLOG',
    'weir flowlog create --nic NIC --bucket BUCKET[/PREFIX] [--name NAME] [--action ACTION] [--direction DIRECTION]',
    'weir flowlog delete FLOWLOG…',
  ].join('\n'),
  help: `  --nic NIC         UUID, name or device of the interface
  --bucket B[/P]    an existing bucket, and what the objects' names begin with
  --name NAME       default: the interface's name
  --action A        ${ACTIONS.join(', ')} (default ALL)
  --direction D     ${DIRECTIONS.join(', ')} (default BIDIRECTIONAL)
${SERVER_HELP}

FLOWLOG is a flow log's UUID or name. Deleting one delivers what it has captured; its objects stay.`,
  async run(args, context) {
    const [verb, ...rest] = args
    if (verb === 'list') return list(rest, context)
    if (verb === 'get') return get(rest, context)
    if (verb === 'create') return create(rest, context)
    if (verb === 'delete') return remove(rest, context)
    throw new WeirError('WEIR_USAGE', `expected list, get, create or delete, not '${verb ?? ''}'`)
  },
}

interface PlacedFlowLog extends PlacedNic {
  flowLog: FlowLog
}

const COLUMNS: Column<PlacedFlowLog>[] = [
  { title: 'FLOW LOG', value: ({ flowLog }) => flowLog.id },
  { title: 'NAME', value: ({ flowLog }) => flowLog.properties.name },
  { title: 'NIC', value: ({ nic }) => nic.properties.name ?? nic.id },
  { title: 'ACTION', value: ({ flowLog }) => flowLog.properties.action },
  { title: 'DIRECTION', value: ({ flowLog }) => flowLog.properties.direction },
  { title: 'BUCKET', value: ({ flowLog }) => flowLog.properties.bucket },
  {
    title: 'STATE',
    value: ({ flowLog }) => flowLog.metadata?.state ?? '',
    colour: ({ flowLog }) => (flowLog.metadata?.state === 'AVAILABLE' ? '32' : '33'),
  },
]

async function list(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: { ...SERVER_OPTIONS, nic: { type: 'string' } } })
  const api = connect(values, context)
  const nics = values.nic === undefined ? await api.nics() : [await api.nic(values.nic)]
  const found = nics.flatMap((placed) => placed.flowLogs.map((flowLog) => ({ ...placed, flowLog })))
  show(found, values.json, context)
  return ExitCode.ok
}

async function get(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  if (positionals.length !== 1) throw new WeirError('WEIR_USAGE', 'get takes one flow log')
  const api = connect(values, context)
  const found = await find(api, positionals[0]!)
  const { delivery } = await api.get<{ delivery: Delivery }>(`/weir/v1/flowlogs/${found.flowLog.id}`)
  if (values.json) context.stdout.write(`${JSON.stringify({ ...summary(found), delivery })}\n`)
  else {
    show([found], false, context)
    showDelivery(delivery, context)
    const [bucket] = found.flowLog.properties.bucket.split('/', 1)
    if (delivery.lastError !== null) context.stdout.write(`  when mended  weir bucket retry ${bucket}\n`)
  }
  return ExitCode.ok
}

interface Delivery {
  status: string
  points: { host: string; state: string; device: string | null; message: string | null }[]
  objects: number
  records: number
  bytes: number
  lastObject: string | null
  lastDeliveredAt: string | null
  pendingSegments: number
  pendingBytes: number
  oldestPendingWindow: string | null
  lastError: string | null
  lastErrorAt: string | null
}

function showDelivery(it: Delivery, { stdout }: CommandContext): void {
  const line = (title: string, text: string) => stdout.write(`  ${title.padEnd(10)} ${printable(text)}\n`)
  line('status', it.status)
  for (const { host, state, device, message } of it.points) {
    line('on', `${host}, ${device ?? 'no device'}: ${state}${message === null ? '' : `, ${message}`}`)
  }
  line('delivered', `${it.objects} objects, ${it.records} records, ${formatBytes(it.bytes)}`)
  if (it.lastObject !== null) line('last', `${it.lastObject} at ${it.lastDeliveredAt}`)
  const oldest = it.oldestPendingWindow === null ? '' : `, oldest window ${it.oldestPendingWindow}`
  line('waiting', `${it.pendingSegments} segments, ${formatBytes(it.pendingBytes)}${oldest}`)
  if (it.lastError !== null) line('error', `${it.lastError} (${it.lastErrorAt})`)
}

async function create(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({
    args,
    options: {
      ...SERVER_OPTIONS,
      nic: { type: 'string' },
      bucket: { type: 'string' },
      name: { type: 'string' },
      action: { type: 'string', default: 'ALL' },
      direction: { type: 'string', default: 'BIDIRECTIONAL' },
    },
  })
  if (values.nic === undefined) throw new WeirError('WEIR_USAGE', '--nic is missing')
  if (values.bucket === undefined) throw new WeirError('WEIR_USAGE', '--bucket is missing')
  const api = connect(values, context)
  const placed = await api.nic(values.nic)
  const properties = {
    name: values.name ?? placed.nic.properties.name ?? placed.nic.id,
    action: values.action.toUpperCase(),
    direction: values.direction.toUpperCase(),
    bucket: values.bucket,
  }
  const path = `${nicPath(placed)}/flowlogs`
  const created = await api.mutate<FlowLog>('POST', path, { properties })
  const flowLog = await api.get<FlowLog>(`${path}/${created!.id}`)
  if (values.json) context.stdout.write(`${JSON.stringify(summary({ ...placed, flowLog }))}\n`)
  else context.stdout.write(`${flowLog.id}\n`)
  return ExitCode.ok
}

async function remove(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  if (positionals.length === 0) throw new WeirError('WEIR_USAGE', 'delete takes at least one flow log')
  const api = connect(values, context)
  const found = await Promise.all(positionals.map((wanted) => find(api, wanted)))
  for (const placed of found) {
    await api.mutate('DELETE', `${nicPath(placed)}/flowlogs/${placed.flowLog.id}`)
    if (!values.json) context.stderr.write(`${placed.flowLog.id} deleted; its objects stay\n`)
  }
  if (values.json) context.stdout.write(`${JSON.stringify(found.map(({ flowLog }) => flowLog.id))}\n`)
  return ExitCode.ok
}

async function find(api: ApiClient, wanted: string): Promise<PlacedFlowLog> {
  const all = (await api.nics()).flatMap((placed) =>
    placed.flowLogs.map((flowLog) => ({ ...placed, flowLog })),
  )
  const found = all.filter(({ flowLog }) => flowLog.id === wanted || flowLog.properties.name === wanted)
  if (found.length === 1) return found[0]!
  if (found.length === 0) {
    throw new WeirError('WEIR_NOT_FOUND', `no flow log is called '${wanted}'; 'weir flowlog list' shows all`)
  }
  const ids = found.map(({ flowLog }) => flowLog.id).join(', ')
  throw new WeirError('WEIR_USAGE', `'${wanted}' names ${found.length} flow logs, give the UUID: ${ids}`)
}

function nicPath({ datacenter, server, nic }: PlacedNic): string {
  return `/datacenters/${datacenter.id}/servers/${server.id}/nics/${nic.id}`
}

function show(found: PlacedFlowLog[], json: boolean | undefined, context: CommandContext): void {
  if (json) {
    context.stdout.write(`${JSON.stringify(found.map(summary))}\n`)
  } else if (found.length === 0) {
    context.stderr.write('no flow logs\n')
  } else {
    printTable(context.stdout, COLUMNS, found, { colours: context.stdoutIsTerminal })
  }
}

function summary({ flowLog, nic, server, datacenter }: PlacedFlowLog): object {
  return {
    id: flowLog.id,
    ...flowLog.properties,
    state: flowLog.metadata?.state,
    nicId: nic.id,
    nic: nic.properties.name,
    serverId: server.id,
    datacenterId: datacenter.id,
    href: flowLog.href,
  }
}
