"""MQTT 5.0, section 3.1: the will, its properties and its delay; 3.14: what DISCONNECT does to it."""
import time

import pytest

import codec
from mqtt import Reason, Will
from statements import statement

VERSION = codec.V5


@pytest.mark.parametrize("qos", [0, 1, 2])
@statement("MQTT-3.1.2-7", "MQTT-3.1.2-8", "MQTT-3.1.2-14")
def test_the_will_is_published_when_the_connection_closes(connect, topic, qos):
    watcher = connect()
    watcher.subscribe(topic, qos=2, retain_as_published=True)
    connect(will=Will(topic, b"\0gone", qos=qos)).close()
    watcher.message(topic=topic, payload=b"\0gone", qos=qos, retain=False)
    later = connect()
    later.subscribe(topic)
    later.expect_silence()


@statement("MQTT-3.1.2-15")
def test_a_will_with_retain_is_published_as_retained(connect, topic):
    watcher = connect()
    watcher.subscribe(topic, retain_as_published=True)
    connect(will=Will(topic, b"gone", 1, retain=True)).close()
    watcher.message(topic=topic, retain=True)
    later = connect()
    later.subscribe(topic)
    later.message(topic=topic, payload=b"gone", retain=True)


@statement("MQTT-3.1.2-8", "MQTT-3.1.2-7")
def test_the_will_waits_for_its_delay(connect, topic):
    watcher = connect()
    watcher.subscribe(topic)
    client = connect(persistent=True, will=Will(topic, properties={"will_delay_interval": 1}))
    client.close()
    closed = time.monotonic()
    watcher.expect_silence()
    watcher.message(topic=topic)
    assert time.monotonic() - closed > 0.9


@statement("MQTT-3.1.2-8")
def test_the_will_does_not_wait_longer_than_the_session_lasts(connect, topic):
    watcher = connect()
    watcher.subscribe(topic)
    for expiry in (0, 1):
        client = connect(properties={"session_expiry_interval": expiry}, will=Will(topic, bytes([expiry]), properties={"will_delay_interval": 300}))
        client.close()
        watcher.message(payload=bytes([expiry]))


@statement("MQTT-3.1.3-9")
def test_the_will_is_not_sent_when_the_client_is_back_before_its_delay_is_over(connect, unique, topic):
    watcher, name, delayed = connect(), unique(), {"will_delay_interval": 1}
    watcher.subscribe(topic)
    connect(name, persistent=True, will=Will(topic, b"not this one", properties=delayed)).close()
    connect(name, persistent=True).sync()
    connect(persistent=True, will=Will(topic, b"this one, later", properties=delayed)).close()
    watcher.message(payload=b"this one, later")


@statement("MQTT-3.1.2-10", "MQTT-3.14.4-3")
def test_the_will_goes_with_disconnect_0_and_once_published(connect, unique, topic):
    watcher, name = connect(), unique()
    watcher.subscribe(topic)
    for reason in (None, 0):
        connect(will=Will(topic)).disconnect(reason)
    watcher.expect_silence()
    connect(name, persistent=True, will=Will(topic, b"once")).close()
    watcher.message(payload=b"once")
    connect(name, persistent=True).close()
    connect(will=Will(topic, b"sentinel")).close()
    watcher.message(payload=b"sentinel")


@pytest.mark.parametrize("reason", [0x04, 0x80, 0x82, 0x93])
@statement("MQTT-3.1.2-8", "MQTT-3.14.2-1")
def test_disconnect_with_another_reason_publishes_the_will(connect, topic, reason):
    watcher = connect()
    watcher.subscribe(topic)
    connect(will=Will(topic)).disconnect(reason)
    watcher.message(topic=topic)


@statement("MQTT-3.1.3-10")
def test_the_properties_of_the_will_are_published_with_it_and_its_user_properties_in_order(connect, topic):
    properties = {"payload_format_indicator": 1, "content_type": "text/plain", "response_topic": "answer/here", "correlation_data": b"\0\1",
                  "user_property": [("b", "1"), ("a", "2"), ("b", "1"), ("a", "1")]}
    watcher = connect()
    watcher.subscribe(topic)
    connect(will=Will(topic, properties=properties | {"will_delay_interval": 0})).close()
    assert watcher.message().properties == properties


@statement("MQTT-3.1.2-7", "MQTT-3.1.2-8")
def test_a_protocol_error_publishes_the_will(connect, topic):
    watcher = connect()
    watcher.subscribe(topic)
    client = connect(will=Will(topic))
    client.send_connect()
    client.expect_closed(Reason.PROTOCOL_ERROR)
    watcher.message(topic=topic)


@pytest.mark.parametrize("name", ["a/#", "+", "", "#"])
@statement("MQTT-4.7.0-1", "MQTT-3.1.4-2")
def test_a_will_topic_that_is_no_topic_name_is_refused(dial, name):
    client = dial()
    client.send_connect(will=Will(name))
    client.expect_closed({Reason.TOPIC_INVALID, Reason.MALFORMED, Reason.PROTOCOL_ERROR}, kind="CONNACK")


WRONG = {"unknown": b"\x02\x7f\x00", "of another packet": {"session_expiry_interval": 1}, "twice": [("will_delay_interval", 1)] * 2, "indicator of 2": {"payload_format_indicator": 2}}


@pytest.mark.parametrize("properties", WRONG.values(), ids=WRONG)
@statement("MQTT-3.1.4-1")
def test_wrong_will_properties_are_refused(dial, properties):
    client = dial()
    client.send_connect(will=Will("a", properties=properties))
    client.expect_closed({Reason.MALFORMED, Reason.PROTOCOL_ERROR}, kind="CONNACK")
