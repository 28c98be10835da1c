import { randomBytes, randomInt } from 'node:crypto'
import { WeirError } from '../model/errors.ts'
import {
  addMember,
  contractNumbers,
  createContract,
  createUser,
  findToken,
  findUserByEmail,
  issueToken,
  membershipsOf,
  revokeTokens,
  setPassword,
} from '../store/accounts.ts'
import { renewAgentToken } from '../store/agents.ts'
import { insertResource, listResources } from '../store/resources.ts'
import type { ResourceRow } from '../store/schema.ts'
import { passwordMatches } from '../store/secrets.ts'
import type { Change, Store } from '../store/store.ts'
import type { BucketStore } from './bucket-store.ts'
import { propertiesOf } from './render.ts'
import { DEFAULTS } from './resource-types.ts'
import { makeBucket } from './routes/weir.ts'

export interface BootstrapOptions {
  hostname: string
  interfaces: { device: string; mac?: string; ips?: string[]; netns?: string }[]
  cores?: number
  /** Of the machine, in MiB. */
  ram?: number
  bucket?: string
  /** What an earlier bootstrap returned; kept as long as it opens something. */
  credentials?: { username: string; password: string; token: string }
}

export interface Bootstrapped {
  contractNumber: number
  username: string
  password: string
  token: string
  /** New with every bootstrap; the one before stops to work. */
  agentToken: string
  datacenterId: string
  serverId: string
  bucket: string
  nics: { id: string; name: string; device: string; netns?: string; path: string }[]
}

const OWNER_EMAIL = 'owner@localhost'
const PURPOSE = 'bootstrap'

/** The first contract with its owner, a bucket, and a data center to put things into. */
export type FirstContract = Pick<
  Bootstrapped,
  'contractNumber' | 'username' | 'password' | 'token' | 'datacenterId' | 'bucket'
>

/**
 * Makes what one machine needs to begin with: a contract with an owner, an inventory of the machine, a bucket, a token
 * for the agent in the same process. Made once; what is there already is kept, and only what is new on the machine is
 * added.
 */
export async function bootstrap(
  options: BootstrapOptions,
  dependencies: { store: Store; buckets: BucketStore },
): Promise<Bootstrapped> {
  const { hostname: host } = options
  const owner = await ensureOwner(dependencies.store, options.credentials)
  const bucket = await ensureBucket(options, owner, dependencies)
  return dependencies.store.change(async (change) => {
    const agentToken = await renewAgentToken(change, { host, purpose: PURPOSE })
    const place = new Place(change, owner)
    const datacenter = await place.ensureDatacenter()
    const server = await place.ensure('server', datacenter, {
      name: host,
      hostname: host,
      cores: options.cores ?? 1,
      ram: Math.max(256, Math.floor((options.ram ?? 256) / 256) * 256),
    })
    const nics = []
    for (const [index, it] of options.interfaces.entries()) {
      const { device, netns } = it
      const name = netns === undefined ? device : `${netns}:${device}`
      const row = await place.ensure('nic', server, nicProperties(host, it, { name, index }))
      nics.push({ id: row.id, name, device, ...(netns === undefined ? {} : { netns }), path: row.path })
    }
    const ids = { datacenterId: datacenter.id, serverId: server.id }
    return { ...credentialsOf(owner), agentToken, ...ids, bucket, nics }
  })
}

/**
 * The same for a control plane whose agents are elsewhere: nothing of this machine is in its inventory, and the agents
 * that were let in stay in.
 */
export async function bootstrapContract(
  options: Pick<BootstrapOptions, 'bucket' | 'credentials'>,
  dependencies: { store: Store; buckets: BucketStore },
): Promise<FirstContract> {
  const owner = await ensureOwner(dependencies.store, options.credentials)
  const bucket = await ensureBucket(options, owner, dependencies)
  const datacenter = await dependencies.store.change((change) => new Place(change, owner).ensureDatacenter())
  return { ...credentialsOf(owner), datacenterId: datacenter.id, bucket }
}

async function ensureBucket(
  { bucket = 'flowlogs' }: Pick<BootstrapOptions, 'bucket'>,
  { email, contractNumber }: Owner,
  { store, buckets }: { store: Store; buckets: BucketStore },
): Promise<string> {
  if (buckets.embedded !== undefined) await makeBucket({ store, buckets }, { contractNumber, email }, bucket)
  return bucket
}

function credentialsOf({ contractNumber, email, password, token }: Owner) {
  return { contractNumber, username: email, password, token }
}

/**
 * For control planes that share a database: the first of them makes the owner and learns the credentials,
 * the others find one and leave it alone. Undefined when the credentials are with another replica.
 */
export async function bootstrapShared(dependencies: {
  store: Store
  buckets: BucketStore
}): Promise<{ contractNumber: number; username: string; password: string; token: string } | undefined> {
  const { store } = dependencies
  if ((await findUserByEmail(store.db, OWNER_EMAIL)) !== undefined) return undefined
  try {
    const owner = await makeOwner(store)
    await ensureBucket({}, owner, dependencies)
    await store.change((change) => new Place(change, owner).ensureDatacenter())
    return credentialsOf(owner)
  } catch (error) {
    if (error instanceof WeirError && error.code === 'WEIR_RESOURCE_EXISTS') return undefined
    throw error
  }
}

