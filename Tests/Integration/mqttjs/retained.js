// A retained message comes to new subscribers with retain set, to old ones without; an empty one clears it.
const assert = require('assert')
const { version, topic, connect, done, messages, leave } = require('./peer')

async function main() {
  const publisher = await connect('publisher')
  const early = await connect('early')
  await done(early, 'subscribe', `${topic}/#`, { qos: 1 })
  await done(publisher, 'publish', `${topic}/state`, 'first', { qos: 1, retain: true })
  await done(publisher, 'publish', `${topic}/state`, 'second', { qos: 1, retain: true })
  assert.deepStrictEqual((await messages(early, 2)).map((m) => [m.payload, m.retain]), [['first', false], ['second', false]])

  const late = await connect('late')
  await done(late, 'subscribe', `${topic}/+`, { qos: 2 })
  const [state] = await messages(late, 1)
  assert.deepStrictEqual([state.topic, state.payload, state.qos, state.retain], [`${topic}/state`, 'second', 1, true])

  if (version === 5) {
    const asPublished = await connect('as-published')
    await done(asPublished, 'subscribe', `${topic}/state`, { qos: 1, rap: true, rh: 2 })
    await done(publisher, 'publish', `${topic}/state`, 'third', { qos: 1, retain: true })
    assert.deepStrictEqual((await messages(asPublished, 1)).map((m) => [m.payload, m.retain]), [['third', true]])
  }

  await done(publisher, 'publish', `${topic}/state`, '', { qos: 1, retain: true })
  const last = await connect('last')
  await done(last, 'subscribe', `${topic}/#`)
  await done(publisher, 'publish', `${topic}/end`, 'end')
  assert.deepStrictEqual((await messages(last, 1)).map((m) => m.payload), ['end'])
  leave()
}

main()
