// Traffic for tests, run inside a network namespace: node traffic.mjs serve|send JSON
//   serve { "tcp": [ports], "udp": [ports] }    echoes on IPv4 and IPv6 until killed
//   send  { "to": address, "tcp": [ports], "udp": [ports], "rounds": n, "size": bytes, "patienceMs": n }    ends by itself
// What nobody answers is given up after a moment, `patienceMs`; how much came back is printed as JSON.
import dgram from 'node:dgram'
import net from 'node:net'

const [verb, json] = process.argv.slice(2)
const options = { patienceMs: 400, ...JSON.parse(json) }

if (verb === 'serve') {
  const ready = []
  for (const port of options.tcp ?? []) {
    const server = net.createServer((socket) => {
      socket.on('error', () => {})
      socket.pipe(socket)
    })
    ready.push(new Promise((resolve) => server.listen(port, '::', resolve)))
  }
  for (const port of options.udp ?? []) {
    const socket = dgram.createSocket('udp6')
    socket.on('error', () => {})
    socket.on('message', (message, from) => socket.send(message, from.port, from.address))
    ready.push(new Promise((resolve) => socket.bind(port, resolve)))
  }
  await Promise.all(ready)
  process.stdout.write('serving\n')
} else {
  const answered = { tcp: 0, udp: 0 }
  for (let round = 0; round < options.rounds; round++) {
    const tries = [
      ...(options.tcp ?? []).map(async (port) => {
        const count = await sendTcp(port)
        answered.tcp += count
      }),
      ...(options.udp ?? []).map(async (port) => {
        const count = await sendUdp(port)
        answered.udp += count
      }),
    ]
    await Promise.all(tries)
  }
  process.stdout.write(`${JSON.stringify(answered)}\n`)
}

function sendTcp(port) {
  return new Promise((resolve) => {
    const socket = net.connect({ host: options.to, port })
    const end = (result) => {
      socket.destroy()
      resolve(result)
    }
    let received = 0
    socket.setTimeout(options.patienceMs, () => end(0))
    socket.on('error', () => end(0))
    socket.on('connect', () => socket.write(Buffer.alloc(options.size, 'w')))
    socket.on('data', (chunk) => {
      received += chunk.length
      if (received === options.size) socket.end()
    })
    socket.on('close', () => resolve(received === options.size ? 1 : 0))
  })
}

function sendUdp(port) {
  return new Promise((resolve) => {
    const socket = dgram.createSocket(options.to.includes(':') ? 'udp6' : 'udp4')
    const end = (result) => {
      clearTimeout(timer)
      socket.close()
      resolve(result)
    }
    const timer = setTimeout(() => end(0), options.patienceMs)
    socket.on('error', () => end(0))
    socket.on('message', () => end(1))
    socket.connect(port, options.to, () => socket.send(Buffer.alloc(options.size, 'w'), () => {}))
  })
}
