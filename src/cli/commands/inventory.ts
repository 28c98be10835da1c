import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import { WeirError } from '../../model/errors.ts'
import {
  type ApiClient,
  type Collection,
  connect,
  type Resource,
  SERVER_HELP,
  SERVER_OPTIONS,
} from '../api-client.ts'
import { type Command, type CommandContext, ExitCode } from '../command.ts'
import { readInventory } from '../inventory-file.ts'
import {
  describeStep,
  KINDS,
  type Kind,
  type Present,
  planInventory,
  type Step,
  type Wanted,
} from '../inventory-plan.ts'
import { ProgressLine } from '../progress-line.ts'

export const inventory: Command = {
  usage: ['weir inventory apply FILE [--prune] [--dry-run]', 'weir inventory export'].join('\n'),
  help: `  FILE         YAML ('-' reads standard input), such as

                 datacenters:
                   - name: edge
                     location: local
                     servers:
                       - name: hv-1
                         cores: 8
                         ram: 16384
                         nics:
                           - name: web
                             lan: 1
                             binding: { host: hv-1, device: tap0, side: guest }
                             flowlog: { name: web, action: ALL, direction: BIDIRECTIONAL, bucket: flowlogs/web }

               Besides servers there are lans, natgateways, networkloadbalancers and applicationloadbalancers.
               Names say which resource is meant; attributes that the file does not mention are left alone. A key
               that is not known and a value that cannot be are refused with file and line, before anything changes.
  --prune      delete what the file does not name, within the data centers that it does name
  --dry-run    show the plan and change nothing; exit 1 when there is something to do
${SERVER_HELP}`,
  async run(args, context) {
    const [verb, ...rest] = args
    if (verb === 'apply') return apply(rest, context)
    if (verb === 'export') return exportAll(rest, context)
    throw new WeirError('WEIR_USAGE', `expected apply or export, not '${verb ?? ''}'`)
  },
}

async function apply(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values, positionals } = parseArgs({
    args,
    options: {
      ...SERVER_OPTIONS,
      prune: { type: 'boolean', default: false },
      'dry-run': { type: 'boolean', default: false },
    },
    allowPositionals: true,
  })
  if (positionals.length !== 1) throw new WeirError('WEIR_USAGE', 'apply takes one file')
  const [file] = positionals as [string]
  const wanted = readInventory(await readText(file, context), file === '-' ? 'stdin' : file)
  const api = connect(values, context)
  const steps = planInventory(wanted, await readPresent(api), { prune: values.prune })
  if (values.json) context.stdout.write(`${JSON.stringify(steps.map(summary))}\n`)
  else for (const line of steps.flatMap(describeStep)) context.stdout.write(`${line}\n`)
  if (steps.length === 0) context.stderr.write('the inventory matches the file\n')
  if (values['dry-run']) return steps.length === 0 ? ExitCode.ok : ExitCode.failed
  using progress = new ProgressLine(context)
  await carryOut(api, steps, progress)
  return ExitCode.ok
}

/**
 * In the plan's order; the first step that is refused ends it, and applying again goes on from there. Nothing waits
 * for a step to be done but what follows a deletion, which may want its place; all are done at the end.
 */
async function carryOut(api: ApiClient, steps: Step[], progress: ProgressLine): Promise<void> {
  const created = new Map<Wanted, string>()
  const begun: { request: string; label: string }[] = []
  const deleted: string[] = []
  for (const [i, step] of steps.entries()) {
    progress.count('applying', i, steps.length)
    if (step.verb !== 'delete') for (const request of deleted.splice(0)) await api.finish(request)
    const request = await carryOutStep(api, step, created)
    if (request === undefined) continue
    begun.push({ request, label: step.label })
    if (step.verb === 'delete') deleted.push(request)
  }
  for (const [i, { request, label }] of begun.entries()) {
    progress.count('waiting', i, begun.length)
    try {
      await api.finish(request)
    } catch (error) {
      if (error instanceof WeirError)
        throw new WeirError(error.code, `${label}: ${error.message}`, { cause: error })
      throw error
    }
  }
}

