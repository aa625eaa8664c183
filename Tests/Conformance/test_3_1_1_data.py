"""MQTT 3.1.1, chapters 1 and 2: strings, flags, packet identifiers."""
import pytest

import codec
from mqtt import Will
from statements import statement

VERSION = codec.V311

ILL_FORMED = {"stray continuation": b"a\x80b", "cut short": b"a\xc3", "overlong": b"\xc0\xaf", "surrogate": b"\xed\xa0\x80", "above 10FFFF": b"\xf5\x80\x80\x80"}


def send_string(client, place, text):
    """Sends `text` where the protocol wants a string."""
    if place == "client id":
        client.client_id = text
        client.send_connect()
    elif place == "will topic":
        client.send_connect(will=Will(text))
    elif place == "user name":
        client.send_connect(username=text)
    else:
        client.connect()
        if place == "topic name":
            client.send_publish(text)
        elif place == "filter":
            client.send_subscribe(text)
        else:
            client.send(codec.unsubscribe(client.version, 1, [text]))


PLACES = ["client id", "will topic", "user name", "topic name", "filter", "filter to unsubscribe"]


@pytest.mark.parametrize("text", ILL_FORMED.values(), ids=ILL_FORMED)
@pytest.mark.parametrize("place", PLACES)
@statement("MQTT-1.5.3-1", "MQTT-3.3.2-1", "MQTT-3.1.3-4", "MQTT-3.1.3-10", "MQTT-3.1.3-11", "MQTT-3.8.3-1", "MQTT-3.10.3-1")
def test_ill_formed_utf8_closes(dial, place, text):
    client = dial()
    send_string(client, place, text)
    assert not [p for p in client.expect_closed() if p.kind == "CONNACK" and p.reason == 0]


@pytest.mark.parametrize("place", PLACES)
@statement("MQTT-1.5.3-2", "MQTT-4.7.3-2")
def test_null_character_closes(dial, place):
    client = dial()
    send_string(client, place, b"a\0b")
    client.expect_closed()


@statement("MQTT-1.5.3-3")
def test_byte_order_mark_is_a_character_like_any_other(connect, topic):
    marked, client = "\ufeff" + topic + "\ufeff/x", connect()
    client.subscribe(topic + "/x", marked)
    client.publish(marked, b"1")
    assert client.message().topic == marked
    client.publish(topic + "/x", b"2")
    assert client.message().topic == topic + "/x"


@statement("MQTT-2.2.2-1")
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


FLAGGED = {"PUBACK": codec.acknowledgement(4, "PUBACK", 1, flags=2), "PUBREC": codec.acknowledgement(4, "PUBREC", 1, flags=1),
           "PUBCOMP": codec.acknowledgement(4, "PUBCOMP", 1, flags=8), "PINGREQ": b"\xc1\0", "DISCONNECT": codec.disconnect(4, flags=1),
           "PUBREL": codec.acknowledgement(4, "PUBREL", 1, flags=0), "SUBSCRIBE": codec.subscribe(4, 1, [("a", 0)], flags=0),
           "UNSUBSCRIBE": codec.unsubscribe(4, 1, ["a"], flags=0), "server's packet": b"\xd0\0", "kind 0": b"\0\0", "kind 15": b"\xf0\0"}


@pytest.mark.parametrize("data", FLAGGED.values(), ids=FLAGGED)
@statement("MQTT-2.2.2-2")
def test_invalid_flags_close(connect, data):
    client = connect()
    client.send(data)
    client.expect_closed()


@statement("MQTT-2.2.2-2")
def test_invalid_flags_in_connect_close(dial):
    client = dial()
    client.send(codec.packet("CONNECT", 1, codec.connect(4, "a")[2:]))
    assert not [p for p in client.expect_closed() if p.reason == 0]


ZERO = {"PUBLISH": codec.publish(4, "a", qos=1, packet_id=0), "PUBLISH at QoS 2": codec.publish(4, "a", qos=2, packet_id=0),
        "SUBSCRIBE": codec.subscribe(4, 0, [("a", 0)]), "UNSUBSCRIBE": codec.unsubscribe(4, 0, ["a"])}


@pytest.mark.parametrize("data", ZERO.values(), ids=ZERO)
@statement("MQTT-2.3.1-1")
def test_packet_id_zero_closes(connect, data):
    client = connect()
    client.send(data)
    client.expect_closed()


@statement("MQTT-2.3.1-1", "MQTT-2.3.1-4")
def test_packet_ids_of_the_server_are_not_zero_and_unique_in_flight(connect, topic):
    subscriber, publisher = connect(), connect()
    subscriber.subscribe((topic, 2))
    for n in range(15):
        publisher.publish(topic, qos=1 + n % 2)
    ids = [subscriber.expect("PUBLISH").packet_id for _ in range(15)]
    assert 0 not in ids and len(set(ids)) == 15


@statement("MQTT-2.3.1-4")
def test_an_id_waiting_for_pubcomp_is_not_given_to_another_message(connect, topic):
    subscriber, publisher = connect(), connect()
    subscriber.subscribe((topic, 2))
    publisher.publish(topic, qos=2)
    taken = subscriber.expect("PUBLISH").packet_id
    subscriber.acknowledge("PUBREC", taken)
    subscriber.expect("PUBREL", packet_id=taken)
    for _ in range(10):
        publisher.publish(topic, qos=1)
        assert subscriber.message().packet_id != taken


@statement("MQTT-2.3.1-5")
def test_qos_0_has_no_packet_id_in_either_direction(connect, topic):
    client = connect()
    client.subscribe(topic, qos=2)
    client.publish(topic, b"\0\1payload", qos=0)
    assert client.message(qos=0).raw == codec.publish(4, topic, b"\0\1payload")


@pytest.mark.parametrize("id", [1, 255, 256, 65535])
@statement("MQTT-2.3.1-6", "MQTT-2.3.1-7")
def test_acknowledgements_have_the_id_of_what_they_acknowledge(connect, topic, id):
    client = connect()
    client.send_publish(topic, qos=1, packet_id=id)
    client.expect("PUBACK", packet_id=id)
    client.send_publish(topic, qos=2, packet_id=id)
    client.expect("PUBREC", packet_id=id)
    client.acknowledge("PUBREL", id)
    client.expect("PUBCOMP", packet_id=id)
    client.send(codec.subscribe(4, id, [(topic, 2)]))
    client.expect("SUBACK", packet_id=id)
    client.publish(topic, qos=2)
    sent = client.expect("PUBLISH", qos=2)
    client.acknowledge("PUBREC", sent.packet_id)
    client.expect("PUBREL", packet_id=sent.packet_id)
    client.send(codec.unsubscribe(4, id, [topic]))
    client.expect("UNSUBACK", packet_id=id)
