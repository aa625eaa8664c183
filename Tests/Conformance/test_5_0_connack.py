"""MQTT 5.0, section 3.2: CONNACK."""
import pytest

import codec
from mqtt import Reason, Will
from statements import statement

VERSION = codec.V5


@statement("MQTT-3.2.2-1", "MQTT-3.2.2-8")
def test_acknowledge_flags_say_nothing_but_session_present(connect, unique):
    name = unique()
    client = connect(name, persistent=True)
    assert client.connack.raw[0] == 0x20 and client.connack.raw[2:4] == b"\0\0"
    client.disconnect()
    assert connect(name, persistent=True).connack.raw[2:4] == b"\1\0"


@statement("MQTT-3.2.2-9", "MQTT-3.2.2-10")
def test_without_maximum_qos_every_qos_is_served_and_subscribe_is_accepted_at_any(connect, topic):
    client = connect()
    highest = client.connack.properties.get("maximum_qos", 2)
    for qos in (0, 1, 2):
        assert client.subscribe(topic + f"/{qos}", qos=qos).reasons[0] <= qos
    for qos in range(highest + 1):
        client.publish(topic + "/2", bytes([qos]), qos=qos)
        client.message(payload=bytes([qos]))


@pytest.mark.parametrize("qos", [0, 1, 2])
@statement("MQTT-3.2.2-12")
def test_a_will_is_taken_at_each_supported_qos_and_refused_above(connect, dial, topic, qos):
    watcher, client = connect(), dial()
    watcher.subscribe(topic, qos=2)
    client.send_connect(will=Will(topic, qos=qos))
    if qos <= watcher.connack.properties.get("maximum_qos", 2):
        client.expect("CONNACK", reason=0)
        client.close()
        watcher.message(qos=qos)
    else:
        client.expect_closed(0x9B, kind="CONNACK")


@statement("MQTT-3.2.2-13")
def test_a_will_with_retain_is_taken_if_retain_is_available_and_refused_otherwise(connect, dial, topic):
    watcher, client = connect(), dial()
    watcher.subscribe(topic, retain_as_published=True)
    client.send_connect(will=Will(topic, retain=True))
    if watcher.connack.properties.get("retain_available", 1):
        client.expect("CONNACK", reason=0)
        client.close()
        watcher.message(retain=True)
    else:
        client.expect_closed(0x9A, kind="CONNACK")


@pytest.mark.parametrize("spare", [0, 1, 20])
@statement("MQTT-3.2.2-19", "MQTT-3.2.2-20")
def test_a_refusal_is_not_larger_than_the_client_takes(dial, spare):
    shortest = len(b"\x20\3\0\x8c\0")
    client = dial()
    client.send_connect(properties={"authentication_method": "no such method", "maximum_packet_size": shortest + spare})
    assert [len(p.raw) <= shortest + spare for p in client.expect_closed(Reason.BAD_METHOD, kind="CONNACK")] == [True]


@statement("MQTT-3.2.2-19", "MQTT-3.2.2-20", "MQTT-3.1.2-24")
def test_a_welcome_is_not_larger_than_the_client_takes(connect):
    size = len(connect().connack.raw)
    assert len(connect(properties={"maximum_packet_size": size}).connack.raw) <= size


@statement("MQTT-3.2.2-8", "MQTT-3.2.2-7", "MQTT-3.2.2-6")
def test_a_refusal_has_one_of_the_connack_reason_codes_and_closes(dial):
    for fields in ({"level": 9}, {"properties": {"authentication_method": "x"}}, {"properties": {"receive_maximum": 0}}, {"flags": 3}):
        client = dial()
        client.send_connect(**fields)       # the decoder knows the codes
        for p in client.expect_closed():
            assert p.reason >= 0x80 and not p.session_present


@statement("MQTT-3.2.2-22", "MQTT-3.1.2-22")
def test_the_servers_keep_alive_counts_when_it_gives_one(connect, brokers):
    client = connect(to=brokers("--max-keep-alive", "1"), keep_alive=60)
    assert client.connack.properties["server_keep_alive"] == 1
    client.expect_closed(Reason.KEEP_ALIVE, timeout=8)


@statement("MQTT-3.2.2-16")
def test_an_assigned_id_is_not_one_of_an_offline_session(connect):
    offline = connect("", persistent=True)
    offline.disconnect()
    for _ in range(20):
        other = connect("", clean=False)
        assert other.client_id != offline.client_id and not other.connack.session_present
