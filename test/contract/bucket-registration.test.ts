import assert from 'node:assert/strict'
import http from 'node:http'
import { after, before, test } from 'node:test'
import { bucket as bucketCommand } from '../../src/cli/commands/bucket.ts'
import { missingForRadosgw } from '../support/radosgw.ts'
import { type CommandResult, runCommand } from '../support/run-command.ts'
import { S3Delivery } from '../support/s3-delivery.ts'
import { GRANT, S3World, Tenant } from '../support/s3-world.ts'

const SECOND = 11_111_111
const PASSWORD = 'a long password'

const missing = missingForRadosgw()
if (missing !== undefined) test('registered buckets on radosgw', { skip: missing }, () => {})
else testRegistrations()

function testRegistrations(): void {
  let world: S3World
  before(async () => {
    world = await S3World.start()
  })
  after(async () => {
    await world?.[Symbol.asyncDispose]()
  })

  /** Owners in this store have ids that say nothing of contracts. */
  function plainOwner(): Tenant {
    return new Tenant(world, world.ceph.createUser(`customer-${crypto.randomUUID()}`))
  }

  async function letSecondIn(delivery: S3Delivery): Promise<void> {
    const owner = { email: 'second@example.org', password: PASSWORD }
    const made = await fetch(`${delivery.origin}/weir/v1/contracts`, {
      method: 'POST',
      headers: { authorization: `Bearer ${delivery.owner.token}`, 'content-type': 'application/json' },
      body: JSON.stringify({ contractNumber: SECOND, name: 'second', owner }),
    })
    assert.equal(made.status, 201)
  }

  function weir(
    delivery: S3Delivery,
    args: string[],
    env: Record<string, string> = {},
  ): Promise<CommandResult> {
    const way = env['WEIR_USERNAME'] === undefined ? { WEIR_TOKEN: delivery.owner.token } : {}
    return runCommand(bucketCommand, args, { env: { WEIR_SERVER: delivery.origin, ...way, ...env } })
  }

  test('where owners are no contracts, the operator says whose a bucket is, and may take it back', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 2 })
    await letSecondIn(delivery)
    using owner = plainOwner()
    const name = await owner.createBucket()
    const contract = `${delivery.owner.contractNumber}`

    const before = await delivery.createFlowLog(0, `${name}/web`)
    const registered = await weir(delivery, ['register', name, '--contract', contract])
    const again = await weir(delivery, ['register', name, '--contract', contract])
    const created = await delivery.createFlowLog(0, `${name}/web`)
    const listed = await weir(delivery, ['list', '--registered'])
    const own = await weir(delivery, ['list', '--json'])
    delivery.startAgent()
    await delivery.addWindow(1)
    await delivery.untilEmpty()
    const taken = await weir(delivery, ['unregister', name])
    await delivery.addWindow(2)
    await delivery.until(() => delivery.deliverer.buckets()[0]?.state === 'refused')
    const [refused] = delivery.deliverer.buckets()
    await weir(delivery, ['register', name, '--contract', contract])
    await delivery.untilEmpty()

    assert.equal(before.status, 422)
    assert.match(
      before.message,
      new RegExp(`registered for no contract.*weir bucket register ${name} --contract`),
    )
    assert.equal(registered.stderr, `bucket ${name} belongs to contract ${contract}\n`)
    assert.equal(again.status, 0)
    assert.equal(created.status, 202)
    assert.match(listed.stdout, new RegExp(`${name} +${contract} +20\\S+Z +\\S+@`))
    assert.deepEqual(JSON.parse(own.stdout), [{ name, exists: true, registered: true }])
    assert.equal(taken.status, 0)
    assert.match(refused?.lastError?.message ?? '', /registered for no contract/)
    assert.deepEqual([...(await delivery.storedBy(owner, name)).keys()], ['web-120.log.gz', 'web-60.log.gz'])
    await assert.rejects(weir(delivery, ['unregister', 'nobody-has-this']), /is not registered/)
  })

  test('a registration gives nobody what is another contract’s, and only the operator may make one', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 1 })
    await letSecondIn(delivery)
    using owner = plainOwner()
    const name = await owner.createBucket()
    const ofFirst = await delivery.tenant.createBucket() // Its owner's id names the contract.
    await weir(delivery, ['register', name, '--contract', `${SECOND}`])
    const second = { WEIR_USERNAME: 'second@example.org', WEIR_PASSWORD: PASSWORD }

    const foreign = await delivery.createFlowLog(0, `${name}/web`)

    assert.equal(foreign.status, 422)
    assert.match(foreign.message, /does not belong to contract/)
    const contract = `${delivery.owner.contractNumber}`
    await assert.rejects(
      weir(delivery, ['register', name, '--contract', contract]),
      /is registered for contract/,
    )
    await assert.rejects(
      weir(delivery, ['register', ofFirst, '--contract', `${SECOND}`]),
      new RegExp(`store says that bucket '${ofFirst}' belongs to contract ${contract}`),
    )
    await assert.rejects(weir(delivery, ['register', 'nobody-has-this']), /does not exist/)
    await assert.rejects(weir(delivery, ['register', name], second), /only the operator/)
    await assert.rejects(weir(delivery, ['unregister', name], second), /only the operator/)
  })

  test('delivery to a bucket of the only contract goes on when a second one comes', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 1 })
    using owner = plainOwner()
    const name = await owner.createBucket()
    const created = await delivery.createFlowLog(0, `${name}/web`)
    await letSecondIn(delivery)
    delivery.startAgent()

    await delivery.addWindow(1)
    await delivery.untilEmpty()

    assert.equal(created.status, 202)
    assert.deepEqual([...(await delivery.storedBy(owner, name)).keys()], ['web-60.log.gz'])
  })

  test('an owner that may not be seen is told from one that the store does not know', async () => {
    await using delivery = await S3Delivery.start(world, { nics: 1 })
    await letSecondIn(delivery)
    const name = await delivery.tenant.createBucket(['WRITE'])
    await using withoutAcls = await gatewayWithoutAcls(world.ceph.endpoint)
    const store = world.store(withoutAcls.endpoint)

    const hidden = await delivery.createFlowLog(0, `${name}/web`)
    const known = await world.store().findBucket(name, 'web-1.log.gz')
    const unknown = await store.findBucket(name, 'web-1.log.gz')
    const nowhere = await store.findBucket('nobody-has-this')
    await delivery.tenant.grant(name, GRANT)
    const seen = await world.store().findBucket(name)
    store.stop()

    assert.equal(hidden.status, 422)
    assert.match(
      hidden.message,
      /may not see whose bucket '\S+' is \(AccessDenied\): grant it that, or the operator/,
    )
    assert.deepEqual(known, { ownerFault: 'AccessDenied' })
    assert.deepEqual(unknown, {})
    assert.equal(nowhere, undefined)
    assert.deepEqual(seen, { contractNumber: delivery.owner.contractNumber })
  })
}

/** The real store behind what answers as stores without ACLs do. */
async function gatewayWithoutAcls(endpoint: string): Promise<{ endpoint: string } & AsyncDisposable> {
  const server = http.createServer((request, response) => {
    if (new URL(request.url!, endpoint).searchParams.has('acl')) {
      response.writeHead(501, { 'content-type': 'application/xml' })
      response.end('<Error><Code>NotImplemented</Code></Error>')
      return
    }
    const { method, headers } = request
    const passed = http.request(`${endpoint}${request.url}`, { method, headers }, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers)
      answer.pipe(response)
    })
    request.pipe(passed)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    endpoint: `http://127.0.0.1:${(server.address() as { port: number }).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
