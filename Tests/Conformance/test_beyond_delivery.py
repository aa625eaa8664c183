"""What this broker promises beyond the normative statements: wills, delivery, redelivery, shared subscriptions."""
import time

import pytest

import codec
from mqtt import Reason, Will

VERSION = codec.V5
V311 = codec.V311
BOTH = pytest.mark.parametrize("version", [codec.V311, codec.V5], ids=["3.1.1", "5.0"])


# Wills

@pytest.mark.parametrize("delay, expiry, expected", [(1, 300, 1), (2, 1, 1), (1, 0, 0), (0, 300, 0)])
def test_a_will_is_published_within_half_a_second_of_its_time(connect, topic, delay, expiry, expected):
    watcher = connect()
    watcher.subscribe(topic)
    connect(properties={"session_expiry_interval": expiry}, will=Will(topic, properties={"will_delay_interval": delay})).close()
    closed = time.monotonic()
    watcher.message(topic=topic)
    assert expected - 0.1 < time.monotonic() - closed < expected + 0.5


@BOTH
def test_a_will_is_published_on_keep_alive_timeout(connect, topic, version):
    watcher = connect()
    watcher.subscribe(topic)
    client = connect(version=version, keep_alive=1, will=Will(topic))
    client.expect_closed(Reason.KEEP_ALIVE)
    watcher.message(topic=topic)


@BOTH
def test_a_will_is_published_on_takeover(connect, unique, topic, version):
    watcher, name = connect(), unique()
    watcher.subscribe(topic)
    connect(name, version=version, persistent=True, will=Will(topic))
    connect(name, version=version, persistent=True)
    watcher.message(topic=topic)


@pytest.mark.parametrize("clean", [False, True])
def test_on_takeover_a_delayed_will_is_published_only_if_the_session_ends(connect, unique, topic, clean):
    watcher, name = connect(), unique()
    watcher.subscribe(topic)
    connect(name, persistent=True, will=Will(topic, properties={"will_delay_interval": 300}))
    connect(name, clean=clean)
    if clean:
        watcher.message(topic=topic)
    watcher.expect_silence()


@pytest.mark.parametrize("reason", [0x04, 0x00, None])
def test_disconnect_with_will_message_publishes_it_and_an_ordinary_one_does_not(connect, topic, reason):
    watcher = connect()
    watcher.subscribe(topic)
    connect(will=Will(topic)).disconnect(reason)
    if reason == 0x04:
        watcher.message(topic=topic)
    watcher.expect_silence()


@pytest.mark.parametrize("top", ["$SYS", "$CONTROL"])
def test_a_will_for_the_brokers_own_topics_is_not_published(connect, dial, unique, top):
    watcher, client, name = connect(), dial(), f"{top}/{unique()}"
    watcher.subscribe(name)
    client.send_connect(will=Will(name))
    client.read()                           # let in or not
    client.close()
    connect(client.client_id).sync()        # so that the broker knows that it is gone
    watcher.expect_silence()


# Delivery

@BOTH
@pytest.mark.parametrize("order", [(0, 2, 1), (2, 1, 0), (1, 0, 2)])
def test_overlapping_subscriptions_get_one_copy_at_the_highest_qos(connect, topic, version, order):
    client = connect(version=version)
    for number, (filter, qos) in enumerate(zip(("/#", "/+", "/a"), order), 1):
        client.subscribe(topic + filter, qos=qos, **{"properties": {"subscription_identifier": number}} if version == VERSION else {})
    client.publish(topic + "/a", b"x", qos=2)
    m = client.message(qos=2)
    client.expect_silence()
    if version == VERSION:
        assert sorted(m.properties["subscription_identifier"]) == [1, 2, 3]


def test_a_retained_message_has_the_identifier_of_the_subscription_that_asked(connect, topic):
    client = connect()
    client.publish(topic, b"x", retain=True)
    client.subscribe(topic + "/#", properties={"subscription_identifier": 1})
    assert client.message(retain=True).properties == {"subscription_identifier": [1]}
    client.subscribe(topic, properties={"subscription_identifier": 2})
    assert client.message(retain=True).properties == {"subscription_identifier": [2]}


