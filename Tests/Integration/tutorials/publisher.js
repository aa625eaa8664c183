const mqtt = require('mqtt')
const client = mqtt.connect('mqtt://localhost:1883')

client.on('connect', () => {
  setInterval(() => {
    client.publish('/temperature', '30')
  }, 3000)
})
