"""MQTT packets to bytes and back: what a client sends is encoded as asked, right or wrong; what a broker sends is decoded strictly.

`decode` raises `Violation` for whatever a broker must not send: reserved bits, a length in more bytes than needed, a property
or reason code that the packet does not have, a string that is not UTF-8. So each test is also a test of the packets it meets.
"""
import dataclasses, enum, struct

V31, V311, V5 = 3, 4, 5

KINDS = dict(enumerate("CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK "
                       "PINGREQ PINGRESP DISCONNECT AUTH".split(), 1))
NUMBERS = {kind: number for number, kind in KINDS.items()}

PROPERTIES = {
    "payload_format_indicator": (1, "byte"), "message_expiry_interval": (2, "four"), "content_type": (3, "string"),
    "response_topic": (8, "string"), "correlation_data": (9, "binary"), "subscription_identifier": (11, "varint"),
    "session_expiry_interval": (17, "four"), "assigned_client_identifier": (18, "string"), "server_keep_alive": (19, "two"),
    "authentication_method": (21, "string"), "authentication_data": (22, "binary"), "request_problem_information": (23, "byte"),
    "will_delay_interval": (24, "four"), "request_response_information": (25, "byte"), "response_information": (26, "string"),
    "server_reference": (28, "string"), "reason_string": (31, "string"), "receive_maximum": (33, "two"),
    "topic_alias_maximum": (34, "two"), "topic_alias": (35, "two"), "maximum_qos": (36, "byte"), "retain_available": (37, "byte"),
    "user_property": (38, "pair"), "maximum_packet_size": (39, "four"), "wildcard_subscription_available": (40, "byte"),
    "subscription_identifier_available": (41, "byte"), "shared_subscription_available": (42, "byte"),
}
NAMES = {number: (name, type) for name, (number, type) in PROPERTIES.items()}
REPEATABLE = {"user_property", "subscription_identifier"}
NEVER_ZERO = {"topic_alias", "receive_maximum", "maximum_packet_size", "subscription_identifier"}

# What a server may put into each packet of 5.0.
SERVER_PROPERTIES = {
    "CONNACK": {17, 33, 36, 37, 39, 18, 34, 31, 38, 40, 41, 42, 19, 26, 28, 21, 22}, "PUBLISH": {1, 2, 35, 8, 9, 38, 11, 3},
    "DISCONNECT": {31, 38, 28}, "AUTH": {21, 22, 31, 38},
} | dict.fromkeys("PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK".split(), {31, 38})
PUBLISH_REASONS = {0, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99}
SERVER_REASONS = {
    "CONNACK": {0, *range(0x80, 0x8B), 0x8C, 0x90, 0x95, 0x97, 0x99, *range(0x9A, 0x9E), 0x9F},
    "PUBACK": PUBLISH_REASONS, "PUBREC": PUBLISH_REASONS, "PUBREL": {0, 0x92}, "PUBCOMP": {0, 0x92},
    "SUBACK": {0, 1, 2, 0x80, 0x83, 0x87, 0x8F, 0x91, 0x97, 0x9E, 0xA1, 0xA2}, "UNSUBACK": {0, 0x11, 0x80, 0x83, 0x87, 0x8F, 0x91},
    "DISCONNECT": {0, *range(0x80, 0x84), 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, *range(0x93, 0xA3)}, "AUTH": {0, 0x18},
}


class Reason(enum.IntEnum):
    """The reason codes that tests ask for."""
    NO_MATCHING_SUBSCRIBERS = 0x10
    NO_SUBSCRIPTION_EXISTED = 0x11
    RE_AUTHENTICATE = 0x19
    UNSPECIFIED = 0x80
    MALFORMED = 0x81
    PROTOCOL_ERROR = 0x82
    UNSUPPORTED_VERSION = 0x84
    ID_NOT_VALID = 0x85
    NOT_AUTHORIZED = 0x87
    BAD_METHOD = 0x8C
    KEEP_ALIVE = 0x8D
    TAKEN_OVER = 0x8E
    FILTER_INVALID = 0x8F
    TOPIC_INVALID = 0x90
    ID_IN_USE = 0x91
    ID_NOT_FOUND = 0x92
    RECEIVE_MAXIMUM = 0x93
    ALIAS_INVALID = 0x94
    TOO_LARGE = 0x95
    FORMAT_INVALID = 0x99


class Violation(AssertionError):
    """The broker sent what no server may send."""


@dataclasses.dataclass
class Packet:
    kind: str
    flags: int = 0
    packet_id: int | None = None
    reason: int = 0                                                 # CONNACK, acknowledgements, DISCONNECT, AUTH
    reasons: list[int] = dataclasses.field(default_factory=list)    # SUBACK, UNSUBACK
    properties: dict = dataclasses.field(default_factory=dict)
    session_present: bool = False
    topic: str | None = None
    payload: bytes = b""
    aliased: bool = False                                           # the topic stands for an alias sent without it
    raw: bytes = dataclasses.field(default=b"", repr=False)

    @property
    def qos(self):
        return self.flags >> 1 & 3

    @property
    def retain(self):
        return bool(self.flags & 1)

    @property
    def dup(self):
        return bool(self.flags & 8)


