import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sql } from 'kysely'
import { contractNumbers, createContract } from './accounts.ts'
import type { CommitLog } from './sqlite-log.ts'
import { openStore, Store } from './store.ts'

test('changes that share a commit fail one by one', async () => {
  const store = await openStore({ sqlitePath: ':memory:' })
  const make = (contractNumber: number) =>
    store.change(async (change) => {
      await createContract(change, { contractNumber, name: 'x' })
      if (contractNumber % 3 === 0) throw new Error(`not ${contractNumber}`)
      return contractNumber
    })

  const outcomes = await Promise.allSettled(Array.from({ length: 40 }, (_, i) => make(i + 1)))

  const made = outcomes.flatMap((it) => (it.status === 'fulfilled' ? [it.value] : []))
  const failed = outcomes.flatMap((it) => (it.status === 'rejected' ? [(it.reason as Error).message] : []))
  assert.deepEqual(await contractNumbers(store.db), made)
  assert.equal(made.length, 27)
  assert.deepEqual(
    failed,
    Array.from({ length: 13 }, (_, i) => `not ${(i + 1) * 3}`),
  )
  await store.close()
})

test('signals of a change come after its commit, and not at all when it fails', async () => {
  const store = await openStore({ sqlitePath: ':memory:' })
  const heard: string[] = []
  store.signals.on('assignments', (host) => heard.push(host))

  await store.change(async ({ hosts }) => hosts.add('a'))
  const failing = store.change(async ({ hosts }) => {
    hosts.add('b')
    throw new Error('no')
  })

  await assert.rejects(failing)
  assert.deepEqual(heard, ['a'])
  await store.close()
})

test('a database that takes no transaction fails the changes that wait for one', {
  timeout: 10_000,
}, async () => {
  const store = await openStore({ sqlitePath: ':memory:' })
  await store.close()

  const outcomes = await Promise.allSettled([1, 2].map((it) => store.change(async () => it)))

  assert.deepEqual(
    outcomes.map((it) => it.status),
    ['rejected', 'rejected'],
  )
})

test('a full disk refuses what shares its commit, says so, and takes changes when it has room', async () => {
  const store = await openStore({ sqlitePath: ':memory:' })
  const limit = (pages: number) => sql.raw(`pragma max_page_count = ${pages}`).execute(store.db)
  const make = (contractNumber: number) =>
    store.change((change) => createContract(change, { contractNumber, name: 'x'.repeat(100_000) }))

  await limit(1) // As many as it has.
  const outcomes = await Promise.allSettled([make(1), make(2)])
  await limit(1_000_000)
  await make(3)

  for (const it of outcomes) {
    assert.equal(it.status, 'rejected')
    assert.match(String(it.reason), /the disk does not take changes: database or disk is full/)
  }
  assert.deepEqual(await contractNumbers(store.db), [3])
  await store.close()
})

test('patient changes go with the first that cannot wait, else when their patience ends', async () => {
  const store = await openStore({ sqlitePath: ':memory:' })
  const order: string[] = []
  const make = (contractNumber: number, patienceMs: number) =>
    store
      .change((change) => createContract(change, { contractNumber, name: 'x' }), { patienceMs })
      .then(() => order.push(`${contractNumber}`))

  const patient = [make(1, 60_000), make(2, 60_000)]
  await make(3, 0)
  await Promise.all(patient)
  await make(4, 1)

  assert.deepEqual(order.toSorted(), ['1', '2', '3', '4'])
  assert.deepEqual(await contractNumbers(store.db), [1, 2, 3, 4])
  await store.close()
})

/** A store whose disk takes as long as the test wants. */
async function withDisk(sync: () => Promise<void>): Promise<Store> {
  const { db, clock } = await openStore({ sqlitePath: ':memory:' })
  const log: CommitLog = { sync, tend: async () => {}, close: async () => {} }
  return new Store({ db, writer: db, dialect: 'sqlite', clock, log })
}

test('nobody hears of a change, and nothing that was read is told, before the disk has it', async () => {
  const disk = Promise.withResolvers<void>()
  const written = Promise.withResolvers<void>()
  const store = await withDisk(() => {
    written.resolve()
    return disk.promise
  })
  const order: string[] = []
  store.signals.on('assignments', (host) => order.push(`signal ${host}`))

  const changed = store
    .change(async (change) => {
      change.hosts.add('a')
      await createContract(change, { contractNumber: 1, name: 'x' })
    })
    .then(() => order.push('answer'))
  await written.promise
  const read = await contractNumbers(store.db)
  const told = store.underway?.then(() => order.push('told'))
  order.push('disk')
  disk.resolve()
  await Promise.all([changed, told])

  assert.deepEqual(read, [1])
  assert.deepEqual(order.toSorted(), ['answer', 'disk', 'signal a', 'told'])
  assert.equal(order[0], 'disk')
  assert.equal(store.underway, undefined)
  await store.close()
})

test('changes that the disk does not take fail', async () => {
  const store = await withDisk(() => Promise.reject(new Error('no space')))

  const change = store.change((it) => createContract(it, { contractNumber: 1, name: 'x' }))

  await assert.rejects(change, /no space/)
  await store.close()
})
