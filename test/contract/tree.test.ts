import assert from 'node:assert/strict'
import { test } from 'node:test'
import { random } from '../../src/stdx/prng.ts'
import { type ControlPlane, startControlPlane } from './support/control-plane.ts'

// Depth, paging, filters and order of random inventories against a model that fits on a page (CONTRACT,
// section 2.4).

const SEED = Number(process.env['TREE_SEED'] ?? 4_711)
const QUESTIONS = 120

interface Node {
  id: string
  type: string
  path: string
  properties: Record<string, unknown>
  /** By collection, in the order of creation; collections that Weir does not fill are empty. */
  entities: Record<string, Node[]> | undefined
}

const ENTITIES: Record<string, readonly string[] | undefined> = {
  datacenter: ['servers', 'volumes', 'loadbalancers', 'lans', 'networkloadbalancers', 'natgateways'],
  server: ['cdroms', 'volumes', 'nics'],
  nic: ['flowlogs', 'firewallrules'],
  networkloadbalancer: ['forwardingrules', 'flowlogs'],
}
const NAMES = ['web', 'Web-2', 'db', 'edge', 'WEBSERVER', 'cache', '']

test(`depth, paging, filters and order agree with a simple model (seed ${SEED})`, async () => {
  await using weir = await startControlPlane({ attachGraceMs: 0 })
  const next = random(SEED)
  const pick = <T>(choices: readonly T[]): T => choices[next() % choices.length]!
  const roots = await grow(weir, next)
  const nodes = roots.flatMap(all)

  for (let i = 0; i < QUESTIONS; i++) {
    const node = pick(nodes)
    const depth = next() % 11
    const one = await weir.get(`${node.path}?depth=${depth}`)
    assert.deepEqual(plain(one.body), modelOne(weir.base, node, depth), `${node.path} at depth ${depth}`)

    const parent = pick(nodes.filter((it) => it.entities !== undefined))
    const collection = pick(Object.keys(parent.entities!).filter((it) => it !== 'lans'))
    await askList(weir, { items: parent.entities![collection]!, path: `${parent.path}/${collection}` }, next)
  }
  await askList(weir, { items: roots, path: '/datacenters' }, next)
})

async function askList(
  weir: ControlPlane,
  list: { items: Node[]; path: string },
  next: () => number,
): Promise<void> {
  const depth = next() % 5
  const limit = 1 + (next() % 4)
  const wanted = NAMES[next() % NAMES.length]!.slice(0, 3)
  const isFiltered = next() % 2 === 0
  const isOrdered = next() % 2 === 0
  const maxResults = next() % 3 === 0 ? 1 + (next() % 4) : undefined
  const query = new URLSearchParams({ depth: String(depth), limit: String(limit) })
  if (isFiltered) query.set('filter.name', wanted)
  if (isOrdered) query.set('orderBy', 'name')
  if (maxResults !== undefined) query.set('maxResults', String(maxResults))

  const found: unknown[] = []
  for (let url: string | undefined = `${weir.base}${list.path}?${query}`; url !== undefined; ) {
    const { body } = await weir.get(url)
    assert.ok(body.items.length <= limit)
    found.push(...body.items.map(plain))
    url = body._links.next
  }

  let expected = maxResults === undefined ? list.items : list.items.slice(0, maxResults)
  if (isFiltered) {
    expected = expected.filter((it) => nameOf(it).toLowerCase().includes(wanted.toLowerCase()))
  }
  if (isOrdered)
    expected = expected.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : nameOf(a) > nameOf(b) ? 1 : 0))
  assert.deepEqual(found, modelItems(weir.base, expected, depth), `${list.path}?${query}`)
}

function nameOf(node: Node): string {
  return String(node.properties['name'])
}

