import { hostname } from 'node:os'
import { parseArgs } from 'node:util'
import { WeirError } from '../../model/errors.ts'
import {
  type ApiClient,
  connect,
  type Datacenter,
  itemsOf,
  type Nic,
  type PlacedNic,
  SERVER_HELP,
  SERVER_OPTIONS,
  type Server,
} from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { type Column, printTable } from '../table.ts'

export const nic: Command = {
  usage: [
    'weir nic list',
    'weir nic add --name NAME --device DEVICE --side guest|own [--netns NS] [--mac MAC] [--host HOST [--new-host]] [--lan N]',
    'weir nic delete NIC…',
  ].join('\n'),
  help: `  --device DEVICE   the network device on the host
  --side SIDE       guest: the device's other end is the guest (a tap, a host-side veth); own: an interface of the machine
  --netns NS        the network namespace (as 'ip netns' knows it) that holds the device
  --mac MAC         the guest's address; matches the device when it has another name
  --host HOST       the server in the inventory that has the device (default: this machine's)
  --new-host        put that server into the inventory, if it is not there
${SERVER_HELP}`,
  async run(args, context) {
    const [verb, ...rest] = args
    if (verb === 'list') return list(rest, context)
    if (verb === 'add') return add(rest, context)
    if (verb === 'delete') return remove(rest, context)
    throw new WeirError('WEIR_USAGE', `expected list, add or delete, not '${verb ?? ''}'`)
  },
}

const COLUMNS: Column<PlacedNic>[] = [
  { title: 'NIC', value: ({ nic: it }) => it.id },
  { title: 'NAME', value: ({ nic: it }) => it.properties.name ?? '' },
  { title: 'HOST', value: ({ server }) => server.properties.name },
  { title: 'DEVICE', value: ({ nic: it }) => deviceName(it) },
  { title: 'SIDE', value: ({ nic: it }) => it.properties.binding?.side ?? 'by MAC' },
  { title: 'MAC', value: ({ nic: it }) => it.properties.mac ?? '' },
  {
    title: 'FLOW LOG',
    value: ({ flowLogs }) => flowLogs.map((it) => it.properties.bucket).join(', ') || '-',
  },
]

async function list(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: SERVER_OPTIONS })
  const nics = await connect(values, context).nics()
  if (values.json) context.stdout.write(`${JSON.stringify(nics.map(summary))}\n`)
  else if (nics.length === 0) context.stderr.write('no interfaces\n')
  else printTable(context.stdout, COLUMNS, nics, { colours: context.stdoutIsTerminal })
  return ExitCode.ok
}

async function add(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({
    args,
    options: {
      ...SERVER_OPTIONS,
      name: { type: 'string' },
      device: { type: 'string' },
      side: { type: 'string' },
      netns: { type: 'string' },
      mac: { type: 'string' },
      host: { type: 'string' },
      'new-host': { type: 'boolean', default: false },
      lan: { type: 'string', default: '1' },
    },
  })
  const { name, device, side, netns, mac } = values
  if (name === undefined) throw new WeirError('WEIR_USAGE', '--name is missing')
  if (device === undefined && mac === undefined)
    throw new WeirError('WEIR_USAGE', '--device (or --mac) is missing')
  if (side !== 'guest' && side !== 'own') {
    throw new WeirError('WEIR_USAGE', `--side is 'guest' or 'own', not '${side ?? ''}'`)
  }
  const lan = Number(values.lan)
  if (!Number.isInteger(lan) || lan < 1)
    throw new WeirError('WEIR_USAGE', `--lan '${values.lan}' is not a number from 1`)
  const api = connect(values, context)
  const place = await findServer(api, values.host, { mayCreate: values['new-host'] })
  const binding = {
    host: place.server.properties.hostname ?? place.server.properties.name,
    side,
    ...(device === undefined ? { mac } : { device }),
    ...(netns === undefined ? {} : { netns }),
  }
  const created = await api.mutate<Nic>(
    'POST',
    `/datacenters/${place.datacenterId}/servers/${place.server.id}/nics`,
    {
      properties: { name, lan, ...(mac === undefined ? {} : { mac }), binding },
    },
  )
  if (values.json) {
    context.stdout.write(`${JSON.stringify({ id: created!.id, ...created!.properties })}\n`)
  } else {
    context.stdout.write(`${created!.id}\n`)
  }
  return ExitCode.ok
}

async function remove(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({ args, options: SERVER_OPTIONS, allowPositionals: true })
  if (positionals.length === 0) throw new WeirError('WEIR_USAGE', 'delete takes at least one NIC')
  const api = connect(values, context)
  const found = await Promise.all(positionals.map((wanted) => api.nic(wanted)))
  for (const { nic: it, server, datacenter } of found) {
    await api.mutate('DELETE', `/datacenters/${datacenter.id}/servers/${server.id}/nics/${it.id}`)
    if (!values.json) context.stderr.write(`${it.id} deleted\n`)
  }
  if (values.json) context.stdout.write(`${JSON.stringify(found.map((placed) => placed.nic.id))}\n`)
  return ExitCode.ok
}

interface PlacedServer {
  datacenterId: string
  server: Server
}

/** The server of the inventory that a new NIC belongs to: the named one, this machine, or the only one. */
async function findServer(
  api: ApiClient,
  wanted: string | undefined,
  options: { mayCreate: boolean },
): Promise<PlacedServer> {
  const datacenters = await api.datacenters<Datacenter>(3)
  const all = datacenters.flatMap((it) =>
    itemsOf<Server>(it, 'servers').map((server) => ({ datacenterId: it.id, server })),
  )
  const name = wanted ?? hostname()
  const found = all.filter(({ server: { id, properties } }) =>
    [id, properties.name, properties.hostname].includes(name),
  )
  if (found.length === 1) return found[0]!
  if (found.length === 0 && options.mayCreate) return createServer(api, datacenters, name)
  if (wanted === undefined && found.length === 0 && all.length === 1) return all[0]!
  const names = all.map(({ server }) => server.properties.name).join(', ') || 'none'
  throw new WeirError(
    'WEIR_NOT_FOUND',
    `${found.length === 0 ? 'no server' : `${found.length} servers`} called '${name}'; there are: ${names}; --new-host makes one`,
  )
}

/** What a machine has beside interfaces is of no use to Weir: the smallest that the API takes. */
async function createServer(api: ApiClient, datacenters: Datacenter[], name: string): Promise<PlacedServer> {
  const [datacenter, ...others] = datacenters
  if (datacenter === undefined || others.length > 0) {
    throw new WeirError(
      'WEIR_USAGE',
      `there are ${datacenters.length} data centers: say with 'weir inventory apply' where ${name} belongs`,
    )
  }
  const properties = { name, hostname: name, cores: 1, ram: 256 }
  const server = await api.mutate<Server>('POST', `/datacenters/${datacenter.id}/servers`, { properties })
  return { datacenterId: datacenter.id, server: server! }
}

function deviceName({ properties: { binding } }: Nic): string {
  if (binding?.device === undefined) return ''
  return binding.netns === undefined ? binding.device : `${binding.device}@${binding.netns}`
}

function summary({ nic: it, server, datacenter, flowLogs }: PlacedNic): object {
  return {
    id: it.id,
    ...it.properties,
    server: server.properties.name,
    serverId: server.id,
    datacenterId: datacenter.id,
    flowLogIds: flowLogs.map((flowLog) => flowLog.id),
  }
}
