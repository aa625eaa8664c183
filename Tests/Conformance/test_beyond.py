"""What this broker promises beyond the normative statements: limits, reason codes, takeover. Delivery is in test_beyond_delivery.py."""
import time

import pytest

import codec
from mqtt import Closed, Reason, Will, options

VERSION = codec.V5
V311 = codec.V311
BOTH = pytest.mark.parametrize("version", [codec.V311, codec.V5], ids=["3.1.1", "5.0"])


# Letting in and keeping alive

@pytest.mark.parametrize("level", [0, 1, 2, 3])
def test_a_level_below_4_is_answered_in_the_form_of_3_1_1(dial, level):
    client = dial(version=V311)
    client.send_connect(level=level)
    answer, = client.expect_closed()
    assert answer.raw == b"\x20\2\0\1"


@BOTH
@pytest.mark.parametrize("part", [0, 1, 10])
def test_without_a_whole_connect_in_time_the_connection_is_closed(dial, brokers, version, part):
    client = dial(version=version, to=brokers("--connect-timeout", "1"))
    begun = time.monotonic()
    client.send(codec.connect(version, client.client_id)[:part])
    assert client.expect_closed() == []
    assert 0.8 < time.monotonic() - begun < 2


@BOTH
def test_the_connect_timeout_is_over_with_connect(connect, dial, brokers, version):
    patient = brokers("--connect-timeout", "1")
    client = connect(version=version, to=patient, keep_alive=0)
    dial(to=patient).expect_closed()        # a second later
    client.sync()


@BOTH
def test_keep_alive_closes_after_one_and_a_half_periods_but_not_who_pings_and_not_with_0(connect, version):
    silent, pinging, eternal = connect(version=version, keep_alive=1), connect(version=version, keep_alive=1), connect(version=version, keep_alive=0)
    begun = time.monotonic()
    time.sleep(0.8)     # before the time is over, and so that without a PINGREQ it would be when the silent one is closed
    pinging.sync()
    silent.expect_closed(Reason.KEEP_ALIVE)
    assert 1.4 < time.monotonic() - begun < 2.2
    pinging.sync()
    eternal.sync()


def test_connack_says_the_limits_and_nothing_that_is_not_needed(connect):
    for fields in ({}, {"persistent": True}, {"properties": {"session_expiry_interval": 0xFFFFFFFF, "request_response_information": 1}}):
        assert connect(**fields).connack.properties == {"receive_maximum": 100, "topic_alias_maximum": 32, "maximum_packet_size": 16_777_216}


@pytest.mark.parametrize("asked, given", [(60, 20), (0, 20), (21, 20), (20, None), (10, None)])
def test_server_keep_alive_is_said_only_where_it_changes_the_clients(connect, brokers, asked, given):
    assert connect(to=brokers("--max-keep-alive", "20"), keep_alive=asked).connack.properties.get("server_keep_alive") == given


def test_response_information_is_given_if_configured_and_requested(connect, brokers):
    client = connect(to=brokers("--response-information", "responses/"), properties={"request_response_information": 1})
    assert client.connack.properties["response_information"] == "responses/"


@pytest.mark.parametrize("method", ["SCRAM-SHA-1", ""])
def test_a_connect_with_an_authentication_method_is_answered_with_0x8c(dial, method):
    client = dial()
    client.send_connect(properties={"authentication_method": method})
    client.expect_closed(Reason.BAD_METHOD, kind="CONNACK")


# Limits

def test_more_than_receive_maximum_closes_with_0x93(connect, topic):
    client = connect()
    ids = [client.send_publish(topic, qos=2) for _ in range(100)]
    for id in ids:
        client.expect("PUBREC", packet_id=id)
    client.acknowledge("PUBREL", ids[0])
    client.expect("PUBCOMP")
    client.send_publish(topic, qos=2)       # there was room for one
    client.expect("PUBREC")
    client.send_publish(topic, qos=1)
    client.expect_closed(Reason.RECEIVE_MAXIMUM)


def test_receive_maximum_counts_what_came_on_this_connection(connect, unique, topic):
    name = unique()
    client = connect(name, persistent=True)
    for id in range(1, 61):
        client.send_publish(topic, qos=2, packet_id=id)
    client.take("PUBREC", packet_id=60)
    client.close()
    client = connect(name, persistent=True)
    for id in range(101, 201):
        client.send_publish(topic, qos=2, packet_id=id)
        client.expect("PUBREC", packet_id=id)


