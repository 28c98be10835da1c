import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { makeCertificate } from '../support/certificate.ts'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { missingForRadosgw } from '../support/radosgw.ts'
import { S3World, type Tenant } from '../support/s3-world.ts'
import { runWeir, ServerProcess, startAgent } from '../support/server-process.ts'
import { WeirProcess } from '../support/weir-process.ts'

test('from an enrolled host to a tenant’s bucket, both over TLS with authorities of one’s own', {
  skip: withoutRoot || (missingForRadosgw() ?? false),
}, async () => {
  await using network = new TestNetwork()
  await using host = new WeirProcess() // For its data directory.
  const ofServer = makeCertificate(host.dataDir, 'server')
  const ofStore = makeCertificate(host.dataDir, 'store')
  const caFile = path.join(host.dataDir, 'ca.pem')
  writeFileSync(caFile, [ofServer, ofStore].map(({ certFile }) => readFileSync(certFile, 'utf8')).join(''))
  await using world = await S3World.start({ tls: ofStore })
  const keys = path.join(host.dataDir, 'keys.json')
  writeFileSync(keys, JSON.stringify(world.technicalUser), { mode: 0o600 })
  await using server = new ServerProcess({ env: { WEIR_CA_FILE: caFile } })
  const tls = ['--tls-cert', ofServer.certFile, '--tls-key', ofServer.keyFile]
  const s3 = ['--s3-endpoint', world.ceph.endpoint, '--s3-credentials', keys, '--s3-ca', ofStore.certFile]
  await server.start('--window', '2', ...tls, ...s3)
  const { contractNumber } = JSON.parse(readFileSync(path.join(server.dataDir, 'credentials.json'), 'utf8'))
  using tenant = world.tenant(contractNumber)
  const bucket = await tenant.createBucket()
  const [own, peer] = [network.namespace('o'), network.namespace('p')]
  network.veth({ namespace: own, device: 'eth0' }, { namespace: peer, device: 'eth0' })
  network.address(own, 'eth0', '10.9.0.1/24')
  network.address(peer, 'eth0', '10.9.0.2/24')
  const name = `hv-${process.pid}`

  const code = server.cli('agent', 'invite', name)
  const enrol = ['agent', 'enroll', '--server', server.origin, code, '--data-dir', host.dataDir]
  const enrolled = runWeir([...enrol, '--ca-file', caFile])
  await using _agent = startAgent(host.dataDir)
  const place = ['--host', name, '--new-host', '--device', 'eth0', '--netns', own, '--side', 'own']
  server.cli('nic', 'add', '--name', 'wan', ...place)
  server.cli('flowlog', 'create', '--nic', 'wan', '--bucket', `${bucket}/wan`)
  const lines = await pingUntilDelivered(network, { from: own, tenant, bucket })
  const shown = server.cli('flowlog', 'get', 'wan')

  assert.equal(enrolled.status, 0, enrolled.stderr)
  assert.ok(
    lines.length > 0 && lines.every((line) => / 10\.9\.0\.[12] 10\.9\.0\.[12] 0 0 1 /.test(line)),
    `${lines}`,
  )
  assert.match(shown, /delivered +[1-9]\d* objects/)
  assert.match(shown, /last +wan-\d+\.log\.gz at /)
})

/** The IPv4 records of the first objects. */
async function pingUntilDelivered(
  network: TestNetwork,
  { from, tenant, bucket }: { from: string; tenant: Tenant; bucket: string },
): Promise<string[]> {
  const endMs = performance.now() + 60_000
  while (performance.now() < endMs) {
    network.attempt(from, 'ping', '-qc', '2', '-i', '0.2', '-W', '1', '10.9.0.2')
    const { Contents = [] } = await tenant.client.send(new ListObjectsV2Command({ Bucket: bucket }))
    const lines: string[] = []
    for (const { Key } of Contents) {
      const { Body } = await tenant.client.send(new GetObjectCommand({ Bucket: bucket, Key }))
      lines.push(
        ...gunzipSync(await Body!.transformToByteArray())
          .toString()
          .trimEnd()
          .split('\n'),
      )
    }
    const found = lines.filter((line) => line.includes(' 10.9.0.'))
    if (found.length > 0) return found
  }
  throw new Error('no object has arrived')
}
