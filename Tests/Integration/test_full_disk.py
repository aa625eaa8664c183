"""A disk that is really full: a small tmpfs with the journal on it. Publishers wait, sessions drain, nothing that was
acknowledged is lost, and nobody has to restart anything. And a disk that fails."""
import contextlib, os, shutil, struct, subprocess, threading, time

import pytest

from brokers import serving, wait_until
from raw import (PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, Closed, Message, Raw, acknowledgement, connect_packet, publish_packet,
                 session_expiry)

MIB = 2**20
DISK_BYTES = 8 * MIB
PAYLOAD_BYTES = 1000
WINDOW = 40  # PUBLISH packets under way, of a publisher
FULL, ROOM = "the store is full", "the store has room again"
OPTIONS = ["--segment-bytes", 256 * 1024, "--limit", "uncommitted-bytes-in-all=1048576", "--limit", "packet-bytes=65536"]
SUBSCRIBERS = ["left", "right"]
PUBLISHERS = {"one": 1, "two": 2}  # with their QoS


@pytest.fixture
def disk(tmp_path):
    """A file system of its own, of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "apus-test", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


class Client(threading.Thread):
    """Does something with one connection, and keeps the error that ends it."""

    def __init__(self, broker, name, **keywords):
        super().__init__(daemon=True)
        self.name, self.error, self.is_over = name, None, threading.Event()
        self.raw = Raw.connected(broker.port, name, 5, wait=20, **keywords)

    def run(self):
        try:
            self.work()
        except Exception as error:
            self.error = error

    def end(self):
        self.is_over.set()
        self.join(30)
        self.raw.close()
        if self.error:
            raise self.error
        assert not self.is_alive(), f"{self.name} does not come to an end"


class Publisher(Client):
    """Publishes numbers, a window of them at a time, until it is told to end; then it waits for what is under way."""

    def __init__(self, broker, name, qos, start=0):
        super().__init__(broker, f"publisher-{name}")
        self.topic, self.qos, self.next = f"from/{name}", qos, start
        self.under_way, self.done = {}, []

    def work(self):
        while not self.is_over.is_set() or self.under_way:
            while len(self.under_way) < WINDOW and not self.is_over.is_set():
                packet_id = 1 + self.next % 60_000
                self.under_way[packet_id] = self.next
                self.raw.publish(self.topic, b"%d " % self.next + bytes(PAYLOAD_BYTES), self.qos, packet_id)
                self.next += 1
            self.take_answer()

    def take_answer(self):
        try:
            first, body = self.raw.read(0.2)
        except TimeoutError:
            return
        packet_id, reason = struct.unpack_from("!H", body)[0], body[2] if len(body) > 2 else 0
        assert reason < 0x80, f"{first:02x} with {reason:02x}"
        if first & 0xF0 == PUBREC:
            self.raw.send(acknowledgement(PUBREL, packet_id))
        else:
            assert first & 0xF0 == (PUBACK if self.qos == 1 else PUBCOMP), f"{first:02x}"
            self.done.append(self.under_way.pop(packet_id))


class Subscriber(Client):
    """Takes and acknowledges all that there is for its session."""

    def __init__(self, broker, name):
        super().__init__(broker, name, clean=False, properties=session_expiry(3600))
        self.got = {}

    def work(self):
        while not self.is_over.is_set():
            try:
                first, body = self.raw.read(0.2)
            except TimeoutError:
                continue
            if first & 0xF0 != PUBLISH:
                self.raw.send(acknowledgement(PUBCOMP, struct.unpack_from("!H", body)[0]))
                continue
            message = Message.parse(first, body, 5)
            self.got.setdefault(message.topic, []).append(int(message.payload.split()[0]))
            self.raw.send(acknowledgement(PUBACK if message.qos == 1 else PUBREC, message.packet_id))


def begin_sessions(broker):
    for name in SUBSCRIBERS:
        with Raw.connected(broker.port, name, 5, clean=False, properties=session_expiry(3600)) as client:
            client.subscribe("from/#", qos=2)
            client.disconnect()


def start(clients):
    for client in clients:
        client.start()
    return clients


def wait_for_progress(publishers, count):
    """Until each of them has had so many more acknowledged."""
    before = [len(p.done) for p in publishers]

    def progress():
        for p in publishers:
            if p.error:
                raise p.error
        return all(len(p.done) >= b + count for p, b in zip(publishers, before))

    wait_until(progress, 30, f"{count} more acknowledged for each publisher")


def wait_for_all(subscribers, publishers):
    """Until what was acknowledged to publishers has come to all subscribers; in order, and at QoS 2 once."""
    wanted = {p.topic: set(p.done) for p in publishers}

    def complete():
        for s in subscribers:
            if s.error:
                raise s.error
        return all(wanted[topic] <= set(s.got.get(topic, [])) for s in subscribers for topic in wanted)

    try:
        wait_until(complete, 30, "all that was acknowledged")
    except AssertionError:
        missing = {s.name: {t: sorted(wanted[t] - set(s.got.get(t, [])))[:10] for t in wanted} for s in subscribers}
        raise AssertionError(f"acknowledged and lost: {missing}") from None
    for s in subscribers:
        s.end()
        for p in publishers:
            got = s.got[p.topic]
            assert list(dict.fromkeys(got)) == sorted(set(got)), f"{s.name} has {p.topic} out of order"
            assert p.qos == 1 or len(got) == len(set(got)), f"{s.name} has messages of QoS 2 twice"


def is_held(broker, publishers):
    """The disk is full, and whoever publishes waits: nothing more is acknowledged."""
    broker.wait_for_log(FULL, seconds=30)

    def all_wait():
        counts = [len(p.done) for p in publishers]
        time.sleep(0.5)
        return counts == [len(p.done) for p in publishers]

    wait_until(all_wait, 10, "all publishers wait")


def test_a_full_disk_holds_publishers_until_sessions_have_drained(disk):
    with serving("--data", disk, "--sys-interval", 0.2, *OPTIONS) as broker:
        begin_sessions(broker)
        publishers = start([Publisher(broker, name, qos) for name, qos in PUBLISHERS.items()])
        is_held(broker, publishers)
        # The sessions are in the way of the publishers, and not the other way round.
        with Raw.connected(broker.port, "looking", 5) as looking:
            looking.subscribe("$SYS/broker/store/full")
            assert looking.message().payload == b"1"
            looking.ping()
        subscribers = start([Subscriber(broker, name) for name in SUBSCRIBERS])
        assert all(s.raw.session_present for s in subscribers)
        broker.wait_for_log(ROOM, seconds=30)
        wait_for_progress(publishers, 3000)
        for p in publishers:
            p.end()
        print("acknowledged:", {p.topic: len(p.done) for p in publishers}, "full:", len(broker.log_lines(FULL)), "times")
        wait_for_all(subscribers, publishers)
        broker.assert_alive()


def test_a_full_disk_goes_on_when_others_have_made_room(disk):
    with serving("--data", disk, *OPTIONS) as broker:
        begin_sessions(broker)
        publishers = start([Publisher(broker, name, qos) for name, qos in PUBLISHERS.items()])
        wait_for_progress(publishers, 200)
        foreign = disk / "of somebody else"
        with open(foreign, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        is_held(broker, publishers)
        foreign.unlink()
        broker.wait_for_log(ROOM, seconds=10)
        wait_for_progress(publishers, 200)
        for p in publishers:
            p.end()
        broker.process.kill()
        broker.process.wait()
    with serving("--data", disk, *OPTIONS) as broker:
        wait_for_all(start([Subscriber(broker, name) for name in SUBSCRIBERS]), publishers)


def test_a_broker_that_is_killed_on_a_full_disk_drains_when_it_is_started_again(disk):
    with serving("--data", disk, *OPTIONS) as broker:
        begin_sessions(broker)
        publishers = start([Publisher(broker, name, qos) for name, qos in PUBLISHERS.items()])
        is_held(broker, publishers)
        broker.process.kill()
        broker.process.wait()
    for p in publishers:
        p.join(30)
        assert isinstance(p.error, Closed), p.error
    with serving("--data", disk, *OPTIONS) as broker:
        wait_for_all(start([Subscriber(broker, name) for name in SUBSCRIBERS]), publishers)
        publishers = start([Publisher(broker, name, qos, start=100_000) for name, qos in PUBLISHERS.items()])
        wait_for_progress(publishers, 100)
        for p in publishers:
            p.end()


def test_a_disk_that_fails_ends_the_broker_with_the_reason(tmp_path):
    strace = shutil.which("strace")
    if not strace:
        pytest.skip("strace, which makes a system call fail, is not installed")
    fails = [strace, "-f", "-o", "/dev/null", "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=10+"]
    if subprocess.run([*fails, "true"], capture_output=True).returncode:
        pytest.skip("strace may not trace here")
    with serving("--data", tmp_path / "data", prefix=fails) as broker:
        with Raw.connected(broker.port, "publisher", 5) as publisher, contextlib.suppress(Closed):
            for n in range(1, 1000):
                publisher.publish("t", b"m", 1, n, retain=True)
                assert publisher.read()[0] in (PUBACK, 0xE0)
        assert broker.process.wait(10) != 0
        assert len(broker.log_lines("error", "the store has failed: nothing more is kept", "cannot sync")) == 1, broker.log
        said = broker.log_lines("Error:")
        assert len(said) == 1 and "cannot use the data" in said[0] and "cannot sync" in said[0], broker.log
