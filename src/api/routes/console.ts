import { readdir, readFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { WeirError } from '../../model/errors.ts'

const compress = promisify(gzip)

/** Every page is the same document; the script in it looks at the path. */
export const PAGES = [
  '/',
  '/sign-in',
  '/resources',
  '/explore',
  '/firewall',
  '/throughput',
  '/delivery',
  '/docs',
]
const ASSETS = '/assets/'

/** Nothing comes from elsewhere, nothing is evaluated, nobody frames it. */
const HEADERS = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'same-origin',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
}

const TYPES: Record<string, string> = {
  '.css': 'text/css; charset=utf-8',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff': 'font/woff',
  '.woff2': 'font/woff2',
}

interface Page {
  type: string
  content: Buffer
  /** Undefined for what is compressed already. */
  compressed: Buffer | undefined
}

/** What anybody may read: the console itself has no secrets, its requests need a session. */
export function isConsolePath(method: string, path: string): boolean {
  if (method !== 'GET' && method !== 'HEAD') return false
  return path.startsWith(ASSETS) || PAGES.includes(path.length > 1 ? path.replace(/\/$/, '') : path)
}

/** The built console, in memory: only files that were there at the start can be asked for. */
export type ConsoleFiles = Map<string, Page>

/** Undefined where none has been built. */
export async function readConsole(directory: string): Promise<ConsoleFiles | undefined> {
  const files = await readPages(directory)
  return files.has('/index.html') ? files : undefined
}

export async function consoleRoutes(app: FastifyInstance, { files }: { files: ConsoleFiles }): Promise<void> {
  for (const page of PAGES) {
    app.get(page, async (request, reply) => sendDocument(request, reply, files))
  }
  app.get(`${ASSETS}*`, async (request, reply) => {
    const file = files.get(request.url.split('?', 1)[0]!)
    if (file === undefined) throw new WeirError('WEIR_NOT_FOUND', 'Resource does not exist')
    return send(request, reply, file, 'public, max-age=31536000, immutable') // Names carry a digest.
  })
}

/**
 * Whether somebody has mistyped the address of a page: a browser asks for a document, and nothing of the API begins like
 * that. The console has words for it.
 */
export function isLostReader(app: FastifyInstance, request: FastifyRequest): boolean {
  if (!request.is404 || (request.method !== 'GET' && request.method !== 'HEAD')) return false
  if (!/\btext\/html\b/.test(request.headers.accept ?? '')) return false
  const first = firstSegment(request.url)
  return !app.routeTable.some(({ url }) => !PAGES.includes(url) && firstSegment(url) === first)
}

function firstSegment(url: string): string {
  return /^\/[^/?]*/.exec(url)?.[0] ?? ''
}

export function sendDocument(
  request: FastifyRequest,
  reply: FastifyReply,
  files: ConsoleFiles,
): FastifyReply {
  return send(request, reply, files.get('/index.html')!, 'no-cache')
}

function send(request: FastifyRequest, reply: FastifyReply, file: Page, cacheControl: string): FastifyReply {
  reply.headers(HEADERS).type(file.type).header('cache-control', cacheControl)
  if (file.compressed === undefined) return reply.send(file.content)
  reply.header('vary', 'accept-encoding')
  if (!/\bgzip\b/.test(request.headers['accept-encoding'] ?? '')) return reply.send(file.content)
  return reply.header('content-encoding', 'gzip').send(file.compressed)
}

async function readPages(directory: string): Promise<Map<string, Page>> {
  const pages = new Map<string, Page>()
  const names = await readdir(directory, { recursive: true })
  await Promise.all(
    names.map(async (name) => {
      const extension = path.extname(name)
      const type = TYPES[extension]
      if (type === undefined) return // Folders, and what no page refers to.
      const content = await readFile(path.join(directory, name))
      const compressed = extension.startsWith('.woff') ? undefined : await compress(content)
      pages.set(`/${name.split(path.sep).join('/')}`, { type, content, compressed })
    }),
  )
  return pages
}
