#!/usr/bin/env python3
"""The soak test: for a time, thousands of clients come, go, die, stall and are taken over; then nothing of them must be left.

    Tests/Soak/soak.py --seconds 600 [--clients 2000] [--seed 1] -- .build/release/apus serve --in-memory --port {port}

While they do, the memory of the broker stays under a ceiling, a bystander is served, and the figures in $SYS agree with each
other. When all have gone, the figures say so, the memory is back, and the broker ends well. The load is `load.py`, what looks
at the broker meanwhile `observers.py`. Ends with 1 after a sentence for each thing that did not hold.
"""
import argparse, multiprocessing, random, re, signal, sys, tempfile, time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Integration"))
import load
from brokers import Broker, free_port
from observers import Bystander, Monitor, Observer
from raw import Raw

# Measured with 2,000 clients on two event loops: a peak of 70 MiB, and 17 MiB more than before once all had gone.
RESIDENT_MIB_MAX, RESIDENT_MIB_LEFT_MAX = 150, 32
WAIT_SECONDS_MAX = 0.5
PROCESSES, NICENESS = 2, 10
ENDING_SECONDS_MAX = 120
SETTLING_SECONDS_MAX = 45           # until memory is trimmed, and the last timer has run out: that of a session of 10 s
TIMERS_MORE_MAX = 10
# Small limits, so that the load reaches them; every second a look at the figures.
OPTIONS = ["--sys-interval", "1", "--drain-time", "3", "--connect-timeout", "5", "--log-level", "warning,drops=error",
           "--limit", "queued-messages=100", "--limit", "send-buffer=262144", "--limit", "in-flight=20"]
COMMAND = [".build/release/apus", "serve", "--in-memory", "--port", "{port}"]
MIB = 1 << 20


class Memory(Observer):
    """Looks at the broker's memory every second, and whether it is still there."""

    def __init__(self, broker):
        super().__init__()
        self.broker, self.samples = broker, [broker.resident_bytes()]

    def observe(self):
        self.broker.assert_alive()
        self.samples.append(self.broker.resident_bytes())
        self.is_ending.wait(1)


