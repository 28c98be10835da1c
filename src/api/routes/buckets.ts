import type { Readable } from 'node:stream'
import type { FastifyInstance } from 'fastify'
import type { Services } from '../app.ts'

/**
 * The embedded object store's one method. The signature in the URL is the credential, and it bounds the
 * size.
 */
export async function bucketRoutes(app: FastifyInstance, services: Services): Promise<void> {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  app.put('/buckets/*', { bodyLimit: Number.MAX_SAFE_INTEGER }, async (request, reply) => {
    const body = (request.body ?? request.raw) as Readable
    await services.buckets.embedded!.receive({ url: request.url, headers: request.headers, body })
    return reply.code(201).send()
  })
}
