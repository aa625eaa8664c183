"""MQTT 5.0, chapters 1 and 2: strings, variable byte integers, flags, packet identifiers, properties."""
import pytest

import codec
from mqtt import Reason, Will, options
from statements import statement

VERSION = codec.V5

ILL_FORMED = {"stray continuation": b"a\x80b", "cut short": b"a\xc3", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xa0\x80", "above 10FFFF": b"\xf5\x80\x80\x80"}
REFUSED = {Reason.MALFORMED, Reason.PROTOCOL_ERROR, Reason.TOPIC_INVALID, Reason.FILTER_INVALID, Reason.ID_NOT_VALID}


def send_string(client, place, text):
    """Sends `text` where the protocol wants a string; returns the kind of packet that has to refuse it."""
    in_connect = {"client id": {}, "will topic": {"will": Will(text)}, "user name": {"username": text},
                  "authentication method": {"properties": {"authentication_method": text}},
                  "content type of the will": {"will": Will("a", properties={"content_type": text})}}
    if place in in_connect:
        client.client_id = text if place == "client id" else client.client_id
        client.send_connect(**in_connect[place])
        return "CONNACK"
    client.connect()
    if place == "topic name":
        client.send_publish(text)
    elif place == "filter":
        client.send_subscribe(text)
    elif place == "filter to unsubscribe":
        client.send(codec.unsubscribe(client.version, 1, [text]))
    elif place == "reason string":
        client.acknowledge("PUBACK", 1, properties={"reason_string": text})
    else:
        client.send_publish("a", properties={place: text})
    return "DISCONNECT"


PLACES = ["client id", "will topic", "user name", "content type of the will", "topic name", "filter", "filter to unsubscribe", "content_type", "response_topic", "reason string"]


@pytest.mark.parametrize("text", ILL_FORMED.values(), ids=ILL_FORMED)
@pytest.mark.parametrize("place", PLACES)
@statement("MQTT-1.5.4-1", "MQTT-3.3.2-1", "MQTT-3.3.2-13", "MQTT-3.3.2-19", "MQTT-3.1.3-4", "MQTT-3.1.3-11", "MQTT-3.1.3-12", "MQTT-3.8.3-1", "MQTT-3.10.3-1")
def test_ill_formed_utf8_is_malformed(dial, place, text):
    client = dial()
    kind = send_string(client, place, text)
    client.expect_closed({Reason.MALFORMED}, kind=kind)


@pytest.mark.parametrize("place", PLACES)
@statement("MQTT-1.5.4-2", "MQTT-4.7.3-2")
def test_a_null_character_closes(dial, place):
    client = dial()
    kind = send_string(client, place, b"a\0b")
    client.expect_closed(REFUSED, kind=kind)


@statement("MQTT-1.5.4-3")
def test_byte_order_mark_is_a_character_like_any_other(connect, topic):
    marked, client = "\ufeff" + topic + "\ufeff/x", connect()
    client.subscribe(topic + "/x", marked)
    client.publish(marked, b"1", properties={"content_type": "\ufeffx\ufeff"})
    assert client.message(topic=marked).properties == {"content_type": "\ufeffx\ufeff"}
    client.publish(topic + "/x", b"2")
    client.message(topic=topic + "/x")


LONG = {"remaining length of PINGREQ": b"\xc0\x80\x00", "remaining length of PUBLISH": b"\x30\x84\x00\x00\x01a\x00",
        "property length": b"\x30\x05\x00\x01a\x80\x00", "five bytes": b"\x30\xff\xff\xff\xff\x01",
        "subscription identifier": codec.packet("SUBSCRIBE", 2, b"\x00\x01\x03\x0b\x81\x00\x00\x01a\x00")}


@pytest.mark.parametrize("data", LONG.values(), ids=LONG)
@statement("MQTT-1.5.5-1")
def test_a_variable_byte_integer_in_more_bytes_than_needed_is_malformed(connect, data):
    client = connect()
    client.send(data)
    client.expect_closed({Reason.MALFORMED, Reason.TOO_LARGE} if data == LONG["five bytes"] else Reason.MALFORMED)


@pytest.mark.parametrize("size", [0, 100, 123, 124, 125, 16378, 16379, 16380, 16381, 16382, 16383, 2_097_150])
@statement("MQTT-1.5.5-1")
def test_lengths_of_the_server_take_the_fewest_bytes(connect, size):
    client = connect()
    client.subscribe(client.client_id)
    client.send_publish(client.client_id, b"x" * size)
    p = client.message()        # the decoder counts the bytes
    assert p.raw == codec.publish(5, client.client_id, b"x" * size)


@pytest.mark.parametrize("pair", [(b"\xff", "v"), ("k", b"\xed\xa0\x80"), (b"a\0", "v"), ("k", b"\0")], ids=["name", "value", "null in name", "null in value"])
@statement("MQTT-1.5.7-1")
def test_both_strings_of_a_pair_have_to_be_valid(connect, topic, pair):
    client = connect()
    client.send_publish(topic, properties={"user_property": [pair]})
    client.expect_closed(Reason.MALFORMED)


@statement("MQTT-1.5.7-1")
def test_pairs_pass_unharmed(connect, topic):
    client, pairs = connect(), [("", ""), ("ключ", "\ufeff€"), ("k", "𝄞"), ("k", "")]
    client.subscribe(topic)
    client.publish(topic, properties={"user_property": pairs})
    assert client.message().properties["user_property"] == pairs


@statement("MQTT-2.1.3-1")
def test_reserved_flags_of_what_the_server_sends_are_as_listed(connect, topic):
    client = connect()
    client.send_publish(topic + "/other", qos=1)
    client.send_publish(topic, qos=2)
    assert client.expect("PUBACK").flags == 0
    received = client.expect("PUBREC")
    client.acknowledge("PUBREL", received.packet_id)
    assert (received.flags, client.expect("PUBCOMP").flags) == (0, 0)
    assert (client.subscribe(topic, qos=2).flags, client.connack.flags) == (0, 0)
    client.publish(topic, qos=2)
    client.acknowledge("PUBREC", client.expect("PUBLISH", qos=2).packet_id)
    assert client.expect("PUBREL").flags == 2
    assert client.unsubscribe(topic).flags == 0
    client.send(codec.PINGREQ)
    assert client.expect("PINGRESP").flags == 0
    client.send_connect()
    assert client.expect_closed(Reason.PROTOCOL_ERROR)[-1].flags == 0


FLAGGED = {"PUBACK": codec.acknowledgement(5, "PUBACK", 1, flags=2), "PUBREC": codec.acknowledgement(5, "PUBREC", 1, flags=1),
           "PUBCOMP": codec.acknowledgement(5, "PUBCOMP", 1, flags=8), "PINGREQ": b"\xc1\0", "kind 0": b"\0\0"}


@pytest.mark.parametrize("data", FLAGGED.values(), ids=FLAGGED)
@statement("MQTT-2.1.3-1")
def test_other_flags_are_malformed(connect, data):
    client = connect()
    client.send(data)
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR} if data == b"\0\0" else Reason.MALFORMED)


