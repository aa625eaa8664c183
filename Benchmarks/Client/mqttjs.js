// What `client-bench send` and `client-bench receive` do, with MQTT.js: node mqttjs.js send|receive URL MESSAGES [QOS]
'use strict'
const mqtt = require('mqtt')

const [direction, url, count, qos] = process.argv.slice(2)
const messages = Number(count)
const payload = Buffer.alloc(64, 'x')
const window = 1000
const client = mqtt.connect(url)

function finish (began) {
  const seconds = Number(process.hrtime.bigint() - began) / 1e9
  console.log(Math.round(messages / seconds))
  client.end()
}

function send () {
  const began = process.hrtime.bigint()
  let sent = 0
  let done = 0
  let underWay = 0
  const more = () => {
    while (sent < messages && underWay < window) {
      sent++
      underWay++
      client.publish('bench', payload, { qos: Number(qos) }, error => {
        if (error) throw error
        underWay--
        if (++done === messages) finish(began)
        else if (underWay < window / 2) more()
      })
    }
  }
  more()
}

function receive () {
  let began
  let received = 0
  client.on('message', () => {
    if (received === 0) began = process.hrtime.bigint()
    if (++received === messages) finish(began)
  })
  client.subscribe('bench', error => {
    if (error) throw error
    console.log('subscribed')
  })
}

client.once('connect', direction === 'send' ? send : receive)
