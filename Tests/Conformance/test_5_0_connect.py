"""MQTT 5.0, section 3.1: CONNECT; the will is in test_5_0_will.py."""
import pytest

import codec
from mqtt import Reason, Will
from statements import statement

VERSION = codec.V5

WRONG = {Reason.MALFORMED, Reason.PROTOCOL_ERROR}


@pytest.mark.parametrize("first", [codec.PINGREQ, codec.publish(5, "a"), codec.subscribe(5, 1, [("a", 0)]), codec.disconnect(5), codec.auth(0x18)],
                         ids=["PINGREQ", "PUBLISH", "SUBSCRIBE", "DISCONNECT", "AUTH"])
@statement("MQTT-3.1.0-1", "MQTT-3.14.0-1", "MQTT-3.2.0-1")
def test_what_is_not_connect_closes_as_a_first_packet_without_disconnect(dial, first):
    client = dial()
    client.send(first)
    assert not [p for p in client.expect_closed() if p.kind != "CONNACK" or p.reason < 0x80]


@statement("MQTT-3.1.0-2", "MQTT-3.2.0-2")
def test_a_second_connect_is_a_protocol_error_and_has_no_second_connack(connect):
    client = connect()
    client.send_connect()
    assert len(client.expect_closed(Reason.PROTOCOL_ERROR)) == 1


@pytest.mark.parametrize("name", ["MQTX", "mqtt", "MQTTT", "", "MQIsdp"])
@statement("MQTT-3.1.2-1")
def test_another_protocol_name_is_not_let_in(dial, name):
    client = dial()
    client.send_connect(name=name)
    refused = client.expect_closed()
    assert not [p for p in refused if p.kind != "CONNACK" or p.reason not in {1, Reason.UNSUPPORTED_VERSION, *WRONG}]


@pytest.mark.parametrize("level", [6, 7, 255])
@statement("MQTT-3.1.2-2", "MQTT-3.2.2-6", "MQTT-3.2.2-7")
def test_a_later_version_is_answered_with_0x84_and_closed(dial, level):
    client = dial()
    client.send_connect(level=level)
    assert not client.expect_closed(Reason.UNSUPPORTED_VERSION, kind="CONNACK")[-1].session_present


@statement("MQTT-3.1.2-3")
def test_the_reserved_connect_flag_is_malformed(dial):
    client = dial()
    client.send_connect(flags=3)
    client.expect_closed(WRONG, kind="CONNACK")


@statement("MQTT-3.1.2-4", "MQTT-3.2.2-2", "MQTT-3.1.4-4")
def test_clean_start_1_discards_the_session_and_starts_a_new_one(connect, unique, topic):
    name = unique()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=1)
    client.disconnect()
    connect().publish(topic, b"for the old session", qos=1)
    client = connect(name, clean=True, properties={"session_expiry_interval": 300})
    assert not client.connack.session_present
    client.publish(topic, b"nobody subscribed", qos=1)
    client.expect_silence()
    client.subscribe(topic)
    client.disconnect()
    assert connect(name, clean=False).connack.session_present       # the new one lasts


@statement("MQTT-3.1.2-5", "MQTT-3.1.2-6", "MQTT-3.2.2-3", "MQTT-3.1.4-4", "MQTT-3.1.2-23", "MQTT-4.1.0-1", "MQTT-4.5.0-1")
def test_clean_start_0_resumes_the_session_or_creates_one(connect, unique, topic):
    name = unique()
    first = connect(name, persistent=True)
    assert not first.connack.session_present
    first.subscribe(topic, qos=2)
    first.disconnect()
    publisher = connect()
    publisher.publish(topic, b"1", qos=1)
    publisher.publish(topic, b"2", qos=2)
    second = connect(name, persistent=True)
    assert second.connack.session_present
    assert [(m.payload, m.qos) for m in second.messages(2)] == [(b"1", 1), (b"2", 2)]
    second.close()
    assert connect(name, persistent=True).connack.session_present


@statement("MQTT-4.1.0-2", "MQTT-3.1.2-23")
def test_a_session_without_expiry_interval_ends_with_its_connection(connect, unique, topic):
    for leave in ("close", "disconnect"):
        name = unique()
        client = connect(name, clean=False)
        client.subscribe(topic)
        if leave == "close":
            connect(name, clean=False).disconnect()     # so that the broker knows that it is gone
        else:
            client.disconnect()
        assert not connect(name, clean=False).connack.session_present


FLAGS = {"will QoS without will": 2 | 8, "will retain without will": 2 | 32, "will QoS 3": 2 | 4 | 24}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
@statement("MQTT-3.1.2-11", "MQTT-3.1.2-12", "MQTT-3.1.2-13", "MQTT-3.1.4-1")
def test_connect_flags_that_contradict_each_other_close(dial, flags):
    client = dial()
    client.send_connect(flags=flags, will=Will("a") if flags & 4 else None)
    client.expect_closed(WRONG, kind="CONNACK")