@statement("MQTT-2.2.1-2")
def test_qos_0_has_no_packet_id_in_either_direction(connect, topic):
    client = connect()
    client.subscribe(topic, qos=2)
    client.publish(topic, b"\0\1payload", qos=0)
    assert client.message(qos=0).raw == codec.publish(5, topic, b"\0\1payload")


ZERO = {"PUBLISH": codec.publish(5, "a", qos=1, packet_id=0), "PUBLISH at QoS 2": codec.publish(5, "a", qos=2, packet_id=0),
        "SUBSCRIBE": codec.subscribe(5, 0, [("a", 0)]), "UNSUBSCRIBE": codec.unsubscribe(5, 0, ["a"])}


@pytest.mark.parametrize("data", ZERO.values(), ids=ZERO)
@statement("MQTT-2.2.1-3")
def test_packet_id_zero_closes(connect, data):
    client = connect()
    client.send(data)
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR})


@statement("MQTT-2.2.1-4", "MQTT-4.3.2-1", "MQTT-4.3.3-1")
def test_packet_ids_of_the_server_are_not_zero_and_unused(connect, topic):
    subscriber, publisher = connect(), connect()
    subscriber.subscribe((topic, 2))
    for n in range(15):
        publisher.publish(topic, qos=1 + n % 2)
    sent = [subscriber.expect("PUBLISH") for _ in range(15)]
    taken = {p.packet_id for p in sent if p.qos == 2}
    assert 0 not in taken and len({p.packet_id for p in sent}) == 15
    for p in sent:
        subscriber.acknowledge("PUBACK" if p.qos == 1 else "PUBREC", p.packet_id)
    for _ in taken:
        subscriber.expect("PUBREL")         # those ids stay taken until PUBCOMP
    for n in range(10):
        publisher.publish(topic, qos=1)
        assert subscriber.message().packet_id not in taken


