import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { sql } from 'kysely'
import { createUser } from '../../src/store/accounts.ts'
import { openStore, type Store } from '../../src/store/store.ts'
import { TestAgent } from './support/agent.ts'
import { type ControlPlane, FLOW_LOG, HOST, startControlPlane } from './support/control-plane.ts'
import { createDatabase, postgresPrograms, startPostgres } from './support/postgres.ts'

// A database that an older release has written, or is still writing.

const programs = postgresPrograms()
const skip = programs === undefined ? 'PostgreSQL is not installed' : false

type Place = Parameters<typeof openStore>[0]

/** As the release before the addresses were the same in any case had it, with two users of one address. */
async function olderDatabase(place: Place): Promise<string[]> {
  const store = await openStore(place)
  await sql`drop index users_address`.execute(store.db)
  await sql`delete from migrations where name = '0005-addresses-in-any-case'`.execute(store.db)
  const ids: string[] = []
  await store.change(async (change) => {
    for (const [i, email] of ['Ann@example.org', 'ann@example.org', 'bob@example.org'].entries()) {
      const names = { passwordHash: null, firstName: 'x', lastName: 'x' }
      const contract_number = 41 + i
      const row = { contract_number, name: 'x', created_at: i }
      await change.tx.insertInto('contracts').values(row).execute()
      const membership = { operator: false, contractNumber: contract_number, role: 'owner' } as const
      ids.push(await createUser(change, { email, ...names, ...membership }))
    }
  })
  await store.close()
  return ids
}

async function addressesAreMended(place: Place): Promise<void> {
  const ids = await olderDatabase(place)

  const refused = await openStore(place).then(
    () => undefined,
    (error: Error) => error,
  )
  const again = await openStore(place).then(
    () => undefined,
    (error: Error) => error,
  )

  const message = refused?.message ?? ''
  assert.match(message, /the database was left as it was/)
  for (const id of ids.slice(0, 2)) assert.ok(message.includes(`(id ${id})`), message)
  assert.ok(!message.includes('bob'))
  assert.equal(again?.message, message)

  const advice = /update users .*'$/.exec(message)?.[0]
  await byHand(place, advice!)
  const mended: Store = await openStore(place)
  const users = await mended.db.selectFrom('users').select('email').orderBy('email').execute()
  await mended.close()
  assert.deepEqual(users.map((it) => it.email.toLowerCase()).toSorted(), [
    'ann@example.org',
    'another@example.org',
    'bob@example.org',
  ])
}

/** What the operator does, with whatever client. */
async function byHand(place: Place, statement: string): Promise<void> {
  if ('sqlitePath' in place) {
    const { DatabaseSync } = await import('node:sqlite')
    using database = new DatabaseSync(place.sqlitePath)
    database.exec(statement)
    return
  }
  const { default: pg } = await import('pg')
  const client = new pg.Client({ connectionString: place.postgresUrl })
  await client.connect()
  await client.query(statement)
  await client.end()
}

test('addresses that differ by case keep SQLite from the upgrade until somebody has mended them', async () => {
  const directory = await mkdtemp(path.join(tmpdir(), 'weir-upgrade-'))
  try {
    await addressesAreMended({ sqlitePath: path.join(directory, 'weir.db') })
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
})

test('addresses that differ by case keep PostgreSQL from the upgrade, too', { skip }, async () => {
  await using server = await startPostgres(programs!)
  await addressesAreMended({ postgresUrl: await createDatabase(server.url) })
})

/** What a replica from before the changes of assignments had versions does for a new flow log. */
async function createAsBefore(weir: ControlPlane, host: string | null, path: string): Promise<void> {
  await weir.store.change(async ({ tx }) => {
    const touched = tx.updateTable('agents').set((it) => ({ version: it('version', '+', 1) }))
    await (host === null ? touched : touched.where('host', '=', host)).execute()
    await tx.updateTable('flow_logs').set({ host, assigned_version: 0 }).where('id', '=', path).execute()
  })
}

for (const host of [HOST, null]) {
  const what = host === null ? 'offers to all hosts' : 'assigns to a host'
  test(`what a replica of an older release ${what} reaches agents that ask a newer one for changes`, async () => {
    await using weir = await startControlPlane({ attachGraceMs: 0 })
    await using agent = new TestAgent({ origin: weir.origin, token: weir.owner.agentToken })
    const made = (await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)).body.id
    await agent.poll(0)
    const before = agent.version

    await createAsBefore(weir, host, made)
    const told = await agent.changesSince(before)
    await createAsBefore(weir, host, made)
    const { body: newer } = await weir.post(`${weir.owner.nics[1]!.path}/flowlogs`, FLOW_LOG)
    const both = await agent.changesSince(told.version)
    await weir.call('DELETE', `${weir.owner.nics[1]!.path}/flowlogs/${newer.id}`)
    const after = await agent.changesSince(both.version)

    const idsOf = (it: typeof told) => it.assignments.map(({ flowLogId }) => flowLogId)
    assert.deepEqual([told.since, idsOf(told)], [undefined, [made]])
    assert.deepEqual([both.since, idsOf(both).toSorted()], [undefined, [made, newer.id].toSorted()])
    assert.deepEqual([after.since, after.withdrawn], [both.version, [newer.id]])
  })
}
