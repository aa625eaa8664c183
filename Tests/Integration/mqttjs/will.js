// A will comes when the connection breaks, and not after a DISCONNECT.
const assert = require('assert')
const { version, topic, connect, done, messages, leave, once } = require('./peer')

async function main() {
  const watcher = await connect('watcher')
  await done(watcher, 'subscribe', `${topic}/#`, { qos: 2 })
  for (const qos of [0, 1, 2]) {
    const properties = version === 5 ? { properties: { contentType: 'last/words' } } : {}
    const will = { topic: `${topic}/${qos}`, payload: `broken ${qos}`, qos, retain: qos === 1, ...properties }

    const polite = await connect('polite', { will: { ...will, payload: 'never' } })
    await done(polite, 'end', false)

    const rude = await connect('rude', { will })
    rude.stream.destroy()
    await once(rude, 'close')
    const [message] = await messages(watcher, 1)
    assert.deepStrictEqual([message.topic, message.payload, message.qos], [`${topic}/${qos}`, `broken ${qos}`, qos])
    if (version === 5) assert.strictEqual(message.properties.contentType, 'last/words')
  }
  const late = await connect('late')
  await done(late, 'subscribe', `${topic}/+`, { qos: 1 })
  assert.deepStrictEqual((await messages(late, 1)).map((m) => [m.payload, m.retain]), [['broken 1', true]])
  leave()
}

main()
