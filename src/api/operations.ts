import type { TSchema } from 'typebox'
import { childOf, RESOURCE_TYPES, type ResourceType } from './resource-types.ts'
import type { RouteRow } from './route-table.ts'
import { ANSWERS, schemaName } from './schemas/answers.ts'
import { itemsOf, ref } from './schemas/types.ts'

/** What the API's description says of a route beyond the schemas that its requests are checked with. */
export interface Operation {
  tag: Tag
  summary: string
  /** Of success; 200 when nothing is said. */
  status?: number
  /** Absent where there is no body. */
  answer?: TSchema
  /** Bodies that are no JSON. */
  mediaTypes?: readonly string[]
  /** The query parameters that go with it. */
  query?: 'item' | 'list'
  /** Answers 304 to whoever names what has not changed since. */
  isCached?: true
  /** Whose credentials it takes: a user's, unless something else is said. */
  caller?: 'agent' | 'anybody'
}

export const TAGS = {
  'Flow logs': 'One per NIC, gateway or load balancer.',
  Inventory: 'What flow logs hang on.',
  Requests: 'Every change is a request, which clients poll.',
  'Users and groups': 'For the owner and the administrators of a contract.',
  Contract: 'Whose all this is, and who is asking.',
  Delivery: 'What was captured and has arrived, and the buckets it arrives in.',
  Explore: 'Questions about flows (docs/reference/explore.md).',
  Operator: 'For the operator of the installation.',
  Agents: 'The agent protocol (docs/reference/agent-protocol.md), with the token of a host.',
} as const
type Tag = keyof typeof TAGS

const api = '/cloudapi/v6'
const users = `${api}/um/users`
const groups = `${api}/um/groups`
const sharables = `${api}/um/resources`
const done = { status: 202 } as const
const made = { status: 201 } as const
const gone = { status: 204 } as const

function um(summary: string, more: Omit<Operation, 'tag' | 'summary'>): Operation {
  return { tag: 'Users and groups', summary, ...more }
}

const MEMBERS: Record<string, Operation> = {
  [`GET ${users}`]: um('List users', { answer: ref('Users'), query: 'list' }),
  [`POST ${users}`]: um('Create a user', { ...done, answer: ref('User') }),
  [`GET ${users}/:userId`]: um('Get a user', { answer: ref('User'), query: 'item' }),
  [`PUT ${users}/:userId`]: um('Replace a user', { ...done, answer: ref('User') }),
  [`DELETE ${users}/:userId`]: um('Remove a user from the contract', done),
  [`GET ${groups}`]: um('List groups', { answer: ref('Groups'), query: 'list' }),
  [`POST ${groups}`]: um('Create a group', { ...done, answer: ref('Group') }),
  [`GET ${groups}/:groupId`]: um('Get a group', { answer: ref('Group'), query: 'item' }),
  [`PUT ${groups}/:groupId`]: um('Replace a group', { ...done, answer: ref('Group') }),
  [`DELETE ${groups}/:groupId`]: um('Delete a group', done),
  [`GET ${groups}/:groupId/users`]: um('List who is in a group', { answer: ref('Users'), query: 'list' }),
  [`POST ${groups}/:groupId/users`]: um('Add a user to a group', { ...done, answer: ref('User') }),
  [`DELETE ${groups}/:groupId/users/:userId`]: um('Take a user out of a group', done),
  [`GET ${groups}/:groupId/shares`]: um('List what a group may see', {
    answer: ref('Shares'),
    query: 'list',
  }),
  [`GET ${groups}/:groupId/resources`]: um('List the data centers that a group may see', {
    answer: ref('Sharables'),
    query: 'list',
  }),
  [`GET ${sharables}`]: um('List what can be shared', { answer: ref('Sharables'), query: 'list' }),
  [`GET ${sharables}/:resourceType`]: um('List what can be shared, of a type', {
    answer: ref('Sharables'),
    query: 'list',
  }),
  [`GET ${sharables}/:resourceType/:resourceId`]: um('Get what can be shared', {
    answer: ref('Sharable'),
    query: 'item',
  }),
  [`GET ${groups}/:groupId/shares/:resourceId`]: um('Get a share', { answer: ref('Share'), query: 'item' }),
  [`POST ${groups}/:groupId/shares/:resourceId`]: um('Share a data center', {
    ...done,
    answer: ref('Share'),
  }),
  [`PUT ${groups}/:groupId/shares/:resourceId`]: um('Change a share', { ...done, answer: ref('Share') }),
  [`DELETE ${groups}/:groupId/shares/:resourceId`]: um('End a share', done),
}

