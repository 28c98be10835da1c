import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PendingDelivery } from '../../src/model/agent-protocol.ts'
import { FLOW_LOG, startControlPlane } from './support/control-plane.ts'

test('a flow log shows what waits for its bucket on its host, and why', async () => {
  await using weir = await startControlPlane()
  const created = await weir.post(`${weir.nicPath}/flowlogs`, FLOW_LOG)
  const pending: PendingDelivery = {
    flowLogId: created.body.id,
    segments: 3,
    bytes: 1234,
    oldestWindowStartS: 1_700_000_000,
    lastError: { reason: 'AccessDenied', message: 'bucket answered 403', at: '2026-01-02T03:04:05.000Z' },
  }
  const report = (deliveries: PendingDelivery[]) =>
    weir.call(
      'POST',
      '/agent/v1/report',
      {
        protocol: 1,
        agentVersion: '0.1.0',
        startedAt: '2026-01-01T00:00:00Z',
        assignmentsVersion: '0',
        points: [],
        health: {
          windowStartS: 0,
          windowSizeS: 60,
          flows: 0,
          flowsMax: 1,
          skippedPackets: 0,
          spool: { segments: 3, bytes: 1234 },
          deliveries,
        },
      },
      { authorization: `Bearer ${weir.owner.agentToken}` },
    )

  const reported = await report([pending])
  const failing = (await weir.get(`/weir/v1/flowlogs/${created.body.id}`)).body.delivery
  const status = (await weir.get('/weir/v1/status')).body
  await report([])
  const well = (await weir.get(`/weir/v1/flowlogs/${created.body.id}`)).body.delivery

  assert.equal(reported.status, 204, JSON.stringify(reported.body))
  assert.equal(failing.status, 'delivery fails')
  assert.equal(failing.pendingSegments, 3)
  assert.equal(failing.pendingBytes, 1234)
  assert.equal(failing.oldestPendingWindow, '2023-11-14T22:13:20.000Z')
  assert.equal(failing.lastError, 'bucket answered 403')
  assert.equal(failing.lastErrorAt, '2026-01-02T03:04:05.000Z')
  assert.equal(status.flowLogs[0].delivery.pendingSegments, 3)
  assert.equal(status.agents[0].health.deliveries, undefined)
  assert.equal(well.pendingSegments, 0)
  assert.equal(well.lastError, null)
})
