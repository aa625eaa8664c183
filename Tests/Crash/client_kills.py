#!/usr/bin/env python3
"""Kills a publisher with SIGKILL, again and again, and prints what it said that will arrive and what did.

    client_kills.py --kills 20 -- .build/release/apus serve --port {port} --in-memory

The publisher is Examples/DurablePublisher, which prints a line once its store has it (`enqueue`), or once the server has
acknowledged it (`publish`). A row for each way and QoS. Half of the kills find the server stopped for a moment, so that
handshakes are cut in their middle. Ends with 1 if a message is lost, came in another order or, at QoS 2, twice.
"""
import argparse, random, signal, subprocess, sys, tempfile, threading, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "Tests" / "Integration"))
from brokers import can_connect, free_port, wait_until


class Lines:
    """The lines that a process prints."""

    def __init__(self, process):
        self.lines = []
        self.thread = threading.Thread(target=self.read, args=[process.stdout], daemon=True)
        self.thread.start()

    def read(self, stream):
        for line in stream:
            # What a killed process began to write is no line.
            if line.endswith("\n"):
                self.lines.append(line.rstrip("\n"))


class Feed:
    """Numbers, one a line, as fast as the publisher takes them."""

    def __init__(self):
        self.next = 0

    def run(self, process, end):
        try:
            while time.monotonic() < end:
                process.stdin.write(f"{self.next}\n")
                process.stdin.flush()
                self.next += 1
        except BrokenPipeError:
            pass  # It was killed.


def start_publisher(options, port, folder, qos, way):
    command = [options.publisher, f"mqtt://127.0.0.1:{port}", str(folder / "outbox"), "numbers", str(qos)]
    if way == "publish":
        command.append("acknowledged")
    with open(folder / "log", "a") as log:
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT)


def kill(options, chance, feed, port, folder, qos, way, server):
    """One life of the publisher: what it said that it has."""
    publisher = start_publisher(options, port, folder, qos, way)
    said = Lines(publisher)
    end = time.monotonic() + chance.uniform(options.shortest, options.longest)
    feeding = threading.Thread(target=feed.run, args=[publisher, end + 60], daemon=True)
    feeding.start()
    stops = chance.random() < 0.5
    time.sleep(max(0, end - time.monotonic()))
    if stops:
        server.send_signal(signal.SIGSTOP)
        time.sleep(chance.uniform(0, 0.05))
    publisher.kill()
    publisher.wait()
    server.send_signal(signal.SIGCONT)
    feeding.join()
    said.thread.join()
    return said.lines


def play(options, qos, way, folder, port, server, received):
    chance = random.Random(options.seed)
    feed = Feed()
    accepted = []
    for _ in range(options.kills):
        accepted += kill(options, chance, feed, port, folder, qos, way, server)
    # The last one sends what the others left, and ends by itself.
    publisher = start_publisher(options, port, folder, qos, way)
    rest, _ = publisher.communicate("end\n", timeout=120)
    if publisher.returncode or rest != "end\n":
        sys.exit(f"the last publisher ended with {publisher.returncode}: {rest}{(folder / 'log').read_text()}")
    wait_until(lambda: "end" in received.lines, 60, "the last message")
    numbers = [int(line) for line in received.lines if line.isdigit()]
    first = list(dict.fromkeys(numbers))
    return {"accepted": len(accepted), "lost": len(set(map(int, accepted)) - set(first)),
            "out of order": sum(a > b for a, b in zip(first, first[1:])), "repeated": len(numbers) - len(first),
            "not accepted, and arrived": len(set(first) - set(map(int, accepted)))}


def run_row(options, qos, way, folder):
    port = free_port()
    server = subprocess.Popen(
        [word.format(port=port, dir=folder / "broker") for word in options.command], cwd=ROOT, stdout=subprocess.DEVNULL)
    receiver = None
    try:
        wait_until(lambda: can_connect(port), 15, "the server listens")
        program = [options.apus, "sub", "-h", "127.0.0.1", "-p", str(port), "-q", str(qos), "-t", "numbers"]
        receiver = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        received = Lines(receiver)
        hello = [options.apus, "pub", "-h", "127.0.0.1", "-p", str(port), "-t", "numbers", "-m", "hello"]
        wait_until(lambda: subprocess.run(hello, cwd=ROOT, check=True) and received.lines, 15, "a subscription")
        return play(options, qos, way, folder, port, server, received)
    finally:
        for process in filter(None, (receiver, server)):
            process.kill()
            process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="in each row")
    parser.add_argument("--shortest", type=float, default=0.2, help="seconds that a publisher lives, at least")
    parser.add_argument("--longest", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--publisher", default=".build/release/durable-publisher")
    parser.add_argument("--apus", default=".build/release/apus", help="publishes and subscribes for the test itself")
    parser.add_argument("command", nargs="+", help="the command line of the server, with {port} and {dir}")
    options = parser.parse_args()

    broken = 0
    for at, (qos, way) in enumerate((qos, way) for way in ("enqueue", "publish") for qos in (1, 2)):
        with tempfile.TemporaryDirectory(prefix="apus-client-kills-") as folder:
            result = run_row(options, qos, way, Path(folder))
        if at == 0:
            print("| QoS | by | kills | " + " | ".join(result) + " |\n|---|---|" + "--:|" * (len(result) + 1), flush=True)
        print(f"| {qos} | {way} | {options.kills} | " + " | ".join(map(str, result.values())) + " |", flush=True)
        broken += result["lost"] + result["out of order"] + (result["repeated"] if qos == 2 else 0)
        broken += result["accepted"] == 0
    sys.exit("What the publisher had accepted is gone, or has come twice or in another order." if broken else 0)


if __name__ == "__main__":
    main()
