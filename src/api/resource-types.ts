import { type TSchema, Type } from 'typebox'
import { ACTIONS, DIRECTIONS } from '../model/flow-log.ts'

/**
 * The inventory as a table (CONTRACT, section 6): routes, validation, rendering, filters and the API's
 * description all come from it.
 */
export interface ResourceType {
  /** `type` in the envelope. */
  type: string
  /** What people call it. */
  word: string
  /** Segment of the path that names the collection. */
  collection: string
  /** Name of the id in a path's description. */
  parameter: string
  properties: Record<string, TSchema>
  /** Must be given at creation. */
  required: readonly string[]
  /** May be repeated in a change, but not changed. */
  immutable: readonly string[]
  /** Set by Weir alone; ignored in a change. */
  readOnly: readonly string[]
  /** Kept by a PUT that does not mention them: what Weir added or made up. */
  kept: readonly string[]
  /** Collections below this type that have a path of their own. */
  children: readonly ResourceTypeName[]
  /** What `entities` shows; those that are no children stay empty, for clients that walk them. */
  entities: readonly string[]
}

export type ResourceTypeName =
  | 'datacenter'
  | 'server'
  | 'nic'
  | 'lan'
  | 'natgateway'
  | 'networkloadbalancer'
  | 'applicationloadbalancer'
  | 'flow-log'

const text = Type.String({ maxLength: 1000 })
const name = Type.String({ maxLength: 1000, examples: ['web'] })
const flag = Type.Boolean()
const whole = Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1 })
const texts = Type.Array(text, { maxItems: 1000 })

/** A union of types in one schema: Ajv's message names the attribute, not the branches of an `anyOf`. */
function nullable(schema: TSchema): TSchema {
  return Type.Unsafe<unknown>({ ...schema, type: [(schema as { type?: string }).type, 'null'] })
}

function oneOf(...values: string[]): TSchema {
  return Type.Unsafe<string>({ type: 'string', enum: values })
}

const uuid = Type.Unsafe<string>({ type: 'string', pattern: '^[0-9A-Fa-f-]{36}$' })
const mac = Type.Unsafe<string>({ type: 'string', pattern: '^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$' })
const reference = nullable(Type.Object({ id: text }, { additionalProperties: true }))

/** Weir's own: which device this interface is (docs/reference/api.md). */
const binding = nullable(
  Type.Object(
    {
      host: Type.Optional(Type.String({ minLength: 1, maxLength: 253 })),
      netns: Type.Optional(Type.Unsafe<string>({ type: 'string', pattern: '^[^/\\s]{1,255}$' })),
      device: Type.Optional(Type.Unsafe<string>({ type: 'string', pattern: '^[^/\\s]{1,15}$' })),
      side: oneOf('guest', 'own'),
      mac: Type.Optional(mac),
    },
    { additionalProperties: false, description: "Weir's own, for the operator: which device this is" },
  ),
)

const loadBalancer = {
  name,
  listenerLan: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, examples: [1] }),
  ips: nullable(texts),
  targetLan: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, examples: [2] }),
  lbPrivateIps: nullable(texts),
  centralLogging: flag,
  loggingFormat: nullable(text),
  binding,
}

