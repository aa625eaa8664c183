"""Examples/Archive: what its broker has acknowledged is in SQLite, however often it is killed."""
import contextlib, os, random, sqlite3, threading, time

import paho.mqtt.client as paho
import pytest

from brokers import PROGRAM, ROOT, can_connect, free_port, wait_until
from programs import Program

ARCHIVE = ROOT / os.path.dirname(PROGRAM[0]) / "archive"
KILLS = 6


class Publisher:
    """Keeps a few messages on their way, and knows which of them were acknowledged."""

    def __init__(self, port, qos):
        self.qos, self.count = qos, 0
        # By packet identifier. They are not used again: there are fewer messages than identifiers.
        self.sent, self.answered, self.room = {}, [], threading.Semaphore(50)
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, f"publisher-{qos}", clean_session=False)
        self.client.reconnect_delay_set(0.05, 0.1)
        self.client.on_publish = self.was_acknowledged
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def was_acknowledged(self, client, userdata, mid, *_):
        self.answered.append(mid)
        self.room.release()

    def publish_for(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.count < 60_000:
            if not self.room.acquire(timeout=0.1):
                continue
            payload = f"{self.qos}-{self.count}"
            self.count += 1
            self.sent[self.client.publish("archive/t", payload, self.qos).mid] = payload

    def known(self):
        """What was acknowledged, as of now."""
        return {self.sent[mid] for mid in list(self.answered) if mid in self.sent}


def rows(path):
    with contextlib.closing(sqlite3.connect(path)) as database:
        return [payload.decode() for payload, in database.execute("SELECT payload FROM message ORDER BY id")]


@contextlib.contextmanager
def running(port, path):
    with Program(ARCHIVE, port, path) as archive:
        wait_until(lambda: can_connect(port), 15, "the archive listens")
        yield archive


@pytest.mark.parametrize("qos", [1, 2])
def test_what_was_acknowledged_is_in_the_database_when_the_broker_is_killed(tmp_path, qos):
    path, port, moments = tmp_path / "messages.sqlite", free_port(), random.Random(qos)
    publisher = None
    for _ in range(KILLS):
        with running(port, path) as archive:
            publisher = publisher or Publisher(port, qos)
            before = len(publisher.known())
            publisher.publish_for(moments.uniform(0.2, 0.6))
            wait_until(lambda: len(publisher.known()) > before, 10, "messages are acknowledged")
            archive.process.kill()
            archive.process.wait()
        acknowledged = publisher.known()
        assert acknowledged <= set(rows(path)), f"acknowledged, and gone: {len(acknowledged - set(rows(path)))}"
    with running(port, path):
        wait_until(lambda: len(publisher.known()) == publisher.count, 20, "all messages are acknowledged")
    assert set(rows(path)) == {f"{qos}-{number}" for number in range(publisher.count)}
    publisher.client.loop_stop()
