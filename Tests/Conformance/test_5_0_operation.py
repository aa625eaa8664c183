"""MQTT 5.0, chapter 4: sessions, delivery, order, topics, flow control."""
import time

import pytest

import codec
from mqtt import Reason
from statements import statement
from test_5_0_shared import expect_filter_refused

VERSION = codec.V5


@statement("MQTT-4.1.0-1")
def test_a_session_is_not_discarded_while_connected_however_short_its_expiry(connect, topic):
    client, publisher = connect(properties={"session_expiry_interval": 1}), connect()
    client.subscribe(topic, qos=1)
    time.sleep(1.2)     # longer than the expiry interval
    publisher.publish(topic, b"still here", qos=1)
    client.message(payload=b"still here")


@statement("MQTT-4.1.0-2", "MQTT-3.1.2-23")
def test_a_session_is_discarded_when_its_expiry_interval_is_over_and_not_before(connect, unique, topic):
    name, lasting = unique(), unique()
    client = connect(name, clean=False, properties={"session_expiry_interval": 1})
    client.subscribe(topic)
    client.disconnect()
    client = connect(name, clean=False, properties={"session_expiry_interval": 1})
    assert client.connack.session_present
    client.disconnect()
    connect(lasting, clean=False, properties={"session_expiry_interval": 100}).disconnect()
    time.sleep(2.1)     # the time is what this is about
    assert not connect(name, clean=False).connack.session_present
    assert connect(lasting, clean=False).connack.session_present


@statement("MQTT-4.2-1")
def test_bytes_are_taken_as_a_stream_however_they_are_cut(dial, topic):
    client = dial()
    data = codec.connect(5, client.client_id) + codec.subscribe(5, 1, [(topic, 0)]) + codec.publish(5, topic, b"cut", properties={"content_type": "x"})
    for at in range(len(data)):
        client.send(data[at:at + 1])
    client.expect("CONNACK", reason=0)
    client.expect("SUBACK", packet_id=1)
    client.message(payload=b"cut")
    payload = bytes(range(256)) * 4096
    client.send(codec.publish(5, topic, payload) + codec.publish(5, topic, b"next"))
    assert client.message(timeout=10).payload == payload
    client.message(payload=b"next")


@statement("MQTT-4.3.2-3", "MQTT-4.4.0-1")
def test_qos_1_stays_unacknowledged_until_puback_and_is_sent_again_only_on_resuming(connect, unique, topic):
    name = unique()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=1)
    connect().publish(topic, b"x", qos=1)
    first = client.expect("PUBLISH", dup=False)
    client.expect_silence()
    client.close()
    second = connect(name, persistent=True)
    second.message(dup=True, packet_id=first.packet_id, payload=b"x")
    second.expect_silence()
    second.close()
    connect(name, persistent=True).expect_silence()


@statement("MQTT-4.3.2-4", "MQTT-4.3.2-5")
def test_after_puback_the_id_means_a_new_message_even_with_dup(connect, topic):
    client, watcher = connect(), connect()
    watcher.subscribe(topic, qos=1)
    for payload, dup in ((b"1", False), (b"2", False), (b"2", True)):
        client.send_publish(topic, payload, qos=1, packet_id=9, dup=dup)
        client.expect("PUBACK", packet_id=9, reason=0)
    assert [m.payload for m in watcher.messages(3)] == [b"1", b"2", b"2"]


@statement("MQTT-4.3.3-3", "MQTT-4.3.3-4", "MQTT-4.3.3-5", "MQTT-4.3.3-6", "MQTT-4.4.0-1")
def test_qos_2_stays_unacknowledged_until_pubrec_and_pubrel_until_pubcomp(connect, unique, topic):
    name = unique()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=2)
    connect().publish(topic, b"x", qos=2)
    id = client.expect("PUBLISH", dup=False, qos=2).packet_id
    client.expect_silence()
    client.close()
    client = connect(name, persistent=True)
    client.expect("PUBLISH", dup=True, qos=2, packet_id=id, payload=b"x")
    client.acknowledge("PUBREC", id)
    client.expect("PUBREL", packet_id=id)
    client.expect_silence()
    client.close()
    client = connect(name, persistent=True)
    client.expect("PUBREL", packet_id=id)       # and no PUBLISH before it
    client.expect_silence()
    client.acknowledge("PUBCOMP", id)
    client.sync()
    client.close()
    connect(name, persistent=True).expect_silence()


@statement("MQTT-4.3.3-7")
def test_what_was_sent_at_qos_2_does_not_expire(connect, unique, topic):
    name, publisher = unique(), connect()
    client = connect(name, persistent=True, properties={"receive_maximum": 1})
    client.subscribe(topic, qos=2)
    publisher.publish(topic, b"begun", qos=2, properties={"message_expiry_interval": 1})
    publisher.publish(topic, b"not begun", qos=2, properties={"message_expiry_interval": 1})
    id = client.expect("PUBLISH", payload=b"begun").packet_id
    client.close()
    time.sleep(2.1)     # longer than the expiry interval
    client = connect(name, persistent=True)
    client.message(payload=b"begun", packet_id=id, dup=True)
    client.expect_silence()


