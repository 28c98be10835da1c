import { type TSchema, Type } from 'typebox'
import { PRIVILEGES } from '../privileges.ts'
import { RESOURCE_TYPES, type ResourceType } from '../resource-types.ts'
import { AGENT_ANSWERS } from './agent-answers.ts'
import { healthProperties } from './agent-bodies.ts'
import { EXPLORE_ANSWERS } from './explore-answers.ts'
import {
  closed,
  constant,
  count,
  flag,
  itemsOf,
  oneOf,
  optional,
  ref,
  type Schemas,
  someObject,
  text,
  textOrNull,
  time,
  timeOrNull,
  uri,
} from './types.ts'

// What answers look like. Nothing is serialised by these: the contract tests check every answer against them.

/** `flow-log` → `FlowLog`. */
export function schemaName(type: string): string {
  return type.replace(/(^|-)(\w)/g, (_, __, letter: string) => letter.toUpperCase())
}

const etag = Type.Unsafe<string>({ type: 'string', pattern: '^[0-9a-f]{32}$' })

const links = closed({ self: uri, prev: Type.Optional(uri), next: Type.Optional(uri) })

/** A collection: without `items` where the depth does not go so far, without the rest where it is part of a tree. */
function collectionOf(item: TSchema): TSchema {
  const frame = { id: text, type: constant('collection'), href: uri }
  const page = { items: Type.Array(item), offset: count, limit: count, _links: links }
  return closed({ ...frame, ...optional(page) })
}

/** A reference has neither metadata nor properties; the answer to a change has no entities. */
function resource(type: ResourceType): TSchema {
  const entities = type.entities.map((name) => {
    const child = Object.values(RESOURCE_TYPES).find((it) => it.collection === name)
    return [name, child === undefined ? ref('Unused') : ref(`${schemaName(child.type)}s`)] as const
  })
  return closed({
    id: text,
    type: constant(type.type),
    href: uri,
    metadata: Type.Optional(ref('Metadata')),
    properties: Type.Optional(closed(optional(type.properties))),
    ...(entities.length === 0 ? {} : { entities: Type.Optional(closed(Object.fromEntries(entities))) }),
  })
}

function inventorySchemas(): Schemas {
  const schemas: Schemas = {}
  for (const type of Object.values(RESOURCE_TYPES)) {
    const name = schemaName(type.type)
    schemas[name] = resource(type)
    schemas[`${name}s`] = collectionOf(ref(name))
  }
  return schemas
}

const member = (type: string, properties: Record<string, TSchema>, more: Record<string, TSchema> = {}) =>
  closed({
    id: text,
    type: constant(type),
    href: uri,
    properties: Type.Optional(closed(properties)),
    ...optional(more),
  })

const requestStatus = {
  status: oneOf('QUEUED', 'RUNNING', 'DONE', 'FAILED'),
  message: text,
  etag,
}

const requestSchemas: Schemas = {
  Request: member(
    'request',
    { method: text, headers: Type.Record(text, text), body: text, url: text },
    {
      metadata: closed({
        createdDate: time,
        createdBy: text,
        etag,
        requestStatus: closed({
          id: text,
          type: constant('request-status'),
          href: uri,
          metadata: closed(requestStatus),
        }),
      }),
    },
  ),
  Requests: collectionOf(ref('Request')),
  RequestStatus: closed({
    id: text,
    type: constant('request-status'),
    href: uri,
    metadata: closed({
      ...requestStatus,
      targets: Type.Array(
        closed({ target: closed({ id: text, type: text, href: uri }), status: requestStatus.status }),
      ),
    }),
  }),
}

const userSchemas: Schemas = {
  User: member(
    'user',
    {
      firstname: text,
      lastname: text,
      email: text,
      administrator: flag,
      forceSecAuth: flag,
      secAuthActive: flag,
      active: flag,
    },
    { metadata: closed({ etag, createdDate: time }) },
  ),
  Users: collectionOf(ref('User')),
  Group: member(
    'group',
    { name: text, ...Object.fromEntries(PRIVILEGES.map((it) => [it, flag])) },
    { entities: closed({ users: ref('Users'), resources: ref('Sharables'), shares: ref('Shares') }) },
  ),
  Groups: collectionOf(ref('Group')),
  Share: member('resource', { editPrivilege: flag, sharePrivilege: flag }),
  Shares: collectionOf(ref('Share')),
  Sharable: member('datacenter', { name: text, secAuthProtection: flag }, { metadata: ref('Metadata') }),
  Sharables: collectionOf(ref('Sharable')),
}

const point = {
  flowLogId: text,
  state: oneOf('attached', 'waiting', 'failed'),
  device: textOrNull,
  message: textOrNull,
  live: flag,
}