async function carryOutStep(
  api: ApiClient,
  step: Step,
  created: Map<Wanted, string>,
): Promise<string | undefined> {
  if (step.verb === 'delete') return (await api.begin('DELETE', step.path)).request
  if (step.verb === 'change') {
    const properties = Object.fromEntries(step.changes.map(({ name, after }) => [name, after]))
    return (await api.begin('PATCH', step.path, properties)).request
  }
  const { parent, wanted } = step
  const parentPath = 'path' in parent ? parent.path : created.get(parent.createdBy)!
  const path = `${parentPath}/${KINDS[step.kind].collection}`
  const { properties } = wanted
  const { answer, request } = await api.begin<Resource<unknown>>('POST', path, { properties })
  created.set(wanted, `${path}/${answer!.id}`)
  return request
}

function summary(step: Step): object {
  const { verb, kind, label } = step
  return { verb, kind, label, ...(step.verb === 'change' ? { changes: step.changes } : {}) }
}

async function readText(file: string, context: CommandContext): Promise<string> {
  try {
    return file === '-' ? await text(context.stdin) : readFileSync(file, 'utf8')
  } catch (cause) {
    const reason = (cause as NodeJS.ErrnoException).code ?? String(cause)
    throw new WeirError('WEIR_CONFIG_INVALID', `${file} cannot be read (${reason})`, { cause })
  }
}

type Found = Resource<Record<string, unknown>>

/**
 * The whole inventory of the contract. Application load balancers are in no tree, and are asked for one by
 * one.
 */
async function readPresent(api: ApiClient): Promise<Present[]> {
  const datacenters: Present[] = []
  for (const it of await api.datacenters<Found>(9)) datacenters.push(presentOf('datacenter', it, ''))
  for (const datacenter of datacenters) {
    const path = `${datacenter.path}/applicationloadbalancers`
    const { items = [] } = await api.get<Collection<Found>>(`${path}?depth=1`)
    for (const it of items) {
      const balancer = presentOf('applicationloadbalancer', it, datacenter.path)
      const flowLogs = await api.get<Collection<Found>>(`${balancer.path}/flowlogs?depth=1`)
      balancer.children.push(...(flowLogs.items ?? []).map((log) => presentOf('flowlog', log, balancer.path)))
      datacenter.children.push(balancer)
    }
  }
  return datacenters
}

function presentOf(kind: Kind, it: Found, parentPath: string): Present {
  const path = `${parentPath}/${KINDS[kind].collection}/${it.id}`
  const children = KINDS[kind].children.flatMap((child) => {
    const items = (it.entities?.[KINDS[child].collection]?.items ?? []) as Found[]
    return items.map((item) => presentOf(child, item, path))
  })
  return {
    kind,
    id: it.id,
    path,
    name: String(it.properties['name'] ?? ''),
    properties: it.properties,
    children,
  }
}

async function exportAll(args: string[], context: CommandContext): Promise<ExitCode> {
  const { values } = parseArgs({ args, options: SERVER_OPTIONS })
  const present = await readPresent(connect(values, context))
  const content = { datacenters: present.map(exported) }
  context.stdout.write(values.json ? `${JSON.stringify(content)}\n` : stringify(content))
  return ExitCode.ok
}

/** What Weir sets itself, and what says nothing, is left out. */
const LEFT_OUT: readonly string[] = [
  'version',
  'features',
  'cpuArchitecture',
  'vmState',
  'deviceNumber',
  'pciSlot',
  'ipv4CidrBlock',
]

function exported(it: Present): Record<string, unknown> {
  const properties = Object.entries(it.properties).filter(
    ([name, value]) => !LEFT_OUT.includes(name) && value !== null && value !== undefined,
  )
  const below: Record<string, unknown> = {}
  for (const child of KINDS[it.kind].children) {
    const children = it.children.filter(({ kind }) => kind === child)
    if (children.length === 0) continue
    if (child === 'flowlog') below['flowlog'] = exported(children[0]!)
    else below[KINDS[child].collection] = children.map(exported)
  }
  return { ...Object.fromEntries(properties), ...below }
}
