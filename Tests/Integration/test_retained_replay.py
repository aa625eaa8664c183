"""A new subscription to `#` over very many retained topics gets them all, paced by its reading, and nobody else waits.

APUS_RETAINED sets how many.
"""
import os, threading, time

import pytest

from raw import Closed, Raw, acknowledgement, publish_packet

TOPICS = int(os.environ.get("APUS_RETAINED", 1_000_000))
ANSWER_SECONDS_MAX = 0.5
STALL_SECONDS = 2
PAYLOAD = b"x" * 40


def topic(number):
    return f"r/{number // 1000:04d}/{number % 1000:03d}"


def load(port, count, qos):
    """Retains all topics: bytes made beforehand, sent as fast as they are taken."""
    base = 48 * 1024
    with Raw.connected(port, "loader") as loader:
        for begin in range(0, count, base):
            numbers = range(begin, min(begin + base, count))
            data = b"".join(publish_packet(topic(n), PAYLOAD, qos, n - begin + 1, retain=True) for n in numbers)
            drain = threading.Thread(target=lambda: [loader.expect(0x40, 30) for _ in numbers]) if qos else None
            if drain:
                drain.start()
            loader.socket.settimeout(60)
            loader.socket.sendall(data)
            if drain:
                drain.join()
        loader.ping(60)  # answered after all that was sent before


class Bystander:
    """Pings without pause on its own thread and remembers the longest wait."""

    def __init__(self, port):
        self.raw, self.longest, self.count, self.ended, self.fault = Raw.connected(port, "bystander"), 0, 0, threading.Event(), None
        self.thread = threading.Thread(target=self.run)

    def run(self):
        try:
            while not self.ended.wait(0.01):
                self.longest = max(self.longest, self.raw.ping(10))
                self.count += 1
        except (Closed, OSError, AssertionError) as fault:
            self.fault = fault

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
        self.raw.close()


def read_all(subscriber, count, qos, seconds):
    """The numbers of the retained messages, in the order of their coming. Packets are of one length, so cut by it."""
    length = len(publish_packet(topic(0), PAYLOAD, qos, 1))
    at = 4
    seen, buffer, end = [], bytes(subscriber.buffer), time.monotonic() + seconds
    while len(seen) < count:
        assert time.monotonic() < end, f"{len(seen)} of {count} within {seconds} s"
        whole = len(buffer) // length
        cut = whole * length
        heads = set(buffer[0:cut:length])
        assert heads <= {0x31 | qos << 1}, f"first bytes {heads}"
        seen += [int(buffer[n + at + 2:n + at + 6] + buffer[n + at + 7:n + at + 10]) for n in range(0, cut, length)]
        if qos:
            subscriber.send(b"".join(b"\x40\2" + buffer[n + at + 10:n + at + 12] for n in range(0, cut, length)))
        buffer = buffer[cut:] + (b"" if len(seen) == count else subscriber.socket.recv(262144))
    subscriber.buffer = bytearray(buffer)
    return seen


@pytest.mark.parametrize("qos, count", [(0, TOPICS), (1, min(TOPICS, 50_000))])
def test_a_subscription_to_everything_gets_all_retained_topics_and_nobody_waits(own_broker, qos, count):
    port = own_broker.port
    begun = time.monotonic()
    load(port, count, qos)
    loaded = time.monotonic() - begun
    with Raw.connected(port, "everything", receive_buffer_bytes=65536, wait=30) as subscriber:
        with Bystander(port) as bystander:
            before = own_broker.resident_bytes()
            begun = time.monotonic()
            subscriber.subscribe("#", qos=qos)
            bystander.ended.wait(STALL_SECONDS)  # nothing is read meanwhile
            grown = own_broker.resident_bytes() - before
            seen = read_all(subscriber, count, qos, 50)
            took = time.monotonic() - begun
            print(f"{count} topics at QoS {qos}: loaded in {loaded:.1f} s, replayed in {took:.1f} s ({STALL_SECONDS} s of them not "
                  f"reading, {grown / 2**20:.1f} MiB grown), longest wait of {bystander.count} pings {bystander.longest * 1000:.0f} ms")
        assert sorted(seen) == list(range(count))
        assert bystander.fault is None
        assert bystander.longest <= ANSWER_SECONDS_MAX
        assert grown <= 16 * 2**20, "the replay did not wait for its reader"
        subscriber.publish("r/live", b"live")
        message = subscriber.message(10)
        assert (message.topic, message.payload, message.retain) == ("r/live", b"live", False)


def test_what_is_published_during_the_replay_arrives_after_what_was_retained(own_broker):
    """Of each topic the newest value comes last, whether retained or live."""
    count = 20_000
    load(own_broker.port, count, 0)
    with Raw.connected(own_broker.port, "everything", receive_buffer_bytes=65536) as subscriber:
        with Raw.connected(own_broker.port, "changer") as changer:
            subscriber.subscribe("#", qos=1)
            for n in range(0, count, 100):
                changer.publish(topic(n), b"new", 1, n % 65535 + 1)
            for n in range(0, count, 100):
                changer.expect(0x40)
            last = {}
            awaited = count // 100
            while awaited:
                message = subscriber.message()
                if message.qos:
                    subscriber.send(acknowledgement(0x40, message.packet_id))
                awaited -= message.payload == b"new"
                last[message.topic] = message.payload
            while len(last) < count:
                message = subscriber.message()
                last[message.topic] = message.payload
    assert [n for n in range(count) if last[topic(n)] != (PAYLOAD if n % 100 else b"new")] == []
