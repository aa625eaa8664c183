"""MQTT 5.0, section 3.3: PUBLISH."""
import time

import pytest

import codec
from mqtt import Reason, options
from statements import statement

VERSION = codec.V5


@statement("MQTT-3.3.1-1", "MQTT-4.3.2-2", "MQTT-4.3.3-2")
def test_dup_is_0_at_first_and_1_when_delivered_again(connect, unique, topic):
    name = unique()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=2)
    for qos in (1, 2):
        connect().publish(topic, bytes([qos]), qos=qos)
        client.expect("PUBLISH", qos=qos, dup=False)
    client.close()
    again = connect(name, persistent=True)
    assert [(m.qos, m.dup) for m in again.messages(2)] == [(1, True), (2, True)]


@statement("MQTT-3.3.1-2", "MQTT-4.3.1-1")
def test_qos_0_is_sent_with_dup_0(connect, topic):
    client = connect()
    client.subscribe(topic, qos=0)
    client.send_publish(topic, b"published with DUP", qos=1, dup=True)
    client.take("PUBACK")
    assert client.message(payload=b"published with DUP").flags == 0
    client.publish(topic, b"at QoS 0")
    assert client.message(payload=b"at QoS 0").flags == 0


@statement("MQTT-3.3.1-2")
def test_qos_0_with_dup_is_malformed(connect, topic):
    client = connect()
    client.send_publish(topic, dup=True)
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR})


@pytest.mark.parametrize("qos", [1, 2])
@statement("MQTT-3.3.1-3")
def test_dup_of_the_publisher_is_not_passed_on(connect, topic, qos):
    client = connect()
    client.subscribe(topic, qos=2)
    client.publish(topic, b"first for the receiver", qos=qos, dup=True)
    client.message(qos=qos, dup=False)


@statement("MQTT-3.3.1-4")
def test_qos_3_is_malformed(connect, topic):
    client = connect()
    client.send_publish(topic, qos=3)
    client.expect_closed(Reason.MALFORMED)


@pytest.mark.parametrize("qos", [0, 1, 2])
@statement("MQTT-3.3.1-5")
def test_retain_replaces_and_stores_the_message_with_its_properties(connect, topic, qos):
    publisher, later = connect(), connect()
    properties = {"payload_format_indicator": 1, "content_type": "t", "response_topic": "r", "correlation_data": b"c", "user_property": [("b", "1"), ("a", "2")]}
    publisher.publish(topic, b"old", qos=qos, retain=True)
    publisher.publish(topic, b"last", qos=qos, retain=True, properties=properties)
    later.subscribe(topic, qos=2)
    assert later.message(payload=b"last", retain=True, qos=qos).properties == properties
    later.expect_silence()


@statement("MQTT-3.3.1-6", "MQTT-3.3.1-7")
def test_an_empty_retained_payload_removes_and_is_not_stored_but_passed_on(connect, topic):
    client, established = connect(), connect()
    established.subscribe(topic, retain_as_published=True)
    client.publish(topic, b"stored", qos=1, retain=True)
    client.publish(topic, b"", qos=1, retain=True)
    assert [(m.payload, m.retain) for m in established.messages(2)] == [(b"stored", True), (b"", True)]
    client.subscribe(topic)
    client.expect_silence()


@statement("MQTT-3.3.1-8")
def test_retain_0_neither_stores_nor_replaces_nor_removes(connect, topic):
    client, later = connect(), connect()
    client.publish(topic + "/none", b"live", qos=1)
    client.publish(topic + "/kept", b"kept", qos=1, retain=True)
    client.publish(topic + "/kept", b"live", qos=1)
    client.publish(topic + "/kept", b"", qos=1)
    later.subscribe(topic + "/#")
    later.message(topic=topic + "/kept", payload=b"kept", retain=True)
    later.expect_silence()


@statement("MQTT-3.3.1-9", "MQTT-3.3.1-10", "MQTT-3.3.1-11")
def test_retain_handling_decides_whether_a_subscription_gets_retained_messages(connect, topic):
    client = connect()
    client.publish(topic, b"retained", qos=1, retain=True)
    client.subscribe(topic, retain_handling=2)
    client.expect_silence()
    client.subscribe(topic, retain_handling=1)          # not new
    client.expect_silence()
    client.subscribe(topic, retain_handling=0)
    client.message(payload=b"retained", retain=True)
    client.unsubscribe(topic)
    client.subscribe(topic, retain_handling=1)          # new again
    client.message(payload=b"retained", retain=True)
    client.expect_silence()


@pytest.mark.parametrize("retain", [False, True])
@statement("MQTT-3.3.1-12", "MQTT-3.3.1-13")
def test_retain_as_published(connect, topic, retain):
    plain, faithful, publisher = connect(), connect(), connect()
    plain.subscribe(topic, retain_as_published=False)
    faithful.subscribe(topic, retain_as_published=True)
    publisher.publish(topic, b"x", qos=1, retain=retain)
    assert (plain.message().retain, faithful.message().retain) == (False, retain)


