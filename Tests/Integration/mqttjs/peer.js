// What the programs beside this file share. Arguments: port, protocol version (3, 4 or 5), topic.
// A program ends with 0 when all it asserts holds; an unhandled rejection ends it with 1.
const mqtt = require('mqtt')
const { once } = require('events')

const [port, versionText, topic] = process.argv.slice(2)
const version = Number(versionText)
const clients = []

setTimeout(() => {
  console.error('too slow')
  process.exit(2)
}, 15000)

function open(id, options = {}) {
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    clientId: `${topic.slice(-16)}-${id}`,
    protocolVersion: version,
    protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
    reconnectPeriod: 0,
    ...options
  })
  client.on('error', (error) => { throw error })
  client.received = []
  client.on('message', (on, payload, packet) => {
    client.received.push({ topic: on, payload: payload.toString(), qos: packet.qos, retain: packet.retain, properties: packet.properties })
    client.emit('one more')
  })
  clients.push(client)
  return client
}

/** A client, once connected; `connack` is the broker's answer. */
async function connect(id, options) {
  const client = open(id, options)
  const [connack] = await once(client, 'connect')
  client.connack = connack
  return client
}

/** A call of MQTT.js as a promise. */
function done(client, method, ...args) {
  return new Promise((resolve, reject) => client[method](...args, (error, result) => error ? reject(error) : resolve(result)))
}

/** Resolves when so many messages have come; they are taken from the list. */
async function messages(client, count) {
  while (client.received.length < count) await once(client, 'one more')
  return client.received.splice(0, count)
}

function leave() {
  for (const client of clients) client.end(true)
  console.log('ok')
  process.exit(0)
}

module.exports = { version, topic, open, connect, done, messages, leave, once }