const deliverySchemas: Schemas = {
  FlowLogDelivery: closed({
    id: text,
    interfaceId: text,
    contractNumber: count,
    bucket: text,
    prefix: text,
    host: textOrNull,
    delivery: closed({
      status: oneOf(
        'capturing',
        'host does not report',
        'waiting for an interface',
        'cannot be attached',
        'delivery fails',
      ),
      points: Type.Array(closed({ host: text, ...point })),
      objects: count,
      bytes: count,
      records: count,
      lastObject: textOrNull,
      lastDeliveredAt: timeOrNull,
      pendingSegments: count,
      pendingBytes: count,
      oldestPendingWindow: timeOrNull,
      lastError: textOrNull,
      lastErrorAt: timeOrNull,
    }),
    checkedAt: Type.Optional(time),
  }),
  Status: closed({
    windowSizeS: count,
    agents: Type.Array(
      closed({
        host: text,
        live: flag,
        twin: flag,
        lastSeenAt: timeOrNull,
        agentVersion: textOrNull,
        startedAt: textOrNull,
        points: Type.Array(closed(point)),
        health: Type.Unsafe<unknown>({
          ...Type.Object(optional(healthProperties)),
          type: ['object', 'null'],
        }),
      }),
    ),
    flowLogs: Type.Array(ref('FlowLogDelivery')),
    buckets: Type.Array(
      closed({
        bucket: text,
        lastDeliveredAt: timeOrNull,
        oldestPendingWindow: timeOrNull,
        lastError: textOrNull,
        lastErrorAt: timeOrNull,
      }),
    ),
  }),
  Bucket: closed({ name: text, exists: flag, registered: flag }),
  InterfacesOfDatacenter: closed({
    id: text,
    name: text,
    location: text,
    servers: Type.Array(closed({ id: text, name: text, nics: Type.Array(ref('Interface')) })),
    gateways: Type.Array(ref('Interface')),
  }),
  Interface: closed({
    id: text,
    type: oneOf('nic', 'natgateway', 'networkloadbalancer', 'applicationloadbalancer'),
    name: text,
    addresses: Type.Array(text),
    mac: Type.Optional(text),
    binding: Type.Optional(RESOURCE_TYPES.nic.properties['binding']!),
    flowLog: Type.Optional(
      closed({
        id: text,
        state: oneOf('AVAILABLE', 'BUSY', 'INACTIVE'),
        properties: closed(RESOURCE_TYPES['flow-log'].properties),
      }),
    ),
  }),
}

const METADATA = closed({
  etag,
  createdDate: time,
  createdBy: text,
  createdByUserId: text,
  lastModifiedDate: time,
  lastModifiedBy: text,
  lastModifiedByUserId: text,
  state: oneOf('AVAILABLE', 'BUSY', 'INACTIVE'),
})

const role = oneOf('owner', 'admin', 'member')

/** All that operations refer to by name. */
export const SCHEMAS: Schemas = {
  ...inventorySchemas(),
  ...requestSchemas,
  ...userSchemas,
  ...deliverySchemas,
  Metadata: METADATA,
  Unused: collectionOf(someObject),
  Contracts: closed({
    id: text,
    type: constant('collection'),
    href: uri,
    items: Type.Array(
      closed({
        type: constant('contract'),
        href: uri,
        properties: closed({
          contractNumber: count,
          owner: textOrNull,
          status: text,
          regDomain: text,
          resourceLimits: Type.Object({}),
        }),
      }),
    ),
  }),
  Session: closed({
    email: text,
    contractNumber: count,
    role,
    operator: flag,
    contracts: Type.Array(closed({ contractNumber: count, name: text, role })),
    windowSizeS: count,
  }),
  Error: closed({
    httpStatus: count,
    messages: Type.Array(closed({ errorCode: text, message: text })),
  }),
}

/** Answers that one operation alone gives. */
export const ANSWERS = {
  api: closed({ href: uri, name: text, version: text }),
  health: closed({ status: constant('ok') }),
  token: closed({ token: text }),
  tokens: closed({
    tokens: Type.Array(
      closed({ id: text, purpose: text, createdDate: time, expirationDate: timeOrNull, href: uri }),
    ),
  }),
  success: closed({ success: flag }),
  audit: itemsOf(
    closed({
      at: time,
      contractNumber: count,
      userId: text,
      email: text,
      address: text,
      method: text,
      path: text,
      status: count,
      requestId: textOrNull,
    }),
  ),
  rules: itemsOf(closed({ prefix: text, days: count })),
  retried: closed({ name: text, hosts: Type.Array(text) }),
  objects: itemsOf(closed({ bucket: text, name: text, size: count, modifiedAt: time }), {
    next: Type.Optional(text),
  }),
  contracts: itemsOf(closed({ contractNumber: count, name: text, owner: textOrNull, createdAt: time })),
  contract: closed({ contractNumber: count, name: text, owner: text }),
  enrolment: closed({ host: text, code: text, expiresAt: time }),
  registrations: itemsOf(closed({ name: text, contractNumber: count, createdAt: time, createdBy: text })),
  registration: closed({ name: text, contractNumber: count }),
  enrolled: closed({ host: text, token: text }),
  ...AGENT_ANSWERS,
  ...EXPLORE_ANSWERS,
} as const satisfies Schemas
