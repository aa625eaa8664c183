"""A blocking MQTT client for tests, on a plain socket: it does what a test says and nothing by itself.

Nothing here sleeps. That something does *not* come is shown by a PINGREQ: a broker handles a connection's packets in order,
so what had to come before the PINGRESP has come, or never will.
"""
import socket, time

import codec
from codec import V5, Packet, Reason, Violation, Will, options  # noqa: F401  (what tests import from here)

TIMEOUT = 3.0


class Closed(AssertionError):
    """The broker closed the connection although the test wanted more of it."""


class Silent(AssertionError):
    """Nothing came in time."""


class Client:
    def __init__(self, port, version=V5, client_id=""):
        self.version, self.client_id = version, client_id
        self.socket = socket.create_connection(("127.0.0.1", port), TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.backlog = []           # packets that came while another one was waited for
        self.last_id = 0
        self.connack = None
        self.aliases = {}           # what the broker's topic aliases stand for

    # Sending

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Closed(f"sending: {error}") from None

    def next_id(self):
        self.last_id = self.last_id % 65535 + 1
        return self.last_id

    def send_connect(self, persistent=False, **fields):
        """`persistent`: a session that stays, by Clean Start 0 and in 5.0 an expiry interval."""
        if persistent:
            fields["clean"] = False
            if self.version == V5:
                fields["properties"] = {"session_expiry_interval": 300} | (fields.get("properties") or {})
        self.send(codec.connect(self.version, self.client_id, **fields))

    def connect(self, **fields):
        self.send_connect(**fields)
        self.connack = self.expect("CONNACK", reason=0)
        self.client_id = self.connack.properties.get("assigned_client_identifier", self.client_id)
        return self.connack

    def send_publish(self, topic, payload=b"", qos=0, packet_id=None, **fields):
        """Returns the packet id, without waiting for anything."""
        if qos and packet_id is None:
            packet_id = self.next_id()
        self.send(codec.publish(self.version, topic, payload, qos=qos, packet_id=packet_id, **fields))
        return packet_id

    def publish(self, topic, payload=b"", qos=0, **fields):
        """Publishes, with all that the QoS asks for; returns the PUBACK or PUBREC. At QoS 0 returns when the broker has it."""
        packet_id = self.send_publish(topic, payload, qos, **fields)
        if qos == 0:
            self.sync()
            return None
        answer = self.take("PUBACK" if qos == 1 else "PUBREC", packet_id=packet_id)
        if qos == 2 and answer.reason < 0x80:
            self.acknowledge("PUBREL", packet_id)
            self.take("PUBCOMP", packet_id=packet_id, reason=0)
        return answer

    def acknowledge(self, kind, packet_id, reason=None, properties=None, **fields):
        self.send(codec.acknowledgement(self.version, kind, packet_id, reason, properties, **fields))

    def send_subscribe(self, *filters, qos=0, properties=None, **choices):
        """Each filter is a string, or a pair of a filter and its options byte."""
        packet_id = self.next_id()
        pairs = [f if isinstance(f, tuple) else (f, options(qos, **choices)) for f in filters]
        self.send(codec.subscribe(self.version, packet_id, pairs, properties))
        return packet_id

    def subscribe(self, *filters, **choices):
        return self.take("SUBACK", packet_id=self.send_subscribe(*filters, **choices))

    def unsubscribe(self, *filters):
        packet_id = self.next_id()
        self.send(codec.unsubscribe(self.version, packet_id, filters))
        return self.take("UNSUBACK", packet_id=packet_id)

    def disconnect(self, reason=None, properties=None):
        """Leaves in order; returns when the broker has closed, so that what follows finds the session offline."""
        self.send(codec.disconnect(self.version, reason, properties))
        self.expect_closed(reasons=None)

    def close(self):
        """Leaves without DISCONNECT."""
        self.socket.close()

    # Receiving

    def read(self, timeout=TIMEOUT):
        """The next packet, whatever it is."""
        return self.backlog.pop(0) if self.backlog else self._read(time.monotonic() + timeout)

    def _read(self, deadline):
        while (raw := self._whole_packet()) is None:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self.socket.recv(65536)
            except TimeoutError:
                raise Silent("nothing came") from None
            except OSError as error:
                raise Closed(str(error)) from None
            if not data:
                raise Closed("end of file") if not self.buffer else Violation("closed within a packet")
            self.buffer += data
        p = codec.decode(self.version, raw)
        if p.kind == "PUBLISH":
            self._resolve_alias(p)
        return p

    def _whole_packet(self):
        length = shift = 0
        for at in range(1, min(len(self.buffer), 5)):
            length |= (self.buffer[at] & 127) << shift
            shift += 7
            if not self.buffer[at] & 128:
                end = at + 1 + length
                if len(self.buffer) < end:
                    return None
                raw = bytes(self.buffer[:end])
                del self.buffer[:end]
                return raw
        if len(self.buffer) >= 5:
            raise Violation("[MQTT-1.5.5-1] remaining length of more than four bytes")
        return None

    def _resolve_alias(self, p):
        alias = p.properties.get("topic_alias")
        if alias and p.topic:
            self.aliases[alias] = p.topic
        elif alias:
            if alias not in self.aliases:
                raise Violation(f"topic alias {alias} is used before it was defined on this connection")
            p.topic, p.aliased = self.aliases[alias], True

    def expect(self, kind, timeout=TIMEOUT, **fields):
        """The next packet has to be this one."""
        p = self.read(timeout)
        assert matches(p, kind, fields), f"wanted {kind} {fields}, got {p}"
        return p

    def take(self, kind, timeout=TIMEOUT, **fields):
        """The first packet of this kind; what comes before it stays to be read."""
        for at, p in enumerate(self.backlog):
            if matches(p, kind, fields):
                return self.backlog.pop(at)
        deadline = time.monotonic() + timeout
        while True:
            p = self._read(deadline)
            if matches(p, kind, fields):
                return p
            self.backlog.append(p)

    def message(self, timeout=TIMEOUT, **fields):
        """The next packet has to be this PUBLISH; it is acknowledged as its QoS asks for."""
        p = self.expect("PUBLISH", timeout, **fields)
        self.finish(p)
        return p

    def finish(self, p):
        if p.qos == 1:
            self.acknowledge("PUBACK", p.packet_id)
        elif p.qos == 2:
            self.acknowledge("PUBREC", p.packet_id)
            self.take("PUBREL", packet_id=p.packet_id)
            self.acknowledge("PUBCOMP", p.packet_id)

    def messages(self, count, **fields):
        return [self.message(**fields) for _ in range(count)]

    def sync(self):
        """Returns when the broker has handled all that was sent so far."""
        self.send(codec.PINGREQ)
        self.take("PINGRESP")

    def pending(self):
        """All that came, or had to come, until now."""
        self.sync()
        came, self.backlog = self.backlog, []
        return came

    def expect_silence(self):
        came = self.pending()
        assert not came, f"wanted nothing, got {came}"

    def expect_closed(self, reasons=None, timeout=TIMEOUT, kind="DISCONNECT"):
        """The broker closes. In 5.0 it says why before: its last packet is `kind` with one of `reasons`, unless that is None.

        Returns what came before. In 3.1 and 3.1.1 a server closes without a word.
        """
        came, deadline = [], time.monotonic() + timeout
        try:
            while True:
                came.append(self.read(deadline - time.monotonic()))
        except Closed:
            pass
        except Silent:
            raise AssertionError(f"the connection is still open after {timeout} s; came: {came}") from None
        goodbyes = [p for p in came if p.kind == "DISCONNECT"]
        assert goodbyes in ([], came[-1:]), f"[MQTT-3.14.4-1] a packet after DISCONNECT: {came}"
        if reasons is not None and self.version == V5:
            wanted = {reasons} if isinstance(reasons, int) else set(reasons)
            assert came and came[-1].kind == kind and came[-1].reason in wanted, \
                f"wanted {kind} with {', '.join(map(hex, sorted(wanted)))}, then the end; came: {came}"
        return came


def matches(p, kind, fields):
    return p.kind == kind and all(getattr(p, name) == value for name, value in fields.items())