function nicProperties(
  host: string,
  { device, mac, ips, netns }: BootstrapOptions['interfaces'][number],
  { name, index }: { name: string; index: number },
): Record<string, unknown> {
  const binding = { host, ...(netns === undefined ? {} : { netns }), device, side: 'own' }
  const numbers = { deviceNumber: index + 1, pciSlot: index + 6 }
  return {
    name,
    ...(mac === undefined ? {} : { mac }),
    ips: ips ?? [],
    dhcp: false,
    lan: 1,
    ...numbers,
    binding,
  }
}

/** Finds resources by name below a parent, or makes them. */
class Place {
  readonly #change: Change
  readonly #author: { userId: string; email: string; contractNumber: number }

  constructor(change: Change, author: { userId: string; email: string; contractNumber: number }) {
    this.#change = change
    this.#author = author
  }

  async ensureDatacenter(): Promise<ResourceRow> {
    const datacenter = await this.ensure('datacenter', undefined, { name: 'local', location: 'local' })
    await this.ensure('lan', datacenter, { name: 'LAN 1' }, '1')
    return datacenter
  }

  async ensure(
    type: 'datacenter' | 'server' | 'nic' | 'lan',
    parent: ResourceRow | undefined,
    properties: Record<string, unknown>,
    number?: string,
  ): Promise<ResourceRow> {
    const { contractNumber } = this.#author
    const parentId = parent?.id ?? ''
    const rows = await listResources(this.#change.tx, { contractNumber, type, parentId })
    const found = rows.find((it) => isSameResource(propertiesOf(it), properties))
    if (found !== undefined) return found
    const id = crypto.randomUUID()
    return insertResource(this.#change, this.#author, {
      id,
      type,
      contractNumber,
      parentId,
      path: `${parent?.path ?? ''}/${type}s/${number ?? id}`,
      properties: { ...DEFAULTS[type], ...properties },
    })
  }
}

/** NICs are known by their device, whatever a person called them since. */
function isSameResource(found: Record<string, unknown>, wanted: Record<string, unknown>): boolean {
  if (wanted['binding'] === undefined) return found['name'] === wanted['name']
  return placeOf(found) === placeOf(wanted)
}

function placeOf(properties: Record<string, unknown>): string {
  const { host, netns, device } = (properties['binding'] ?? {}) as Record<string, unknown>
  return JSON.stringify([host, netns ?? '', device])
}

interface Owner {
  userId: string
  email: string
  contractNumber: number
  password: string
  token: string
}

async function ensureOwner(store: Store, credentials: BootstrapOptions['credentials']): Promise<Owner> {
  const email = credentials?.username ?? OWNER_EMAIL
  const found = (await findUserByEmail(store.db, email)) ?? (await findUserByEmail(store.db, OWNER_EMAIL))
  if (found === undefined) return makeOwner(store)
  const [membership] = await membershipsOf(store.db, found.id)
  const contractNumber = membership?.contractNumber ?? (await makeContract(store, found.id))
  const known = credentials?.username === found.email ? credentials : undefined
  const hash = found.password_hash
  const isRight = known !== undefined && hash !== null && (await passwordMatches(known.password, hash))
  const password = isRight ? known.password : newPassword()
  const holder = known === undefined ? undefined : await findToken(store.db, known.token, store.clock.nowMs())
  const token = await store.change(async (change) => {
    if (!isRight) await setPassword(change, found.id, password)
    if (known !== undefined && holder?.id === found.id) return known.token
    await revokeTokens(change, found.id, PURPOSE) // Nobody has the old one any more.
    return (await issueToken(change, { userId: found.id, contractNumber, purpose: PURPOSE })).token
  })
  return { userId: found.id, email: found.email, contractNumber, password, token }
}

async function makeOwner(store: Store): Promise<Owner> {
  const password = newPassword()
  return store.change(async (change) => {
    const contractNumber = (await contractNumbers(change.tx, 1))[0] ?? (await newContract(change))
    const userId = await createUser(change, {
      email: OWNER_EMAIL,
      passwordHash: null,
      firstName: 'Local',
      lastName: 'Owner',
      operator: true,
      contractNumber,
      role: 'owner',
    })
    await setPassword(change, userId, password)
    const { token } = await issueToken(change, { userId, contractNumber, purpose: PURPOSE })
    return { userId, email: OWNER_EMAIL, contractNumber, password, token }
  })
}

function makeContract(store: Store, userId: string): Promise<number> {
  return store.change(async (change) => {
    const contractNumber = await newContract(change)
    await addMember(change, { contractNumber, userId, role: 'owner' })
    return contractNumber
  })
}

/** Eight digits, as account ids in records have. */
async function newContract(change: Change): Promise<number> {
  const contractNumber = randomInt(10_000_000, 100_000_000)
  await createContract(change, { contractNumber, name: 'local' })
  return contractNumber
}

function newPassword(): string {
  return randomBytes(18).toString('base64url')
}
