"""Clients that ask for more than they take, or hold back what they owe: what it costs the broker, and what others notice.

The load comes from a process of its own at low priority, so that it does not take the time of those who measure. Where
a bystander waited too long, `late` tells whether its own process was kept from running at that time.
"""
import contextlib, multiprocessing, os, select, selectors, socket, statistics, struct, threading, time, traceback
from pathlib import Path

import pytest

from brokers import serving
from raw import DISCONNECT, PINGREQ, PUBLISH, Closed, Raw, connect_packet, publish_packet, string, subscribe_packet, varint

KIB, MIB = 2**10, 2**20
ROUND_TRIP_SECONDS_MAX = 0.1
SEND_BUFFER_UNREAD_BYTES = 1 * MIB  # above it, a client is not read from
SEND_BUFFER_BYTES = 8 * MIB  # above it, QoS 0 is dropped
TRANSPORT_BYTES = 256 * KIB  # above it, the transport takes no more
QUOTA_EXCEEDED = 0x97
processes = multiprocessing.get_context("fork")


class Load:
    """Work in a process of its own, which tells what it has done, and is told when to go on."""

    def __init__(self, work, *arguments):
        self.pipe, theirs = processes.Pipe()
        self.process = processes.Process(target=self.run, args=(work, theirs, *arguments), daemon=True)

    @staticmethod
    def run(work, pipe, *arguments):
        os.nice(10)
        try:
            work(pipe, *arguments)
        except BaseException:
            pipe.send(AssertionError(traceback.format_exc()))

    def __enter__(self):
        self.process.start()
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.join()

    def told(self, seconds=30):
        """The next that it tells."""
        assert self.pipe.poll(seconds), f"the load told nothing within {seconds} s"
        told = self.pipe.recv()
        if isinstance(told, Exception):
            raise told
        return told

    def go_on(self, what=None):
        self.pipe.send(what)


class Bystander:
    """Publishes to itself at QoS 1, again and again, from a thread: the longest it waited for PUBACK and message."""

    def __init__(self, broker, name="bystander"):
        self.client = Raw.connected(broker.port, name)
        self.client.subscribe(name, qos=0)
        self.topic, self.count, self.longest, self.late, self.error = name, 0, 0.0, 0.0, None
        self.is_over = threading.Event()
        self.round_trip()
        self.thread = threading.Thread(target=self.run, daemon=True)

    def round_trip(self):
        self.client.publish(self.topic, b"to myself", 1, 1 + self.count % 65535)
        kinds = {self.client.read()[0] & 0xF0 for _ in range(2)}
        assert kinds == {PUBLISH, 0x40}, kinds
        self.count += 1

    def run(self):
        try:
            while not self.is_over.is_set():
                begun = time.monotonic()
                self.round_trip()
                done = time.monotonic()
                self.longest = max(self.longest, done - begun)
                time.sleep(0.002)  # how late it ends is how long this process was kept from running
                self.late = max(self.late, time.monotonic() - done - 0.002)
        except Exception as error:
            self.error = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.thread.join()
        self.client.close()

    def assert_noticed_nothing(self, seconds_max=ROUND_TRIP_SECONDS_MAX, count_min=10):
        self.is_over.set()
        self.thread.join()
        print(f"bystander: {self.count} round trips, longest {self.longest:.4f} s; its own process late by {self.late:.4f} s")
        if self.error:
            raise self.error
        assert self.count >= count_min
        assert self.longest < seconds_max, f"waited {self.longest:.3f} s, its own process was late by {self.late:.3f} s"


class Memory:
    """What a broker takes from now on, at most."""

    def __init__(self, broker):
        self.pid, self.before = broker.pid, broker.resident_bytes()
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")  # the peak begins anew

    def growth(self):
        with open(f"/proc/{self.pid}/status") as f:
            return next(int(l.split()[1]) * KIB for l in f if l.startswith("VmHWM")) - self.before

    def assert_grew_at_most(self, bound):
        grew = self.growth()
        print(f"memory: {grew / MIB:.2f} MiB more at the peak, {bound / MIB:.2f} allowed")
        assert grew <= bound


def figure(client, topic, expected, seconds=10):
    """Waits for a figure of the broker to be this; the client is told of it as often as it changes."""
    client.subscribe("$SYS/broker/" + topic)
    end, value = time.monotonic() + seconds, None
    while value != str(expected).encode():
        try:
            value = client.message(end - time.monotonic()).payload
        except TimeoutError:
            raise AssertionError(f"{topic} is {value}, not {expected}") from None


