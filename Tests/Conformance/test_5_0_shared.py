"""MQTT 5.0, section 4.8.2: shared subscriptions."""
import pytest

import codec
from mqtt import Closed, Reason
from statements import statement

VERSION = codec.V5


def expect_filter_refused(client):
    """SUBACK says that the filter is invalid, or DISCONNECT does and closes."""
    try:
        client.sync()
    except Closed:
        pass
    answer, = client.backlog
    if answer.kind == "SUBACK":
        assert answer.reasons == [Reason.FILTER_INVALID]
    else:
        assert answer.kind == "DISCONNECT" and answer.reason in {Reason.FILTER_INVALID, Reason.MALFORMED, Reason.PROTOCOL_ERROR}


@pytest.mark.parametrize("filter", ["$share/", "$share/g", "$share//a", "$share/g/", "$share/+/a", "$share/#/a", "$share/g+/a", "$share/g#/a", "$share/g/a#", "$share/g/#/a"])
@statement("MQTT-4.8.2-1", "MQTT-4.8.2-2")
def test_an_invalid_shared_filter_is_refused(connect, filter):
    client = connect()
    client.send(codec.subscribe(5, 1, [(filter, 0)]))
    expect_filter_refused(client)


@statement("MQTT-4.8.2-3")
def test_each_member_gets_its_messages_at_the_qos_granted_to_it(connect, topic):
    members, publisher = [connect(), connect(), connect()], connect()
    for qos, member in enumerate(members):
        member.subscribe("$share/g/" + topic, qos=qos)
    for n in range(30):
        publisher.publish(topic, bytes([n]), qos=2)
    received = [member.pending() for member in members]
    assert sorted(p.payload[0] for came in received for p in came) == list(range(30))
    for qos, came in enumerate(received):
        assert came and {p.qos for p in came} == {qos}


@statement("MQTT-4.8.2-4")
def test_a_qos_2_exchange_begun_is_completed_with_the_same_member_when_it_is_back(connect, unique, topic):
    name, publisher, other = unique(), connect(), connect()
    member = connect(name, persistent=True)
    member.subscribe("$share/g/" + topic, qos=2)
    publisher.publish(topic, b"begun", qos=2)
    publisher.publish(topic, b"released", qos=2)
    begun, released = member.expect("PUBLISH", payload=b"begun"), member.expect("PUBLISH", payload=b"released")
    member.acknowledge("PUBREC", released.packet_id)
    member.expect("PUBREL")
    other.subscribe("$share/g/" + topic, qos=2)
    member.disconnect()
    other.expect_silence()
    member = connect(name, persistent=True)
    member.message(payload=b"begun", packet_id=begun.packet_id, dup=True)
    member.take("PUBREL", packet_id=released.packet_id)
    member.acknowledge("PUBCOMP", released.packet_id)
    member.expect_silence()
    other.expect_silence()


@statement("MQTT-4.8.2-5")
def test_a_qos_2_exchange_begun_is_not_sent_to_another_member_when_the_session_ends(connect, unique, topic):
    name, publisher, other = unique(), connect(), connect()
    member = connect(name, persistent=True)
    member.subscribe("$share/g/" + topic, qos=2)
    publisher.publish(topic, b"begun", qos=2)
    member.expect("PUBLISH", payload=b"begun")
    other.subscribe("$share/g/" + topic, qos=2)
    connect(name, clean=True).sync()        # ends the session
    publisher.publish(topic, b"sentinel", qos=2)
    other.message(payload=b"sentinel")
    other.expect_silence()


@pytest.mark.parametrize("qos", [1, 2])
@statement("MQTT-4.8.2-6")
def test_what_a_member_refuses_is_not_sent_to_another(connect, topic, qos):
    member, other, publisher = connect(), connect(), connect()
    member.subscribe("$share/g/" + topic, qos=2)
    publisher.publish(topic, b"refused", qos=qos)
    p = member.expect("PUBLISH")
    other.subscribe("$share/g/" + topic, qos=2)
    member.acknowledge("PUBACK" if qos == 1 else "PUBREC", p.packet_id, Reason.UNSPECIFIED)
    member.expect_silence()
    member.disconnect()
    other.expect_silence()