# Encoding

def varint(value):
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | 128 if value else low)
        if not value:
            return bytes(out)


def binary(value):
    return struct.pack("!H", len(value)) + value


def string(value):
    """A str as UTF-8; bytes as they are, so that a test can send what is not UTF-8."""
    return binary(value if isinstance(value, bytes) else value.encode())


def encode_property(name, value):
    number, type = PROPERTIES[name]
    body = {"byte": lambda v: struct.pack("!B", v), "two": lambda v: struct.pack("!H", v), "four": lambda v: struct.pack("!I", v),
            "varint": varint, "string": string, "binary": binary, "pair": lambda v: string(v[0]) + string(v[1])}[type](value)
    return varint(number) + body


def encode_properties(properties):
    """From a dictionary, a list of pairs (to repeat what must not be repeated), or the bytes themselves."""
    if isinstance(properties, bytes):
        return properties
    body = b""
    for name, value in properties.items() if isinstance(properties, dict) else properties or ():
        for one in value if name in REPEATABLE and isinstance(value, list) else [value]:
            body += encode_property(name, one)
    return varint(len(body)) + body


def packet(kind, flags, body=b""):
    return bytes([NUMBERS[kind] << 4 | flags]) + varint(len(body)) + body


@dataclasses.dataclass
class Will:
    topic: str
    payload: bytes = b"gone"
    qos: int = 0
    retain: bool = False
    properties: dict = dataclasses.field(default_factory=dict)


def connect(version, client_id, *, clean=True, keep_alive=60, will=None, username=None, password=None, properties=None,
            name=None, level=None, flags=None):
    """`name`, `level` and `flags` replace what follows from the rest."""
    bits = (clean << 1) | (username is not None) << 7 | (password is not None) << 6
    body = string(client_id)
    if will:
        bits |= 4 | will.qos << 3 | will.retain << 5
        body += (encode_properties(will.properties) if version == V5 else b"") + string(will.topic) + binary(will.payload)
    for field in (username, password):
        body += b"" if field is None else string(field)
    head = string(("MQIsdp" if version == V31 else "MQTT") if name is None else name) + bytes([version if level is None else level, bits if flags is None else flags])
    return packet("CONNECT", 0, head + struct.pack("!H", keep_alive) + (encode_properties(properties) if version == V5 else b"") + body)


def publish(version, topic, payload=b"", *, qos=0, retain=False, dup=False, packet_id=None, properties=None):
    body = string(topic) + (b"" if packet_id is None else struct.pack("!H", packet_id))
    return packet("PUBLISH", dup << 3 | qos << 1 | retain, body + (encode_properties(properties) if version == V5 else b"") + payload)


def acknowledgement(version, kind, packet_id, reason=None, properties=None, flags=None):
    body = struct.pack("!H", packet_id)
    if version == V5 and (reason is not None or properties is not None):
        body += bytes([reason or 0]) + (b"" if properties is None else encode_properties(properties))
    return packet(kind, (2 if kind == "PUBREL" else 0) if flags is None else flags, body)


def options(qos=0, *, no_local=False, retain_as_published=False, retain_handling=0):
    return qos | no_local << 2 | retain_as_published << 3 | retain_handling << 4


def subscribe(version, packet_id, filters, properties=None, flags=2):
    """`filters` are pairs of a filter and its options byte."""
    body = struct.pack("!H", packet_id) + (encode_properties(properties) if version == V5 else b"")
    return packet("SUBSCRIBE", flags, body + b"".join(string(f) + bytes([o]) for f, o in filters))


def unsubscribe(version, packet_id, filters, properties=None, flags=2):
    body = struct.pack("!H", packet_id) + (encode_properties(properties) if version == V5 else b"")
    return packet("UNSUBSCRIBE", flags, body + b"".join(map(string, filters)))


def disconnect(version, reason=None, properties=None, flags=0):
    """Also AUTH has this form; see `auth`."""
    body = b"" if version != V5 or reason is None else bytes([reason]) + (b"" if properties is None else encode_properties(properties))
    return packet("DISCONNECT", flags, body)


def auth(reason=0, properties=None, flags=0):
    return packet("AUTH", flags, bytes([reason]) + encode_properties(properties))


PINGREQ = packet("PINGREQ", 0)


