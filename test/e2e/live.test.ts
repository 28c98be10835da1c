import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Answer } from '../../src/explore/question.ts'
import { addressOf, GatewayWorld } from '../console/support/gateway.ts'
import { eventually } from '../support/eventually.ts'
import { withoutRoot } from '../support/network.ts'

const WINDOW_S = 8

test('flows are seen while they happen, and from then on until they are delivered, once at any moment', {
  skip: withoutRoot,
}, async () => {
  await using world = await new GatewayWorld().start(WINDOW_S)
  for (const [guest, ...what] of [
    ['web', '--action', 'ALL'],
    ['db', '--action', 'REJECTED', '--direction', 'INGRESS'],
  ] as const) {
    world.weir.cli('flowlog', 'create', '--nic', guest, '--bucket', `flowlogs/${guest}`, ...what)
  }
  const { since, first, settled } = await insideOneWindow(world)
  assert.ok(first.live !== undefined)
  assert.deepEqual([first.live.flowLogs, first.live.answering, first.live.silent], [2, 2, []])
  assert.deepEqual(first.live.left, { flows: 0, packets: 0, bytes: 0 })
  assert.ok(first.totals.accepted.flows > 0 && first.totals.rejected.flows > 0)

  // From the open window through sealing and delivery to the bucket: always the same sum.
  for (let deliveredAtS: number | undefined; ; await sleep(100)) {
    const { totals, live, coverage } = await asked(world, since)
    assert.deepEqual([totals, live?.underway.windows], [settled.totals, 0])
    assert.ok(nowS() < Number(since) + 10 * WINDOW_S, 'both objects arrive')
    if (coverage.objects === 2) deliveredAtS ??= nowS()
    if (deliveredAtS !== undefined && nowS() - deliveredAtS > 2) break
  }
  const { live, ...delivered } = await asked(world, since, { live: false })
  assert.deepEqual([delivered.totals, live], [settled.totals, undefined])

  // Filters, and the rows themselves.
  const fromS = Math.floor(nowS()) - 1 // The kernel's second may be the one before.
  await world.send('office', 'web', { tcp: [23] })
  const [row, ...more] = (await refused(world, fromS)).result.rows
  assert.deepEqual(
    [row?.srcaddr, row?.dstaddr, row?.dstport, row?.action, more],
    [addressOf('office'), addressOf('web'), 23, 'REJECT', []],
  )
})

test('weir live shows a connection that the firewall has just refused', { skip: withoutRoot }, async () => {
  await using world = await new GatewayWorld().start(3600)
  world.weir.cli('flowlog', 'create', '--nic', 'web', '--bucket', 'flowlogs/web')

  await world.send('office', 'web', { tcp: [23] })
  const table = world.weir.cli('live', 'web', '--once', '--filter', 'action = reject')

  const [from, to] = [addressOf('office'), addressOf('web')].map((it) => it.replaceAll('.', '\\.'))
  assert.match(table, /^live from 1 of 1 flow logs/)
  const [, packets, octets] =
    new RegExp(`^REJECT +TCP +${from}\\S* +${to}:23 +(\\d+) +(\\d+) B`, 'm').exec(table) ?? []
  // One attempt, and more when it took the sender long to give up.
  assert.ok(Number(packets) >= 1, table)
  assert.equal(Number(octets), 60 * Number(packets))
})

/**
 * Sends, and asks before and after all of it is told; again when the machine was so slow that the window ended
 * meanwhile. Nothing is delivered then yet.
 */
async function insideOneWindow(
  world: GatewayWorld,
): Promise<{ since: string; first: Answer; settled: Answer }> {
  for (let tries = 0; tries < 5; tries++) {
    await sleep((WINDOW_S - (nowS() % WINDOW_S)) * 1000)
    const since = String(Math.floor(nowS()))
    await world.send('office', 'web', { tcp: [80, 23], udp: [53] }, { rounds: 3 })
    await world.send('office', 'db', { tcp: [5432] }, { rounds: 2 })
    const sentS = nowS()
    const first = await asked(world, since)
    const settled = await toldAfter(world, since, sentS)
    if (nowS() >= Number(since) + WINDOW_S) continue
    assert.equal(settled.coverage.objects, 0)
    return { since, first, settled }
  }
  throw new Error('no window was long enough')
}

function nowS(): number {
  return Date.now() / 1000
}

/** The first answer to which every agent has told what there was a second after that, when connections have ended, too. */
function toldAfter(world: GatewayWorld, since: string, sentS: number): Promise<Answer> {
  return eventually('all agents have told', async () => {
    const answer = await asked(world, since)
    return answer.range.untilS - answer.live!.ageS! > sentS + 1 && answer
  })
}

function refused(world: GatewayWorld, fromS: number): Promise<Answer<'flows'>> {
  const filter = `interface = web and action = reject and dstport = 23 and start >= ${fromS}`
  return eventually('a refused flow is seen', async () => {
    const answer = (await ask(world, { kind: 'flows', live: true, since: '1m', filter })) as Answer<'flows'>
    assert.equal(answer.live?.flowLogs, 1, 'the filter names the interface')
    return answer.result.rows.length > 0 && answer
  })
}

function asked(world: GatewayWorld, since: string, { live = true } = {}): Promise<Answer> {
  return ask(world, { kind: 'summary', since, live })
}

async function ask(world: GatewayWorld, question: object): Promise<Answer> {
  const { username, password } = world.credentials
  const response = await fetch(`${world.origin}/weir/v1/explore`, {
    method: 'POST',
    headers: {
      authorization: `Basic ${btoa(`${username}:${password}`)}`,
      'content-type': 'application/json',
    },
    body: JSON.stringify(question),
  })
  const answer = (await response.json()) as Answer
  assert.equal(response.status, 200, JSON.stringify(answer))
  return answer
}
