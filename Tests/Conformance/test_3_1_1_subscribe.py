"""MQTT 3.1.1, sections 3.8 to 3.14: SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT."""
import pytest

import codec
from mqtt import Will
from statements import statement

VERSION = codec.V311

WRONG_SUBSCRIBE = {
    "flags 0000": (codec.subscribe(4, 1, [("a", 0)], flags=0), "MQTT-3.8.1-1"), "flags 0011": (codec.subscribe(4, 1, [("a", 0)], flags=3), "MQTT-3.8.1-1"),
    "no filter": (codec.subscribe(4, 1, []), "MQTT-3.8.3-3"), "QoS 3": (codec.subscribe(4, 1, [("a", 3)]), "MQTT-3-8.3-4"),
    "reserved bits": (codec.subscribe(4, 1, [("a", 4)]), "MQTT-3-8.3-4"), "high reserved bit": (codec.subscribe(4, 1, [("a", 0), ("b", 0x81)]), "MQTT-3-8.3-4"),
}


@pytest.mark.parametrize("case", WRONG_SUBSCRIBE.values(), ids=WRONG_SUBSCRIBE)
@statement("MQTT-3.8.1-1", "MQTT-3.8.3-3", "MQTT-3-8.3-4")
def test_a_wrong_subscribe_closes(connect, case):
    client = connect()
    client.send(case[0])
    assert client.expect_closed() == []


@statement("MQTT-3.8.3-2")
def test_filters_with_wildcards_are_granted_and_served_or_refused(connect, topic):
    client = connect()
    granted = client.subscribe(topic + "/+", topic + "/x/#").reasons
    client.publish(topic + "/a")
    client.publish(topic + "/x/y/z")
    assert len([p for p in client.pending() if p.kind == "PUBLISH"]) == len([code for code in granted if code < 0x80])


@statement("MQTT-3.8.4-1", "MQTT-3.8.4-2", "MQTT-3.9.3-1", "MQTT-3.8.4-5", "MQTT-3.9.3-2")
def test_suback_has_the_id_and_one_code_for_each_filter_in_order(connect, topic):
    client = connect()
    client.send(codec.subscribe(4, 4711, [(topic + "/2", 2), (topic + "/0", 0), (topic + "/1", 1), (topic + "/2", 2)]))
    client.expect("SUBACK", packet_id=4711, reasons=[2, 0, 1, 2])


@statement("MQTT-3.8.4-4")
def test_several_filters_have_one_suback_and_the_effect_of_several_subscribes(connect, topic):
    client = connect()
    client.publish(topic + "/a", b"retained", qos=1, retain=True)
    client.send_subscribe(*[topic + f"/{n}" for n in range(20)], topic + "/a")
    client.expect("SUBACK", reasons=[0] * 21)
    client.message(payload=b"retained", retain=True)
    for n in range(20):
        client.publish(topic + f"/{n}")
        client.message(topic=topic + f"/{n}")
    client.expect_silence()


@statement("MQTT-3.8.4-3")
def test_an_identical_filter_replaces_and_sends_the_retained_messages_again(connect, topic):
    client = connect()
    client.publish(topic, b"retained", qos=1, retain=True)
    for qos in (2, 0, 1):
        client.subscribe(topic, qos=qos)
        client.message(payload=b"retained", retain=True, qos=min(qos, 1))
    client.publish(topic, b"live", qos=2)
    client.message(payload=b"live", qos=1)
    client.expect_silence()


@statement("MQTT-3.8.4-3")
def test_subscribing_again_interrupts_no_publications(connect, topic):
    publisher, subscriber = connect(), connect()
    subscriber.subscribe(topic, qos=1)
    for n in range(100):
        publisher.send_publish(topic, bytes([n]), qos=1)
        subscriber.send_subscribe(topic, qos=1)
    publisher.sync()
    received = []
    while len(received) < 100:
        p = subscriber.read()
        if p.kind == "PUBLISH":
            subscriber.finish(p)
            received.append(p.payload[0])
    assert received == list(range(100))


@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
@statement("MQTT-3.8.4-6")
def test_delivery_is_at_the_lower_of_published_and_granted_qos(connect, topic, published, granted):
    client = connect()
    assert client.subscribe(topic, qos=granted).reasons == [granted]
    client.publish(topic, b"x", qos=published)
    client.message(qos=min(published, granted))
    client.expect_silence()


