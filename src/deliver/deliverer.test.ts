import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import type { SegmentRefusal, UploadGrant, UploadRequest } from '../model/agent-protocol.ts'
import type { Segment } from '../spool/segment-index.ts'
import { advance } from '../spool/segment-state.ts'
import { random } from '../stdx/prng.ts'
import { ControlPlaneError } from './control-plane-client.ts'
import { Deliverer } from './deliverer.ts'
import { type Answer, ExchangeError } from './http-exchange.ts'
import type { DeliverySpool } from './ports.ts'

const STEP_MS = 5
const FAULTS_MS = 8_000
const CURE_MS = 8_000 // Longer than any pause between two attempts and any answer that does not come.
const OPTIONS = {
  concurrency: 3,
  spreadMs: 200,
  retryDelayMsMin: 10,
  retryDelayMsMax: 500,
  refusedDelayMsMin: 100,
  refusedDelayMsMax: 2_000,
  slowMs: 60,
  idleMsMax: 400,
}
const flushed = setImmediate // The real one, while the timers are not.

/** Spool, control plane and store in one object, on a clock that is stepped: everything fails until it is cured. */
class World {
  nowMs = 0
  readonly delivered: string[] = []
  readonly #next: () => number
  readonly #segments = new Map<string, Segment>()
  readonly #stored = new Set<string>()

  constructor(seed: number) {
    this.#next = random(seed)
  }

  get segments(): Segment[] {
    return [...this.#segments.values()]
  }

  addSegments(window: number): void {
    for (let i = this.#next() % 8; i >= 0; i--) {
      const stem = `stem-${i % 3}`
      const segmentId = `${window}-${i}`
      const bucket = `bucket-${this.#next() % 3}`
      const rest = {
        contractNumber: 1,
        windowKey: `${window}`,
        part: i,
        windowStartS: window,
        windowSizeS: 60,
        file: '',
        path: '',
        expiresAtMs: 0,
      }
      const content = { flowLogIds: ['f'], size: 10, sha256: segmentId, records: 1 }
      this.#segments.set(segmentId, { segmentId, bucket, stem, ...rest, ...content, state: 'sealed' })
    }
  }

  readonly spool = {
    segments: () => this.segments,
    segment: (id: string) => this.#segments.get(id),
    load: async (id: string) => ({ segment: this.#segments.get(id)!, bytes: Buffer.from(id) }),
    salvage: () => assert.fail('nothing is damaged'),
    upload: (id: string) => this.#advance(id, 'upload'),
    acknowledge: async (id: string) => {
      this.#advance(id, 'acknowledge')
      this.#segments.delete(id)
      await this.#pause(this.#next() % 20)
    },
    fail: (id: string) => this.#advance(id, 'fail'),
    park: (id: string) => this.#advance(id, 'refuse'),
    release: (id: string) => this.#advance(id, 'release'),
    enforceLimits: () => {},
    stats: () => ({ segments: this.#segments.size, bytes: 0 }),
  } as unknown as DeliverySpool

  readonly api = {
    requestUploads: (segments: UploadRequest[]) =>
      this.#answers(segments, ({ segmentId }) => this.#grant(segmentId)),
    acknowledge: (segmentIds: string[]) =>
      this.#answers(segmentIds, (id) =>
        this.#stored.has(id)
          ? { acknowledged: true as const }
          : refusal({ status: 409, message: 'not there' }),
      ),
  }

  readonly http = {
    exchange: async ({ body }: { body?: unknown }): Promise<Answer> => {
      const id = String(body)
      await this.#pause(this.#isFaulty(4) ? OPTIONS.idleMsMax : this.#next() % 30)
      if (this.#isFaulty(5)) throw new ExchangeError('reset')
      const status = this.#isFaulty(3) ? [403, 404, 500, 503, 412][this.#next() % 5]! : 200
      if (status === 200 || status === 412) this.#stored.add(id) // 412: an earlier try had arrived.
      if (this.#isFaulty(8)) throw new ExchangeError('reset after it was stored')
      return { status, headers: {}, body: Buffer.alloc(0) }
    },
    stop: () => {},
  }

  async #answers<Item, A extends object>(
    items: Item[],
    answer: (item: Item) => A | Error,
  ): Promise<(A | Error)[]> {
    await this.#pause(this.#isFaulty(8) ? 300 : this.#next() % 40)
    if (this.#isFaulty(4)) {
      const status = [undefined, 422, 500, 503, 401][this.#next() % 5]
      throw new ControlPlaneError('WEIR_SERVER_REFUSED', 'as a whole', status === undefined ? {} : { status })
    }
    return items.map((item) => {
      if (!this.#isFaulty(5)) return answer(item)
      const status = [403, 422, 500, 503][this.#next() % 4]!
      return refusal({ status, message: 'no', ...(status === 503 ? { code: 'WEIR_STORE_UNAVAILABLE' } : {}) })
    })
  }

  #grant(segmentId: string): UploadGrant {
    const delivered = this.#stored.has(segmentId)
    return { bucket: 'b', objectName: segmentId, delivered, url: '', headers: {}, expiresAt: '' }
  }

  #advance(id: string, event: Parameters<typeof advance>[1]): void {
    const segment = this.#segments.get(id)!
    segment.state = advance(segment.state, event)
  }

  /** One in so many, until the cure. */
  #isFaulty(oneIn: number): boolean {
    return this.nowMs < FAULTS_MS && this.#next() % oneIn === 0
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, ms))
  }
}

function refusal(error: SegmentRefusal['error']): ControlPlaneError {
  const details = { status: error.status, serverCode: error.code }
  return new ControlPlaneError('WEIR_SERVER_REFUSED', error.message, details)
}

const SCHEDULES = 40

test(`whatever has failed, all is delivered once it can be (${SCHEDULES} seeds)`, async () => {
  for (let seed = 1; seed <= SCHEDULES; seed++) {
    mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
    const world = new World(seed)
    const clock = { nowMs: () => world.nowMs, monotonicNs: () => BigInt(world.nowMs) * 1_000_000n }
    const log = { info() {}, warn() {}, error() {} }
    const { spool, api, http } = world
    const onDelivered = ({ segment }: { segment: Segment }) => world.delivered.push(segment.segmentId)
    const options = { ...OPTIONS, random: () => 0.5 }
    const deliverer = new Deliverer(options, { spool, api, clock, log, http, onDelivered })
    deliverer.start()

    while (world.nowMs < FAULTS_MS + CURE_MS) {
      if (world.nowMs < FAULTS_MS && world.nowMs % 500 === 0) {
        world.addSegments(world.nowMs / 500)
        deliverer.wake()
      }
      world.nowMs += STEP_MS
      mock.timers.tick(STEP_MS)
      for (let i = 0; i < 2; i++) await new Promise((resolve) => flushed(resolve))
    }
    mock.timers.reset()

    const { segments, delivered } = world
    assert.deepEqual(segments, [], `seed ${seed}: ${JSON.stringify(deliverer.buckets())}`)
    assert.equal(new Set(delivered).size, delivered.length, `seed ${seed}: delivered twice`)
    assert.ok(delivered.length > 16, `seed ${seed}`)
    await deliverer.stop()
  }
})