@pytest.mark.parametrize("name", ["a/#", "#", "+", "a/+/b", "a+", "a#b"])
@statement("MQTT-3.3.2-2", "MQTT-4.7.0-1")
def test_wildcards_in_a_topic_name_close(connect, name):
    client = connect()
    client.send_publish(name, qos=1)
    client.expect_closed({Reason.TOPIC_INVALID, Reason.MALFORMED, Reason.PROTOCOL_ERROR})


@statement("MQTT-3.3.2-3")
def test_only_topics_that_match_the_filter_are_sent_and_with_their_name(connect, topic):
    client = connect()
    client.subscribe(topic + "/+/c")
    for name in ("/a/c", "/a/d", "/a/b/c", "/b/c", "/c", "//c"):
        client.publish(topic + name)
    assert [m.topic for m in client.messages(3)] == [topic + "/a/c", topic + "/b/c", topic + "//c"]
    client.expect_silence()


@pytest.mark.parametrize("way", ["at once", "retained", "queued"])
@statement("MQTT-3.3.2-4", "MQTT-3.3.2-15", "MQTT-3.3.2-16", "MQTT-3.3.2-17", "MQTT-3.3.2-18", "MQTT-3.3.2-20")
def test_properties_reach_every_receiver_unaltered_and_in_order(connect, unique, topic, way):
    name, publisher = unique(), connect()
    client = connect(name, persistent=True)
    if way != "retained":
        client.subscribe(topic, qos=1)
    if way == "queued":
        client.disconnect()
    for indicator in (0, 1):
        properties = {"payload_format_indicator": indicator, "content_type": "text/ü", "response_topic": "answers/$/ü", "correlation_data": bytes(range(256)),
                      "user_property": [("z", "1"), ("a", "2"), ("z", "1"), ("", ""), ("a", "0")]}
        publisher.publish(topic, b"utf-8", qos=1, retain=way == "retained", properties=properties)
        if way == "queued":
            client = connect(name, persistent=True)
        elif way == "retained":
            client.subscribe(topic, qos=1)
        assert client.message().properties == properties
        if way == "queued":
            client.sync()
            client.disconnect()


@statement("MQTT-3.3.2-5", "MQTT-3.3.2-6")
def test_a_message_that_waited_arrives_with_less_expiry_and_an_expired_one_does_not(connect, unique, topic):
    name, publisher = unique(), connect()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=2)
    client.disconnect()
    for qos in (1, 2):
        publisher.publish(topic, b"too late", qos=qos, properties={"message_expiry_interval": 1})
        publisher.publish(topic, b"in time", qos=qos, properties={"message_expiry_interval": 100})
    publisher.publish(topic, b"for ever", qos=1)
    publisher.publish(topic + "/retained", b"too late", retain=True, qos=1, properties={"message_expiry_interval": 1})
    publisher.publish(topic + "/later", b"in time", retain=True, qos=1, properties={"message_expiry_interval": 100})
    time.sleep(2.1)     # two seconds of waiting are what this is about
    client = connect(name, persistent=True)
    first, second, third = client.messages(3)
    assert first.payload == second.payload == b"in time" and third.payload == b"for ever"
    for m in (first, second):
        assert 96 <= m.properties["message_expiry_interval"] <= 98
    assert third.properties == {}
    client.expect_silence()
    client.subscribe(topic + "/+")
    assert 96 <= client.message(topic=topic + "/later", retain=True).properties["message_expiry_interval"] <= 98
    client.expect_silence()


@statement("MQTT-3.3.2-7")
def test_aliases_end_with_their_connection(connect, unique, topic):
    name, watcher = unique(), connect()
    watcher.subscribe(topic)
    client = connect(name, persistent=True)
    client.publish(topic, b"1", properties={"topic_alias": 1})
    client.publish("", b"2", properties={"topic_alias": 1})
    assert [m.payload for m in watcher.messages(2)] == [b"1", b"2"]
    client.disconnect()
    client = connect(name, persistent=True)
    client.send_publish("", b"3", properties={"topic_alias": 1})
    client.expect_closed(Reason.PROTOCOL_ERROR)
    watcher.expect_silence()


@statement("MQTT-3.3.2-7")
def test_the_servers_aliases_end_with_their_connection(connect, unique, topic):
    name, publisher = unique(), connect()
    for _ in range(3):
        client = connect(name, persistent=True, properties={"topic_alias_maximum": 10})
        client.subscribe(topic, qos=1)
        for _ in range(3):
            publisher.publish(topic, qos=1)
        client.messages(3, topic=topic)     # fails for an alias that this connection does not know
        client.sync()
        client.close()


@statement("MQTT-3.3.2-8")
def test_alias_0_is_refused(connect, topic):
    client = connect()
    client.send_publish(topic, properties={"topic_alias": 0})
    client.expect_closed(Reason.ALIAS_INVALID)


@statement("MQTT-3.3.2-9", "MQTT-3.2.2-17", "MQTT-3.2.2-18")
def test_an_alias_above_the_servers_maximum_is_refused(connect, topic):
    client = connect()
    client.send_publish(topic, properties={"topic_alias": client.connack.properties.get("topic_alias_maximum", 0) + 1})
    client.expect_closed(Reason.ALIAS_INVALID)


