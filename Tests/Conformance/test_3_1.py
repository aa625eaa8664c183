"""MQTT 3.1: MQIsdp, level 3. The specification has no numbered statements; what differs from 3.1.1 is here."""
import pytest

import codec
from mqtt import Will

VERSION = codec.V31


def test_connect_is_acknowledged_with_two_zero_bytes(connect, unique):
    """3.1 has no session present: the byte is reserved, also when there was a session."""
    name = unique()
    for _ in range(2):
        client = connect(name, clean=False)
        assert client.connack.raw == b"\x20\2\0\0"
        client.disconnect()


@pytest.mark.parametrize("length", [23, 24, 100, 1000])
def test_the_rule_of_23_characters_is_not_enforced(connect, unique, length):
    connect(unique().ljust(length, "x")).sync()


@pytest.mark.parametrize("fields", [{"level": 4}, {"level": 2}, {"level": 5}, {"name": "MQIsdq"}])
def test_another_level_or_name_is_not_let_in(dial, fields):
    client = dial()
    client.send_connect(**fields)
    assert [p.reason for p in client.expect_closed()] in ([], [1])


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_messages_go_both_ways_at_each_qos(connect, topic, qos):
    old, new = connect(), connect(version=codec.V5)
    old.subscribe(topic + "/+/down", qos=2)
    new.subscribe(topic + "/up", qos=2)
    old.publish(topic + "/up", b"up", qos=qos)
    new.message(payload=b"up", qos=qos)
    new.publish(topic + "/x/down", b"down", qos=qos, properties={"content_type": "dropped on the way", "user_property": [("k", "v")]})
    old.message(payload=b"down", qos=qos)


def test_a_session_keeps_messages_and_redelivers_with_dup(connect, unique, topic):
    name = unique()
    client = connect(name, clean=False)
    client.subscribe(topic, qos=2)
    client.disconnect()
    publisher = connect()
    publisher.publish(topic, b"1", qos=1)
    publisher.publish(topic, b"2", qos=2)
    client = connect(name, clean=False)
    sent = [client.expect("PUBLISH", dup=False, qos=qos).packet_id for qos in (1, 2)]
    client.close()
    client = connect(name, clean=False)
    assert [m.packet_id for m in client.messages(2, dup=True)] == sent


def test_will_and_retained_messages(connect, topic):
    watcher, later = connect(), connect()
    watcher.subscribe(topic)
    connect(will=Will(topic, b"gone", qos=1, retain=True), username="user", password="secret").close()
    watcher.message(payload=b"gone", retain=False)
    later.subscribe(topic)
    later.message(payload=b"gone", retain=True)


def test_unsubscribe_and_ping(connect, topic):
    client = connect()
    client.subscribe(topic)
    client.unsubscribe(topic)
    client.publish(topic)
    client.expect_silence()


def test_silence_closes(connect):
    assert connect(keep_alive=1).expect_closed(timeout=8) == []