@pytest.mark.parametrize("version", [codec.V31, codec.V311])
def test_before_5_0_there_is_no_receive_maximum(connect, topic, version):
    client = connect(version=version)
    for id in range(1, 1001):
        client.send_publish(topic, qos=2, packet_id=id)
    for id in range(1, 1001):
        client.expect("PUBREC", packet_id=id)
    for id in range(1, 1001):
        client.acknowledge("PUBREL", id)
    for id in range(1, 1001):
        client.expect("PUBCOMP", packet_id=id)


def test_a_packet_above_the_maximum_is_refused_with_0x95_from_its_length_alone(connect):
    client = connect()
    client.send(b"\x30" + codec.varint(16_777_216 - 4))
    client.expect_closed(Reason.TOO_LARGE)


def test_a_packet_above_the_maximum_closes_also_before_5_0(connect):
    client = connect(version=V311)
    client.send(b"\x30" + codec.varint(16_777_216 - 4))
    assert client.expect_closed() == []


@BOTH
def test_a_packet_of_exactly_the_maximum_is_taken(connect, topic, version):
    client = connect(version=version)
    head = len(codec.publish(version, topic, qos=1, packet_id=1)) + 3      # its length then takes four bytes
    client.send(codec.publish(version, topic, bytes(16_777_216 - head), qos=1, packet_id=1))
    client.expect("PUBACK", timeout=10, packet_id=1)


@pytest.mark.parametrize("alias, reason", [(0, Reason.ALIAS_INVALID), (33, Reason.ALIAS_INVALID), (65535, Reason.ALIAS_INVALID)])
def test_an_alias_out_of_range_is_refused_with_0x94(connect, topic, alias, reason):
    client = connect()
    client.send_publish(topic, properties={"topic_alias": alias})
    client.expect_closed(reason)


def test_an_unknown_alias_is_refused_with_0x82(connect):
    client = connect()
    client.send_publish("", properties={"topic_alias": 32})
    client.expect_closed(Reason.PROTOCOL_ERROR)


# Topics of the broker itself

@pytest.mark.parametrize("top", ["$SYS", "$CONTROL"])
def test_publishing_to_the_brokers_own_topics_is_not_authorised(connect, unique, top):
    watcher, client, name = connect(), connect(), f"{top}/{unique()}"
    watcher.subscribe(name)
    client.publish(name, b"forged", qos=0)
    assert client.publish(name, b"forged", qos=1).reason == Reason.NOT_AUTHORIZED
    assert client.publish(name, b"forged", qos=2).reason == Reason.NOT_AUTHORIZED
    client.publish(name, b"forged", qos=1, retain=True)
    client.expect_silence()
    watcher.expect_silence()
    watcher.subscribe(name)
    watcher.expect_silence()


@pytest.mark.parametrize("top", ["$SYS", "$CONTROL"])
def test_before_5_0_publishing_to_the_brokers_own_topics_is_acknowledged_and_dropped(connect, unique, top):
    watcher, client, name = connect(version=V311), connect(version=V311), f"{top}/{unique()}"
    watcher.subscribe(name)
    for qos in (0, 1, 2):
        client.publish(name, b"forged", qos=qos, retain=qos == 1)
    watcher.subscribe(name)
    watcher.expect_silence()


def test_other_topics_with_a_dollar_are_ordinary(connect, unique):
    client, name = connect(), f"$other/{unique()}"
    client.subscribe(name, "$other/+", qos=1)
    assert client.publish(name, b"x", qos=1, retain=True).reason == 0
    client.message(topic=name)


@pytest.mark.parametrize("filter", ["$share//a", "$share/g/", "$share/g", "$share/+/a", "$share/g/a#"])
def test_an_invalid_shared_filter_is_refused_before_5_0_too(connect, filter):
    client = connect(version=V311)
    client.send_subscribe(filter)
    try:
        client.expect("SUBACK", reasons=[0x80])
    except Closed:
        pass


@pytest.mark.parametrize("qos", [1, 2])
def test_publishing_says_0x10_if_nothing_matched_and_0_otherwise(connect, unique, topic, qos):
    client = connect()
    assert client.publish(topic, qos=qos).reason == Reason.NO_MATCHING_SUBSCRIBERS
    offline = connect(persistent=True)
    offline.subscribe(topic, qos=1)
    offline.disconnect()
    assert client.publish(topic, qos=qos).reason == 0
    connect(offline.client_id, clean=True).sync()
    assert client.publish(topic, qos=qos).reason == Reason.NO_MATCHING_SUBSCRIBERS


# Takeover

