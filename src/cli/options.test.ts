import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseListen, parseWindowSize } from './options.ts'

test('a window is any divisor of an hour from two seconds up', () => {
  for (const good of ['2', '5', '60', '600', '3600']) assert.equal(parseWindowSize(good), Number(good))
  for (const bad of ['', '1', '0', '-5', '7', '2.5', '7200', 'ten']) {
    assert.throws(() => parseWindowSize(bad), { code: 'WEIR_USAGE' }, bad)
  }
})

test('an address to listen on is a host and a port', () => {
  assert.deepEqual(parseListen('127.0.0.1:8080'), { host: '127.0.0.1', port: 8080 })
  assert.deepEqual(parseListen('[::1]:0'), { host: '::1', port: 0 })
  assert.deepEqual(parseListen(':443'), { host: '::', port: 443 })
  for (const bad of ['8080', '127.0.0.1', '127.0.0.1:65536', '::1:80', 'http://x:80']) {
    assert.throws(() => parseListen(bad), { code: 'WEIR_USAGE' }, bad)
  }
})