class Soak:
    def __init__(self, arguments):
        self.arguments, self.failures = arguments, []
        self.port = free_port()
        self.numbers = load.Numbers()
        command = [part.replace("{port}", str(self.port)) for part in arguments.command or COMMAND]
        self.topics = load.Topics(arguments.clients)
        retained = ["--limit", f"retained-messages={self.topics.states // 2}"]
        self.broker = Broker(command + OPTIONS + retained, self.port)

    def check(self, holds, sentence):
        if not holds:
            self.failures.append(sentence)
            print(f"FAILED: {sentence}", flush=True)
        return holds

    def run(self):
        self.broker.wait_until_it_listens()
        self.monitor = Monitor(self.port)
        self.monitor.start()
        self.before = self.monitor.wait_for(lambda figures: True, 10)
        self.summary_before = self.summary()
        self.memory, self.bystander = Memory(self.broker), Bystander(self.port, self.broker.pid)
        self.memory.start()
        self.load()
        self.clear_up()
        self.check_remains()
        self.check_meanwhile()
        self.check_end()
        self.print_figures()

    # The load

    def load(self):
        """Runs the clients in processes of their own, nicer than the broker and the bystander."""
        seconds, clients = self.arguments.seconds, self.arguments.clients
        results, begun = [], time.monotonic()
        context = multiprocessing.get_context("spawn")      # threads are running here
        for process in range(PROCESSES):
            receiver, sender = context.Pipe(duplex=False)
            members = range(process, clients, PROCESSES)
            arguments = ("127.0.0.1", self.port), members, self.topics, self.arguments.seed, seconds, NICENESS, sender
            context.Process(target=load.run, args=arguments, daemon=True).start()
            sender.close()
            results.append(receiver)
        self.bystander.start()
        self.in_the_middle = self.figures_at(begun + seconds / 2)
        self.after_load = self.figures_at(begun + seconds)
        self.load_seconds = self.after_load["uptime"] - self.before["uptime"]
        end = time.monotonic() + ENDING_SECONDS_MAX
        for receiver in results:
            try:
                if not self.check(receiver.poll(max(0, end - time.monotonic())),
                                  f"clients were not done {ENDING_SECONDS_MAX} s after the end of the load"):
                    continue
                numbers, errors = receiver.recv()
                self.numbers.update(numbers)
                self.numbers.errors += errors
            except EOFError:
                self.check(False, "a process of the load has died")
        self.bystander.end()

    def figures_at(self, moment):
        while (left := moment - time.monotonic()) > 0:
            self.broker.assert_alive()
            for observer in (self.monitor, self.bystander, self.memory):
                assert not observer.failure, observer.failure
            time.sleep(min(1, left))
        return self.monitor.wait_for(lambda figures: True, 10)

    def clear_up(self):
        self.bystander.raw.disconnect()
        with Raw.connected(self.port, "soak-clearing") as clearing:
            for n in range(self.topics.states):
                clearing.publish(f"state/{n}", retain=True)
            clearing.ping()
            clearing.disconnect()

    # What has to hold

    def check_meanwhile(self):
        for observer in (self.monitor, self.bystander, self.memory):
            observer.end()
            self.check(not observer.failure, observer.failure)
        count = self.numbers["errors"]
        self.check(count == 0, f"clients saw {count} things that are wrong:" + "".join(f"\n    {e}" for e in self.numbers.errors[:10]))
        disagreements = self.monitor.disagreements
        self.check(not disagreements, "the figures did not agree:" + "".join(f"\n    {d}" for d in disagreements[:10]))
        self.check(self.bystander.waits, "the bystander has had no message")
        if self.arguments.lenient:
            return
        for what in ("messages received", "takeovers", "died", "stalls", "closed by the broker"):
            self.check(self.numbers[what] > 0, f"the load showed nothing: {what}: 0")
        for cause, count in self.after_load.drops.items():
            # These are the doing of a program that the broker is part of.
            if cause in ("cleared", "not-forwarded"):
                continue
            self.check(count > 0, f"the load showed nothing: no message was dropped for {cause}")
        peak = max(self.memory.samples) / MIB
        self.check(peak <= RESIDENT_MIB_MAX, f"the broker's memory came to {peak:.0f} MiB; {RESIDENT_MIB_MAX} are the ceiling")
        for wait, denied, when in self.bystander.waits:
            self.check(wait - denied <= WAIT_SECONDS_MAX, f"the bystander waited for {wait:.3f} s, {denied:.3f} s of it for a processor, "
                       f"{when:.0f} s after its begin; {WAIT_SECONDS_MAX} s are allowed")

    def remains(self, figures):
        """What is left in the figures that the monitor alone does not explain."""
        topics = len(figures.payloads)
        wanted = {
            "clients/connected": 1, "clients/total": 1, "connections/count": 1, "subscriptions/count": 1,
            "shared_subscriptions/count": 0, "publish/copies/unfinished": 0, "packet/out/count": 0, "packet/out/bytes": 0,
            "retained messages/count": topics, "store/messages/count": topics, "messages/stored": topics,
            "store/messages/bytes": figures["retained messages/bytes"],
        }
        return [f"{name} is {figures[name]}, not {value}" for name, value in wanted.items() if figures[name] != value]

    def check_remains(self):
        """All clients have gone: what they had goes too, some of it when its time is over."""
        self.after = self.monitor.wait_for(lambda figures: not self.remains(figures), SETTLING_SECONDS_MAX)
        for what in self.remains(self.after):
            self.check(False, f"after all clients have gone, {what}")
        self.check_traffic()
        end = time.monotonic() + SETTLING_SECONDS_MAX
        while True:
            summary, left = self.summary(), (self.broker.resident_bytes() - self.memory.samples[0]) / MIB
            more = {name: summary[name] - self.summary_before[name] for name in summary}
            is_back = left <= RESIDENT_MIB_LEFT_MAX or self.arguments.lenient
            if time.monotonic() > end or is_back and more["nodes"] == 0 and more["timers"] <= TIMERS_MORE_MAX:
                break
        self.left, self.summary_after = left, summary
        self.check(is_back, f"the broker keeps {left:.0f} MiB more than before; {RESIDENT_MIB_LEFT_MAX} are allowed")
        self.check(more["nodes"] == 0, f"the tree of subscriptions has {more['nodes']} nodes more than before")
        self.check(more["timers"] <= TIMERS_MORE_MAX, f"{more['timers']} timers are kept more than before; {TIMERS_MORE_MAX} are allowed")

    def check_traffic(self):
        """Neither end can have received what the other has not sent. Much of what was sent was lost with its connection."""
        after, rounds = self.after, len(self.bystander.waits)
        pairs = [
            ("messages received by clients", self.numbers["messages received"] + rounds + self.monitor.messages, "publish/messages/sent"),
            ("bytes read by clients", self.numbers["bytes read"], "bytes/sent"),
        ]
        for what, seen, figure in pairs:
            self.check(0 < seen <= after[figure], f"{what}: {seen}, and the broker says of {figure}: {after[figure]}")
        # Wills are published and never received as PUBLISH; what clears the retained messages is.
        sent = self.numbers["messages published"] + self.numbers["messages repeated"] + rounds + self.topics.states
        received = after["publish/messages/received"]
        self.check(0 < received <= sent, f"clients have published {sent} messages, and the broker has received {received}")

    def summary(self):
        """The figures that SIGUSR1 prints and $SYS does not have."""
        count = len(self.broker.log_lines("apus ", "up for"))
        self.broker.process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 10
        while len(self.broker.log_lines("apus ", "up for")) == count:
            assert time.monotonic() < end, "SIGUSR1 prints no summary within 10 s"
            time.sleep(0.1)
        text = self.broker.log.rsplit(" up for ", 1)[1]
        return {"nodes": int(re.search(r"(\d+) nodes", text)[1]), "timers": int(re.search(r"^timers +(\d+)", text, re.M)[1])}

    def check_end(self):
        try:
            self.broker.stop()
        except AssertionError as error:
            self.check(False, str(error))
        complaints = [line for line in self.broker.log.splitlines()
                      if re.search(r"\b(warning|error|critical)\b|Fatal error|Sanitizer", line)]
        self.check(not complaints, "the broker complains:" + "".join(f"\n    {line}" for line in complaints[:20]))

    # What it was like

    def print_figures(self):
        a, b, seconds = self.after_load, self.before, self.load_seconds
        def rate(name):
            return (a[name] - b[name]) / seconds
        waits = sorted(self.bystander.waits)
        wait, denied, when = waits[-1]
        n, drops = self.numbers, self.after_load.drops
        print(f"seed         {self.arguments.seed}; {self.arguments.clients} clients, {seconds} s")
        print(f"messages     {rate('publish/messages/received'):.0f}/s received, {rate('publish/messages/sent'):.0f}/s sent, "
              f"{rate('publish/copies/routed'):.0f}/s copies routed; {a['publish/copies/completed']} of {a['publish/copies/routed']} completed")
        print(f"bytes        {rate('bytes/received') / 1e6:.2f} MB/s received, {rate('bytes/sent') / 1e6:.2f} MB/s sent")
        print(f"clients      {n['connects']} connects, {n['takeovers']} takeovers, {n['died']} died, {n['left']} left, "
              f"{n['stalls']} stalls, {n['closed by the broker']} closed by the broker, "
              f"{a['clients/expired']} sessions expired, {a['clients/maximum']} connected at most")
        print("disconnects  " + (", ".join(f"{count} {name.split()[-1]}" for name, count in n.items() if name.startswith("disconnected")) or "0"))
        print("dropped      " + ", ".join(f"{count} {cause}" for cause, count in drops.items()))
        print(f"half-way     {self.in_the_middle['publish/copies/unfinished']} copies unfinished, {self.in_the_middle['retained messages/count']} retained, "
              f"{self.in_the_middle['subscriptions/count']} subscriptions, {self.in_the_middle['clients/connected']} connected")
        samples = self.memory.samples
        print(f"memory       {samples[0] / MIB:.0f} MiB before, {max(samples) / MIB:.0f} at most, {getattr(self, 'left', 0):+.0f} after")
        print(f"bystander    {len(waits)} round trips; longest {wait * 1000:.0f} ms after {when:.0f} s, {denied * 1000:.0f} ms of it for a processor; "
              f"99 of 100 within {waits[len(waits) * 99 // 100][0] * 1000:.1f} ms, half within {waits[len(waits) // 2][0] * 1000:.1f} ms")
        if hasattr(self, "summary_after"):
            print(f"left         {self.summary_after['nodes']} nodes ({self.summary_before['nodes']} before), "
                  f"{self.summary_after['timers']} timers ({self.summary_before['timers']} before)")
        print(f"load         {n['processor ms'] / 1000 / seconds / PROCESSES:.0%} of a core for each of {PROCESSES} processes")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0], formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--clients", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--lenient", action="store_true", help="for a build with a sanitizer and few clients: memory, waiting times and "
                        "whether the load reached everything are printed and not checked")
    parser.add_argument("command", nargs="*", help="the broker, with {port}")
    arguments = parser.parse_args()
    print(f"soak: seed {arguments.seed}, {arguments.clients} clients for {arguments.seconds} s", flush=True)
    soak = Soak(arguments)
    try:
        soak.run()
    except AssertionError as error:
        soak.check(False, f"the test could not go on: {error}")
    finally:
        if soak.failures:
            kept = Path(tempfile.gettempdir()) / f"apus-soak-{arguments.seed}.log"
            kept.write_text(soak.broker.log)
            print(f"the broker's log is kept in {kept}")
        soak.broker.discard()
    print("soak: " + (f"{len(soak.failures)} checks FAILED, seed {arguments.seed}" if soak.failures else "ok"))
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
