import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hashPassword } from '../store/secrets.ts'
import { Metrics } from '../telemetry/metrics.ts'
import { RateLimitedError } from './errors.ts'
import { PasswordCheck, type PasswordTry } from './password-check.ts'

const hash = await hashPassword('right')

function newCheck(): {
  passSeconds(seconds: number): void
  judge(guess: Partial<PasswordTry>): Promise<string>
} {
  let nowS = 0
  const clock = { nowMs: () => nowS * 1000, monotonicNs: () => BigInt(nowS) * 1_000_000_000n }
  const check = new PasswordCheck({ clock, metrics: new Metrics() })
  return {
    passSeconds(seconds) {
      nowS += seconds
    },
    async judge(guess) {
      try {
        const whole = { email: 'a@example.org', password: 'right', hash, address: '192.0.2.1', ...guess }
        return (await check.isRight(whole)) ? 'right' : 'wrong'
      } catch (error) {
        if (error instanceof RateLimitedError) return `in ${error.retryAfterS} s`
        throw error
      }
    },
  }
}

const GUESSES = Array.from({ length: 10 }, (_, i) => ({ password: `guess ${i}` }))

test('ten passwords of a user may be guessed from one network, then one every six seconds', async () => {
  const { judge, passSeconds } = newCheck()

  const elsewhere = await judge({ address: '192.0.2.2' })
  const first = await Promise.all(GUESSES.map(judge))
  const tooMany = await judge({ password: 'one more' })
  const others = [
    await judge({}), // Not even the right one, which is remembered: else guessing would go on.
    await judge({ email: 'b@example.org' }),
    await judge({ address: '192.0.2.2' }),
    await judge(GUESSES[0]!), // Known to be wrong: whoever repeats it learns nothing.
  ]
  passSeconds(6)
  const later = [await judge({ password: 'one more' }), await judge({})]

  assert.equal(elsewhere, 'right')
  assert.deepEqual(new Set(first), new Set(['wrong']))
  assert.equal(tooMany, 'in 6 s')
  assert.deepEqual(others, ['in 6 s', 'right', 'right', 'wrong'])
  assert.deepEqual(later, ['wrong', 'in 6 s'])
})

test('users that do not exist are guessed at the same pace', async () => {
  const { judge } = newCheck()

  const first = await Promise.all(GUESSES.map((it) => judge({ ...it, hash: undefined })))
  const tooMany = await judge({ hash: undefined })

  assert.deepEqual(new Set(first), new Set(['wrong']))
  assert.equal(tooMany, 'in 6 s')
})

test('the addresses of one IPv6 network are one guesser; mapped IPv4 addresses are many', async () => {
  const { judge } = newCheck()

  const near = GUESSES.map((it, i) => judge({ ...it, address: `2001:db8::${i}` }))
  await Promise.all(near)
  const next = [
    await judge({ address: '2001:db8::ffff:1' }),
    await judge({ address: '2001:db8:0:1::1' }),
    await judge({ address: '::ffff:192.0.2.1' }),
  ]

  assert.deepEqual(next, ['in 6 s', 'right', 'right'])
})

test('whoever has the right password has it in many requests at once, and after errors', async () => {
  const { judge } = newCheck()

  const errors = await Promise.all(GUESSES.slice(0, 9).map(judge))
  const many = await Promise.all(Array.from({ length: 100 }, () => judge({})))
  const again = await Promise.all(GUESSES.slice(0, 9).map((it) => judge({ password: `${it.password}!` })))

  assert.deepEqual(new Set(errors), new Set(['wrong']))
  assert.deepEqual(new Set(many), new Set(['right']))
  assert.deepEqual(new Set(again), new Set(['wrong']))
  assert.equal(await judge({}), 'right')
})
