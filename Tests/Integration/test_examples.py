"""The examples of the client library and of the hooks, run as their first lines say."""
import os

import paho.mqtt.client as mqtt
import pytest

from brokers import PROGRAM, ROOT, can_connect, free_port, wait_until
from programs import Program, run

BUILT = ROOT / os.path.dirname(PROGRAM[0])


def url(broker):
    return f"mqtt://127.0.0.1:{broker.port}"


def test_a_publisher_and_a_subscriber(broker):
    with Program(BUILT / "publisher", url(broker), "0.1"):
        assert run(BUILT / "subscriber", url(broker)) == "/temperature 30\nunsubscribed\n"


def test_typed_topics(broker):
    assert sorted(run(BUILT / "typed-topics", url(broker)).splitlines()) == [
        "attic: 17.0 °C",
        "hall: no reading",
        "kitchen: 19.5 °C",
    ]


def test_request_and_response(broker):
    assert run(BUILT / "request-response", url(broker)) == "swift: 5\napus apus: 9\n"


def test_a_load_generator(broker):
    said = run(BUILT / "load-generator", url(broker), "20", "50")
    assert said.startswith("1000 messages through 20 clients, ")


@pytest.fixture
def guarded():
    port = free_port()
    with Program(BUILT / "guarded-broker", str(port)):
        wait_until(lambda: can_connect(port), 10, "the broker listens")
        yield port


@pytest.mark.parametrize(
    "name, password, accepted",
    [("alice", "wonderland", True), ("alice", "builder", False), ("carol", "wonderland", False), (None, None, False)],
)
def test_a_guarded_broker_knows_its_clients(guarded, name, password, accepted):
    answers = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "c", protocol=mqtt.MQTTv5)
    if name:
        client.username_pw_set(name, password)
    client.on_connect = lambda c, _u, _f, reason, _p: (answers.append(reason.value), c.disconnect())
    client.connect("127.0.0.1", guarded)
    client.loop_start()
    wait_until(lambda: answers, 10, "CONNACK")
    client.loop_stop()
    assert answers == [0 if accepted else 0x86]


def test_a_guarded_broker_lets_clients_publish_below_their_name(guarded):
    events = []
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "c", protocol=mqtt.MQTTv5)
    client.username_pw_set("bob", "builder")
    client.on_subscribe = lambda _c, _u, _m, reasons, _p: events.append([reason.value for reason in reasons])
    client.on_publish = lambda _c, _u, _m, reason, _p: events.append(reason.value)
    client.connect("127.0.0.1", guarded)
    client.loop_start()
    client.subscribe([("bob/#", mqtt.SubscribeOptions(qos=2)), ("$SYS/#", mqtt.SubscribeOptions(qos=0))])
    wait_until(lambda: len(events) == 1, 10, "SUBACK")
    client.publish("bob/house", "done", qos=1)
    wait_until(lambda: len(events) == 2, 10, "PUBACK")
    client.publish("alice/house", "done", qos=1)
    wait_until(lambda: len(events) == 3, 10, "PUBACK")
    client.loop_stop()
    assert events == [[1, 0x87], 0, 0x87]