const CONTRACT: Record<string, Operation> = {
  [`GET ${api}`]: { tag: 'Contract', summary: 'Say what this is', answer: ANSWERS.api },
  [`GET ${api}/contracts`]: { tag: 'Contract', summary: 'Get the contract', answer: ref('Contracts') },
  'GET /auth/v1/tokens/generate': { tag: 'Contract', summary: 'Make a token', answer: ANSWERS.token },
  'GET /auth/v1/tokens': { tag: 'Contract', summary: 'List own tokens', answer: ANSWERS.tokens },
  'DELETE /auth/v1/tokens/:tokenId': {
    tag: 'Contract',
    summary: 'Revoke a token',
    answer: ANSWERS.success,
  },
  'GET /weir/v1/audit': { tag: 'Contract', summary: 'Read the audit log', answer: ANSWERS.audit },
  'POST /weir/v1/session': {
    ...made,
    tag: 'Contract',
    summary: 'Sign in to the console',
    answer: ref('Session'),
    caller: 'anybody',
  },
  'GET /weir/v1/session': { tag: 'Contract', summary: 'Say who is asking', answer: ref('Session') },
  'PUT /weir/v1/session': {
    tag: 'Contract',
    summary: 'Go to another contract in the console',
    answer: ref('Session'),
  },
  'DELETE /weir/v1/session': { ...gone, tag: 'Contract', summary: 'Sign out of the console' },
  'GET /openapi.json': { tag: 'Contract', summary: 'Get this description' },
  [`GET ${api}/requests`]: {
    tag: 'Requests',
    summary: 'List requests',
    answer: ref('Requests'),
    query: 'list',
  },
  [`GET ${api}/requests/:requestId`]: {
    tag: 'Requests',
    summary: 'Get a request',
    answer: ref('Request'),
    query: 'item',
  },
  [`GET ${api}/requests/:requestId/status`]: {
    tag: 'Requests',
    summary: 'Get the state of a request',
    answer: ref('RequestStatus'),
    query: 'item',
  },
}

const DELIVERY: Record<string, Operation> = {
  'GET /weir/v1/status': {
    tag: 'Delivery',
    summary: 'Show agents, flow logs and buckets',
    answer: ref('Status'),
  },
  'GET /weir/v1/flowlogs': {
    tag: 'Delivery',
    summary: 'Show the delivery of all flow logs',
    answer: itemsOf(ref('FlowLogDelivery')),
    isCached: true,
  },
  'GET /weir/v1/flowlogs/:flowLogId': {
    tag: 'Delivery',
    summary: 'Show the delivery of a flow log',
    answer: ref('FlowLogDelivery'),
  },
  'GET /weir/v1/inventory': {
    tag: 'Delivery',
    summary: 'Show all that can have a flow log',
    answer: itemsOf(ref('InterfacesOfDatacenter')),
    isCached: true,
  },
  'GET /weir/v1/buckets': { tag: 'Delivery', summary: 'List buckets', answer: itemsOf(ref('Bucket')) },
  'POST /weir/v1/buckets': {
    ...made,
    tag: 'Delivery',
    summary: 'Make a bucket in the embedded store',
    answer: ref('Bucket'),
  },
  'GET /weir/v1/buckets/:name/lifecycle': {
    tag: 'Delivery',
    summary: 'Show how long objects are kept',
    answer: ANSWERS.rules,
  },
  'POST /weir/v1/buckets/:name/lifecycle': {
    tag: 'Delivery',
    summary: 'Say how long objects are kept',
    answer: ANSWERS.rules,
  },
  'POST /weir/v1/buckets/:name/retry': {
    tag: 'Delivery',
    summary: 'Try the delivery to a bucket again, now',
    answer: ANSWERS.retried,
  },
  'GET /weir/v1/objects': { tag: 'Delivery', summary: 'List objects', answer: ANSWERS.objects },
  'GET /weir/v1/objects/content': {
    tag: 'Delivery',
    summary: 'Get an object',
    mediaTypes: ['application/gzip'],
  },
  'POST /weir/v1/explore': { tag: 'Explore', summary: 'Ask a question', answer: ANSWERS.explored },
  'GET /weir/v1/explore/export': {
    tag: 'Explore',
    summary: 'Download the rows of an answer',
    mediaTypes: ['text/csv', 'application/json', 'application/vnd.apache.parquet'],
  },
  'GET /weir/v1/explore/progress': {
    tag: 'Explore',
    summary: 'Say how far a question is',
    answer: ANSWERS.progress,
  },
  'GET /weir/v1/explore/fields': {
    tag: 'Explore',
    summary: 'List fields, dimensions and metrics',
    answer: ANSWERS.fields,
  },
  'POST /weir/v1/explore/filter': {
    tag: 'Explore',
    summary: 'Check and complete a filter',
    answer: ANSWERS.filter,
  },
}

