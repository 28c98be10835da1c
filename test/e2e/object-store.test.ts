import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { GetObjectCommand, ListObjectsV2Command } from '@aws-sdk/client-s3'
import { makeCertificate } from '../support/certificate.ts'
import { eventually } from '../support/eventually.ts'
import { TestNetwork, withoutRoot } from '../support/network.ts'
import { missingForRadosgw } from '../support/radosgw.ts'
import { S3World, type Tenant } from '../support/s3-world.ts'
import { runWeir, ServerProcess, startAgent } from '../support/server-process.ts'
import { WeirProcess } from '../support/weir-process.ts'

test('from a host to a tenant’s bucket over TLS of one’s own, each packet once, while server and agent go and come', {
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
  const serve = ['--window', '2', ...tls, ...s3]
  await server.start(...serve)
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
  await using agent = startAgent(host.dataDir)
  const place = ['--host', name, '--new-host', '--device', 'eth0', '--netns', own, '--side', 'own']
  server.cli('nic', 'add', '--name', 'wan', ...place)
  server.cli('flowlog', 'create', '--nic', 'wan', '--bucket', `${bucket}/wan`)
  const isCapturing = (): boolean =>
    JSON.parse(server.cli('flowlog', 'get', 'wan', '--json')).delivery.status === 'capturing'
  await eventually('the flow log is attached', isCapturing, 60_000)
  let sent = 0
  const ping = (count: number): void => {
    network.run(own, 'ping', '-qc', `${count}`, '-i', '0.2', '10.9.0.2')
    sent += count
  }
  ping(5)
  await server.stop()
  ping(5)
  await agent.kill()
  ping(5) // Counted by nobody but the kernel.
  await using _next = startAgent(host.dataDir)
  ping(5)
  await server.start(...serve)
  await untilDelivered({ tenant, bucket }, 2 * sent)
  ping(1)
  const lines = await untilDelivered({ tenant, bucket }, 2 * sent) // No more than that, either.
  const shown = server.cli('flowlog', 'get', 'wan')

  assert.equal(enrolled.status, 0, enrolled.stderr)
  assert.ok(
    lines.every((line) => / 10\.9\.0\.[12] 10\.9\.0\.[12] 0 0 1 .* ACCEPT OK$/.test(line)),
    `${lines}`,
  )
  assert.match(shown, /delivered +[1-9]\d* objects/)
  assert.match(shown, /last +wan-\d+\.log\.gz at /)
})

/** The IPv4 records in the bucket, once they hold so many packets. */
async function untilDelivered(
  { tenant, bucket }: { tenant: Tenant; bucket: string },
  wanted: number,
): Promise<string[]> {
  const endMs = performance.now() + 90_000
  for (;;) {
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
    const packets = found.reduce((sum, line) => sum + Number(line.split(' ')[8]), 0)
    if (packets === wanted) return found
    if (performance.now() > endMs)
      throw new Error(`${packets} packets instead of ${wanted}:\n${lines.join('\n')}`)
    await pause(200)
  }
}
