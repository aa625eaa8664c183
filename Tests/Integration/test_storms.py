"""Thousands of connections at the same moment: opened, taken over, closed."""
import selectors, socket, struct, time

from brokers import wait_until
from raw import Raw, connect_packet, publish_packet, subscribe_packet

CONNECTIONS = 8000
SECONDS_MAX = 40
RETURNED_SECONDS_MAX = 15


def level_of(number):
    return 3 + number % 3


class Storm:
    """All connections of one storm, driven by one selector."""

    def __init__(self, port):
        self.port, self.sockets = port, []

    def connect(self, count):
        """Opens all at once: each sends CONNECT and SUBSCRIBE as soon as it can, and waits for both answers."""
        self.sockets, pending, end = [None] * count, count, time.monotonic() + SECONDS_MAX
        with selectors.DefaultSelector() as selector:
            for n in range(count):
                selector.register(self.open(n), selectors.EVENT_WRITE, n)
            got = [b""] * count
            while pending:
                assert time.monotonic() < end, f"{pending} of {count} are not connected after {SECONDS_MAX} s"
                for key, events in selector.select(1):
                    n, s = key.data, key.fileobj
                    if events & selectors.EVENT_WRITE:
                        error = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                        assert error == 0, f"connection {n}: error {error}"
                        level = level_of(n)
                        s.send(connect_packet(f"storm-{n}", level) + subscribe_packet(1, "storm", f"storm/{n}", level=level))
                        selector.modify(s, selectors.EVENT_READ, n)
                        continue
                    data = s.recv(4096)
                    assert data, f"connection {n} was closed after {got[n].hex()}"
                    got[n] += data
                    if self.is_subscribed(got[n]):
                        selector.unregister(s)
                        pending -= 1

    def open(self, number):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex(("127.0.0.1", self.port))
        self.sockets[number] = s
        return s

    @staticmethod
    def is_subscribed(data):
        """Whether CONNACK and SUBACK are there; both are shorter than 128 bytes."""
        if len(data) < 4 or len(data) < 2 + data[1]:
            return False
        assert data[0] == 0x20 and data[3] == 0, f"CONNACK {data.hex()}"
        return len(data) > 2 + data[1] + 1 and data[2 + data[1]] == 0x90

    def count_closed(self, seconds):
        """How many the broker has closed, once all are or the time is over."""
        closed, end = 0, time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            for n, s in enumerate(self.sockets):
                selector.register(s, selectors.EVENT_READ, n)
            while closed < len(self.sockets) and time.monotonic() < end:
                for key, _ in selector.select(1):
                    try:
                        data = key.fileobj.recv(4096)
                    except ConnectionError:
                        data = b""
                    if not data:
                        selector.unregister(key.fileobj)
                        closed += 1
        return closed

    def count_answers(self, expected, seconds):
        """How many get these bytes."""
        answers, end, got = 0, time.monotonic() + seconds, [0] * len(self.sockets)
        with selectors.DefaultSelector() as selector:
            for n, s in enumerate(self.sockets):
                selector.register(s, selectors.EVENT_READ, n)
            while answers < len(self.sockets) and time.monotonic() < end:
                for key, _ in selector.select(1):
                    n, data = key.data, key.fileobj.recv(4096)
                    assert data, f"connection {n} was closed"
                    got[n] += len(data)
                    if got[n] >= len(expected(n)):
                        selector.unregister(key.fileobj)
                        answers += 1
        return answers

    def close(self, reset=False):
        for s in self.sockets:
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
        self.sockets = []


def test_a_storm_of_connections_a_storm_of_takeovers_and_the_memory_afterwards(own_broker):
    port, begun = own_broker.port, time.monotonic()
    start = own_broker.resident_bytes()
    first, second = Storm(port), Storm(port)
    try:
        first.connect(CONNECTIONS)
        connected, full = time.monotonic() - begun, own_broker.resident_bytes()
        with Raw.connected(port, "publisher") as publisher:
            publisher.publish("storm", b"to all")
            assert first.count_answers(lambda n: publish_packet("storm", b"to all", level=level_of(n)), 20) == CONNECTIONS

        begun = time.monotonic()
        second.connect(CONNECTIONS)
        assert first.count_closed(20) == CONNECTIONS, "old connections stay after the takeover"
        taken_over = time.monotonic() - begun
        first.close()
        with Raw.connected(port, "publisher") as publisher:
            publisher.publish("storm", b"again")
            assert second.count_answers(lambda n: publish_packet("storm", b"again", level=level_of(n)), 20) == CONNECTIONS
    finally:
        first.close()
        second.close(reset=True)

    allowed = start * 1.25 + 15 * 2**20
    wait_until(lambda: own_broker.resident_bytes() <= allowed, RETURNED_SECONDS_MAX,
               f"memory: {start / 2**20:.1f} MiB at the start, {full / 2**20:.1f} with {CONNECTIONS} connections, "
               f"{allowed / 2**20:.1f} allowed after all have gone")
    print(f"{CONNECTIONS} connections in {connected:.1f} s, taken over in {taken_over:.1f} s; resident {start / 2**20:.1f} MiB, "
          f"{full / 2**20:.1f} MiB full, {own_broker.resident_bytes() / 2**20:.1f} MiB afterwards")
    with Raw.connected(port, "after") as after:
        after.ping()


def test_connections_that_come_and_go_without_pause(own_broker):
    """Opened and reset before, during and after CONNECT: nothing of it may stay, nor harm the others."""
    with Raw.connected(own_broker.port, "bystander") as bystander:
        for n in range(3000):
            s = socket.create_connection(("127.0.0.1", own_broker.port))
            data = connect_packet(f"churn-{n % 50}", level_of(n))
            s.sendall(data[:(len(data) * (n % 4)) // 3])
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.close()
            if n % 100 == 0:
                assert bystander.ping() < 0.5
    own_broker.assert_alive()