WRONG_UNSUBSCRIBE = {"flags 0000": codec.unsubscribe(4, 1, ["a"], flags=0), "flags 0110": codec.unsubscribe(4, 1, ["a"], flags=6), "no filter": codec.unsubscribe(4, 1, [])}


@pytest.mark.parametrize("data", WRONG_UNSUBSCRIBE.values(), ids=WRONG_UNSUBSCRIBE)
@statement("MQTT-3.10.1-1", "MQTT-3.10.3-2")
def test_a_wrong_unsubscribe_closes(connect, data):
    client = connect()
    client.send(data)
    assert client.expect_closed() == []


@statement("MQTT-3.10.4-1")
def test_only_the_filter_that_is_equal_character_by_character_is_removed(connect, topic):
    client = connect()
    client.subscribe(topic + "/a/+")
    client.unsubscribe(topic + "/a/b", topic + "/A/+", topic + "/a/#", topic + "/a", topic + "/a/+/", "#")
    client.publish(topic + "/a/b", b"still")
    client.message(payload=b"still")
    client.unsubscribe(topic + "/a/+")
    client.publish(topic + "/a/b", b"no more")
    client.expect_silence()


@statement("MQTT-3.10.4-2")
def test_nothing_new_comes_for_a_removed_subscription(connect, topic):
    client, publisher = connect(), connect()
    client.subscribe(topic, topic + "/kept", qos=1)
    client.unsubscribe(topic)
    for _ in range(5):
        publisher.publish(topic, qos=1)
    publisher.publish(topic + "/kept", qos=1)
    client.message(topic=topic + "/kept")
    client.expect_silence()


@statement("MQTT-3.10.4-3")
def test_deliveries_already_begun_are_completed_after_unsubscribe(connect, unique, topic):
    name, publisher = unique(), connect()
    client = connect(name, clean=False)
    client.subscribe(topic, qos=2)
    publisher.publish(topic, b"one", qos=1)
    publisher.publish(topic, b"two", qos=2)
    one, two = client.expect("PUBLISH"), client.expect("PUBLISH")
    client.unsubscribe(topic)
    client.acknowledge("PUBREC", two.packet_id)
    client.expect("PUBREL", packet_id=two.packet_id)
    client.close()
    again = connect(name, clean=False)
    assert again.message().packet_id == one.packet_id
    again.expect("PUBREL", packet_id=two.packet_id)
    again.acknowledge("PUBCOMP", two.packet_id)
    again.expect_silence()


@statement("MQTT-3.10.4-4", "MQTT-3.10.4-5", "MQTT-3.10.4-6")
def test_unsubscribe_is_answered_once_with_its_id_whether_or_not_anything_was_subscribed(connect, topic):
    client = connect()
    client.subscribe(topic + "/a", topic + "/b")
    client.send(codec.unsubscribe(4, 815, [topic + "/a", topic + "/never", topic + "/b"]))
    assert client.expect("UNSUBACK").raw == b"\xb0\2" + (815).to_bytes(2, "big")
    client.send(codec.unsubscribe(4, 816, [topic + "/never"]))
    client.expect("UNSUBACK", packet_id=816)
    client.publish(topic + "/a")
    client.publish(topic + "/b")
    client.expect_silence()


@statement("MQTT-3.12.4-1")
def test_pingreq_is_answered_with_pingresp(connect):
    client = connect()
    client.send(codec.PINGREQ * 3)
    for _ in range(3):
        assert client.expect("PINGRESP").raw == b"\xd0\0"


@pytest.mark.parametrize("flags", [1, 2, 4, 8])
@statement("MQTT-3.14.1-1")
def test_disconnect_with_reserved_bits_closes_and_does_not_count_as_disconnect(connect, topic, flags):
    watcher = connect()
    watcher.subscribe(topic)
    client = connect(will=Will(topic))
    client.send(codec.disconnect(4, flags=flags))
    assert client.expect_closed() == []
    watcher.message(topic=topic)


@statement("MQTT-3.14.4-3", "MQTT-3.14.4-1", "MQTT-3.14.4-2")
def test_after_disconnect_the_will_is_gone_and_nothing_is_processed(connect, topic):
    watcher, client = connect(), connect(will=Will(topic))
    watcher.subscribe(topic)
    client.send(codec.disconnect(4) + codec.publish(4, topic, b"after DISCONNECT"))
    client.expect_closed()
    watcher.expect_silence()
