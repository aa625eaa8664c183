// The program that many begin with, for aedes. AedesStarter.swift says the same, line for line.
const aedes = require('aedes')({ id: 'BROKER_1' })
const server = require('net').createServer(aedes.handle)
const port = process.env.PORT || 1883

server.listen(port, function () {
  console.log('server started and listening on port ' + port)
})

aedes.on('client', function (client) {
  console.log(`client ${client.id} connected to broker ${aedes.id}`)
})

aedes.on('clientDisconnect', function (client) {
  console.log(`client ${client.id} disconnected from broker ${aedes.id}`)
})

aedes.on('subscribe', function (subscriptions, client) {
  console.log(`client ${client.id} subscribed to topics: ${subscriptions.map(s => s.topic).join(',')}`)
})

aedes.on('unsubscribe', function (subscriptions, client) {
  console.log(`client ${client.id} unsubscribed from topics: ${subscriptions.join(',')}`)
})

aedes.on('publish', function (packet, client) {
  if (client) {
    console.log(`client ${client.id} published to ${packet.topic}: ${packet.payload}`)
  }
})