def test_the_broker_uses_topic_aliases_and_uses_them_right(connect, topic):
    publisher, client = connect(), connect(properties={"topic_alias_maximum": 2})
    client.subscribe(topic + "/#", qos=1)
    names = [f"{topic}/{n}" for n in (0, 0, 0, 1, 1, 0, 2, 3, 0, 1, 2, 3, 0, 0)]
    for number, name in enumerate(names):
        publisher.publish(name, qos=number % 2)
    came = client.messages(len(names))
    assert [m.topic for m in came] == names
    assert came[1].aliased and came[2].aliased and not came[0].aliased


def test_what_is_too_large_for_a_client_is_dropped_for_it_alone(connect, unique, topic):
    name, wide, publisher = unique(), connect(), connect()
    narrow = connect(name, persistent=True, properties={"maximum_packet_size": 200})
    for client in (narrow, wide):
        client.subscribe(topic, qos=2)
    for qos in (0, 1, 2):
        publisher.publish(topic, b"x" * 200, qos=qos)
        publisher.publish(topic, b"small", qos=qos)
    narrow.messages(3, payload=b"small")
    narrow.expect_silence()
    assert len(wide.messages(6)) == 6
    narrow.disconnect()
    publisher.publish(topic, b"x" * 200, qos=1)             # also when it was queued
    publisher.publish(topic, b"small", qos=1, properties={"user_property": [("k", "v" * 200)]})
    publisher.publish(topic, b"small", qos=1)
    narrow = connect(name, persistent=True, properties={"maximum_packet_size": 200})
    narrow.message(payload=b"small")
    narrow.expect_silence()


def test_expiry_is_not_changed_for_a_message_that_did_not_wait(connect, topic):
    client = connect()
    client.subscribe(topic)
    for expiry in (1, 100, 0xFFFFFFFF):
        client.publish(topic, properties={"message_expiry_interval": expiry})
        assert expiry - 1 <= client.message().properties["message_expiry_interval"] <= expiry


@BOTH
def test_messages_wait_for_room_in_a_small_receive_window_and_come_in_order(connect, unique, topic, version):
    name, publisher = unique(), connect(version=version)
    narrow = {"properties": {"receive_maximum": 3}} if version == VERSION else {}
    client = connect(name, version=version, persistent=True, **narrow)
    client.subscribe(topic, qos=2)
    client.disconnect()
    for n in range(100):
        publisher.publish(topic, bytes([n]), qos=1 + n % 2)
    client = connect(name, version=version, persistent=True, **narrow)
    assert [m.payload[0] for m in client.messages(100)] == list(range(100))


# Redelivery

@BOTH
def test_redelivery_over_several_reconnects_keeps_ids_and_order_and_repeats_pubrel(connect, unique, topic, version):
    name, publisher = unique(), connect()
    client = connect(name, version=version, persistent=True)
    client.subscribe(topic, qos=2)
    for n in range(6):
        publisher.publish(topic, bytes([n]), qos=1 + n % 2)
    sent = [client.expect("PUBLISH", dup=False) for _ in range(6)]
    ids = [p.packet_id for p in sent]
    assert 0 not in ids and len(set(ids)) == 6 and ids == sorted(ids)
    for _ in range(3):
        client.close()
        client = connect(name, version=version, persistent=True)
        assert [client.expect("PUBLISH", dup=True).packet_id for _ in range(6)] == ids
        client.expect_silence()
    client.acknowledge("PUBREC", ids[1])
    client.acknowledge("PUBACK", ids[0])
    client.expect("PUBREL", packet_id=ids[1])
    client.disconnect()
    publisher.publish(topic, b"while away", qos=1)
    client = connect(name, version=version, persistent=True)
    came = [client.read() for _ in range(6)]
    assert [p.packet_id for p in came if p.kind == "PUBREL"] == [ids[1]]
    publishes = [p for p in came if p.kind == "PUBLISH"]
    assert [(p.packet_id, p.dup) for p in publishes[:4]] == [(id, True) for id in ids[2:]]
    assert (publishes[4].payload, publishes[4].dup) == (b"while away", False)


def test_packet_ids_increase(connect, topic):
    client, publisher = connect(), connect()
    client.subscribe(topic, qos=1)
    ids = []
    for _ in range(50):
        publisher.publish(topic, qos=1)
        ids.append(client.message().packet_id)
    assert all(earlier < later for earlier, later in zip(ids, ids[1:]))


