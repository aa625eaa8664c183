// A client that loses its connection reconnects by itself to its session and gets what was queued meanwhile.
const assert = require('assert')
const { version, topic, open, connect, done, messages, leave, once } = require('./peer')

async function main() {
  const session = version === 5 ? { properties: { sessionExpiryInterval: 300 } } : {}
  const publisher = await connect('publisher')
  const sleeper = open('sleeper', { clean: false, resubscribe: false, reconnectPeriod: 1, ...session })
  const connacks = []
  sleeper.on('connect', (connack) => connacks.push(connack))
  await once(sleeper, 'connect')
  assert.strictEqual(connacks[0].sessionPresent, false)
  await done(sleeper, 'subscribe', `${topic}/+`, { qos: 2 })

  // The socket is cut again and again while messages flow: none may be lost or change places.
  const payloads = []
  for (let round = 0; round < 5; round++) {
    sleeper.stream.destroy()
    for (let n = 0; n < 20; n++) {
      payloads.push(`${round}.${n}`)
      await done(publisher, 'publish', `${topic}/1`, payloads.at(-1), { qos: 1 })
    }
    while (connacks.length < round + 2) await once(sleeper, 'connect')
  }
  await done(publisher, 'publish', `${topic}/1`, 'end', { qos: 1 })
  const seen = []
  while (seen.at(-1) !== 'end') seen.push(...(await messages(sleeper, 1)).map((m) => m.payload))
  assert.deepStrictEqual([...new Set(seen)], [...payloads, 'end'])
  // 3.1 has no Session Present.
  if (version > 3) assert.deepStrictEqual(connacks.slice(1).map((c) => c.sessionPresent), Array(5).fill(true))

  // Away for a while, at QoS 2: exactly once and in order.
  await done(sleeper, 'end', false)
  for (let n = 0; n < 50; n++) await done(publisher, 'publish', `${topic}/2`, `${n}`, { qos: 2 })
  const again = await connect('sleeper', { clean: false, resubscribe: false, ...session })
  if (version > 3) assert.strictEqual(again.connack.sessionPresent, true)
  const rest = await messages(again, 50)
  assert.deepStrictEqual(rest.map((m) => m.payload), Array.from({ length: 50 }, (_, n) => `${n}`))

  // A clean start forgets all of it.
  const clean = await connect('sleeper', { clean: true })
  if (version > 3) assert.strictEqual(clean.connack.sessionPresent, false)
  await done(publisher, 'publish', `${topic}/2`, 'unheard', { qos: 1 })
  await done(clean, 'subscribe', `${topic}/end`)
  await done(publisher, 'publish', `${topic}/end`, 'heard', { qos: 1 })
  assert.strictEqual((await messages(clean, 1))[0].payload, 'heard')
  leave()
}

main()
