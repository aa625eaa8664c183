"""MQTT 3.1.1, sections 3.1 and 3.2: CONNECT and CONNACK."""
import pytest

import codec
from mqtt import Will
from statements import statement

VERSION = codec.V311


@pytest.mark.parametrize("first", [codec.PINGREQ, codec.publish(4, "a"), codec.subscribe(4, 1, [("a", 0)]), codec.disconnect(4)],
                         ids=["PINGREQ", "PUBLISH", "SUBSCRIBE", "DISCONNECT"])
@statement("MQTT-3.1.0-1", "MQTT-3.2.0-1")
def test_what_is_not_connect_closes_as_a_first_packet_without_an_answer(dial, first):
    client = dial()
    client.send(first)
    assert client.expect_closed() == []


@statement("MQTT-3.1.0-2", "MQTT-4.8.0-1")
def test_a_second_connect_closes(connect):
    client = connect()
    client.send_connect()
    assert client.expect_closed() == []


@pytest.mark.parametrize("name", ["MQTX", "mqtt", "MQTTT", ""])
@statement("MQTT-3.1.2-1")
def test_another_protocol_name_is_not_let_in(dial, name):
    client = dial()
    client.send_connect(name=name)
    assert not [p for p in client.expect_closed() if p.reason == 0]


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@statement("MQTT-3.1.2-2", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
def test_an_unsupported_level_is_answered_with_code_1_and_closed(dial, level):
    client = dial()
    client.send_connect(level=level)
    client.expect("CONNACK", reason=1, session_present=False)
    assert client.expect_closed() == []


@statement("MQTT-3.1.2-3", "MQTT-3.2.2-6")
def test_the_reserved_connect_flag_closes(dial):
    client = dial()
    client.send_connect(flags=3)
    assert client.expect_closed() == []


@statement("MQTT-3.1.2-4", "MQTT-3.2.2-2", "MQTT-3.2.2-3", "MQTT-3.1.4-3", "MQTT-4.1.0-1")
def test_clean_session_0_resumes_the_session_or_creates_one(connect, unique, topic):
    name = unique()
    first = connect(name, clean=False)
    assert not first.connack.session_present
    first.subscribe(topic, qos=1)
    first.disconnect()
    second = connect(name, clean=False)
    assert second.connack.session_present
    connect().publish(topic, b"kept", qos=1)
    second.message(payload=b"kept", qos=1)
    second.close()
    assert connect(name, clean=False).connack.session_present


@statement("MQTT-3.1.2-5", "MQTT-4.5.0-1")
def test_qos_1_and_2_are_kept_for_a_disconnected_session(connect, unique, topic):
    name = unique()
    client = connect(name, clean=False)
    client.subscribe(topic, qos=2)
    client.disconnect()
    publisher = connect()
    publisher.publish(topic, b"1", qos=1)
    publisher.publish(topic, b"2", qos=2)
    again = connect(name, clean=False)
    assert [(m.payload, m.qos) for m in again.messages(2)] == [(b"1", 1), (b"2", 2)]
    again.expect_silence()


@statement("MQTT-3.1.2-6", "MQTT-3.2.2-1", "MQTT-3.1.4-3", "MQTT-4.1.0-2")
def test_clean_session_1_drops_the_old_session_and_lasts_as_long_as_its_connection(connect, unique, topic):
    name = unique()
    old = connect(name, clean=False)
    old.subscribe(topic, qos=1)
    old.disconnect()
    connect().publish(topic, b"for the old session", qos=1)
    client = connect(name, clean=True)
    assert not client.connack.session_present
    client.publish(topic, b"nobody subscribed", qos=1)
    client.expect_silence()
    client.subscribe(topic, qos=1)
    client.publish(topic, b"while connected", qos=1)
    client.message(payload=b"while connected")
    client.disconnect()
    assert not connect(name, clean=False).connack.session_present


@statement("MQTT-3.1.2-7")
def test_retained_messages_outlive_the_session(connect, unique, topic):
    name = unique()
    client = connect(name)
    client.publish(topic, b"stays", qos=1, retain=True)
    client.disconnect()
    other = connect(name)
    other.subscribe(topic)
    other.message(payload=b"stays", retain=True)


@pytest.mark.parametrize("qos", [0, 1, 2])
@statement("MQTT-3.1.2-8", "MQTT-3.1.2-16")
def test_the_will_is_published_when_the_connection_closes(connect, topic, qos):
    watcher = connect()
    watcher.subscribe(topic, qos=2)
    connect(will=Will(topic, b"\0gone", qos=qos)).close()
    watcher.message(topic=topic, payload=b"\0gone", qos=qos, retain=False)
    later = connect()
    later.subscribe(topic)
    later.expect_silence()


@statement("MQTT-3.1.2-8", "MQTT-4.8.0-1")
def test_the_will_is_published_after_a_protocol_violation(connect, topic):
    watcher = connect()
    watcher.subscribe(topic)
    client = connect(will=Will(topic))
    client.send(b"\0\0")
    client.expect_closed()
    watcher.message(topic=topic)


@statement("MQTT-3.1.2-10", "MQTT-3.14.4-3", "MQTT-3.1.2-12")
def test_the_will_goes_with_disconnect_and_once_published(connect, unique, topic):
    watcher, name = connect(), unique()
    watcher.subscribe(topic)
    connect(name, will=Will(topic)).disconnect()
    watcher.expect_silence()
    client = connect(name, clean=False, will=Will(topic))
    client.close()
    watcher.message(topic=topic)
    connect(name, clean=False).close()      # the same session, without a will
    connect(will=Will(topic, b"sentinel")).close()
    watcher.message(payload=b"sentinel")


FLAGS = {"will QoS without will": 2 | 8, "will retain without will": 2 | 32, "will QoS 3": 2 | 4 | 24, "password without user name": 2 | 64}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
@statement("MQTT-3.1.2-11", "MQTT-3.1.2-13", "MQTT-3.1.2-14", "MQTT-3.1.2-15", "MQTT-3.1.2-22", "MQTT-3.1.4-1", "MQTT-3.2.2-6")
def test_connect_flags_that_contradict_each_other_close_without_connack(dial, flags):
    client = dial()
    client.send(codec.connect(4, client.client_id, flags=flags, will=Will("a") if flags & 4 else None))
    assert client.expect_closed() == []


CUT = {"no client id": codec.packet("CONNECT", 0, codec.connect(4, "")[2:-2]), "too much at the end": codec.packet("CONNECT", 0, codec.connect(4, "abc")[2:] + b"\0"),
       "no will": codec.connect(4, "abc", flags=6), "no user name": codec.connect(4, "abc", flags=2 | 128), "no password": codec.connect(4, "abc", username="u", flags=2 | 192)}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
@statement("MQTT-3.1.4-1", "MQTT-3.2.2-6", "MQTT-3.1.2-9", "MQTT-3.1.2-19", "MQTT-3.1.2-21", "MQTT-3.1.3-3")
def test_connect_of_wrong_form_closes_without_connack(dial, data):
    client = dial()
    client.send(data)
    assert client.expect_closed() == []


@statement("MQTT-3.1.2-17")
def test_a_will_with_retain_is_published_as_retained(connect, topic):
    watcher = connect()
    watcher.subscribe(topic)
    connect(will=Will(topic, b"gone", 1, retain=True)).close()
    watcher.message(topic=topic, retain=False)
    later = connect()
    later.subscribe(topic)
    later.message(topic=topic, payload=b"gone", retain=True)


@statement("MQTT-3.1.2-24")
def test_silence_of_one_and_a_half_keep_alive_periods_closes(connect, topic):
    watcher = connect()
    watcher.subscribe(topic)
    client = connect(keep_alive=1, will=Will(topic))
    assert client.expect_closed(timeout=8) == []
    watcher.message(topic=topic)


@statement("MQTT-3.1.3-2")
def test_the_session_is_found_by_the_client_id(connect, unique, topic):
    name = unique()
    client = connect(name, clean=False)
    client.subscribe(topic)
    client.disconnect()
    for other in (name + "x", name[:-1] + "X", "x" + name):
        assert not connect(other, clean=False).connack.session_present
    assert connect(name, clean=False).connack.session_present


@pytest.mark.parametrize("name", ["a", "Z", "0", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ"])
@statement("MQTT-3.1.3-5")
def test_ids_of_1_to_23_letters_and_digits_are_allowed(connect, name):
    connect(name).sync()


@statement("MQTT-3.1.3-6")
def test_clients_with_an_empty_id_are_different_clients(connect, topic):
    first, second = connect(""), connect("")
    for client in (first, second):
        client.subscribe(topic)
    second.publish(topic, b"to both")
    first.message(payload=b"to both")
    second.message(payload=b"to both")


@statement("MQTT-3.1.3-8", "MQTT-3.1.3-7", "MQTT-3.2.2-4", "MQTT-3.2.2-5")
def test_an_empty_id_with_clean_session_0_is_answered_with_code_2_and_closed(dial):
    client = dial("")
    client.send_connect(clean=False)
    client.expect("CONNACK", reason=2, session_present=False)
    assert client.expect_closed() == []


@pytest.mark.parametrize("name", ["a b", "a/b+#", "ä" * 100, "x" * 1000, "x" * 65535], ids=ascii)
@statement("MQTT-3.1.3-9")
def test_an_id_is_served_or_answered_with_code_2_and_closed(dial, name):
    client = dial(name)
    client.send_connect()
    if client.expect("CONNACK").reason:
        assert client.backlog == [] and client.expect_closed() == []
    else:
        client.sync()


@statement("MQTT-3.1.4-2")
def test_the_same_id_again_disconnects_the_older_connection(connect, unique):
    name = unique()
    older = connect(name)
    newer = connect(name)
    assert older.expect_closed() == []
    newer.sync()


@statement("MQTT-3.1.4-4", "MQTT-3.2.0-1")
def test_connect_is_acknowledged_with_connack_0_before_anything_else(connect, dial, unique, topic):
    name = unique()
    client = connect(name, clean=False)
    client.subscribe(topic, qos=1)
    client.disconnect()
    connect().publish(topic, b"waiting", qos=1)
    again = dial(name)
    again.send_connect(clean=False)
    assert again.expect("CONNACK").raw == b"\x20\2\1\0"
    again.message(payload=b"waiting")


@statement("MQTT-3.1.4-5")
def test_after_a_rejection_nothing_more_is_processed(connect, dial, topic):
    watcher = connect()
    watcher.subscribe(topic)
    client = dial("")
    client.send(codec.connect(4, "", clean=False) + codec.publish(4, topic, b"must not arrive"))
    client.expect("CONNACK", reason=2)
    client.expect_closed()
    watcher.expect_silence()


@statement("MQTT-7.0.0-2")
def test_a_client_without_any_extension_is_served(connect, topic):
    client = connect()
    client.subscribe(topic, qos=2)
    for qos in (0, 1, 2):
        client.publish(topic, bytes([qos]), qos=qos)
        assert client.message().payload == bytes([qos])
