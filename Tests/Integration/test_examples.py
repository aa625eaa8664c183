"""The examples of the client library, of the hooks and of stores, run as their first lines say. The starters are in
test_starters.py, the archive in test_archive.py; the device and its test are run with the Swift tests."""
import os, subprocess

import paho.mqtt.client as mqtt
import pytest

from brokers import PROGRAM, ROOT, can_connect, free_port, wait_until
from programs import Program, run
from tools import listening

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


def test_a_store_of_ones_own_has_what_was_acknowledged_when_its_broker_is_killed(tmp_path):
    path, port = tmp_path / "broker.store", free_port()

    def running():
        broker = Program(BUILT / "custom-store", path, port)
        wait_until(lambda: can_connect(port), 10, "the broker listens")
        return broker
    session = ["-h", "127.0.0.1", "-p", port, "-i", "reader", "-c", "-q", 1, "-t", "readings"]
    with running() as broker:
        run(*PROGRAM, "sub", *session, "-E")
        run(*PROGRAM, "pub", "-h", "127.0.0.1", "-p", port, "-t", "readings", "-q", 1, "-l", input=b"one\ntwo\n")
        broker.process.kill()
        broker.process.wait()
    assert b"\ncommit\n" in path.read_bytes()
    with running():
        assert run(*PROGRAM, "sub", *session, "-C", 2, "-W", 10) == "one\ntwo\n"


@pytest.mark.parametrize("qos", [1, 2])
def test_a_durable_publisher_sends_what_its_last_run_did_not(broker, tmp_path, name, qos):
    with Program(BUILT / "durable-publisher", f"mqtt://127.0.0.1:{free_port()}", tmp_path, name, qos, stdin=subprocess.PIPE) as publisher:
        publisher.process.stdin.write("one\ntwo\n")
        publisher.process.stdin.flush()
        assert (publisher.line(), publisher.line()) == ("one", "two")
        publisher.process.kill()
        publisher.process.stdin.close()
    with listening("-h", "127.0.0.1", "-p", broker.port, "-t", name, "-q", qos, "-C", 3) as subscriber:
        assert run(BUILT / "durable-publisher", url(broker), tmp_path, name, qos, input=b"three\n") == "three\n"
        assert subscriber.remaining_lines() == ["one", "two", "three"]


@pytest.mark.parametrize("arguments", [[], ["mqtt://127.0.0.1"], ["mqtt://127.0.0.1", "kept", "t", "0"]])
def test_a_durable_publisher_says_how_it_is_used(arguments):
    done = subprocess.run([BUILT / "durable-publisher", *arguments], cwd=ROOT, capture_output=True, timeout=20)
    assert done.returncode == 2 and done.stderr.startswith(b"usage: ")


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
