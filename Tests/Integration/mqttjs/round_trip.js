// Each QoS of a publisher meets each QoS of a subscriber; then many messages keep their order.
const assert = require('assert')
const { topic, connect, done, messages, leave } = require('./peer')

async function main() {
  const publisher = await connect('publisher')
  for (const granted of [0, 1, 2]) {
    const subscriber = await connect(`subscriber-${granted}`)
    const [grant] = await done(subscriber, 'subscribe', `${topic}/${granted}/+`, { qos: granted })
    assert.strictEqual(grant.qos, granted)
    for (const qos of [0, 1, 2]) {
      await done(publisher, 'publish', `${topic}/${granted}/x`, `at ${qos}`, { qos })
      const [message] = await messages(subscriber, 1)
      assert.strictEqual(message.payload, `at ${qos}`)
      assert.strictEqual(message.qos, Math.min(qos, granted))
      assert.strictEqual(message.retain, false)
    }
  }
  const reader = await connect('reader')
  await done(reader, 'subscribe', `${topic}/many`, { qos: 2 })
  for (const qos of [0, 1, 2]) {
    // In windows: MQTT.js 4 does not heed the broker's Receive Maximum.
    const sent = Array.from({ length: 300 }, (_, n) => `${n}`)
    for (let at = 0; at < sent.length; at += 20) {
      await Promise.all(sent.slice(at, at + 20).map((n) => done(publisher, 'publish', `${topic}/many`, n, { qos })))
    }
    assert.deepStrictEqual((await messages(reader, 300)).map((m) => m.payload), sent)
  }
  await done(reader, 'unsubscribe', `${topic}/many`)
  await done(reader, 'subscribe', `${topic}/end`)
  await done(publisher, 'publish', `${topic}/many`, 'unheard', { qos: 1 })
  await done(publisher, 'publish', `${topic}/end`, 'heard', { qos: 1 })
  assert.strictEqual((await messages(reader, 1))[0].payload, 'heard')
  const large = 'x'.repeat(300000)
  await done(publisher, 'publish', `${topic}/end`, large, { qos: 2 })
  assert.strictEqual((await messages(reader, 1))[0].payload, large)
  leave()
}

main()
