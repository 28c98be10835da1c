#!/usr/bin/env node
// Compiles wasm/*.ts (AssemblyScript) and writes each module as base64 into a TypeScript file that src/ imports. The
// results are committed, so that nobody needs the compiler to run Weir; test/wasm.test.ts compiles again and compares.
//
//   node scripts/build-wasm.mjs           writes the files
//   node scripts/build-wasm.mjs --check   exits 1 when a file is not what its source gives
import { readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import asc from 'assemblyscript/asc'

const MODULES = [
  {
    source: 'wasm/pcap-index.ts',
    target: 'src/capture/pcap/pcap-index-wasm.gen.ts',
    name: 'PCAP_INDEX_WASM',
  },
  { source: 'wasm/meter.ts', target: 'src/meter/meter-wasm.gen.ts', name: 'METER_WASM' },
  {
    source: 'wasm/record-gzip.ts',
    target: 'src/encode/record-gzip-wasm.gen.ts',
    name: 'RECORD_GZIP_WASM',
    options: ['--enable', 'simd'],
  },
  {
    source: 'wasm/record-columns.ts',
    target: 'src/explore/record-columns-wasm.gen.ts',
    name: 'RECORD_COLUMNS_WASM',
  },
]
const LINE_SIZE = 100
const root = fileURLToPath(new URL('..', import.meta.url))

async function compile({ source, options = [] }) {
  const all = [
    '-O3',
    '--converge',
    '--runtime',
    'stub',
    '--importMemory',
    '--noExportMemory',
    '--use',
    'abort=',
    ...options,
  ]
  const files = {}
  const { error, stderr } = await asc.main([source, '--baseDir', root, '--outFile', 'module.wasm', ...all], {
    writeFile: (name, contents) => {
      files[name] = contents
    },
    readFile: (name, baseDir) => decorated(readOrNull(`${baseDir}/${name}`)),
    listFiles: () => [],
  })
  if (error) throw new Error(`${source}: ${stderr.toString()}`)
  return Buffer.from(files['module.wasm'])
}

/** `// @inline` before a function is AssemblyScript's decorator, which is no TypeScript where it stands. */
function decorated(text) {
  return text?.replace(/^\/\/ @inline$/gm, '@inline') ?? null
}

function readOrNull(path) {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return null
  }
}

function generated({ source, name }, bytes) {
  const base64 = bytes.toString('base64')
  const lines = base64.match(new RegExp(`.{1,${LINE_SIZE}}`, 'g')).map((line) => `  '${line}'`)
  return `// Generated from ${source} by scripts/build-wasm.mjs (${bytes.length} bytes). Do not edit.\nexport const ${name} = [\n${lines.join(',\n')},\n].join('')\n`
}

let failed = false
for (const it of MODULES) {
  const text = generated(it, await compile(it))
  if (!process.argv.includes('--check')) writeFileSync(`${root}${it.target}`, text)
  else if (readOrNull(`${root}${it.target}`) !== text) {
    process.stderr.write(`${it.target} is not what ${it.source} gives: run npm run build:wasm\n`)
    failed = true
  }
}
process.exitCode = failed ? 1 : 0
