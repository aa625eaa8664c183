// What only 5.0 has: properties, subscription options, shared subscriptions, reasons.
const assert = require('assert')
const { topic, connect, done, messages, leave, once } = require('./peer')

async function main() {
  const subscriber = await connect('subscriber', { topicAliasMaximum: 4, properties: { receiveMaximum: 5 } })
  const publisher = await connect('publisher')
  await done(subscriber, 'subscribe', `${topic}/#`, { qos: 1, properties: { subscriptionIdentifier: 268435455 } })

  const properties = {
    payloadFormatIndicator: true, messageExpiryInterval: 100, responseTopic: 'answer/here', correlationData: Buffer.from([0, 255]),
    userProperties: { one: 'eins', two: ['zwei', 'deux'] }, contentType: 'text/plain'
  }
  await done(publisher, 'publish', `${topic}/all`, 'x', { qos: 1, properties })
  const [message] = await messages(subscriber, 1)
  const got = { ...message.properties }
  assert.strictEqual(got.subscriptionIdentifier, 268435455)
  assert.ok(got.messageExpiryInterval > 90 && got.messageExpiryInterval <= 100)
  for (const key of ['payloadFormatIndicator', 'responseTopic', 'contentType']) assert.strictEqual(got[key], properties[key])
  assert.deepStrictEqual([...got.correlationData], [0, 255])
  assert.deepStrictEqual({ ...got.userProperties }, properties.userProperties)

  const aliased = { qos: 0, properties: { topicAlias: 1 } }
  if (publisher.connack.properties?.topicAliasMaximum) {
    await done(publisher, 'publish', `${topic}/alias`, 'named', aliased)
    await done(publisher, 'publish', '', 'by alias', aliased)
    assert.deepStrictEqual((await messages(subscriber, 2)).map((m) => m.payload), ['named', 'by alias'])
  }

  // More than Receive Maximum at once: the broker waits for acknowledgements, and nothing is lost.
  for (let n = 0; n < 100; n += 20) {
    await Promise.all(Array.from({ length: 20 }, (_, more) => done(publisher, 'publish', `${topic}/many`, `${n + more}`, { qos: 1 })))
  }
  assert.deepStrictEqual((await messages(subscriber, 100)).map((m) => Number(m.payload)), Array.from({ length: 100 }, (_, n) => n))

  const self = await connect('self')
  await done(self, 'subscribe', `${topic}-own/#`, { qos: 1, nl: true })
  await done(self, 'publish', `${topic}-own/x`, 'own', { qos: 1 })
  await done(publisher, 'publish', `${topic}-own/x`, 'other', { qos: 1 })
  assert.strictEqual((await messages(self, 1))[0].payload, 'other')

  const workers = [await connect('worker-1'), await connect('worker-2')]
  for (const worker of workers) await done(worker, 'subscribe', `$share/group/${topic}-work`, { qos: 1 })
  const both = new Promise((resolve) => {
    const look = () => workers[0].received.length + workers[1].received.length === 40 && resolve()
    for (const worker of workers) worker.on('one more', look)
  })
  for (let n = 0; n < 40; n++) await done(publisher, 'publish', `${topic}-work`, `${n}`, { qos: 1 })
  await both
  assert.strictEqual(new Set(workers.flatMap((w) => w.received.map((m) => m.payload))).size, 40)
  for (const worker of workers) assert.ok(worker.received.length > 0)

  // A takeover tells its reason.
  const first = await connect('twice')
  const told = once(first, 'disconnect')
  await connect('twice')
  assert.strictEqual((await told)[0].reasonCode, 0x8E)

  const nameless = await connect('x', { clientId: '' })
  assert.ok(nameless.connack.properties.assignedClientIdentifier.length > 0)
  leave()
}

main()
