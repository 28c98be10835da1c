import { availableParallelism, hostname, totalmem } from 'node:os'
import { parseArgs } from 'node:util'
import { Document } from 'yaml'
import { type Command, ExitCode } from '../command.ts'
import { dataDirectory, readEnrolment } from '../data-dir.ts'
import { type Proposal, proposeNics, readNamespaces } from '../discovery.ts'

const MIB = 2 ** 20
const RAM_STEP_MIB = 256 // The API takes multiples of it.

export const discover: Command = {
  usage:
    'weir discover [--host HOST] [--datacenter NAME] [--bucket BUCKET[/PREFIX]] [--data-dir DIR] [--json]',
  help: `  --host HOST        what the control plane calls this machine (default: as it was enrolled, else its host name)
  --datacenter NAME  where to put it (default local)
  --bucket B[/P]     propose a flow log for each interface as well, below B/P/<its name>
  --data-dir DIR     where 'weir agent enroll' has kept the host's name (WEIR_DATA_DIR)
  --json             print JSON instead of YAML

Looks into the machine's own network namespace and all that 'ip netns' knows. Taps and the host's ends of veths are taken
for guests' interfaces, what holds an address for the machine's own; what stays out is named with the reason. Nothing is
changed: read it, correct it, and give it to 'weir inventory apply'.`,
  async run(args, context) {
    const { values } = parseArgs({
      args,
      options: {
        host: { type: 'string' },
        datacenter: { type: 'string', default: 'local' },
        bucket: { type: 'string' },
        'data-dir': { type: 'string' },
        json: { type: 'boolean' },
      },
    })
    const host =
      values.host ?? readEnrolment(dataDirectory(values['data-dir'], context.env))?.host ?? hostname()
    const proposal = proposeNics(readNamespaces(), host)
    const content = inventoryOf(proposal, { host, datacenter: values.datacenter, bucket: values.bucket })
    context.stdout.write(values.json ? `${JSON.stringify(content)}\n` : toYaml(content, proposal.leftOut))
    return ExitCode.ok
  },
}

function inventoryOf(
  { nics }: Proposal,
  { host, datacenter, bucket }: { host: string; datacenter: string; bucket: string | undefined },
): object {
  const flowLogOf = (name: string) =>
    bucket === undefined
      ? {}
      : {
          flowlog: {
            name,
            action: 'ALL',
            direction: 'BIDIRECTIONAL',
            bucket: `${bucket}/${name.replaceAll(':', '-')}`,
          },
        }
  const server = {
    name: host,
    hostname: host,
    cores: availableParallelism(),
    ram: Math.max(1, Math.floor(totalmem() / MIB / RAM_STEP_MIB)) * RAM_STEP_MIB,
    nics: nics.map((nic) => ({ ...nic, ...flowLogOf(nic.name) })),
  }
  // The location is what `weir up` and `weir server` give to their first data center.
  return {
    datacenters: [{ name: datacenter, location: 'local', lans: [{ name: 'LAN 1' }], servers: [server] }],
  }
}

function toYaml(content: object, leftOut: Proposal['leftOut']): string {
  const document = new Document(content)
  if (leftOut.length > 0) {
    const lines = leftOut.map(({ name, reason }) => `   ${name}: ${reason}`)
    document.comment = [' Left out:', ...lines].join('\n')
  }
  return document.toString({ flowCollectionPadding: true, lineWidth: 0 })
}
