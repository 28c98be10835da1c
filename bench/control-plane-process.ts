import { createApp } from '../src/api/app.ts'
import { bootstrap } from '../src/api/bootstrap.ts'
import { S3Store } from '../src/buckets/s3/s3-store.ts'
import { openStore } from '../src/store/store.ts'

// A control plane over an object store in a process of its own, for delivery.bench.ts: in life it is another machine.
const { sqlitePath, nics, s3 } = JSON.parse(process.argv[2]!) as {
  sqlitePath: string
  nics: number
  s3: ConstructorParameters<typeof S3Store>[0]
}
const store = await openStore({ sqlitePath })
const buckets = new S3Store(s3)
const interfaces = Array.from({ length: nics }, (_, i) => ({ device: `eth${i}` }))
const owner = await bootstrap({ hostname: 'host-1', interfaces }, { store, buckets })
const app = await createApp({ windowSizeS: 600, attachGraceMs: 1 }, { store, buckets })
const origin = await app.listen({ host: '127.0.0.1', port: 0 })
process.send?.({ origin, owner })
process.on('message', () =>
  process.send?.({ cpuMs: cpuMs(), rssMb: Math.round(process.memoryUsage.rss() / 2 ** 20) }),
)
process.on('disconnect', () => process.exit())

function cpuMs(): number {
  const { user, system } = process.cpuUsage()
  return Math.round((user + system) / 1000)
}
