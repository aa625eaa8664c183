// The program of mosca's documentation. MoscaStarter.swift says the same, line for line.
var mosca = require('mosca')

var settings = {
  id: 'BROKER_1',
  port: Number(process.env.PORT || 1883)
}

var server = new mosca.Server(settings)

server.on('clientConnected', function (client) {
  console.log('client connected', client.id)
})

// fired when a message is received
server.on('published', function (packet, client) {
  console.log('Published', packet.payload)
})

server.on('ready', setup)

// fired when the mqtt server is ready
function setup () {
  console.log('Mosca server is up and running')
}