@statement("MQTT-4.3.3-13")
def test_the_receiver_completes_the_exchange_although_the_message_has_expired(connect, topic):
    client = connect()
    client.subscribe(topic, qos=2)
    client.send_publish(topic, b"x", qos=2, packet_id=3, properties={"message_expiry_interval": 1})
    client.take("PUBREC", packet_id=3)
    time.sleep(1.5)     # longer than the expiry interval
    client.acknowledge("PUBREL", 3)
    client.take("PUBCOMP", packet_id=3, reason=0)


@statement("MQTT-4.3.3-8", "MQTT-4.3.3-10", "MQTT-4.3.3-11", "MQTT-4.3.3-12")
def test_a_repeated_qos_2_publish_is_not_a_new_message_until_pubrel(connect, unique, topic):
    watcher, name = connect(), unique()
    watcher.subscribe(topic, qos=2)
    client = connect(name, persistent=True)
    for dup in (False, True):
        client.send_publish(topic, b"once", qos=2, packet_id=3, dup=dup)
        client.expect("PUBREC", packet_id=3)
    client.close()
    client = connect(name, persistent=True)
    client.send_publish(topic, b"once", qos=2, packet_id=3, dup=True)
    client.expect("PUBREC", packet_id=3)
    client.acknowledge("PUBREL", 3)
    client.expect("PUBCOMP", packet_id=3, reason=0)
    watcher.message(payload=b"once")
    watcher.expect_silence()
    client.publish(topic, b"new", qos=2, packet_id=3)
    watcher.message(payload=b"new")


@statement("MQTT-4.3.3-9")
def test_after_an_error_in_pubrec_the_id_means_a_new_message(connect, topic):
    watcher, client = connect(), connect()
    watcher.subscribe(topic, qos=2)
    client.send_publish("$SYS/forged", b"x", qos=2, packet_id=3)
    assert client.expect("PUBREC", packet_id=3).reason >= 0x80
    client.publish(topic, b"new", qos=2, packet_id=3)
    watcher.message(payload=b"new")


@pytest.mark.parametrize("qos", [1, 2])
@statement("MQTT-4.4.0-2")
def test_an_error_is_an_acknowledgement(connect, unique, topic, qos):
    name, publisher = unique(), connect()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=2)
    publisher.publish(topic, b"refused", qos=qos)
    id = client.expect("PUBLISH").packet_id
    client.acknowledge("PUBACK" if qos == 1 else "PUBREC", id, Reason.UNSPECIFIED)
    client.expect_silence()             # no PUBREL either
    client.close()
    connect(name, persistent=True).expect_silence()


@statement("MQTT-4.5.0-1")
def test_an_accepted_message_is_added_to_every_matching_session(connect, unique, topic):
    names, online = [unique(), unique()], [connect(), connect()]
    for name in names:
        client = connect(name, persistent=True)
        client.subscribe(topic, qos=1)
        client.disconnect()
    for client in online:
        client.subscribe(topic, qos=1)
    connect().publish(topic, b"to all", qos=1)
    for client in online + [connect(name, persistent=True) for name in names]:
        client.message(payload=b"to all", qos=1)
        client.expect_silence()


@pytest.mark.parametrize("qos", [0, 1, 2])
@statement("MQTT-4.6.0-5", "MQTT-4.6.0-6")
def test_messages_of_a_publisher_on_a_topic_arrive_in_order(connect, topic, qos):
    publisher, subscriber = connect(), connect(properties={"receive_maximum": 7})
    subscriber.subscribe(topic, qos=2)
    for first in range(0, 200, 10):
        ids = [publisher.send_publish(topic, n.to_bytes(2, "big"), qos) for n in range(first, first + 10)]
        for id in ids if qos else ():
            publisher.expect("PUBACK" if qos == 1 else "PUBREC", packet_id=id)
        for id in ids if qos == 2 else ():
            publisher.acknowledge("PUBREL", id)
            publisher.expect("PUBCOMP", packet_id=id)
    assert [int.from_bytes(m.payload, "big") for m in subscriber.messages(200)] == list(range(200))