function modelOne(base: string, node: Node, depth: number): unknown {
  const whole = { ...reference(base, node), properties: node.properties }
  if (node.entities === undefined) return whole
  const entities = Object.entries(node.entities).map(([name, children]) => {
    const collection = { id: `${node.id}/${name}`, type: 'collection', href: `${base}${node.path}/${name}` }
    return [name, depth === 0 ? collection : { ...collection, items: modelItems(base, children, depth - 1) }]
  })
  return { ...whole, entities: Object.fromEntries(entities) }
}

function modelItems(base: string, nodes: Node[], depth: number): unknown[] {
  return nodes.map((it) => (depth === 0 ? reference(base, it) : modelOne(base, it, depth - 1)))
}

function reference(base: string, { id, type, path }: Node): object {
  return { id, type, href: `${base}${path}` }
}

function all(node: Node): Node[] {
  return [node, ...Object.values(node.entities ?? {}).flatMap((it) => it.flatMap(all))]
}

/**
 * What the model does not know: times, etags, what Weir filled in, and LANs, which come to be by
 * themselves.
 */
function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  const { metadata: _, ...rest } = value as Record<string, unknown>
  const entries = Object.entries(rest).map(([name, it]): [string, unknown] => {
    if (name === 'properties') return [name, { name: (it as Record<string, unknown>)['name'] }]
    if (name === 'lans') return [name, withoutItems(it)]
    return [name, plain(it)]
  })
  return Object.fromEntries(entries)
}

function withoutItems(collection: unknown): unknown {
  const it = collection as Record<string, unknown>
  return 'items' in it ? { ...it, items: [] } : it
}

/** A few data centers with servers, NICs, balancers and flow logs, made one by one or in one request. */
async function grow(weir: ControlPlane, next: () => number): Promise<Node[]> {
  const name = () => NAMES[next() % NAMES.length]!
  const some = (max: number) => Array.from({ length: next() % (max + 1) })
  const flowLogs = () => ({
    items: some(1).map(() => ({
      properties: { name: `${name()}-log`, action: 'ALL', direction: 'INGRESS', bucket: 'flowlogs/x' },
    })),
  })
  const nics = () => ({
    items: some(3).map(() => ({ properties: { name: name(), lan: 1 }, entities: { flowlogs: flowLogs() } })),
  })
  const body = () => ({
    properties: { name: name(), location: 'x' },
    entities: {
      servers: {
        items: some(4).map(() => ({
          properties: { name: name(), cores: 1, ram: 256 },
          entities: { nics: nics() },
        })),
      },
      networkloadbalancers: {
        items: some(2).map(() => ({
          properties: { name: name(), listenerLan: 1, targetLan: 2 },
          entities: { flowlogs: flowLogs() },
        })),
      },
    },
  })
  await weir.finished(await weir.call('DELETE', `/datacenters/${weir.owner.datacenterId}`))
  for (let i = 0; i < 5; i++) {
    const created = await weir.post('/datacenters', body())
    assert.equal(created.status, 202, JSON.stringify(created.body))
    await weir.finished(created)
  }
  return readBack(weir)
}

/** The model is built from the database, not from answers of the routes under test. */
async function readBack(weir: ControlPlane): Promise<Node[]> {
  const rows = await weir.store.db.selectFrom('resources').selectAll().orderBy('ordinal').execute()
  const nodes = new Map<string, Node>()
  const roots: Node[] = []
  for (const row of rows) {
    if (row.type === 'lan') continue
    const { name } = JSON.parse(row.properties) as { name: string }
    const collections = ENTITIES[row.type]
    const entities =
      collections === undefined ? undefined : Object.fromEntries(collections.map((it) => [it, [] as Node[]]))
    const node: Node = { id: row.id, type: row.type, path: row.path, properties: { name }, entities }
    nodes.set(row.id, node)
    const collection = row.path.split('/').at(-2)!
    if (row.parent_id === '') roots.push(node)
    else nodes.get(row.parent_id)!.entities![collection]!.push(node)
  }
  return roots
}