CUT = {"no client id": codec.packet("CONNECT", 0, codec.connect(5, "")[2:-2]), "too much at the end": codec.packet("CONNECT", 0, codec.connect(5, "abc")[2:] + b"\0"),
       "no will": codec.connect(5, "abc", flags=6), "no user name": codec.connect(5, "abc", flags=2 | 128), "no password": codec.connect(5, "abc", username="u", flags=2 | 192)}
PROPERTIES = {
    "receive maximum 0": {"receive_maximum": 0}, "maximum packet size 0": {"maximum_packet_size": 0}, "request problem information 2": {"request_problem_information": 2},
    "request response information 2": {"request_response_information": 2}, "twice": [("session_expiry_interval", 1)] * 2, "of another packet": {"topic_alias": 1},
    "data without method": {"authentication_data": b"x"}, "length beyond the packet": b"\x7f",
}


@pytest.mark.parametrize("data", CUT.values(), ids=CUT)
@statement("MQTT-3.1.4-1", "MQTT-3.14.0-1", "MQTT-3.1.2-9", "MQTT-3.1.2-17", "MQTT-3.1.2-19", "MQTT-3.1.3-3")
def test_connect_of_wrong_form_closes(dial, data):
    client = dial()
    client.send(data)
    client.expect_closed(WRONG, kind="CONNACK")


@pytest.mark.parametrize("properties", PROPERTIES.values(), ids=PROPERTIES)
@statement("MQTT-3.1.4-1", "MQTT-3.14.0-1", "MQTT-3.2.2-8", "MQTT-3.2.2-6", "MQTT-3.2.2-7")
def test_connect_with_wrong_properties_closes(dial, properties):
    client = dial()
    client.send_connect(properties=properties)
    assert not client.expect_closed(WRONG, kind="CONNACK")[-1].session_present


@statement("MQTT-3.1.4-2", "MQTT-4.12.0-1", "MQTT-4.12.0-4", "MQTT-3.2.2-7", "MQTT-4.13.2-1")
def test_an_authentication_method_that_is_not_supported_is_answered_with_0x8c_and_closed(dial):
    client = dial()
    client.send_connect(properties={"authentication_method": "no such method", "authentication_data": b"x"})
    client.expect_closed(Reason.BAD_METHOD, kind="CONNACK")


@statement("MQTT-3.1.4-6")
def test_after_a_rejection_nothing_more_is_processed(connect, dial, topic):
    watcher, client = connect(), dial()
    watcher.subscribe(topic)
    client.send(codec.connect(5, client.client_id, properties={"authentication_method": "no such method"}) + codec.publish(5, topic, b"must not arrive"))
    client.expect_closed(Reason.BAD_METHOD, kind="CONNACK")
    watcher.expect_silence()


@statement("MQTT-3.1.2-22", "MQTT-3.2.2-22")
def test_silence_of_one_and_a_half_keep_alive_periods_closes_with_0x8d(connect, topic):
    watcher = connect()
    watcher.subscribe(topic)
    client = connect(keep_alive=1, will=Will(topic))
    assert "server_keep_alive" not in client.connack.properties
    client.expect_closed(Reason.KEEP_ALIVE, timeout=8)
    watcher.message(topic=topic)


@statement("MQTT-3.1.2-24", "MQTT-3.1.2-25")
def test_a_message_above_the_clients_maximum_packet_size_is_dropped_as_if_it_were_sent(connect, unique, topic):
    name, publisher = unique(), connect()
    fits = b"x" * (100 - len(codec.publish(5, topic, qos=1, packet_id=1)))
    client = connect(name, persistent=True, properties={"maximum_packet_size": 100, "receive_maximum": 2})
    client.subscribe(topic, qos=2)
    for qos in (0, 1, 2, 1, 2):
        publisher.publish(topic, fits + b"xxx", qos=qos)      # more of them than Receive Maximum, yet none counts
    publisher.publish(topic, fits, qos=1)
    assert len(client.message(payload=fits).raw) == 100
    publisher.publish(topic, fits, qos=2)
    client.message(payload=fits)
    client.sync()
    client.close()
    connect(name, persistent=True).expect_silence()


@statement("MQTT-3.1.2-26", "MQTT-3.3.2-11", "MQTT-3.3.2-8")
def test_the_server_keeps_to_the_clients_topic_alias_maximum(connect, topic):
    publisher, client = connect(), connect(properties={"topic_alias_maximum": 2})
    client.subscribe(topic + "/+")
    names = [topic + f"/{n % 5}" for n in range(20)]
    for name in names:
        publisher.publish(name)
    came = client.messages(20)                  # the client resolves them
    assert [m.topic for m in came] == names
    assert {m.properties.get("topic_alias", 1) for m in came} <= {1, 2}


