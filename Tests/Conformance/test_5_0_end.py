"""MQTT 5.0, sections 3.12 to 3.15: PINGREQ, DISCONNECT, AUTH; 4.12 and 4.13: authentication and errors."""
import pytest

import codec
from mqtt import Reason, Will
from statements import statement

VERSION = codec.V5


@statement("MQTT-3.12.4-1")
def test_pingreq_is_answered_with_pingresp(connect):
    client = connect()
    client.send(codec.PINGREQ * 3)
    for _ in range(3):
        assert client.expect("PINGRESP").raw == b"\xd0\0"


@pytest.mark.parametrize("flags", [1, 2, 4, 8])
@statement("MQTT-3.14.1-1")
def test_disconnect_with_reserved_bits_is_answered_with_0x81_and_does_not_count(connect, topic, flags):
    watcher = connect()
    watcher.subscribe(topic)
    client = connect(will=Will(topic))
    client.send(codec.disconnect(5, flags=flags))
    client.expect_closed(Reason.MALFORMED)
    watcher.message(topic=topic)


@pytest.mark.parametrize("reason", [0x01, 0x8E, 0xA5])
@statement("MQTT-3.14.2-1")
def test_a_reason_code_that_no_client_may_send_is_refused(connect, reason):
    client = connect()
    client.send(codec.disconnect(5, reason))
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR})


@statement("MQTT-3.14.2-2", "MQTT-3.14.2-1", "MQTT-3.14.4-1", "MQTT-3.14.4-2", "MQTT-4.13.2-1")
def test_disconnect_of_the_server_is_its_last_packet_and_has_no_expiry_interval(connect, unique, topic):
    name, publisher = unique(), connect()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=1)
    for _ in range(10):
        publisher.send_publish(topic, qos=1)
    client.send_connect()
    for _ in range(5):
        publisher.send_publish(topic, qos=1)
    assert "session_expiry_interval" not in client.expect_closed(Reason.PROTOCOL_ERROR)[-1].properties


@statement("MQTT-3.14.4-1", "MQTT-3.14.4-2", "MQTT-3.14.4-3")
def test_after_disconnect_the_will_is_gone_and_nothing_is_processed_or_sent(connect, topic):
    watcher, client = connect(), connect(will=Will(topic))
    watcher.subscribe(topic)
    client.send(codec.disconnect(5) + codec.publish(5, topic, b"after DISCONNECT") + codec.PINGREQ)
    assert client.expect_closed() == []
    watcher.expect_silence()


@pytest.mark.parametrize("flags", [1, 2, 4, 8])
@statement("MQTT-3.15.1-1")
def test_auth_with_flags_is_malformed(connect, flags):
    client = connect()
    client.send(codec.auth(0x19, {"authentication_method": "x"}, flags=flags))
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR})


@pytest.mark.parametrize("reason", [0x01, 0x80, 0xFF])
@statement("MQTT-3.15.2-1")
def test_auth_with_an_unknown_reason_code_is_refused(connect, reason):
    client = connect()
    client.send(codec.auth(reason, {"authentication_method": "x"}))
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR, Reason.BAD_METHOD})


@pytest.mark.parametrize("reason", [0x18, 0x19, 0x00])
@statement("MQTT-4.12.0-7", "MQTT-4.12.1-1", "MQTT-4.12.1-2", "MQTT-4.12.0-4")
def test_auth_on_a_connection_without_method_is_refused_and_closes(connect, reason):
    client = connect()
    client.send(codec.auth(reason, {"authentication_method": "x", "authentication_data": b"x"}))
    client.expect_closed({Reason.PROTOCOL_ERROR, Reason.BAD_METHOD, Reason.NOT_AUTHORIZED})


@statement("MQTT-4.12.0-6")
def test_a_connection_without_method_gets_no_auth(connect, dial):
    client = dial()
    client.send_connect(username="user", password="secret")
    assert client.read().kind == "CONNACK"
    assert not [p for p in client.pending() if p.kind == "AUTH"]


ERRORS = {
    "malformed": (codec.publish(5, b"\xff"), Reason.MALFORMED), "malformed flags": (b"\xc4\0", Reason.MALFORMED), "protocol error": (codec.connect(5, "x"), Reason.PROTOCOL_ERROR),
    "alias": (codec.publish(5, "a", properties={"topic_alias": 0}), Reason.ALIAS_INVALID), "kind 0": (b"\0\0", Reason.MALFORMED),
}


@pytest.mark.parametrize("data, reason", ERRORS.values(), ids=ERRORS)
@statement("MQTT-4.13.1-1", "MQTT-4.13.2-1")
def test_an_error_is_answered_with_its_reason_and_closes(connect, data, reason):
    client = connect()
    client.send(data + codec.PINGREQ)
    wanted = {reason, Reason.PROTOCOL_ERROR} if data == b"\0\0" else reason
    assert len(client.expect_closed(wanted)) == 1
