"""MQTT 5.0, sections 3.4 to 3.7: PUBACK, PUBREC, PUBREL, PUBCOMP; and that no answer is larger than the client takes."""
import pytest

import codec
from mqtt import Reason
from statements import statement

VERSION = codec.V5


@statement("MQTT-3.4.2-1")
def test_puback_says_whether_it_was_delivered_or_why_not(connect, topic):
    client = connect()
    client.subscribe(topic)
    assert client.publish(topic, qos=1).reason == 0
    assert client.publish(topic + "/nobody", qos=1).reason in {0, Reason.NO_MATCHING_SUBSCRIBERS}
    assert client.publish("$SYS/forged", qos=1).reason in {0, Reason.NO_MATCHING_SUBSCRIBERS, Reason.NOT_AUTHORIZED, Reason.TOPIC_INVALID}


@statement("MQTT-3.5.2-1", "MQTT-4.3.3-8")
def test_pubrec_says_whether_it_was_delivered_or_why_not(connect, topic):
    client = connect()
    client.subscribe(topic, qos=0)
    assert client.publish(topic, qos=2).reason == 0
    client.message(topic=topic)
    assert client.publish(topic + "/nobody", qos=2).reason in {0, Reason.NO_MATCHING_SUBSCRIBERS}
    assert client.publish("$SYS/forged", qos=2).reason in {0, Reason.NO_MATCHING_SUBSCRIBERS, Reason.NOT_AUTHORIZED, Reason.TOPIC_INVALID}


WRONG_REASONS = [("PUBACK", 0x42), ("PUBREC", 0x92), ("PUBREL", 0x10), ("PUBCOMP", 0x87)]


@pytest.mark.parametrize("kind, reason", WRONG_REASONS, ids=[kind for kind, _ in WRONG_REASONS])
@statement("MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.6.2-1", "MQTT-3.7.2-1")
def test_a_reason_code_of_another_packet_is_refused(connect, topic, kind, reason):
    client = connect()
    client.acknowledge(kind, 1, reason)
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR})


@pytest.mark.parametrize("flags", [0, 1, 3, 10])
@statement("MQTT-3.6.1-1")
def test_pubrel_with_other_flags_is_malformed(connect, topic, flags):
    client = connect()
    client.send_publish(topic, qos=2, packet_id=1)
    client.expect("PUBREC")
    client.acknowledge("PUBREL", 1, flags=flags)
    client.expect_closed(Reason.MALFORMED)


@statement("MQTT-3.6.2-1", "MQTT-4.3.3-4")
def test_pubrel_has_reason_0_for_a_known_id_and_0x92_for_another(connect, topic):
    client = connect()
    client.subscribe(topic, qos=2)
    client.publish(topic, qos=2)
    p = client.expect("PUBLISH")
    client.acknowledge("PUBREC", p.packet_id)
    assert client.expect("PUBREL", packet_id=p.packet_id, reason=0).raw[0] == 0x62
    client.acknowledge("PUBREC", 4242)
    client.expect("PUBREL", packet_id=4242, reason=Reason.ID_NOT_FOUND)


@statement("MQTT-3.7.2-1", "MQTT-4.3.3-11")
def test_pubcomp_has_reason_0_for_a_known_id_and_0x92_for_another(connect, topic):
    client = connect()
    client.send_publish(topic, qos=2, packet_id=5)
    client.expect("PUBREC")
    client.acknowledge("PUBREL", 5)
    client.expect("PUBCOMP", packet_id=5, reason=0)
    client.acknowledge("PUBREL", 5)
    client.expect("PUBCOMP", packet_id=5, reason=Reason.ID_NOT_FOUND)


@pytest.fixture
def narrow(connect):
    """A client that takes no packet larger than the CONNACK it was welcomed with."""
    size = len(connect().connack.raw)
    client = connect(properties={"maximum_packet_size": size})
    client.largest = size
    return client


def expect_answers(client, *kinds):
    answers = [client.expect(kind) for kind in kinds]
    assert max(len(p.raw) for p in answers) <= client.largest


@statement("MQTT-3.4.2-2", "MQTT-3.4.2-3", "MQTT-3.5.2-2", "MQTT-3.5.2-3")
def test_error_answers_to_publish_are_not_larger_than_the_client_takes(narrow, topic):
    for name in (topic + "/nobody", "$SYS/forged", "$CONTROL/forged"):
        narrow.send_publish(name, qos=1)
        narrow.send_publish(name, qos=2)
        expect_answers(narrow, "PUBACK", "PUBREC")


@statement("MQTT-3.6.2-2", "MQTT-3.6.2-3", "MQTT-3.7.2-2", "MQTT-3.7.2-3")
def test_error_answers_to_unknown_ids_are_not_larger_than_the_client_takes(narrow):
    narrow.acknowledge("PUBREC", 4242)
    expect_answers(narrow, "PUBREL")
    narrow.acknowledge("PUBREL", 4243)
    expect_answers(narrow, "PUBCOMP")


@statement("MQTT-3.9.2-1", "MQTT-3.9.2-2", "MQTT-3.11.2-1", "MQTT-3.11.2-2")
def test_answers_to_subscribe_and_unsubscribe_are_not_larger_than_the_client_takes(narrow, topic):
    narrow.send_subscribe("$share/g/" + topic, "$CONTROL/x")
    expect_answers(narrow, "SUBACK")
    narrow.send_subscribe(topic)
    expect_answers(narrow, "SUBACK")
    narrow.send(codec.unsubscribe(5, 77, [topic + "/never"]))
    expect_answers(narrow, "UNSUBACK")


@pytest.mark.parametrize("wrong", [codec.connect(5, "again"), codec.publish(5, "", b""), codec.publish(5, "a", qos=3), b"\x30\x7f", b"\0\0",
                                   codec.publish(5, "a", properties={"topic_alias": 65535})], ids=["CONNECT", "no topic", "QoS 3", "cut", "kind 0", "alias"])
@statement("MQTT-3.14.2-3", "MQTT-3.14.2-4", "MQTT-3.14.2-1", "MQTT-3.14.2-2")
def test_disconnect_of_the_server_has_a_fitting_form(connect, wrong):
    for properties in ({}, {"maximum_packet_size": len(connect().connack.raw)}):
        client = connect(properties=properties)
        client.send(wrong if wrong != b"\x30\x7f" else codec.packet("PUBLISH", 0, b"\x7f\xffa"))
        *_, goodbye = client.expect_closed(range(0x80, 0xA3))   # the decoder knows the codes and the properties
        assert len(goodbye.raw) <= properties.get("maximum_packet_size", 65535)