export const RESOURCE_TYPES: Record<ResourceTypeName, ResourceType> = {
  datacenter: {
    type: 'datacenter',
    word: 'data center',
    collection: 'datacenters',
    parameter: 'datacenterId',
    properties: {
      name,
      description: nullable(text),
      location: Type.String({ maxLength: 1000, examples: ['rack-7'] }),
      version: whole,
      features: texts,
      secAuthProtection: flag,
      cpuArchitecture: Type.Array(Type.Object({}, { additionalProperties: true })),
      ipv6CidrBlock: nullable(text),
      gpuArchitecture: Type.Array(Type.Object({}, { additionalProperties: true })),
      defaultSecurityGroupId: nullable(text),
      createDefaultSecurityGroup: nullable(flag),
    },
    required: ['location'],
    immutable: ['location'],
    readOnly: ['version', 'features', 'cpuArchitecture', 'gpuArchitecture'],
    kept: [],
    children: ['server', 'lan', 'networkloadbalancer', 'natgateway', 'applicationloadbalancer'],
    entities: ['servers', 'volumes', 'loadbalancers', 'lans', 'networkloadbalancers', 'natgateways'],
  },
  server: {
    type: 'server',
    word: 'server',
    collection: 'servers',
    parameter: 'serverId',
    properties: {
      name,
      hostname: text,
      templateUuid: nullable(uuid),
      cores: Type.Integer({ minimum: 1, maximum: 100_000, examples: [2] }),
      ram: Type.Integer({ minimum: 256, maximum: 2 ** 31 - 1, multipleOf: 256, examples: [4096] }),
      availabilityZone: oneOf('AUTO', 'ZONE_1', 'ZONE_2'),
      vmState: text,
      bootCdrom: reference,
      bootVolume: reference,
      cpuFamily: nullable(text),
      type: oneOf('ENTERPRISE', 'CUBE', 'VCPU', 'GPU'),
      placementGroupId: nullable(text),
      nicMultiQueue: nullable(flag),
      enabledFeatures: nullable(texts),
    },
    required: [], // `cores` and `ram`, but not of Cubes: see missingOf.
    immutable: ['templateUuid', 'type'],
    readOnly: ['vmState'],
    kept: ['hostname', 'availabilityZone', 'type', 'templateUuid'],
    children: ['nic'],
    entities: ['cdroms', 'volumes', 'nics'],
  },
  nic: {
    type: 'nic',
    word: 'NIC',
    collection: 'nics',
    parameter: 'nicId',
    properties: {
      name,
      mac,
      ips: nullable(texts),
      dhcp: flag,
      lan: Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1, examples: [1] }),
      firewallActive: flag,
      firewallType: oneOf('INGRESS', 'EGRESS', 'BIDIRECTIONAL'),
      deviceNumber: whole,
      pciSlot: whole,
      vnet: nullable(text),
      ipv6Ips: nullable(texts),
      ipv6CidrBlock: nullable(text),
      dhcpv6: nullable(flag),
      binding,
    },
    required: ['lan'],
    immutable: [],
    readOnly: ['deviceNumber', 'pciSlot'],
    kept: ['mac', 'binding'],
    children: ['flow-log'],
    entities: ['flowlogs', 'firewallrules'],
  },
  lan: {
    type: 'lan',
    word: 'LAN',
    collection: 'lans',
    parameter: 'lanId',
    properties: {
      name,
      public: flag,
      pcc: nullable(text),
      ipFailover: nullable(Type.Array(Type.Object({}, { additionalProperties: true }))),
      ipv4CidrBlock: nullable(text),
      ipv6CidrBlock: nullable(text),
    },
    required: [],
    immutable: [],
    readOnly: ['ipv4CidrBlock'],
    kept: [],
    children: [],
    entities: ['nics'],
  },
  natgateway: {
    type: 'natgateway',
    word: 'NAT gateway',
    collection: 'natgateways',
    parameter: 'natGatewayId',
    properties: {
      name,
      publicIps: Type.Array(text, { maxItems: 1000, examples: [['203.0.113.7']] }),
      lans: Type.Array(
        Type.Object(
          { id: whole, gatewayIps: Type.Optional(nullable(texts)) },
          { additionalProperties: false },
        ),
      ),
      binding,
    },
    required: ['name', 'publicIps'],
    immutable: [],
    readOnly: [],
    kept: ['binding'],
    children: ['flow-log'],
    entities: ['rules', 'flowlogs'],
  },
  networkloadbalancer: {
    type: 'networkloadbalancer',
    word: 'network load balancer',
    collection: 'networkloadbalancers',
    parameter: 'networkLoadBalancerId',
    properties: loadBalancer,
    required: ['name', 'listenerLan', 'targetLan'],
    immutable: [],
    readOnly: [],
    kept: ['binding'],
    children: ['flow-log'],
    entities: ['forwardingrules', 'flowlogs'],
  },
  applicationloadbalancer: {
    type: 'applicationloadbalancer',
    word: 'application load balancer',
    collection: 'applicationloadbalancers',
    parameter: 'applicationLoadBalancerId',
    properties: loadBalancer,
    required: ['name', 'listenerLan', 'targetLan'],
    immutable: [],
    readOnly: [],
    kept: ['binding'],
    children: ['flow-log'],
    entities: ['forwardingrules'], // Flow logs have a path, but are not in the tree: so says the contract.
  },
  'flow-log': {
    type: 'flow-log',
    word: 'flow log',
    collection: 'flowlogs',
    parameter: 'flowLogId',
    properties: {
      name: Type.String({ minLength: 1, maxLength: 1000, examples: ['web'] }),
      action: Type.Unsafe<string>({
        type: 'string',
        enum: [...ACTIONS],
        description: 'Which packets: those that the firewall let through, those that it refused, or all',
        examples: ['ALL'],
      }),
      direction: Type.Unsafe<string>({
        type: 'string',
        enum: [...DIRECTIONS],
        description: 'Seen from the interface',
        examples: ['BIDIRECTIONAL'],
      }),
      bucket: Type.String({
        minLength: 1,
        maxLength: 1000,
        description: 'A bucket of the contract, with a prefix for the names of objects if wanted',
        examples: ['flowlogs/web'],
      }),
    },
    required: ['name', 'action', 'direction', 'bucket'],
    immutable: ['action', 'direction', 'bucket'],
    readOnly: [],
    kept: [],
    children: [],
    entities: [],
  },
}

export function typeNamed(type: string): ResourceType {
  const found = RESOURCE_TYPES[type as ResourceTypeName]
  if (found === undefined) throw new Error(`'${type}' is not a resource type`)
  return found
}

/** The type of the children that a collection of this type holds, if they are Weir's. */
export function childOf(parent: ResourceType, collection: string): ResourceType | undefined {
  return parent.children.map((it) => RESOURCE_TYPES[it]).find((it) => it.collection === collection)
}

/** Values of an enum attribute, undefined when it is none. */
export function enumOf(type: ResourceType, name: string): readonly string[] | undefined {
  return (type.properties[name] as { enum?: readonly string[] } | undefined)?.enum
}

/** What every new resource of a type has until somebody says otherwise. */
export const DEFAULTS: Partial<Record<ResourceTypeName, Record<string, unknown>>> = {
  datacenter: {
    name: 'Unnamed data center',
    description: null,
    secAuthProtection: false,
    ipv6CidrBlock: null,
    features: ['flow-logs', 'vnf-nat', 'vnf-lb', 'vnf-alb'],
    cpuArchitecture: [],
  },
  server: { name: 'Unnamed server', availabilityZone: 'AUTO', type: 'ENTERPRISE', vmState: 'RUNNING' },
  nic: { name: 'Unnamed NIC', ips: [], dhcp: true, firewallActive: false, firewallType: 'INGRESS' },
  lan: {
    name: 'Unnamed LAN',
    public: false,
    pcc: null,
    ipFailover: [],
    ipv4CidrBlock: null,
    ipv6CidrBlock: null,
  },
  natgateway: { lans: [] },
  networkloadbalancer: { ips: [], lbPrivateIps: [], centralLogging: false, loggingFormat: null },
  applicationloadbalancer: { ips: [], lbPrivateIps: [], centralLogging: false, loggingFormat: null },
}
