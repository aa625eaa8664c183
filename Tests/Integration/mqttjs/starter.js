// What the starter programs of aedes and mosca are tried out with: subscribe, publish, unsubscribe, leave.
const mqtt = require('mqtt')
const [, , port, clientId] = process.argv
const client = mqtt.connect({ host: '127.0.0.1', port: Number(port), clientId })

client.on('connect', () => {
  client.subscribe('xj_mqtt', () => {
    client.publish('xj_mqtt', '{ "age": 19 }')
  })
})

client.on('message', (topic, message) => {
  client.unsubscribe(topic, () => {
    client.end()
    console.log('ok')
  })
})