@statement("MQTT-4.6.0-6", "MQTT-4.4.0-1")
def test_what_was_unacknowledged_is_sent_again_with_its_ids_and_in_order(connect, unique, topic):
    name, publisher = unique(), connect()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=2)
    for n in range(10):
        publisher.publish(topic, bytes([n]), qos=1 + n % 2)
    sent = [client.expect("PUBLISH") for _ in range(10)]
    client.acknowledge("PUBREC", sent[1].packet_id)
    client.expect("PUBREL", packet_id=sent[1].packet_id)
    client.close()
    came = connect(name, persistent=True).pending()
    again = [p for p in came if p.kind == "PUBLISH"]
    assert [(p.payload[0], p.packet_id) for p in again] == [(m.payload[0], m.packet_id) for m in sent if m is not sent[1]]
    assert all(p.dup for p in again)
    assert [p.packet_id for p in came if p.kind == "PUBREL"] == [sent[1].packet_id]


@pytest.mark.parametrize("filter", ["a#", "a/#/b", "#/", "a/b#", "##", "a+", "+a", "a/+b/c", "a/b+", "++", ""])
@statement("MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.3-1", "MQTT-4.7.0-1")
def test_an_invalid_filter_is_refused(connect, filter):
    client = connect()
    client.send(codec.subscribe(5, 1, [(filter, 0)]))
    expect_filter_refused(client)


# Filter, topics that match it, topics that do not; all below a prefix of the test.
MATCHING = [
    ("/#", ["", "/a", "/", "/a/b/c"], ["x"]), ("/a/#", ["/a", "/a/", "/a/b", "/a/b/c"], ["", "/ab", "/b/a"]),
    ("/+", ["/a", "/"], ["", "/a/b", "/a/"]), ("/+/b", ["/a/b", "//b"], ["/b", "/a/b/", "/a/c"]), ("/+/+/#", ["/a/b", "//", "/a/b/c"], ["/a"]),
    ("/a/+/c", ["/a/b/c", "/a//c"], ["/a/c", "/a/b/b/c"]), ("/A", ["/A"], ["/a", "/A/", "//A"]), ("/a b", ["/a b"], ["/ab", "/a  b"]),
    ("/", ["/"], ["", "//"]), ("/\u00e9", ["/\u00e9"], ["/e\u0301", "/e"]), ("/ä/+", ["/ä/ö"], ["/a/ö", "/Ä/ö"]),
]


@pytest.mark.parametrize("filter, matching, others", MATCHING, ids=[ascii(m[0]) for m in MATCHING])
@statement("MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.3-4")
def test_filters_match_level_by_level_without_normalisation(connect, topic, filter, matching, others):
    client = connect()
    client.subscribe(topic + filter)
    for name in others + matching:
        client.publish(topic + name)
    assert [p.topic for p in client.pending()] == [topic + name for name in matching]


@pytest.mark.parametrize("suffix", ["#", "+/{}", "+/#"])
@statement("MQTT-4.7.2-1")
def test_a_leading_wildcard_does_not_match_topics_with_a_leading_dollar(connect, unique, suffix):
    name, client, plain = unique(), connect(), connect()
    plain.publish(f"$test/{name}", b"retained", qos=1, retain=True)
    client.subscribe(suffix.format(name))
    plain.subscribe(f"$test/{name}", "$test/+", retain_handling=2)
    for top in ("$test", "$", "$SYSTEM", "x$"):
        plain.publish(f"{top}/{name}")
    assert [p.topic for p in client.pending() if name in p.topic] == [f"x$/{name}"]
    assert {p.topic for p in plain.pending()} == {f"$test/{name}"}


@statement("MQTT-4.7.3-3")
def test_a_topic_of_65535_bytes_is_delivered_unchanged(connect, topic):
    client, longest = connect(), topic + "/" + "x" * (65535 - len(topic) - 1)
    assert client.subscribe(longest).reasons == [0]
    client.publish(longest, b"payload")
    client.message(topic=longest, payload=b"payload")


@pytest.mark.parametrize("maximum", [1, 5])
@statement("MQTT-4.9.0-1", "MQTT-4.9.0-2", "MQTT-4.9.0-3")
def test_the_send_quota_starts_at_receive_maximum_and_at_0_only_qos_0_and_other_packets_go_on(connect, unique, topic, maximum):
    name, publisher = unique(), connect()
    client = connect(name, persistent=True, properties={"receive_maximum": maximum})
    client.subscribe(topic, (topic + "/0", 0), qos=1)
    client.disconnect()
    for n in range(10):
        publisher.publish(topic, bytes([n]), qos=1)
    client = connect(name, persistent=True, properties={"receive_maximum": maximum})     # the quota starts anew
    first = [client.expect("PUBLISH", payload=bytes([n])) for n in range(maximum)]
    client.expect_silence()
    publisher.publish(topic + "/0", b"at QoS 0")
    client.message(payload=b"at QoS 0")
    client.unsubscribe(topic + "/0")
    for n, p in enumerate(first):
        client.acknowledge("PUBACK", p.packet_id)
        client.expect("PUBLISH", payload=bytes([maximum + n]))
    client.expect_silence()
