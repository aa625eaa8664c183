"""MQTT 5.0, sections 3.8 to 3.11: SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK."""
import pytest

import codec
from mqtt import Reason, options
from statements import statement

VERSION = codec.V5

WRONG = {
    "flags 0000": (codec.subscribe(5, 1, [("a", 0)], flags=0), {Reason.MALFORMED}), "flags 0011": (codec.subscribe(5, 1, [("a", 0)], flags=3), {Reason.MALFORMED}),
    "no filter": (codec.subscribe(5, 1, []), {Reason.PROTOCOL_ERROR, Reason.MALFORMED}), "no options": (codec.packet("SUBSCRIBE", 2, b"\0\1\0\0\1a"), {Reason.PROTOCOL_ERROR, Reason.MALFORMED}),
    "reserved bit 6": (codec.subscribe(5, 1, [("a", 0x40)]), {Reason.MALFORMED}), "reserved bit 7": (codec.subscribe(5, 1, [("a", 0), ("b", 0x81)]), {Reason.MALFORMED}),
    "QoS 3": (codec.subscribe(5, 1, [("a", 3)]), {Reason.PROTOCOL_ERROR, Reason.MALFORMED}),
    "Retain Handling 3": (codec.subscribe(5, 1, [("a", options(retain_handling=3))]), {Reason.PROTOCOL_ERROR, Reason.MALFORMED}),
    "identifier 0": (codec.subscribe(5, 1, [("a", 0)], {"subscription_identifier": 0}), {Reason.PROTOCOL_ERROR, Reason.MALFORMED}),
    "two identifiers": (codec.subscribe(5, 1, [("a", 0)], {"subscription_identifier": [1, 2]}), {Reason.PROTOCOL_ERROR, Reason.MALFORMED}),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
@statement("MQTT-3.8.1-1", "MQTT-3.8.3-2", "MQTT-3.8.3-5")
def test_a_wrong_subscribe_closes(connect, case):
    client = connect()
    client.send(case[0])
    client.expect_closed(case[1])


@statement("MQTT-3.8.3-3")
def test_no_local_keeps_a_clients_messages_from_itself_and_from_nobody_else(connect, unique, topic):
    client, other = connect(), connect()
    client.subscribe(topic, qos=1, no_local=True)
    other.subscribe(topic, qos=1)
    client.publish(topic, b"own", qos=1)
    other.message(payload=b"own")
    client.expect_silence()
    other.publish(topic, b"of another", qos=1)
    client.message(payload=b"of another")


@statement("MQTT-3.8.3-3")
def test_no_local_goes_by_client_id_also_on_a_later_connection(connect, unique, topic):
    name = unique()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=1, no_local=True)
    client.disconnect()
    client = connect(name, persistent=True)
    client.publish(topic, b"own", qos=1)
    client.expect_silence()


@statement("MQTT-3.8.3-4")
def test_no_local_on_a_shared_subscription_is_a_protocol_error(connect, topic):
    client = connect()
    client.send_subscribe("$share/g/" + topic, no_local=True)
    client.expect_closed(Reason.PROTOCOL_ERROR)


@statement("MQTT-3.8.4-1", "MQTT-3.8.4-2", "MQTT-3.8.4-6", "MQTT-3.8.4-7", "MQTT-3.9.3-1", "MQTT-3.9.3-2")
def test_suback_has_the_id_and_one_code_for_each_filter_in_order(connect, topic):
    client = connect()
    client.send(codec.subscribe(5, 4711, [(topic + "/2", 2), (topic + "/0", 0), (topic + "/1", 1), (topic + "/2", 2)]))
    client.expect("SUBACK", packet_id=4711, reasons=[2, 0, 1, 2])


@statement("MQTT-3.8.4-5")
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


@statement("MQTT-3.8.4-3", "MQTT-3.8.4-4")
def test_an_identical_filter_replaces_the_subscription_with_all_its_options(connect, topic):
    client = connect()
    client.publish(topic, b"retained", qos=2, retain=True)
    for number, qos in enumerate((2, 0, 1), 1):
        client.subscribe(topic, qos=qos, properties={"subscription_identifier": number})
        assert client.message(payload=b"retained", retain=True, qos=qos).properties == {"subscription_identifier": [number]}
    client.publish(topic, b"live", qos=2)
    assert client.message(payload=b"live", qos=1).properties == {"subscription_identifier": [3]}
    client.subscribe(topic, qos=1)
    assert client.message(payload=b"retained").properties == {}
    client.subscribe(topic, qos=1, no_local=True, retain_handling=2)
    client.publish(topic, b"own", qos=1)
    client.expect_silence()


