"""MQTT 3.1.1, sections 3.3 to 3.7: PUBLISH and its acknowledgements."""
import pytest

import codec
from mqtt import Closed
from statements import statement

VERSION = codec.V311


@statement("MQTT-3.3.1-1")
def test_a_message_delivered_again_has_dup(connect, unique, topic):
    name = unique()
    client = connect(name, clean=False)
    client.subscribe(topic, qos=2)
    for qos in (1, 2):
        connect().publish(topic, bytes([qos]), qos=qos)
        client.expect("PUBLISH", qos=qos, dup=False)
    client.close()
    again = connect(name, clean=False)
    assert [(m.qos, m.dup) for m in again.messages(2)] == [(1, True), (2, True)]


@statement("MQTT-3.3.1-2", "MQTT-4.3.1-1")
def test_qos_0_is_sent_with_dup_0(connect, topic):
    client = connect()
    client.subscribe(topic, qos=2)
    client.publish(topic, b"at QoS 0")
    assert client.message(payload=b"at QoS 0").flags == 0
    low = connect()
    low.subscribe(topic, qos=0)
    client.send_publish(topic, b"published with DUP", qos=1, dup=True)
    assert low.message(payload=b"published with DUP").flags == 0


@statement("MQTT-3.3.1-2")
def test_qos_0_with_dup_closes(connect, topic):
    client = connect()
    client.send_publish(topic, dup=True)
    client.expect_closed()


@pytest.mark.parametrize("qos", [1, 2])
@statement("MQTT-3.3.1-3")
def test_dup_of_the_publisher_is_not_passed_on(connect, topic, qos):
    client = connect()
    client.subscribe(topic, qos=2)
    client.publish(topic, b"first for the receiver", qos=qos, dup=True)
    client.message(qos=qos, dup=False)


@statement("MQTT-3.3.1-4")
def test_qos_3_closes(connect, topic):
    client = connect()
    client.send_publish(topic, qos=3)
    assert client.expect_closed() == []


@pytest.mark.parametrize("qos", [0, 1, 2])
@statement("MQTT-3.3.1-5", "MQTT-3.3.1-6", "MQTT-3.3.1-8", "MQTT-3.3.1-9")
def test_a_retained_message_reaches_later_subscribers_with_retain_and_established_ones_without(connect, topic, qos):
    established, publisher, later = connect(), connect(), connect()
    established.subscribe(topic + "/#", qos=2)
    publisher.publish(topic + "/a", b"old", qos=qos, retain=True)
    publisher.publish(topic + "/a", b"last", qos=qos, retain=True)
    publisher.publish(topic + "/b", b"other", qos=qos, retain=True)
    assert [(m.payload, m.retain, m.qos) for m in established.messages(3)] == [(b"old", False, qos), (b"last", False, qos), (b"other", False, qos)]
    later.subscribe(topic + "/#", qos=2)
    assert {(m.topic, m.payload, m.retain, m.qos) for m in later.messages(2)} == {(topic + "/a", b"last", True, qos), (topic + "/b", b"other", True, qos)}
    later.expect_silence()


@statement("MQTT-3.3.1-7")
def test_retained_qos_0_replaces_what_was_retained(connect, topic):
    client = connect()
    client.publish(topic, b"old", qos=1, retain=True)
    client.publish(topic, b"new", qos=0, retain=True)
    client.subscribe(topic, qos=2)
    assert client.message(retain=True).payload in (b"new", b"")
    client.expect_silence()


@statement("MQTT-3.3.1-10", "MQTT-3.3.1-11")
def test_an_empty_retained_payload_removes_and_is_not_stored_but_passed_on(connect, topic):
    client, established = connect(), connect()
    established.subscribe(topic)
    client.publish(topic, b"stored", qos=1, retain=True)
    client.publish(topic, b"", qos=1, retain=True)
    assert [(m.payload, m.retain) for m in established.messages(2)] == [(b"stored", False), (b"", False)]
    client.subscribe(topic)
    client.expect_silence()


