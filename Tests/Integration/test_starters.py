"""The starter programs of aedes and mosca, ported: they print what the originals beside them (Examples/*/starter.js)
print for the same clients."""
import os, signal

import paho.mqtt.client as mqtt
import pytest

from brokers import PROGRAM, ROOT, free_port, wait_until
from programs import Program, run

BUILT = ROOT / os.path.dirname(PROGRAM[0])
MESSAGE = '{ "age": 19 }'

AEDES = [
    "server started and listening on port PORT",
    "client CLIENT connected to broker BROKER_1",
    "client CLIENT subscribed to topics: xj_mqtt",
    'client CLIENT published to xj_mqtt: { "age": 19 }',
    "client CLIENT unsubscribed from topics: xj_mqtt",
    "client CLIENT disconnected from broker BROKER_1",
]
MOSCA = [
    "Mosca server is up and running",
    "client connected CLIENT",
    "Published CLIENT",
    'Published {"clientId":"CLIENT","topic":"xj_mqtt"}',
    "Published <Buffer 7b 20 22 61 67 65 22 3a 20 31 39 20 7d>",
    'Published {"clientId":"CLIENT","topic":"xj_mqtt"}',
    "Published CLIENT",
]


def play_mqttjs(port, client_id):
    program = ROOT / "Tests/Integration/mqttjs/starter.js"
    assert run("node", program, port, client_id, env={"NODE_PATH": "/usr/share/nodejs"}) == "ok\n"


def play_paho(port, client_id):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id)
    client.on_connect = lambda c, *_: c.subscribe("xj_mqtt")
    client.on_subscribe = lambda c, *_: c.publish("xj_mqtt", MESSAGE)
    client.on_message = lambda c, _, message: c.unsubscribe(message.topic)
    client.on_unsubscribe = lambda c, *_: c.disconnect()
    client.connect("127.0.0.1", port)
    client.loop_forever()


@pytest.mark.parametrize("play", [play_mqttjs, play_paho])
@pytest.mark.parametrize("program, lines", [("aedes-starter", AEDES), ("mosca-starter", MOSCA)])
def test_a_starter_program_prints_what_its_original_prints(program, lines, play):
    port = free_port()
    with Program(BUILT / program, env={"PORT": str(port)}) as starter:
        said = [starter.line(15)]
        play(port, "a-client")
        said += [starter.line() for _ in lines[1:]]
        assert said == [line.replace("PORT", str(port)).replace("CLIENT", "a-client") for line in lines]
        starter.process.send_signal(signal.SIGKILL)
        starter.process.wait()
        assert starter.lines.get(timeout=5) is None


def test_a_channel_of_the_program_is_served(tmp_path):
    path = tmp_path / "mqtt.sock"
    with Program(BUILT / "unix-socket", path):
        wait_until(path.exists, 10, "the socket is there")
        with Program("mosquitto_sub", "--unix", path, "-t", "t", "-C", 1) as subscriber:
            wait_until(lambda: run("mosquitto_pub", "--unix", path, "-t", "t", "-m", "hello", "-r") == "", 5, "a publish")
            assert subscriber.line() == "hello"