@BOTH
def test_200_takeovers_in_a_row_leave_one_connection_and_the_queued_messages(connect, dial, unique, topic, version):
    name, publisher = unique(), connect(version=version)
    client = connect(name, version=version, persistent=True)
    client.subscribe(topic, qos=1)
    client.disconnect()
    for n in range(50):
        publisher.publish(topic, bytes([n]), qos=1)
    rivals = [dial(name, version=version) for _ in range(200)]
    for rival in rivals:
        rival.send_connect(persistent=True)     # nobody waits for an answer
    welcomes = [welcome(rival) for rival in rivals]     # when each is let in or closed, the fight is over
    survivors = [rival for rival in rivals if not is_closed(rival)]
    assert len(survivors) == 1
    survivor, = survivors
    assert welcomes[rivals.index(survivor)].session_present
    assert [m.payload[0] for m in survivor.messages(50)] == list(range(50))
    publisher.publish(topic, b"live", qos=1)
    survivor.message(payload=b"live")
    survivor.expect_silence()


def welcome(client):
    """The CONNACK, or None if the connection was closed before."""
    try:
        return client.take("CONNACK", reason=0)
    except Closed:
        return None


def is_closed(client):
    try:
        client.sync()
    except Closed:
        return True
    return False


def test_takeover_by_another_version(connect, unique, topic):
    name, publisher = unique(), connect()
    old = connect(name, version=V311, clean=False)
    old.subscribe(topic, qos=2)
    new = connect(name, persistent=True)
    assert old.expect_closed() == [] and new.connack.session_present
    publisher.publish(topic, b"x", qos=2, properties={"content_type": "t"})
    assert new.message(payload=b"x", qos=2).properties == {"content_type": "t"}
    connect(name, version=codec.V31, clean=False).sync()
    new.expect_closed(Reason.TAKEN_OVER)


# Session expiry

def test_disconnect_must_not_raise_the_expiry_interval_from_0(connect, unique, topic):
    watcher = connect()
    watcher.subscribe(topic)
    client = connect(will=Will(topic))
    client.send(codec.disconnect(5, 0, {"session_expiry_interval": 1}))
    client.expect_closed(Reason.PROTOCOL_ERROR)
    watcher.message(topic=topic)        # that was no orderly end


def test_disconnect_changes_the_expiry_interval(connect, unique):
    ends, lasts, for_ever = (connect(properties={"session_expiry_interval": expiry}) for expiry in (100, 1, 1))
    ends.disconnect(0, {"session_expiry_interval": 0})
    assert not connect(ends.client_id, clean=False).connack.session_present
    lasts.disconnect(0, {"session_expiry_interval": 100})
    for_ever.disconnect(0, {"session_expiry_interval": 0xFFFFFFFF})
    time.sleep(1.6)     # longer than what CONNECT had asked for
    assert connect(lasts.client_id, clean=False).connack.session_present
    assert connect(for_ever.client_id, clean=False).connack.session_present


def test_the_last_connect_decides_the_expiry_interval(connect, unique):
    name = unique()
    connect(name, persistent=True).disconnect()
    connect(name, clean=False).disconnect()         # absent is 0
    assert not connect(name, clean=False).connack.session_present


def test_options_of_a_subscription_survive_in_the_session(connect, unique, topic):
    name, publisher = unique(), connect()
    client = connect(name, persistent=True)
    client.send(codec.subscribe(5, 1, [(topic, options(1, no_local=True, retain_as_published=True))], {"subscription_identifier": 7}))
    client.expect("SUBACK")
    client.disconnect()
    client = connect(name, persistent=True)
    client.publish(topic, b"own", qos=1)
    publisher.publish(topic, b"x", qos=2, retain=True)
    assert client.message(payload=b"x", qos=1, retain=True).properties == {"subscription_identifier": [7]}
    publisher.publish(topic, b"", retain=True)


# Answers larger than the client's Maximum Packet Size are not sent [MQTT-3.1.2-24]

def test_where_not_even_connack_fits_the_connection_is_closed_without_a_word(dial):
    client = dial(version=VERSION)
    client.send_connect(properties={"maximum_packet_size": 8})
    assert client.expect_closed() == []


def test_an_answer_that_does_not_fit_ends_the_connection_and_says_so(connect):
    client = connect(version=VERSION, properties={"maximum_packet_size": 100})
    client.send(codec.subscribe(VERSION, 1, [(f"many/{n}", 0) for n in range(200)]))
    came = client.expect_closed({0x83})
    assert [packet.kind for packet in came] == ["DISCONNECT"]
    assert all(len(packet.raw) <= 100 for packet in came)