@statement("MQTT-3.3.1-12")
def test_retain_0_neither_stores_nor_replaces_nor_removes(connect, topic):
    client, later = connect(), connect()
    client.publish(topic + "/none", b"live", qos=1)
    client.publish(topic + "/kept", b"kept", qos=1, retain=True)
    client.publish(topic + "/kept", b"live", qos=1)
    client.publish(topic + "/kept", b"", qos=1)
    later.subscribe(topic + "/#")
    later.message(topic=topic + "/kept", payload=b"kept", retain=True)
    later.expect_silence()


@pytest.mark.parametrize("name", ["a/#", "#", "+", "a/+/b", "a+", "a#b"])
@statement("MQTT-3.3.2-2", "MQTT-4.7.1-1")
def test_wildcards_in_a_topic_name_close(connect, name):
    client = connect()
    client.send_publish(name, qos=1)
    assert client.expect_closed() == []


@statement("MQTT-3.3.2-3")
def test_only_topics_that_match_the_filter_are_sent_and_with_their_name(connect, topic):
    client = connect()
    client.subscribe(topic + "/+/c")
    for name in ("/a/c", "/a/d", "/a/b/c", "/b/c", "/c", "//c"):
        client.publish(topic + name)
    assert [m.topic for m in client.messages(3)] == [topic + "/a/c", topic + "/b/c", topic + "//c"]
    client.expect_silence()


@statement("MQTT-3.3.4-1", "MQTT-4.3.2-2", "MQTT-4.3.3-2")
def test_publish_is_answered_according_to_its_qos(connect, topic):
    client = connect()
    client.send_publish(topic, qos=0)
    client.expect_silence()
    client.send_publish(topic, qos=1, packet_id=7)
    client.expect("PUBACK", packet_id=7)
    client.send_publish(topic, qos=2, packet_id=7)
    client.expect("PUBREC", packet_id=7)
    client.acknowledge("PUBREL", 7)
    client.expect("PUBCOMP", packet_id=7)
    client.expect_silence()


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 1, 0), (1, 0, 2)])
@statement("MQTT-3.3.5-1")
def test_overlapping_subscriptions_deliver_at_the_highest_qos(connect, topic, order):
    client = connect()
    filters = [topic + "/#", topic + "/+", topic + "/a"]
    client.subscribe(*zip(filters, order))
    client.publish(topic + "/a", b"x", qos=2)
    assert max(p.qos for p in client.pending() if p.kind == "PUBLISH") == 2


@pytest.mark.parametrize("qos", [1, 2])
@statement("MQTT-3.3.5-2")
def test_a_publish_that_is_not_allowed_is_acknowledged_as_usual_or_closes(connect, unique, qos):
    watcher, client, name = connect(), connect(), "$SYS/" + unique()
    watcher.subscribe(name)
    client.send_publish(name, b"forged", qos)
    answered = client.expect_closed() if client_is_closed(client) else client.pending()
    assert not [p for p in answered if p.kind != ("PUBACK" if qos == 1 else "PUBREC")]
    watcher.expect_silence()


def client_is_closed(client):
    try:
        client.sync()
    except Closed:
        return True
    return False


@statement("MQTT-3.6.1-1")
def test_pubrel_with_other_flags_closes(connect, topic):
    client = connect()
    client.send_publish(topic, qos=2, packet_id=1)
    client.expect("PUBREC")
    client.acknowledge("PUBREL", 1, flags=0)
    assert client.expect_closed() == []


@statement("MQTT-3.6.1-1")
def test_pubrel_of_the_server_has_flags_0010(connect, topic):
    client = connect()
    client.subscribe(topic, qos=2)
    client.publish(topic, qos=2)
    client.acknowledge("PUBREC", client.expect("PUBLISH").packet_id)
    assert client.expect("PUBREL").raw[0] == 0x62


@statement("MQTT-4.7.3-1")
def test_an_empty_topic_name_closes(connect):
    client = connect()
    client.send_publish("")
    assert client.expect_closed() == []
