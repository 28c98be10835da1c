import type { FlowLogProperties, Interface, InterfaceKind } from '../api/cloud.ts'
import { shellWord } from '../text/shell.ts'

export type CodeKind = 'weir' | 'terraform' | 'sdk' | 'curl'

const ALL: { value: CodeKind; label: string }[] = [
  { value: 'weir', label: 'weir' },
  { value: 'terraform', label: 'Terraform' },
  { value: 'sdk', label: 'SDK' },
  { value: 'curl', label: 'curl' },
]

/** The command knows NICs only, and the Terraform provider knows no flow log of NAT gateways. */
export function codeKinds(kind: InterfaceKind): typeof ALL {
  if (kind === 'nic') return ALL
  if (kind === 'natgateway') return ALL.filter(({ value }) => value === 'sdk' || value === 'curl')
  return ALL.filter(({ value }) => value !== 'weir')
}

export function codeFor(kind: CodeKind, of: Interface, it: FlowLogProperties, origin: string): string {
  if (kind === 'weir') return weirCommand(of, it)
  if (kind === 'terraform') return terraform(of, it, origin)
  if (kind === 'sdk') return sdkCall(of, it, origin)
  return curlCall(of, it, origin)
}

function weirCommand(of: Interface, { name, action, direction, bucket }: FlowLogProperties): string {
  return [
    `weir flowlog create --nic ${of.id}`,
    `  --name ${shellWord(name)} --bucket ${shellWord(bucket)}`,
    `  --action ${action} --direction ${direction}`,
  ].join(' \\\n')
}

/** With what the provider demands beside the ids. */
const TERRAFORM: Partial<Record<InterfaceKind, { type: string; demands: string }>> = {
  nic: { type: 'ionoscloud_nic', demands: 'lan' },
  networkloadbalancer: {
    type: 'ionoscloud_networkloadbalancer',
    demands: 'name, listener_lan, target_lan',
  },
  applicationloadbalancer: {
    type: 'ionoscloud_application_loadbalancer',
    demands: 'name, listener_lan, target_lan',
  },
}

function terraform(of: Interface, it: FlowLogProperties, origin: string): string {
  const { type, demands } = TERRAFORM[of.kind]!
  const ids = idsOf(of)
  const server = ids['serverId']
  const places = [
    `  datacenter_id = ${quoted(ids['datacenterId']!)}`,
    ...(server === undefined ? [] : [`  server_id     = ${quoted(server)}`]),
  ]
  const name = identifier(of.name)
  return `terraform {
  required_providers {
    ionoscloud = {
      source  = "ionos-cloud/ionoscloud"
      version = ">= 6.4.11"
    }
  }
}

provider "ionoscloud" {
  endpoint = ${quoted(origin)} # the token is in IONOS_TOKEN
}

import { # it is there already, and stays what it is
  to = ${type}.${name}
  id = ${quoted(Object.values(ids).join('/'))}
}

resource "${type}" ${quoted(name)} {
${places.join('\n')}
  # … ${demands} and what else it has …

  flowlog { # without it, later, the provider makes the whole resource anew
    name      = ${quoted(it.name)}
    action    = ${quoted(it.action)}
    direction = ${quoted(it.direction)}
    bucket    = ${quoted(it.bucket)}
  }
}`
}

const SDK: Record<InterfaceKind, { api: string; method: string; body: string }> = {
  nic: { api: 'FlowLogsApi', method: 'datacentersServersNicsFlowlogsPost', body: 'flowlog' },
  natgateway: {
    api: 'NATGatewaysApi',
    method: 'datacentersNatgatewaysFlowlogsPost',
    body: 'natGatewayFlowLog',
  },
  networkloadbalancer: {
    api: 'NetworkLoadBalancersApi',
    method: 'datacentersNetworkloadbalancersFlowlogsPost',
    body: 'networkLoadBalancerFlowLog',
  },
  applicationloadbalancer: {
    api: 'ApplicationLoadBalancersApi',
    method: 'datacentersApplicationloadbalancersFlowlogsPost',
    body: 'applicationLoadBalancerFlowLog',
  },
}

function sdkCall(of: Interface, it: FlowLogProperties, origin: string): string {
  const { api, method, body } = SDK[of.kind]
  const ids = Object.entries(idsOf(of)).map(([name, id]) => `  ${name}: ${JSON.stringify(id)},`)
  return `import { Configuration, ${api}, waitForRequest } from '@ionos-cloud/sdk-nodejs'

const configuration = new Configuration({
  apiKey: process.env.WEIR_TOKEN,
  basePath: ${JSON.stringify(`${origin}/cloudapi/v6`)},
})
const response = await new ${api}(configuration).${method}({
${ids.join('\n')}
  ${body}: {
    properties: ${JSON.stringify(it)},
  },
})
await waitForRequest(configuration, response.headers.location)`
}

function curlCall(of: Interface, it: FlowLogProperties, origin: string): string {
  return [
    `curl -X POST ${origin}/cloudapi/v6${of.path}/flowlogs`,
    '  -H "Authorization: Bearer $WEIR_TOKEN" -H \'Content-Type: application/json\'',
    `  -d ${shellWord(JSON.stringify({ properties: it }))}`,
  ].join(' \\\n')
}

const ID_NAMES: Record<string, string> = {
  datacenters: 'datacenterId',
  servers: 'serverId',
  nics: 'nicId',
  natgateways: 'natGatewayId',
  networkloadbalancers: 'networkLoadBalancerId',
  applicationloadbalancers: 'applicationLoadBalancerId',
}

/** `/datacenters/X/servers/Y` → { datacenterId: X, serverId: Y }. */
function idsOf({ path }: Interface): Record<string, string> {
  const parts = path.split('/').slice(1)
  const ids: Record<string, string> = {}
  for (let at = 0; at + 1 < parts.length; at += 2) ids[ID_NAMES[parts[at]!]!] = parts[at + 1]!
  return ids
}

function quoted(text: string): string {
  return JSON.stringify(text).replace(/[$%](?=\{)/g, '$&$&') // HCL would take it for a template.
}

function identifier(text: string): string {
  const word = text.replace(/[^A-Za-z0-9_-]/g, '_')
  return /^[A-Za-z_]/.test(word) ? word : `_${word}`
}
