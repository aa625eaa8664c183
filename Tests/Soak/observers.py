"""What looks at the broker while the load runs: the monitor of $SYS, a bystander with a message every 100 ms, the memory."""
import contextlib, os, sys, threading, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Integration"))
from raw import PUBACK, PUBLISH, Message, Raw, acknowledgement

TREE = "$SYS/broker/"
CAUSES = TREE + "publish/messages/dropped/"


class Observer(threading.Thread):
    """A thread that repeats `observe` until it is ended. Why it failed is kept: it has nobody to tell."""

    def __init__(self):
        super().__init__(daemon=True)
        self.is_ending = threading.Event()
        self.failure = None

    def run(self):
        try:
            while not self.is_ending.is_set():
                self.observe()
        except Exception as error:
            self.failure = f"the {type(self).__name__.lower()} cannot go on: {type(error).__name__} {error}"

    def end(self):
        self.is_ending.set()
        self.join()


class Figures:
    """All that the broker published of itself at one moment."""

    def __init__(self, payloads):
        self.payloads = payloads

    def __getitem__(self, name):
        return int(self.payloads[TREE + name].split()[0])

    @property
    def drops(self):
        """By cause."""
        return {topic.removeprefix(CAUSES): int(count) for topic, count in self.payloads.items() if topic.startswith(CAUSES)}

    @property
    def disagreements(self):
        """Sums that hold at every moment and do not hold here."""
        drops = self.drops
        pairs = [
            ("publish/copies/routed", self["publish/copies/routed"],
             "completed, dropped and unfinished together",
             self["publish/copies/completed"] + self["publish/messages/dropped"] + self["publish/copies/unfinished"]),
            ("the drops by cause together", sum(drops.values()),
             "publish/messages/dropped and those not retained", self["publish/messages/dropped"] + drops["not-retained"]),
            ("clients/total", self["clients/total"],
             "connected and disconnected together", self["clients/connected"] + self["clients/disconnected"]),
            ("store/messages/count", self["store/messages/count"],
             "retained and unfinished together", self["retained messages/count"] + self["publish/copies/unfinished"]),
        ]
        return [f"{what}: {one}; {other_what}: {other}" for what, one, other_what, other in pairs if one != other]


class Monitor(Observer):
    """Subscribes to all of $SYS. The broker publishes what has changed of one moment in one go, `uptime` among the first of it."""
    FIRST = TREE + "uptime"

    def __init__(self, port):
        super().__init__()
        self.raw = Raw.connected(port, "soak-monitor", keep_alive=0)
        self.raw.subscribe(TREE + "#")
        self.payloads, self.figures, self.moments = {}, None, 0
        self.messages, self.disagreements = 0, []
        self.changed = threading.Condition()

    def observe(self):
        try:
            message = self.raw.message(1)
        except TimeoutError:
            return
        self.messages += 1
        if message.topic == self.FIRST and self.FIRST in self.payloads:
            self.complete()
        self.payloads[message.topic] = message.payload.decode()

    def complete(self):
        figures = Figures(dict(self.payloads))
        # The first may be of two moments: what was retained, and what came while that was sent.
        if self.moments > 0:
            self.disagreements += [f"after {figures['uptime']} s: {what}" for what in figures.disagreements]
        with self.changed:
            self.figures, self.moments = figures, self.moments + 1
            self.changed.notify_all()

    def wait_for(self, condition, seconds):
        """The figures of the first moment from now on for which it holds; after that time those of the last."""
        end = time.monotonic() + seconds
        with self.changed:
            # The moment that is completed next may have been before now.
            seen = self.moments + 1
            while self.moments <= seen or not condition(self.figures):
                if time.monotonic() > end or self.failure:
                    break
                self.changed.wait(0.1)
            assert self.figures, self.failure or "the broker publishes nothing of itself"
            return self.figures


class Bystander(Observer):
    """Sends itself a message at QoS 1 every 100 ms and waits for it, as the load must not make it wait long.

    Time in which the system lets the broker or this thread have no processor, though it has work, is no fault of the broker: other
    programs run here too.
    """
    PERIOD_SECONDS = 0.1

    def __init__(self, port, pid):
        super().__init__()
        self.pid = pid
        self.raw = Raw.connected(port, "soak-bystander", keep_alive=0, wait=30)
        self.raw.subscribe("bystander", qos=1)
        self.begun_at = self.next_at = time.monotonic()
        self.waits = []             # seconds, seconds without a processor, when it began

    def observe(self):
        packet_id = len(self.waits) % 65535 + 1
        denied, begun = self.seconds_denied(), time.monotonic()
        self.raw.publish("bystander", b"%d" % packet_id, 1, packet_id)
        for _ in range(2):
            first, body = self.raw.read()
            assert first & 0xF0 in (PUBACK, PUBLISH), f"PUBACK or the message expected: {first:02x}"
            if first & 0xF0 == PUBLISH:
                message = Message.parse(first, body, 4)
        wait = time.monotonic() - begun
        self.waits.append((wait, min(wait, self.increase(denied)), begun - self.begun_at))
        assert int(message.payload) == packet_id, f"message {packet_id} expected: {message}"
        self.raw.send(acknowledgement(PUBACK, message.packet_id))
        self.next_at = max(self.next_at + self.PERIOD_SECONDS, time.monotonic())
        self.is_ending.wait(self.next_at - time.monotonic())

    def seconds_denied(self):
        """For each thread of the broker, and this one: how long it has been ready to run and did not."""
        own = threading.get_native_id()
        threads = [f"/proc/{self.pid}/task/{name}" for name in os.listdir(f"/proc/{self.pid}/task")] + [f"/proc/self/task/{own}"]
        seconds = {}
        for thread in threads:
            with contextlib.suppress(OSError, IndexError), open(f"{thread}/schedstat") as file:
                seconds[thread] = int(file.read().split()[1]) / 1e9
        return seconds

    def increase(self, before):
        """Of the thread of the broker that had to wait the longest, and of this one."""
        now = self.seconds_denied()
        *broker, own = [now[thread] - before.get(thread, 0) for thread in now] or [0]
        return max(broker, default=0) + own