const OPERATOR: Record<string, Operation> = {
  'GET /healthz': {
    tag: 'Operator',
    summary: 'Say that the server serves',
    answer: ANSWERS.health,
    caller: 'anybody',
  },
  'GET /metrics': { tag: 'Operator', summary: 'Get metrics for Prometheus', mediaTypes: ['text/plain'] },
  'GET /weir/v1/contracts': { tag: 'Operator', summary: 'List contracts', answer: ANSWERS.contracts },
  'POST /weir/v1/contracts': {
    ...made,
    tag: 'Operator',
    summary: 'Make a contract with its owner',
    answer: ANSWERS.contract,
  },
  'POST /weir/v1/enrolments': {
    ...made,
    tag: 'Operator',
    summary: 'Make a code that enrols an agent',
    answer: ANSWERS.enrolment,
  },
  'DELETE /weir/v1/agents/:host': { ...gone, tag: 'Operator', summary: 'Shut out the agent of a host' },
  'GET /weir/v1/registrations': {
    tag: 'Operator',
    summary: 'List whose buckets are whose',
    answer: ANSWERS.registrations,
  },
  'POST /weir/v1/registrations': {
    ...made,
    tag: 'Operator',
    summary: 'Say that a bucket is of the contract',
    answer: ANSWERS.registration,
  },
  'DELETE /weir/v1/registrations/:name': {
    ...gone,
    tag: 'Operator',
    summary: 'Take back whose a bucket is',
  },
}

const AGENTS: Record<string, Operation> = {
  'POST /agent/v1/enroll': {
    ...made,
    tag: 'Agents',
    summary: 'Get a token for a code',
    answer: ANSWERS.enrolled,
    caller: 'anybody',
  },
  'GET /agent/v1/assignments': {
    tag: 'Agents',
    summary: 'Wait for assignments',
    answer: ANSWERS.assignments,
    caller: 'agent',
  },
  'POST /agent/v1/report': {
    ...gone,
    tag: 'Agents',
    summary: 'Say what is attached, and how one is',
    caller: 'agent',
  },
  'POST /agent/v1/live': {
    tag: 'Agents',
    summary: 'Tell flows that are watched live',
    answer: ANSWERS.live,
    caller: 'agent',
  },
  'POST /agent/v1/uploads': {
    tag: 'Agents',
    summary: 'Ask for signed uploads',
    answer: ANSWERS.uploads,
    caller: 'agent',
  },
  'POST /agent/v1/uploads/acknowledge': {
    tag: 'Agents',
    summary: 'Say what was uploaded',
    answer: ANSWERS.acknowledgements,
    caller: 'agent',
  },
  'PUT /buckets/*': {
    ...made,
    tag: 'Agents',
    summary: 'Upload to the embedded store, as it was signed',
    caller: 'anybody',
  },
}

/** A test says which routes are missing here. */
export const OPERATIONS: Record<string, Operation> = {
  ...MEMBERS,
  ...CONTRACT,
  ...DELIVERY,
  ...OPERATOR,
  ...AGENTS,
}

export function operationFor({ method, url }: RouteRow): Operation | undefined {
  return OPERATIONS[`${method} ${url}`] ?? inventoryOperation(method, url)
}

/** The type of what an inventory route is about: the path says it. */
export function typeOfPath(url: string): ResourceType | undefined {
  if (!url.startsWith(`${api}/datacenters`)) return undefined
  const collection = url
    .split('/')
    .filter((part) => !part.startsWith(':'))
    .at(-1)
  return Object.values(RESOURCE_TYPES).find((it) => it.collection === collection)
}

function inventoryOperation(method: string, url: string): Operation | undefined {
  const type = typeOfPath(url)
  if (type === undefined) return method === 'GET' ? emptyCollection(url) : undefined
  const { word } = type
  const tag = type.type === 'flow-log' ? 'Flow logs' : 'Inventory'
  const name = schemaName(type.type)
  const isList = url.endsWith(`/${type.collection}`)
  const of = parentWords(url)
  if (method === 'GET' && isList) {
    return { tag, summary: `List ${word}s${of}`, answer: ref(`${name}s`), query: 'list' }
  }
  if (method === 'GET') return { tag, summary: `Get a ${word}${of}`, answer: ref(name), query: 'item' }
  if (method === 'DELETE') return { ...done, tag, summary: `Delete a ${word}${of}` }
  const verb = { POST: 'Create', PATCH: 'Change', PUT: 'Replace' }[method]
  return { ...done, tag, summary: `${verb} a ${word}${of}`, answer: ref(name) }
}

/** What Weir keeps nothing in. */
function emptyCollection(url: string): Operation | undefined {
  const name = url.slice(url.lastIndexOf('/') + 1)
  const isKnown = Object.values(RESOURCE_TYPES).some((it) => it.entities.includes(name))
  if (!isKnown || !url.startsWith(`${api}/datacenters/`)) return undefined
  return {
    tag: 'Inventory',
    summary: `List ${name}${parentWords(url)}: there are none`,
    answer: ref('Unused'),
    query: 'list',
  }
}

/** Where the same kind of thing hangs on several others. */
function parentWords(url: string): string {
  const [last = '', above = ''] = url
    .split('/')
    .filter((part) => !part.startsWith(':'))
    .toReversed()
  const types = Object.values(RESOURCE_TYPES)
  const parent = types.find((it) => it.collection === above)
  const parents = types.filter((it) => it.entities.includes(last) || childOf(it, last) !== undefined)
  return parent === undefined || parents.length === 1 ? '' : ` of a ${parent.word}`
}
