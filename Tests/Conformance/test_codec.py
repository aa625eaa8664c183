"""The decoder refuses what no broker may send: many tests rest on that."""
import pytest

import codec
from codec import V31, V311, V5, Violation, decode, encode_properties, packet

VERSION = None

FORBIDDEN = {
    "flags of PINGRESP": (V311, b"\xd1\0"), "flags of PUBREL": (V5, b"\x60\2\0\1"), "flags of SUBACK": (V5, b"\x92\4\0\1\0\0"), "QoS 3": (V311, b"\x36\5\0\1a\0\1"),
    "DUP with QoS 0": (V5, b"\x38\4\0\1a\0"), "packet id 0": (V5, codec.publish(5, "a", qos=1, packet_id=0)), "id 0 in PUBACK": (V311, b"\x40\2\0\0"),
    "wildcard": (V311, codec.publish(4, "a/#")), "no topic": (V5, codec.publish(5, "")), "not UTF-8": (V311, codec.publish(4, b"\xff")),
    "surrogate": (V5, codec.publish(5, b"\xed\xa0\x80")), "null": (V5, codec.publish(5, "a\0")), "long length": (V5, b"\xd0\x80\0"), "long property length": (V5, b"\x30\5\0\1a\x80\0"),
    "reason of CONNACK": (V5, b"\x20\3\0\x8d\0"), "code of CONNACK": (V311, b"\x20\2\0\6"), "code of SUBACK": (V311, b"\x90\3\0\1\3"), "reason of SUBACK": (V5, b"\x90\4\0\1\0\3"),
    "reason of PUBACK": (V5, b"\x40\3\0\1\x92"), "reason of PUBREL": (V5, b"\x62\3\0\1\x10"), "reason of UNSUBACK": (V5, b"\xb0\4\0\1\0\x12"), "reason of DISCONNECT": (V5, b"\xe0\1\4"),
    "DISCONNECT before 5.0": (V311, b"\xe0\0"), "AUTH before 5.0": (V311, b"\xf0\0"), "a client's packet": (V5, b"\xc0\0"), "acknowledge flags": (V5, b"\x20\3\2\0\0"),
    "session present in 3.1": (V31, b"\x20\2\1\0"), "too much": (V311, b"\x40\3\0\1\0"), "too little": (V311, b"\x40\1\0"), "no properties in SUBACK": (V5, b"\x90\2\0\1"),
    "expiry in DISCONNECT": (V5, packet("DISCONNECT", 0, b"\0" + encode_properties({"session_expiry_interval": 1}))),
    "property twice": (V5, packet("PUBACK", 0, b"\0\1\0" + encode_properties([("reason_string", "a")] * 2))), "alias 0": (V5, codec.publish(5, "a", properties={"topic_alias": 0})),
    "property of another packet": (V5, codec.publish(5, "a", properties={"reason_string": "a"})), "unknown property": (V5, codec.publish(5, "a", properties=b"\2\x7f\0")),
    "receive maximum 0": (V5, packet("CONNACK", 0, b"\0\0" + encode_properties({"receive_maximum": 0}))),
    "maximum QoS 2": (V5, packet("CONNACK", 0, b"\0\0" + encode_properties({"maximum_qos": 2}))),
}


@pytest.mark.parametrize("version, raw", FORBIDDEN.values(), ids=FORBIDDEN)
def test_what_no_server_may_send_is_refused(version, raw):
    with pytest.raises(Violation):
        decode(version, raw)


PROPERTIES = {"payload_format_indicator": 1, "message_expiry_interval": 2**32 - 1, "content_type": "é", "response_topic": "r", "correlation_data": b"\0",
              "subscription_identifier": [1, 268_435_455], "topic_alias": 65535, "user_property": [("a", "1"), ("a", "0")]}


def test_a_publish_survives_encoding_and_decoding():
    p = decode(V5, codec.publish(V5, "topic", b"payload", qos=2, retain=True, dup=True, packet_id=7, properties=PROPERTIES))
    assert (p.topic, p.payload, p.qos, p.retain, p.dup, p.packet_id, p.properties) == ("topic", b"payload", 2, True, True, 7, PROPERTIES)


@pytest.mark.parametrize("kind", ["PUBACK", "PUBREC", "PUBREL", "PUBCOMP"])
def test_acknowledgements_are_decoded_in_each_of_their_forms(kind):
    for reason, properties in ((None, None), (0, None), (0x92 if kind in ("PUBREL", "PUBCOMP") else 0x87, {"reason_string": "because", "user_property": [("k", "v")]})):
        p = decode(V5, codec.acknowledgement(V5, kind, 300, reason, properties))
        assert (p.kind, p.packet_id, p.reason, p.properties) == (kind, 300, reason or 0, properties or {})