# Decoding what a server sends

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if self.at + count > len(self.data):
            raise Violation(f"packet ends early: {self.data.hex()}")
        self.at += count
        return self.data[self.at - count:self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def left(self):
        return len(self.data) - self.at

    def number(self, bytes):
        return int.from_bytes(self.take(bytes), "big")

    def varint(self):
        value = shift = 0
        while True:
            byte = self.number(1)
            value |= (byte & 127) << shift
            if not byte & 128:
                break
            shift += 7
            if shift > 21:
                raise Violation("[MQTT-1.5.5-1] variable byte integer of more than four bytes")
        if byte == 0 and shift:
            raise Violation("[MQTT-1.5.5-1] variable byte integer in more bytes than needed")
        return value

    def binary(self):
        return self.take(self.number(2))

    def string(self):
        try:
            text = self.binary().decode("utf-8")
        except UnicodeDecodeError as error:
            raise Violation(f"[MQTT-1.5.4-1] {error}") from None
        if "\0" in text:
            raise Violation("[MQTT-1.5.4-2] U+0000 in a string")
        return text

    def properties(self, kind):
        inner, found = Reader(self.take(self.varint())), {}
        while inner.left():
            number = inner.varint()
            if number not in SERVER_PROPERTIES[kind]:
                raise Violation(f"property {number} in {kind}")
            name, type = NAMES[number]
            value = {"byte": lambda: inner.number(1), "two": lambda: inner.number(2), "four": lambda: inner.number(4), "varint": inner.varint,
                     "string": inner.string, "binary": inner.binary, "pair": lambda: (inner.string(), inner.string())}[type]()
            if name in NEVER_ZERO and value == 0 or type == "byte" and value > 1:
                raise Violation(f"{name} is {value} in {kind}")
            if name in REPEATABLE:
                found.setdefault(name, []).append(value)
            elif name in found:
                raise Violation(f"{name} twice in {kind}")
            else:
                found[name] = value
        return found


def decode(version, raw):
    """The packet that the whole bytes `raw` are, or `Violation`."""
    kind, flags, body = KINDS.get(raw[0] >> 4), raw[0] & 15, Reader(raw)
    body.at = 1
    if body.varint() != body.left():
        raise Violation("remaining length")
    if kind not in ("CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP", "SUBACK", "UNSUBACK", "PINGRESP", "DISCONNECT", "AUTH") \
            or kind in ("DISCONNECT", "AUTH") and version != V5:
        raise Violation(f"a server of this version never sends {kind}")
    if kind != "PUBLISH" and flags != (2 if kind == "PUBREL" else 0):
        raise Violation(f"[MQTT-2.1.3-1] flags {flags} in {kind}")
    p = Packet(kind, flags, raw=raw)
    if kind == "CONNACK":
        acknowledge = body.number(1)
        if acknowledge > 1 or acknowledge and version == V31:
            raise Violation(f"[MQTT-3.2.2-1] acknowledge flags {acknowledge}")
        p.session_present, p.reason = bool(acknowledge), body.number(1)
        if version == V5 and p.reason == 1 and not body.left():
            return p        # the form of 3.1.1, as a server may answer a protocol name that it does not know
        p.properties = body.properties(kind) if version == V5 else {}
    elif kind == "PUBLISH":
        decode_publish(version, p, body)
    elif kind in ("SUBACK", "UNSUBACK"):
        p.packet_id = body.number(2)
        p.properties = body.properties(kind) if version == V5 else {}
        p.reasons = list(body.rest()) if version == V5 or kind == "SUBACK" else []
    elif kind in ("DISCONNECT", "AUTH"):
        p.reason = body.number(1) if body.left() else 0
        p.properties = body.properties(kind) if body.left() else {}
    elif kind != "PINGRESP":
        p.packet_id = body.number(2)
        p.reason = body.number(1) if version == V5 and body.left() else 0
        p.properties = body.properties(kind) if version == V5 and body.left() else {}
    if body.left():
        raise Violation(f"{body.left()} bytes too many in {kind}")
    allowed = SERVER_REASONS.get(kind, {0}) if version == V5 else {"CONNACK": set(range(6)), "SUBACK": {0, 1, 2, 0x80}}.get(kind, {0})
    for reason in [p.reason, *p.reasons] if kind not in ("SUBACK", "UNSUBACK") else p.reasons:
        if reason not in allowed:
            raise Violation(f"reason {reason:#x} in {kind}")
    if p.packet_id == 0:
        raise Violation(f"[MQTT-2.2.1-4] packet id 0 in {kind}")
    return p


def decode_publish(version, p, body):
    if p.qos == 3:
        raise Violation("[MQTT-3.3.1-4] QoS 3")
    if p.qos == 0 and p.dup:
        raise Violation("[MQTT-3.3.1-2] DUP with QoS 0")
    p.topic = body.string()
    if "#" in p.topic or "+" in p.topic:
        raise Violation("[MQTT-3.3.2-2] wildcard in a topic name")
    p.packet_id = body.number(2) if p.qos else None
    p.properties = body.properties("PUBLISH") if version == V5 else {}
    if not p.topic and "topic_alias" not in p.properties:
        raise Violation("[MQTT-4.7.3-1] neither topic nor alias")
    p.payload = body.rest()