@pytest.mark.parametrize("id", [1, 255, 256, 65535])
@statement("MQTT-2.2.1-5", "MQTT-2.2.1-6", "MQTT-3.8.4-2", "MQTT-3.10.4-5")
def test_acknowledgements_have_the_id_of_what_they_acknowledge(connect, topic, id):
    client = connect()
    client.send_publish(topic, qos=1, packet_id=id)
    client.expect("PUBACK", packet_id=id)
    client.send_publish(topic, qos=2, packet_id=id)
    client.expect("PUBREC", packet_id=id)
    client.acknowledge("PUBREL", id)
    client.expect("PUBCOMP", packet_id=id)
    client.send(codec.subscribe(5, id, [(topic, 2)]))
    client.expect("SUBACK", packet_id=id)
    client.publish(topic, qos=2)
    sent = client.expect("PUBLISH", qos=2)
    client.acknowledge("PUBREC", sent.packet_id)
    client.expect("PUBREL", packet_id=sent.packet_id)
    for _ in range(2):                      # also when there is nothing to remove
        client.send(codec.unsubscribe(5, id, [topic]))
        client.expect("UNSUBACK", packet_id=id)


@statement("MQTT-2.2.2-1")
def test_packets_without_properties_have_property_length_0(connect, topic):
    client = connect()
    assert client.subscribe(topic).raw == b"\x90\4" + client.last_id.to_bytes(2, "big") + b"\0\0"
    client.publish(topic, b"x")
    assert client.message().raw == codec.publish(5, topic, b"x", properties={})
    assert client.unsubscribe(topic).raw == b"\xb0\4" + client.last_id.to_bytes(2, "big") + b"\0\0"


@statement("MQTT-2.2.2-1")
def test_packets_without_a_property_length_are_malformed(connect, topic):
    client = connect()
    client.send(codec.packet("SUBSCRIBE", 2, b"\0\1"))
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR})


def test_short_forms_of_the_acknowledgements_are_understood(connect, topic):
    """A reason code of 0 and a property length of 0 may be left out."""
    publisher, client = connect(), connect()
    client.subscribe((topic, options(2)))
    for extra in ((), (0,), (0, {})):
        for qos in (1, 2):
            publisher.publish(topic, qos=qos)
            p = client.expect("PUBLISH", qos=qos)
            client.acknowledge("PUBACK" if qos == 1 else "PUBREC", p.packet_id, *extra)
            if qos == 2:
                client.expect("PUBREL", packet_id=p.packet_id)
                client.acknowledge("PUBCOMP", p.packet_id, *extra)
    client.expect_silence()


MISPLACED = {"unknown property": b"\x02\x7f\x00", "property of another packet": b"\x03\x21\x00\x01", "cut short": b"\x02\x02\x00",
             "longer than the packet": b"\x7f\x01\x00", "indicator of 2": b"\x02\x01\x02"}
TWICE = [("payload_format_indicator", 0), ("message_expiry_interval", 1), ("content_type", "a"), ("response_topic", "a"), ("correlation_data", b"a"), ("topic_alias", 1)]


@pytest.mark.parametrize("properties", MISPLACED.values(), ids=MISPLACED)
@statement("MQTT-4.13.1-1")
def test_properties_that_do_not_belong_are_malformed(connect, topic, properties):
    client = connect()
    client.send_publish(topic, properties=properties)
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR})


@pytest.mark.parametrize("once", TWICE, ids=[name for name, _ in TWICE])
@statement("MQTT-4.13.1-1")
def test_a_property_twice_is_a_protocol_error(connect, topic, once):
    client = connect()
    client.send_publish(topic, properties=[once, once])
    client.expect_closed({Reason.PROTOCOL_ERROR, Reason.MALFORMED})
