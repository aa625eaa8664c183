"""Answers every request on the topic that is its argument, on the broker at port 1883: upon MQTT 5.0's response topic, or upon answers/lamp."""
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def answer(client, _, request):
    properties = Properties(PacketTypes.PUBLISH)
    properties.CorrelationData = getattr(request.properties, "CorrelationData", b"")
    client.publish(getattr(request.properties, "ResponseTopic", "answers/lamp"), "done", 1, properties=properties)


client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "answering", protocol=mqtt.MQTTv5)
client.on_message = answer
client.on_connect = lambda *_: client.subscribe(sys.argv[1], 1)
client.on_subscribe = lambda *_: print("ready", flush=True)
client.connect("localhost", 1883)
client.loop_forever()