@BOTH
def test_an_exchange_at_qos_2_survives_a_cut_at_every_step(connect, unique, topic, version):
    watcher, name = connect(), unique()
    watcher.subscribe(topic, qos=2)
    client = connect(name, version=version, persistent=True)
    client.send_publish(topic, b"once", qos=2, packet_id=1)
    client.expect("PUBREC", packet_id=1)
    for step in ("PUBLISH", "PUBREL", "PUBREL"):
        client.close()
        client = connect(name, version=version, persistent=True)
        if step == "PUBLISH":
            client.send_publish(topic, b"once", qos=2, packet_id=1, dup=True)
            client.expect("PUBREC", packet_id=1)
        else:
            client.acknowledge("PUBREL", 1)
            client.expect("PUBCOMP", packet_id=1)
    watcher.message(payload=b"once")
    watcher.expect_silence()


# Shared subscriptions

@BOTH
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_each_message_goes_to_one_member_and_the_load_is_balanced(connect, topic, version, qos):
    members, outsider, publisher = [connect(version=version) for _ in range(2)], connect(), connect()
    for member in members:
        member.subscribe("$share/group/" + topic + "/+", qos=qos)
    outsider.subscribe("$share/other/" + topic + "/+", qos=qos)
    received = [[], []]
    for n in range(100):
        publisher.publish(topic + f"/{n % 7}", bytes([n]), qos=qos)
        for member, came in zip(members, received):
            for p in member.pending():
                came.append(p.payload[0])
                member.finish(p)
    assert sorted(received[0] + received[1]) == list(range(100))
    assert 30 <= len(received[0]) <= 70
    assert all(came == sorted(came) for came in received)
    assert [m.payload[0] for m in outsider.messages(100)] == list(range(100))


def test_a_shared_subscription_gets_no_retained_messages(connect, topic):
    client = connect()
    client.publish(topic, b"retained", retain=True, qos=1)
    client.subscribe("$share/g/" + topic)
    client.expect_silence()


def test_a_client_that_is_in_a_group_and_subscribed_itself_gets_both(connect, topic):
    client = connect()
    client.subscribe(topic, "$share/g/" + topic)
    client.publish(topic, b"x", qos=1)
    assert [p.payload for p in client.pending()] == [b"x", b"x"]


@BOTH
def test_when_a_members_session_ends_its_unacknowledged_qos_1_messages_go_to_another(connect, topic, version):
    leaving, staying, publisher = connect(version=version), connect(version=version), connect()
    leaving.subscribe("$share/g/" + topic, qos=2)
    for n in range(5):
        publisher.publish(topic, bytes([n]), qos=1)
    publisher.publish(topic, b"begun at QoS 2", qos=2)
    sent = [leaving.expect("PUBLISH") for _ in range(6)]
    staying.subscribe("$share/g/" + topic, qos=2)
    leaving.acknowledge("PUBACK", sent[0].packet_id)
    leaving.disconnect()
    assert [m.payload[0] for m in staying.messages(4, qos=1)] == [1, 2, 3, 4]
    staying.expect_silence()


def test_a_member_that_is_online_is_preferred(connect, topic):
    offline, online, publisher = connect(persistent=True), connect(), connect()
    for member in (offline, online):
        member.subscribe("$share/g/" + topic, qos=1)
    offline.disconnect()
    for n in range(20):
        publisher.publish(topic, bytes([n]), qos=1)
    assert [m.payload[0] for m in online.messages(20)] == list(range(20))
    online.disconnect()
    publisher.publish(topic, b"nobody online", qos=1)
    connect(offline.client_id, persistent=True).message(payload=b"nobody online")


def test_unsubscribing_leaves_the_group(connect, topic):
    leaving, staying, publisher = connect(), connect(), connect()
    for member in (leaving, staying):
        member.subscribe("$share/g/" + topic, qos=1)
    assert leaving.unsubscribe("$share/g/" + topic).reasons == [0]
    for n in range(10):
        publisher.publish(topic, bytes([n]), qos=1)
    assert [m.payload[0] for m in staying.messages(10)] == list(range(10))
    leaving.expect_silence()