@statement("MQTT-3.8.4-4")
def test_subscribing_again_loses_nothing(connect, topic):
    publisher, subscriber = connect(), connect()
    subscriber.subscribe(topic, qos=1)
    for n in range(100):
        publisher.send_publish(topic, bytes([n]), qos=1)
        subscriber.send_subscribe(topic, qos=1, properties={"subscription_identifier": 1 + n})
        if n % 10 == 9:
            publisher.sync()        # so that its Receive Maximum is kept
    received = []
    while len(received) < 100:
        p = subscriber.read()
        if p.kind == "PUBLISH":
            subscriber.finish(p)
            received.append(p.payload[0])
    assert received == list(range(100))


@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
@statement("MQTT-3.8.4-8", "MQTT-3.8.4-7")
def test_delivery_is_at_the_lower_of_published_and_granted_qos(connect, topic, published, granted):
    client = connect()
    assert client.subscribe(topic, qos=granted).reasons == [granted]
    client.publish(topic, b"x", qos=published)
    client.message(qos=min(published, granted))
    client.expect_silence()


WRONG_UNSUBSCRIBE = {"flags 0000": (codec.unsubscribe(5, 1, ["a"], flags=0), {Reason.MALFORMED}), "flags 0110": (codec.unsubscribe(5, 1, ["a"], flags=6), {Reason.MALFORMED}),
                     "no filter": (codec.unsubscribe(5, 1, []), {Reason.PROTOCOL_ERROR, Reason.MALFORMED})}


@pytest.mark.parametrize("case", WRONG_UNSUBSCRIBE.values(), ids=WRONG_UNSUBSCRIBE)
@statement("MQTT-3.10.1-1", "MQTT-3.10.3-2")
def test_a_wrong_unsubscribe_closes(connect, case):
    client = connect()
    client.send(case[0])
    client.expect_closed(case[1])


@statement("MQTT-3.10.4-1")
def test_only_the_filter_that_is_equal_character_by_character_is_removed(connect, topic):
    client = connect()
    client.subscribe(topic + "/a/+")
    others = [topic + "/a/b", topic + "/A/+", topic + "/a/#", topic + "/a", topic + "/a/+/", "#", "$share/g/" + topic + "/a/+"]
    assert client.unsubscribe(*others).reasons == [Reason.NO_SUBSCRIPTION_EXISTED] * len(others)
    client.publish(topic + "/a/b", b"still")
    client.message(payload=b"still")
    assert client.unsubscribe(topic + "/a/+").reasons == [0]
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
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=2)
    publisher.publish(topic, b"one", qos=1)
    publisher.publish(topic, b"two", qos=2)
    one, two = client.expect("PUBLISH"), client.expect("PUBLISH")
    client.unsubscribe(topic)
    client.acknowledge("PUBREC", two.packet_id)
    client.expect("PUBREL", packet_id=two.packet_id)
    client.close()
    again = connect(name, persistent=True)
    assert again.message().packet_id == one.packet_id
    again.expect("PUBREL", packet_id=two.packet_id)
    again.acknowledge("PUBCOMP", two.packet_id)
    again.expect_silence()


@statement("MQTT-3.10.4-4", "MQTT-3.10.4-5", "MQTT-3.10.4-6", "MQTT-3.11.3-1", "MQTT-3.11.3-2")
def test_unsubscribe_is_answered_once_with_its_id_and_one_code_for_each_filter_in_order(connect, topic):
    client = connect()
    client.subscribe(topic + "/a", topic + "/b")
    client.send(codec.unsubscribe(5, 815, [topic + "/a", topic + "/never", topic + "/b", topic + "/b"]))
    client.expect("UNSUBACK", packet_id=815, reasons=[0, 0x11, 0, 0x11])
    client.send(codec.unsubscribe(5, 816, [topic + "/never"]))
    client.expect("UNSUBACK", packet_id=816, reasons=[0x11])
    client.publish(topic + "/a")
    client.publish(topic + "/b")
    client.expect_silence()
