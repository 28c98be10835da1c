import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { after, before, test } from 'node:test'
import {
  GetBucketLifecycleConfigurationCommand,
  PutBucketLifecycleConfigurationCommand,
} from '@aws-sdk/client-s3'
import { missingForRadosgw } from '../support/radosgw.ts'
import { S3World, type Tenant } from '../support/s3-world.ts'
import { type CliResult, runWeir } from '../support/server-process.ts'
import { digestOf, put } from './bucket-store.ts'

// As a tenant runs them: processes of their own, with the tenant's keys and no server.

const CONTRACT = 12_345_678
const CONTENT = Buffer.from('what lies in the bucket\n')
const isVirtualHost = process.env['WEIR_TEST_S3_DNS_NAME'] !== undefined

const missing = missingForRadosgw()
if (missing !== undefined) test('commands about buckets on radosgw', { skip: missing }, () => {})
else testCommands()

function withoutAws(): string | false {
  const found = spawnSync('aws', ['--version']).status === 0
  return found ? false : 'the command that owners paste needs aws: apt-get install awscli'
}

function testCommands(): void {
  const directory = mkdtempSync(path.join(tmpdir(), 'weir-keys-'))
  let world: S3World
  let tenant: Tenant
  before(async () => {
    world = await S3World.start()
    tenant = world.tenant(CONTRACT)
  })
  after(async () => {
    tenant?.client.destroy()
    await world?.[Symbol.asyncDispose]()
    rmSync(directory, { recursive: true })
  })

  const keysOf = ({ accessKeyId, secretAccessKey }: { accessKeyId: string; secretAccessKey: string }) => ({
    WEIR_S3_ACCESS_KEY_ID: accessKeyId,
    WEIR_S3_SECRET_ACCESS_KEY: secretAccessKey,
  })
  function lifecycle(args: string[], env: Record<string, string> = keysOf(tenant.user)): CliResult {
    return runWeir(['bucket', 'lifecycle', ...args, ...world.options], { env })
  }

  test('lifecycle set, show and clear work with the tenant’s keys and keep the rules of others', async () => {
    const bucket = await tenant.createBucket()
    const others = {
      ID: 'made by somebody else',
      Status: 'Enabled' as const,
      Filter: { Prefix: 'backup/' },
      Expiration: { Days: 400 },
      AbortIncompleteMultipartUpload: { DaysAfterInitiation: 3 },
    }
    await tenant.client.send(
      new PutBucketLifecycleConfigurationCommand({
        Bucket: bucket,
        LifecycleConfiguration: { Rules: [others] },
      }),
    )
    const file = path.join(directory, 'keys.json')
    const { accessKeyId, secretAccessKey } = tenant.user
    writeFileSync(file, JSON.stringify({ accessKeyId, secretAccessKey }), { mode: 0o600 })

    const set = lifecycle(['set', bucket, '--prefix', 'web', '--days', '30'])
    const again = lifecycle(['set', bucket, '--prefix', 'web', '--days', '7', '--s3-credentials', file], {})
    const shown = lifecycle(['show', bucket, '--json'])
    const cleared = lifecycle(['clear', bucket, '--prefix', 'web'])
    const twice = lifecycle(['clear', bucket, '--prefix', 'web'])
    const left = await tenant.client.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket }))

    assert.equal(set.status, 0, set.stderr)
    assert.match(set.stdout, /^PREFIX +DAYS\nbackup\/ +400\nweb +30\n$/)
    assert.equal(again.status, 0, again.stderr)
    assert.deepEqual(JSON.parse(shown.stdout), [
      { prefix: 'backup/', days: 400 },
      { prefix: 'web', days: 7 },
    ])
    assert.equal(cleared.status, 0)
    assert.equal(twice.status, 1)
    assert.match(twice.stderr, /weir has made no rule for prefix 'web'/)
    assert.deepEqual(left.Rules, [others])
  })

  test('who may not set a lifecycle is told so, and no key is shown', async () => {
    const bucket = await tenant.createBucket()
    const set = ['set', bucket, '--prefix', '', '--days', '1']

    const foreign = lifecycle(set, keysOf(world.technicalUser))
    const wrong = lifecycle(set, { ...keysOf(tenant.user), WEIR_S3_SECRET_ACCESS_KEY: 'not-the-secret' })
    const missing = lifecycle(['show', 'nobody-has-this'])
    const keyless = lifecycle(set, {})
    const dayless = lifecycle(['set', bucket, '--prefix', 'web'])

    assert.match(foreign.stderr, /these keys may not read or set the lifecycle .*AccessDenied/)
    assert.match(wrong.stderr, /SignatureDoesNotMatch/)
    assert.match(missing.stderr, /does not exist/)
    assert.match(keyless.stderr, /needs keys: --s3-credentials FILE, or WEIR_S3_ACCESS_KEY_ID/)
    assert.match(dayless.stderr, /--days is missing/)
    for (const { status, stdout, stderr } of [foreign, wrong, missing, keyless, dayless]) {
      assert.ok(status === 1 || status === 2, `${status} ${stderr}`)
      assert.doesNotMatch(stdout + stderr, new RegExp(`not-the-secret|${tenant.user.secretAccessKey}`))
    }
  })

  for (const [form, part] of [
    ['ACL', 0],
    ['policy', 1],
  ] as const) {
    test(`what grant-help prints for ${form} works as it is pasted`, {
      skip: withoutAws() || (isVirtualHost && 'aws finds its own way'),
    }, async () => {
      const bucket = await tenant.createBucket([])
      const printed = runWeir(['bucket', 'grant-help', bucket, ...world.options], {
        env: keysOf(world.technicalUser),
      })
      const commands = printed.stdout.split('\n\n')[part]!

      const pasted = spawnSync('sh', ['-c', commands], { encoding: 'utf8', env: awsEnvironment(tenant) })
      const store = world.store()
      const found = await store.findBucket(bucket, 'web-1.log.gz')
      const order = { bucket, objectName: 'web-1.log.gz', size: CONTENT.length, sha256: digestOf(CONTENT) }
      const { url, headers } = await store.signUpload({ ...order, expiresAtMs: Date.now() + 600_000 })
      const status = await put(url, headers, CONTENT)
      const stored = await store.statObject(bucket, 'web-1.log.gz')
      store.stop()
      await tenant.grant(bucket, []) // The owner is not locked out.

      assert.equal(printed.status, 0, printed.stderr)
      assert.equal(pasted.status, 0, pasted.stderr)
      assert.deepEqual(found, { contractNumber: CONTRACT })
      assert.equal(status, 200)
      assert.deepEqual(stored, { size: CONTENT.length, sha256: digestOf(CONTENT) })
    })
  }

  function awsEnvironment({ user }: Tenant): NodeJS.ProcessEnv {
    return {
      PATH: process.env['PATH'],
      HOME: directory,
      AWS_ACCESS_KEY_ID: user.accessKeyId,
      AWS_SECRET_ACCESS_KEY: user.secretAccessKey,
      AWS_DEFAULT_REGION: 'us-east-1',
      AWS_EC2_METADATA_DISABLED: 'true',
    }
  }
}