@pytest.mark.parametrize("properties", [{}, {"topic_alias_maximum": 0}], ids=["absent", "0"])
@statement("MQTT-3.1.2-27", "MQTT-3.3.2-11")
def test_without_topic_alias_maximum_the_server_sends_no_alias(connect, topic, properties):
    publisher, client = connect(), connect(properties=properties)
    client.subscribe(topic)
    for _ in range(5):
        publisher.publish(topic, properties={"topic_alias": 1})
    assert not [m for m in client.messages(5) if "topic_alias" in m.properties]


@pytest.mark.parametrize("properties", [{}, {"request_response_information": 0}], ids=["absent", "0"])
@statement("MQTT-3.1.2-28")
def test_no_response_information_unless_requested(connect, brokers, properties):
    asked_for_nothing = connect(to=brokers("--response-information", "responses/"), properties=properties)
    assert "response_information" not in asked_for_nothing.connack.properties


@statement("MQTT-3.1.2-29")
def test_without_problem_information_only_publish_connack_and_disconnect_carry_it(connect, topic):
    client = connect(properties={"request_problem_information": 0})
    client.subscribe(topic)
    client.send_publish("$SYS/forged", qos=1)
    client.send_publish("$SYS/forged", qos=2)
    client.send_publish(topic + "/nobody", qos=1)
    client.acknowledge("PUBREL", 4242)
    client.send_subscribe("$share/g/" + topic)
    client.send(codec.unsubscribe(5, 99, [topic + "/never"]))
    assert not [p for p in client.pending() if {"reason_string", "user_property"} & p.properties.keys()]
    client.publish(topic, properties={"user_property": [("k", "v")]})
    assert client.take("PUBLISH").properties["user_property"] == [("k", "v")]


@statement("MQTT-3.1.3-2")
def test_the_session_is_found_by_the_client_id(connect, unique, topic):
    name = unique()
    client = connect(name, persistent=True)
    client.subscribe(topic)
    client.disconnect()
    for other in (name + "x", name[:-1] + "X", "x" + name):
        assert not connect(other, clean=False).connack.session_present
    assert connect(name, clean=False).connack.session_present


@pytest.mark.parametrize("name", ["a", "Z", "0", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ"])
@statement("MQTT-3.1.3-5")
def test_ids_of_1_to_23_letters_and_digits_are_allowed(connect, name):
    connect(name).sync()


@pytest.mark.parametrize("clean", [True, False])
@statement("MQTT-3.1.3-6", "MQTT-3.1.3-7", "MQTT-3.2.2-16")
def test_an_empty_id_is_replaced_by_an_assigned_one_that_nobody_uses(connect, topic, clean):
    clients = [connect("", clean=clean) for _ in range(20)]
    ids = {client.connack.properties["assigned_client_identifier"] for client in clients}
    assert len(ids) == 20 and "" not in ids
    for client in clients:
        client.sync()


@statement("MQTT-3.1.3-7")
def test_an_assigned_id_is_the_id_of_the_session(connect):
    client = connect("", persistent=True)
    client.disconnect()
    again = connect(client.client_id, clean=False)
    assert again.connack.session_present and "assigned_client_identifier" not in again.connack.properties


@pytest.mark.parametrize("name", ["a b", "a/b+#", "ä" * 100, "x" * 1000, "x" * 65535], ids=lambda name: ascii(name[:8]) + str(len(name)))
@statement("MQTT-3.1.3-8")
def test_an_id_is_served_or_rejected_and_closed(dial, name):
    client = dial(name)
    client.send_connect()
    if client.expect("CONNACK").reason:
        assert client.expect_closed() == []
    else:
        client.sync()


@statement("MQTT-3.1.4-3")
def test_the_same_id_again_disconnects_the_older_connection_with_0x8e(connect, unique):
    name = unique()
    older = connect(name)
    newer = connect(name)
    assert len(older.expect_closed(Reason.TAKEN_OVER)) == 1
    newer.sync()


@statement("MQTT-3.1.4-5", "MQTT-3.2.0-1", "MQTT-3.2.0-2", "MQTT-4.12.0-6")
def test_connect_is_acknowledged_with_one_connack_before_anything_else(connect, dial, unique, topic):
    name = unique()
    client = connect(name, persistent=True)
    client.subscribe(topic, qos=1)
    client.disconnect()
    connect().publish(topic, b"waiting", qos=1)
    again = dial(name)
    again.send_connect(persistent=True)
    again.expect("CONNACK", reason=0, session_present=True)
    again.message(payload=b"waiting")
    again.expect_silence()