@statement("MQTT-3.3.2-12")
def test_every_alias_up_to_the_servers_maximum_is_accepted_and_can_be_given_anew(connect, topic):
    watcher, client = connect(), connect()
    watcher.subscribe(topic + "/#")
    aliases = range(1, client.connack.properties.get("topic_alias_maximum", 0) + 1)
    for turn in ("first", "second"):
        for alias in aliases:
            client.publish(f"{topic}/{turn}/{alias}", properties={"topic_alias": alias})
        for alias in reversed(aliases):
            client.publish("", properties={"topic_alias": alias})
        names = [f"{topic}/{turn}/{alias}" for alias in aliases]
        assert [m.topic for m in watcher.messages(2 * len(aliases))] == names + names[::-1]


@pytest.mark.parametrize("name", ["a/#", "+", "a/+/b", "#"])
@statement("MQTT-3.3.2-14")
def test_wildcards_in_a_response_topic_close(connect, topic, name):
    client = connect()
    client.send_publish(topic, properties={"response_topic": name})
    client.expect_closed({Reason.PROTOCOL_ERROR, Reason.TOPIC_INVALID, Reason.MALFORMED})


@statement("MQTT-3.3.4-1")
def test_publish_is_answered_according_to_its_qos(connect, topic):
    client = connect()
    client.send_publish(topic, qos=0)
    client.expect_silence()
    client.send_publish(topic, qos=1, packet_id=7)
    client.expect("PUBACK", packet_id=7)
    client.send_publish(topic, qos=2, packet_id=7)
    client.expect("PUBREC", packet_id=7)
    client.acknowledge("PUBREL", 7)
    client.expect("PUBCOMP", packet_id=7, reason=0)
    client.expect_silence()


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 1, 0), (1, 0, 2)])
@statement("MQTT-3.3.4-2")
def test_overlapping_subscriptions_deliver_at_the_highest_qos(connect, topic, order):
    client = connect()
    client.subscribe(*zip([topic + "/#", topic + "/+", topic + "/a"], order))
    client.publish(topic + "/a", b"x", qos=2)
    assert max(p.qos for p in client.pending() if p.kind == "PUBLISH") == 2


@statement("MQTT-3.3.4-3", "MQTT-3.3.4-4", "MQTT-3.3.4-5")
def test_the_identifiers_of_all_matching_subscriptions_that_have_one_are_sent(connect, topic):
    client, publisher = connect(), connect()
    client.subscribe(topic + "/#", properties={"subscription_identifier": 1})
    client.subscribe(topic + "/+", properties={"subscription_identifier": 268_435_455})
    client.subscribe(topic + "/other", properties={"subscription_identifier": 3})
    client.subscribe(topic + "/a")
    publisher.publish(topic + "/a", qos=1)
    copies = [m.properties.get("subscription_identifier", []) for m in client.pending()]
    assert sorted(id for ids in copies for id in ids) == [1, 268_435_455]
    assert len(copies) == 1 or all(len(ids) <= 1 for ids in copies)


@statement("MQTT-3.3.4-6")
def test_a_subscription_identifier_from_a_client_is_refused(connect, topic):
    client = connect()
    client.send_publish(topic, properties={"subscription_identifier": 1})
    client.expect_closed({Reason.PROTOCOL_ERROR, Reason.MALFORMED})


@statement("MQTT-3.3.4-9", "MQTT-3.3.4-10", "MQTT-3.3.4-8")
def test_not_more_than_receive_maximum_is_sent_and_nothing_else_waits_for_it(connect, topic):
    client, publisher = connect(properties={"receive_maximum": 2}), connect()
    client.subscribe((topic + "/#", options(2)))
    for n in range(6):
        publisher.publish(topic, bytes([n]), qos=1 + n % 2)
    one, two = client.expect("PUBLISH", payload=b"\0"), client.expect("PUBLISH", payload=b"\1")
    client.expect_silence()                                     # PINGRESP comes, PUBLISH does not
    assert client.subscribe(topic + "/sub").kind == "SUBACK"
    client.publish(topic + "/x", b"own", qos=1)
    client.expect_silence()
    client.acknowledge("PUBREC", two.packet_id)
    client.expect("PUBREL", packet_id=two.packet_id)            # goes on, and does not free the place
    client.expect_silence()
    client.acknowledge("PUBACK", one.packet_id)
    three = client.expect("PUBLISH", payload=b"\2")
    client.expect_silence()
    client.acknowledge("PUBCOMP", two.packet_id)
    four = client.expect("PUBLISH", payload=b"\3")
    client.acknowledge("PUBREC", four.packet_id, Reason.UNSPECIFIED)    # an error frees it at once
    client.expect("PUBLISH", payload=b"\4")
    client.acknowledge("PUBACK", three.packet_id)
    client.expect("PUBLISH", payload=b"\5")


@statement("MQTT-3.3.2-1")
def test_an_empty_topic_name_without_alias_is_a_protocol_error(connect):
    client = connect()
    client.send_publish("")
    client.expect_closed({Reason.PROTOCOL_ERROR, Reason.TOPIC_INVALID, Reason.MALFORMED})
