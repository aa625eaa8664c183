"""MQTT by hand: packets as bytes, and one blocking connection. For what no client library would do."""
import socket, struct, time
from typing import NamedTuple

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 0x10, 0x20, 0x30, 0x40, 0x50, 0x62, 0x70
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT = 0x82, 0x90, 0xA2, 0xB0, 0xE0
PINGREQ, PINGRESP = b"\xc0\0", b"\xd0\0"
VERSIONS = {3: "3.1", 4: "3.1.1", 5: "5"}
SESSION_TAKEN_OVER, SERVER_SHUTTING_DOWN = 0x8E, 0x8B


def varint(value):
    out = bytearray()
    while True:
        value, low = value >> 7, value & 127
        out.append(low | 128 if value else low)
        if not value:
            return bytes(out)


def string(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def packet(first, body=b""):
    return bytes([first]) + varint(len(body)) + body


def properties_block(level, properties):
    return varint(len(properties)) + properties if level == 5 else b""


def connect_packet(client_id, level=4, *, clean=True, keep_alive=60, properties=b"", will=None):
    """`will` is (topic, payload, qos, retain)."""
    flags, tail = 2 if clean else 0, string(client_id)
    if will:
        topic, payload, qos, retain = will
        flags |= 4 | qos << 3 | retain << 5
        tail += properties_block(level, b"") + string(topic) + string(payload)
    name = "MQIsdp" if level == 3 else "MQTT"
    return packet(CONNECT, string(name) + bytes([level, flags]) + struct.pack("!H", keep_alive)
                  + properties_block(level, properties) + tail)


def session_expiry(seconds):
    return b"\x11" + struct.pack("!I", seconds)


def publish_packet(topic, payload=b"", qos=0, packet_id=0, *, retain=False, level=4, properties=b""):
    identifier = struct.pack("!H", packet_id) if qos else b""
    return packet(PUBLISH | qos << 1 | retain, string(topic) + identifier + properties_block(level, properties) + payload)


def subscribe_packet(packet_id, *filters, qos=0, level=4, properties=b""):
    return packet(SUBSCRIBE, struct.pack("!H", packet_id) + properties_block(level, properties)
                  + b"".join(string(f) + bytes([qos]) for f in filters))


def acknowledgement(first, packet_id):
    return packet(first, struct.pack("!H", packet_id))


class Message(NamedTuple):
    topic: str
    payload: bytes
    qos: int
    packet_id: int
    retain: bool

    @classmethod
    def parse(cls, first, body, level):
        at = 2 + struct.unpack_from("!H", body)[0]
        topic, qos, packet_id = body[2:at].decode(), first >> 1 & 3, 0
        if qos:
            packet_id = struct.unpack_from("!H", body, at)[0]
            at += 2
        if level == 5:
            length, shift = 0, 0
            while True:
                byte, at = body[at], at + 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            at += length
        return cls(topic, bytes(body[at:]), qos, packet_id, bool(first & 1))


class Closed(Exception):
    """The broker closed the connection."""


class Raw:
    """One connection. Reads wait at most `wait` seconds."""

    def __init__(self, port, *, level=4, wait=10, host="127.0.0.1", receive_buffer_bytes=None):
        self.level, self.wait, self.buffer = level, wait, bytearray()
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(wait)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def connected(cls, port, client_id, level=4, *, wait=10, receive_buffer_bytes=None, **keywords):
        """After a CONNACK that accepts."""
        self = cls(port, level=level, wait=wait, receive_buffer_bytes=receive_buffer_bytes)
        self.session_present = self.connect(client_id, **keywords)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def connect(self, client_id, **keywords):
        self.send(connect_packet(client_id, self.level, **keywords))
        self.connack = self.expect(CONNACK)
        assert self.connack[1] == 0, f"CONNACK refuses: {self.connack.hex()}"
        return bool(self.connack[0] & 1)

    def send(self, data):
        try:
            self.socket.sendall(data)
        except (ConnectionError, BrokenPipeError) as e:
            raise Closed from e

    def read(self, wait=None):
        """The next packet: (first byte, body)."""
        end = time.monotonic() + (self.wait if wait is None else wait)
        while True:
            length = shift = 0
            for at in range(1, min(5, len(self.buffer))):
                length |= (self.buffer[at] & 127) << shift
                shift += 7
                if self.buffer[at] < 128:
                    if len(self.buffer) < at + 1 + length:
                        break
                    first, body = self.buffer[0], bytes(self.buffer[at + 1:at + 1 + length])
                    del self.buffer[:at + 1 + length]
                    return first, body
            self.fill(end)

    def fill(self, end):
        self.socket.settimeout(max(0.001, end - time.monotonic()))
        try:
            data = self.socket.recv(262144)
        except ConnectionError as e:
            raise Closed from e
        finally:
            self.socket.settimeout(self.wait)
        if not data:
            raise Closed
        self.buffer += data

    def expect(self, kind, wait=None):
        """The next packet, which has to be of this kind; its body."""
        first, body = self.read(wait)
        assert first & 0xF0 == kind & 0xF0, f"{kind:02x} expected: {first:02x} {body[:40].hex()}"
        return body

    def subscribe(self, *filters, qos=0, packet_id=1):
        self.send(subscribe_packet(packet_id, *filters, qos=qos, level=self.level))
        return self.expect(SUBACK)

    def publish(self, topic, payload=b"", qos=0, packet_id=0, *, retain=False):
        self.send(publish_packet(topic, payload, qos, packet_id, retain=retain, level=self.level))

    def message(self, wait=None):
        first, body = self.read(wait)
        assert first & 0xF0 == PUBLISH, f"PUBLISH expected: {first:02x} {body[:40].hex()}"
        return Message.parse(first, body, self.level)

    def ping(self, wait=None):
        """Seconds to the answer."""
        begun = time.monotonic()
        self.send(PINGREQ)
        self.expect(PINGRESP[0], wait)
        return time.monotonic() - begun

    def read_until_closed(self, wait=None):
        """The packets up to the end of the connection, which has to come."""
        packets = []
        try:
            while True:
                packets.append(self.read(wait))
        except Closed:
            return packets

    def disconnect(self):
        self.send(bytes([DISCONNECT, 0]))
        self.close()

    def close(self):
        self.socket.close()


def fill_until_blocked(port, topic, *, seconds=2):
    """Publishes until nothing more is taken, or long enough; for a subscriber that does not read."""
    data = publish_packet(topic, bytes(16384)) * 16
    with Raw.connected(port, f"filler-{topic}"[:60]) as filler:
        end = time.monotonic() + seconds
        filler.socket.settimeout(0.5)
        try:
            for _ in range(200):
                filler.socket.sendall(data)
                if time.monotonic() > end:
                    break
        except TimeoutError:
            pass