# MARK: Answers that nobody reads


def flood(pipe, port, unit):
    """Sends whole units and reads nothing until nothing more is taken for a second; then reads all answers."""
    with Raw.connected(port, "flooder", wait=20, receive_buffer_bytes=4096) as flooder:
        data = memoryview(unit * (256 * KIB // len(unit)))
        sent, begun = 0, time.monotonic()
        flooder.socket.setblocking(False)
        while select.select([], [flooder.socket], [], 1)[1]:
            with contextlib.suppress(BlockingIOError):
                sent += flooder.socket.send(data[sent % len(unit):])
            if time.monotonic() - begun > 15:
                return pipe.send(None)
        pipe.send(sent)
        bytes_wanted = pipe.recv()
        unfinished = unit[sent % len(unit):] if sent % len(unit) else b""
        flooder.socket.settimeout(20)
        answers = 0
        while answers < bytes_wanted:
            answers += len(flooder.socket.recv(MIB))
        flooder.send(unfinished)
        pipe.send(answers)
        pipe.recv()


@pytest.mark.parametrize("unit, answer_bytes, retained_bytes", [
    (PINGREQ, 2, 0), (subscribe_packet(1, "flood"), 5, 0), (subscribe_packet(1, "flood"), 5, 64 * KIB)],
    ids=["PINGREQ", "SUBSCRIBE", "SUBSCRIBE-to-a-retained-message"])
def test_who_asks_and_never_reads_the_answers_is_not_read_from_and_costs_one_send_buffer(unit, answer_bytes, retained_bytes):
    with serving("--log-level", "error", "--threads", 4) as broker, Bystander(broker) as bystander:
        with Raw.connected(broker.port, "retainer") as retainer:
            retainer.publish("flood", bytes(retained_bytes), 1, 1, retain=True)
            retainer.read()
        memory = Memory(broker)
        with Load(flood, broker.port, unit) as load:
            sent = load.told()
            assert sent is not None, "the flooder is still read from"
            print(f"{sent / MIB:.2f} MiB taken from the flooder before it blocked")
            memory.assert_grew_at_most(SEND_BUFFER_UNREAD_BYTES + TRANSPORT_BYTES + 4 * MIB)
            bystander.assert_noticed_nothing()
            if not retained_bytes:  # nothing is lost: as soon as it reads, it gets all answers
                load.go_on(sent // len(unit) * answer_bytes)
                assert load.told() >= sent // len(unit) * answer_bytes


# MARK: Packets that are never whole

HALF_PACKETS = 100
RECEIVE_BUFFERS_BYTES = 4 * MIB
ALWAYS_KEPT_BYTES = 64 * KIB  # of each connection, whatever others hold


def half_packets(pipe, port):
    """Begins a PUBLISH of 16 MiB on many connections. Half of them go on as fast as they can, half a byte a round."""
    header = bytes([PUBLISH]) + varint(16 * MIB - 100) + string("half")
    greedy, slow, reasons, sent = [], [], [], 0
    for n in range(HALF_PACKETS):
        client = Raw.connected(port, f"half-{n}", 5)
        client.send(header)
        (slow if n % 2 else greedy).append(client)
    more = bytes(16 * KIB)
    end = time.monotonic() + 10
    while greedy and time.monotonic() < end:
        for client in slow:
            client.send(b"\0")
        for client in list(greedy):
            if select.select([client.socket], [], [], 0)[0]:
                reasons += [body[0] for first, body in client.read_until_closed(5) if first == DISCONNECT]
                client.close()
                greedy.remove(client)
                continue
            with contextlib.suppress(Closed):
                client.send(more)
                sent += len(more)
    pipe.send((len(greedy), reasons, sent, [bool(select.select([c.socket], [], [], 0)[0]) for c in slow].count(True)))
    pipe.recv()
    for client in slow:
        client.close()
    pipe.send("gone")
    pipe.recv()


def test_packets_that_are_never_whole_cost_no_more_than_the_limit_of_all_receive_buffers():
    with serving("--limit", f"receive-buffers={RECEIVE_BUFFERS_BYTES}", "--threads", 4, "--log-level", "error") as broker, \
            Bystander(broker) as bystander, Raw.connected(broker.port, "large") as large:
        memory = Memory(broker)
        with Load(half_packets, broker.port) as load:
            left, reasons, sent, closed_slow = load.told()
            print(f"{sent / MIB:.1f} MiB of half packets, {len(reasons)} closed")
            assert left == 0, f"{left} connections still send"
            assert reasons and set(reasons) == {QUOTA_EXCEEDED}
            assert closed_slow == 0, "connections that hold next to nothing were closed"
            memory.assert_grew_at_most(RECEIVE_BUFFERS_BYTES + HALF_PACKETS * ALWAYS_KEPT_BYTES + 6 * MIB)  # and what is being grown
            bystander.assert_noticed_nothing()
            load.go_on()
            assert load.told() == "gone"
            large.publish("large", bytes(2 * MIB), 1, 1)  # there is room again
            assert large.read()[0] == 0x40


# MARK: Subscribers that are slower than publishers

OUTRUN_MESSAGES, OUTRUN_BYTES = 200_000, 4 * KIB


def outrun(pipe, port):
    """Publishes at QoS 0 as fast as it is taken, and a last message at QoS 1."""
    data = publish_packet("outrun", bytes(OUTRUN_BYTES))
    with Raw.connected(port, "publisher", wait=30) as publisher:
        for _ in range(OUTRUN_MESSAGES // 100):
            publisher.send(data * 100)
        waited = publisher.ping(30)
        publisher.publish("outrun", b"end", 1, 1)
        publisher.read()
        pipe.send(waited)
        pipe.recv()
        pipe.send(publisher.ping())


def test_a_publisher_that_outruns_a_subscriber_at_qos_0_goes_on_and_what_is_lost_is_counted():
    with serving("--sys-interval", 0.2, "--log-level", "error", "--threads", 4) as broker, Bystander(broker) as bystander, \
            Raw.connected(broker.port, "slow", receive_buffer_bytes=64 * KIB, wait=20) as slow, \
            Raw.connected(broker.port, "watcher") as watcher:
        slow.subscribe("outrun", qos=1)
        memory, received = Memory(broker), 0
        with Load(outrun, broker.port) as load:
            while not load.pipe.poll():  # some 6 MiB a second
                slow.message()
                received += 1
                if received % 16 == 0:
                    time.sleep(0.01)
            waited = load.told()
            memory.assert_grew_at_most(SEND_BUFFER_BYTES + TRANSPORT_BYTES + 4 * MIB)
            bystander.assert_noticed_nothing()
            while slow.message().payload != b"end":
                received += 1
            print(f"{received} of {OUTRUN_MESSAGES} received; the publisher waited {waited:.2f} s for its last answer")
            assert received < OUTRUN_MESSAGES, "the subscriber was not outrun"
            figure(watcher, "publish/messages/dropped/qos0-backlog", OUTRUN_MESSAGES - received)
            load.go_on()
            assert load.told() < 1


DRAIN_SECONDS = 2


def test_a_subscriber_that_stops_reading_is_disconnected_after_the_drain_time_and_nobody_else_notices():
    with serving("--drain-time", DRAIN_SECONDS, "--log-level", "error,connections=info", "--threads", 4) as broker, \
            Bystander(broker) as bystander, Raw.connected(broker.port, "other") as other, \
            Raw.connected(broker.port, "publisher") as publisher, \
            Raw.connected(broker.port, "stuck", 5, keep_alive=0, receive_buffer_bytes=4096) as stuck:
        stuck.subscribe("drain")
        other.subscribe("drain")
        sent, begun = 0, time.monotonic()
        while not broker.log_lines("disconnected", "client=stuck"):
            publisher.publish("drain", bytes(64 * KIB))
            sent += 1
            assert len(other.message().payload) == 64 * KIB
            assert time.monotonic() < begun + 3 * DRAIN_SECONDS, "still connected"
            if sent > 400:
                time.sleep(0.05)  # it is stuck for long
        seconds = time.monotonic() - begun
        print(f"disconnected after {seconds:.2f} s and {sent * 64 / 1024:.0f} MiB")
        assert seconds >= DRAIN_SECONDS
        assert "takes nothing" in broker.log_lines("disconnected", "client=stuck")[0]
        other.ping()
        publisher.ping()
        bystander.assert_noticed_nothing()
        assert [l for l in broker.log_lines("disconnected") if "client= " not in l] == broker.log_lines("disconnected", "client=stuck")
        stuck.read_until_closed(5)


def test_a_subscriber_that_reads_slowly_is_not_disconnected_while_it_reads():
    """It takes a full send buffer, and several times the drain time for it: some 4 MiB a second, so that the system's own
    buffer, of which a third has to be empty before the broker is told, is not what the broker waits for."""
    drain_seconds = 1
    with serving("--drain-time", drain_seconds, "--log-level", "error,connections=info", "--threads", 4) as broker, \
            Raw.connected(broker.port, "publisher") as publisher, \
            Raw.connected(broker.port, "slow", receive_buffer_bytes=64 * KIB) as slow:
        slow.subscribe("slowly")
        for _ in range(300):
            publisher.publish("slowly", bytes(64 * KIB))
        publisher.ping()
        begun, received = time.monotonic(), 0
        while received < SEND_BUFFER_BYTES:
            time.sleep(max(0, begun + received / (4 * MIB) - time.monotonic()))
            received += len(slow.socket.recv(16 * KIB))
            assert not broker.log_lines("disconnected", "client=slow"), f"after {time.monotonic() - begun:.1f} s and {received} bytes"
        assert time.monotonic() - begun >= 1.9 * drain_seconds


# MARK: A million deliveries at once

CROWD = 1_000
CROWD_SECONDS_MAX = 30
THIRD_PARTY_SECONDS_MAX = 0.5


def crowd(pipe, port):
    """As many subscribers as publishers; when told, all publish, and every subscriber reads every message."""
    subscribers = [Raw.connected(port, f"subscriber-{n}") for n in range(CROWD)]
    for s in subscribers:
        s.subscribe("crowd")
    publishers = [Raw.connected(port, f"publisher-{n}") for n in range(CROWD)]
    data = publish_packet("crowd", b"0123456789abcdef")
    missing = [CROWD * len(data)] * CROWD
    pipe.send("ready")
    pipe.recv()
    begun, left = time.monotonic(), CROWD
    with selectors.DefaultSelector() as selector:
        for n, s in enumerate(subscribers):
            selector.register(s.socket, selectors.EVENT_READ, n)
        for p in publishers:
            p.send(data)
        while left:
            assert time.monotonic() < begun + CROWD_SECONDS_MAX, f"{left} subscribers do not have everything"
            for key, _ in selector.select(1):
                missing[key.data] -= len(key.fileobj.recv(65536))
                if not missing[key.data]:
                    selector.unregister(key.fileobj)
                    left -= 1
    pipe.send(time.monotonic() - begun)
    pipe.recv()


def test_a_million_deliveries_at_once_keep_nobody_else_waiting():
    with serving("--log-level", "error", "--threads", 4) as broker, Bystander(broker) as bystander, \
            Raw.connected(broker.port, "third") as third, Load(crowd, broker.port) as load:
        assert load.told() == "ready"
        memory = Memory(broker)
        load.go_on()
        waits = []
        while not load.pipe.poll(0.005):
            waits.append(third.ping())
        seconds = load.told()
        print(f"{CROWD * CROWD} deliveries in {seconds:.2f} s; PINGRESP after {max(waits):.4f} s at most, "
              f"{statistics.median(waits):.4f} s in the middle of {len(waits)}")
        memory.assert_grew_at_most(16 * MIB)
        assert bystander.late < 0.1, "this process was kept from running; it cannot tell how long others wait"
        assert max(waits) < THIRD_PARTY_SECONDS_MAX
        bystander.assert_noticed_nothing(THIRD_PARTY_SECONDS_MAX, count_min=1)


# MARK: Connections that never become clients

HALF_OPEN = 5_000
CONNECT_TIMEOUT_SECONDS = 5
HALF_OPEN_BYTES_EACH = 7 * KIB


def half_open(pipe, port, closed_at_once):
    """Thousands that say nothing, send a byte of CONNECT a second, or half of it. How long each was left open."""
    connect = connect_packet("half-open-client-with-a-long-name")
    opened, lived, slow = {}, {}, {}
    with selectors.DefaultSelector() as selector:
        def look(seconds):
            for key, _ in selector.select(seconds):
                s = key.fileobj
                with contextlib.suppress(ConnectionError):
                    assert not s.recv(64), "an answer to no CONNECT"
                lived[key.data] = time.monotonic() - opened[key.data]
                slow.pop(key.data, None)
                selector.unregister(s)
                s.close()

        for n in range(HALF_OPEN):
            s = socket.create_connection(("127.0.0.1", port))
            opened[n] = time.monotonic()
            selector.register(s, selectors.EVENT_READ, n)
            if n % 3 == 1:
                slow[n] = s
            elif n % 3 == 2:
                s.send(connect[:len(connect) // 2])
            if n % 50 == 0:
                look(0)
        begun = time.monotonic()
        while len(lived) < closed_at_once and time.monotonic() < begun + 3:
            look(0.1)
        pipe.send((begun - opened[0], dict(lived), time.monotonic() - begun))
        at, due = 0, time.monotonic()
        while len(lived) < HALF_OPEN and time.monotonic() < begun + CONNECT_TIMEOUT_SECONDS + 6:
            if time.monotonic() >= due and at < len(connect) - 1:
                for s in slow.values():
                    with contextlib.suppress(ConnectionError):
                        s.send(connect[at:at + 1])
                at, due = at + 1, due + 1
            look(0.05)
    pipe.send([lived.get(n) for n in range(HALF_OPEN)])
    pipe.recv()


class Visitors:
    """Normal clients that come one after the other: the longest that one took to connect and publish to itself."""

    def __init__(self, port):
        self.port, self.longest, self.count = port, 0.0, 0

    def visit(self):
        begun = time.monotonic()
        with Raw(self.port) as client:
            client.connect(f"visitor-{self.count}")
            client.subscribe("visit")
            client.publish("visit", b"x")
            assert client.message().payload == b"x"
        self.longest = max(self.longest, time.monotonic() - begun)
        self.count += 1

    def until_told(self, load, seconds=30):
        end = time.monotonic() + seconds
        while not load.pipe.poll(0.01):
            assert time.monotonic() < end
            self.visit()
        return load.told()


def test_half_open_connections_cost_little_are_closed_in_time_and_keep_nobody_out():
    with serving("--connect-timeout", CONNECT_TIMEOUT_SECONDS, "--log-level", "error", "--sys-interval", 0.5, "--threads", 4) as broker, \
            Raw.connected(broker.port, "watcher") as watcher, Load(half_open, broker.port, 0) as load:
        visitors, memory = Visitors(broker.port), Memory(broker)
        seconds, _, _ = visitors.until_told(load)
        lived = visitors.until_told(load)
        print(f"{HALF_OPEN} opened in {seconds:.2f} s; {visitors.count} visitors, {visitors.longest:.4f} s at most")
        memory.assert_grew_at_most(HALF_OPEN * HALF_OPEN_BYTES_EACH)
        assert None not in lived, f"{lived.count(None)} are still open"
        print(f"closed after {min(lived):.2f} to {max(lived):.2f} s")
        assert min(lived) >= CONNECT_TIMEOUT_SECONDS - 0.5 and max(lived) < CONNECT_TIMEOUT_SECONDS + 3
        assert visitors.longest < 0.5
        figure(watcher, "connections/count", 1)


def test_beyond_the_limit_of_pending_connects_the_oldest_is_closed_at_once_and_a_client_gets_in():
    pending = 1_000
    # One loop, since several open connections in an order of their own.
    with serving("--connect-timeout", CONNECT_TIMEOUT_SECONDS, "--limit", f"connects-pending={pending}", "--log-level", "error",
                 "--threads", 1) as broker, Load(half_open, broker.port, HALF_OPEN - pending) as load:
        visitors, memory = Visitors(broker.port), Memory(broker)
        seconds, at_once, late = visitors.until_told(load)
        lived = visitors.until_told(load)
        print(f"{HALF_OPEN} opened in {seconds:.2f} s; {len(at_once)} closed after {late:.2f} s more; "
              f"{visitors.count} visitors, {visitors.longest:.4f} s at most")
        assert late < 0.5
        assert None not in lived
        early = [n for n, seconds in enumerate(lived) if seconds < CONNECT_TIMEOUT_SECONDS - 0.5]
        # A visitor is one that is pending too, for a moment.
        assert HALF_OPEN - pending <= len(early) <= HALF_OPEN - pending + visitors.count
        assert max(early) < len(early) + 50, "others than the oldest were closed"
        assert max(lived) < CONNECT_TIMEOUT_SECONDS + 3
        assert visitors.longest < 0.5
        memory.assert_grew_at_most(HALF_OPEN * HALF_OPEN_BYTES_EACH)
