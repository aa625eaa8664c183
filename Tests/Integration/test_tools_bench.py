"""`apus bench`: what it counts is what happened, with our broker, mosquitto, and one that loses, doubles and swaps."""
import json, signal, socket, threading

import pytest

from brokers import PROGRAM
from programs import Program
from tools import Terminal, listening, tool


def bench(*arguments):
    done = tool("bench", *arguments, "--json", timeout=60)
    assert done.returncode == 0 and done.stderr == b"", done
    return json.loads(done.stdout)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("scenario, more, sent, received", [
    ("p2p", ["--publishers", 2], 1000, 1000), ("fan-in", ["--publishers", 4, "--subscribers", 2], 2000, 4000),
    ("fan-out", ["--subscribers", 5], 500, 2500), ("shared", ["--subscribers", 3, "--publishers", 2], 1000, 1000)])
def test_everything_arrives_once_and_in_order(options, scenario, more, sent, received, qos):
    found = bench(scenario, *options, *more, "-n", 500, "-q", qos, "--window", 20)
    assert (found["sent"], found["expected"], found["received"], found["lost"], found["duplicates"]) == (sent, received, received, 0, 0), found
    assert found["outOfOrder"] == 0 and sum(count for _, count in found["latencyCounts"]) == received
    assert found["latencyPercentiles"]["p50"] <= found["latencyPercentiles"]["p99"] <= found["latencyPercentiles"]["max"]


def test_publishers_alone_measure_acknowledgements(options):
    found = bench("pub", *options, "--messages", 300, "--qos", 1, "--publishers", 2, "--size", 1000)
    assert found["sent"] == 600 and found["received"] == 0 and sum(c for _, c in found["latencyCounts"]) == 600
    assert found["payloadBytes"] == 1000
    assert bench("pub", *options, "-n", 300, "-q", 0)["sent"] == 300


def test_a_rate_is_kept(options):
    found = bench("p2p", *options, "--rate", 200, "--duration", 1.5, "-s", 28)
    assert 200 <= found["sent"] <= 301 and found["received"] == found["sent"], found


def test_connections(options):
    found = bench("conn", *options, "--clients", 60, "--window", 10)
    assert (found["connected"], found["failed"]) == (60, 0) and sum(c for _, c in found["latencyCounts"]) == 60
    assert bench("conn", *options, "--clients", 20, "--rate", 100)["connected"] == 20


def test_several_processes_add_up(options, tmp_path, name):
    with listening(*options, "--topic", name, "--subscribers", 2, "-q", 1, "--wait", 3, "--json", program=("bench", "sub"), subscriptions=2) as listener:
        results = [bench("pub", *options, "-t", name, "-n", 200, "-q", 1) for _ in range(2)]
        results.append(json.loads(listener.remaining_lines(30)[0]))
    for number, result in enumerate(results):
        (tmp_path / f"{number}.json").write_text(json.dumps(result))
    merged = bench("--merge", *(tmp_path / f"{n}.json" for n in range(3)))
    assert merged["processes"] == 3 and merged["sent"] == 400 and merged["expected"] == 800
    assert merged["received"] == results[2]["received"] == 800 and merged["lost"] == 0
    assert merged["latencyPercentiles"] == results[2]["latencyPercentiles"]
    twice = bench("--merge", tmp_path / "0.json", tmp_path / "1.json")
    assert twice["sent"] == 400 and sum(c for _, c in twice["latencyCounts"]) == 400
    table = tool("bench", "--merge", tmp_path / "0.json", tmp_path / "1.json").stdout.decode()
    assert "processes     2" in table and "sent          400" in table


@pytest.mark.parametrize("loop", [["--rate", 500], ["--window", 1000]], ids=["open", "closed"])
def test_ctrl_c_prints_what_was_measured_and_loses_nothing_that_is_under_way(options, loop):
    with Terminal("bench", "p2p", *options, *loop, "--duration", 60) as terminal:
        terminal.read_until(b"/s)   received ")
        terminal.interrupt()
        output, code = terminal.rest()
    text = output.decode()
    assert code == 0 and "\r\x1b[K" in text
    table = dict(line.strip().split(None, 1) for line in text.split("\x1b[K")[-1].splitlines())
    assert table["scenario"] == "p2p" and int(table["sent"].split(",")[0]) >= 400 and table["lost"] == "0" and "p99.9" in table


def test_in_a_pipe_there_is_no_progress(options):
    done = tool("bench", "p2p", *options, "-n", 100)
    assert done.returncode == 0 and done.stderr == b"" and b"\x1b" not in done.stdout
    assert done.stdout.startswith(b"scenario      p2p\n")


class Meddler:
    """Stands between the tool and the broker, and changes what goes to subscribers: PUBLISH packets of QoS 0."""

    def __init__(self, port, change):
        self.socket, self.target, self.change = socket.create_server(("127.0.0.1", 0)), port, change
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                near, _ = self.socket.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.copy, args=(near, far), daemon=True).start()
            threading.Thread(target=self.meddle, args=(far.makefile("rb"), near), daemon=True).start()

    @staticmethod
    def copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def meddle(self, stream, target):
        number, held = 0, b""
        try:
            while first := stream.read(1):
                header, length, shift = first, 0, 0
                while True:
                    byte = stream.read(1)
                    header, length, shift = header + byte, length | (byte[0] & 127) << shift, shift + 7
                    if byte[0] < 128:
                        break
                packet = header + stream.read(length)
                if first[0] >> 4 == 3:
                    number += 1
                    packet, held = self.change(number, packet, held)
                target.sendall(packet)
        except OSError:
            pass


@pytest.mark.parametrize("change, counts", [
    (lambda n, p, held: (b"" if n % 10 == 0 else p, b""), (90, 10, 0, 0)),
    (lambda n, p, held: (p + p if n % 10 == 0 else p, b""), (110, 0, 10, 0)),
    (lambda n, p, held: (b"", p) if n % 10 == 5 else (p + held, b""), (100, 0, 0, 10))], ids=["lost", "doubled", "swapped"])
def test_what_a_broker_does_wrong_is_counted(options, change, counts):
    meddler = Meddler(int(options[3]), change)
    found = bench("p2p", "-h", "127.0.0.1", "-p", meddler.port, "-n", 100, "-q", 0, "--wait", 1)
    meddler.socket.close()
    assert (found["received"], found["lost"], found["duplicates"], found["outOfOrder"]) == counts, found


def test_messages_of_somebody_else_are_not_counted(options, name):
    with listening(*options, "-t", name, "-n", 1, program=("bench", "sub")) as listener:
        assert tool("pub", *options, "-t", f"{name}/0", "-m", "hello").returncode == 0
        assert "not ours      1" in listener.remaining_lines()


def test_sub_does_not_wait_for_ever_for_the_first_message(options, name):
    for flag in ("-W", "--timeout"):
        done = tool("bench", "sub", *options, "-t", name, flag, 0.4)
        assert done.returncode == 2 and done.stderr == b"Error: no answer came in time\n", done
        assert b"received      0, 0/s" in done.stdout


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"null", b'{"sent": -1}'])
def test_what_is_no_result_is_not_merged(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    done = tool("bench", "--merge", tmp_path / "x.json")
    assert done.returncode == 1 and b"is not a result of apus bench --json" in done.stderr and len(done.stderr.splitlines()) == 1, done


@pytest.mark.parametrize("change", [{"sent": 2**63 - 1}, {"received": -1}, {"subscribers": 2**40}, {"seconds": -1}, {"latencyCounts": [[2**63, 1]]}, {"latencyCounts": [[1, 2**63]]}], ids=str)
def test_numbers_that_no_measurement_has_are_not_merged(options, tmp_path, change):
    result = bench("p2p", *options, "-n", 10)
    (tmp_path / "x.json").write_text(json.dumps(result | change))
    done = tool("bench", "--merge", tmp_path / "x.json", tmp_path / "x.json")
    assert done.returncode == 1 and b"numbers that no measurement has" in done.stderr, done


def test_sub_ends_after_its_duration(options, name):
    with Program(*PROGRAM, "bench", "sub", *options, "-t", name, "--duration", 1) as listener:
        assert listener.exit_code() == 0
    with listening(*options, "-t", name, program=("bench", "sub")) as listener:
        listener.process.send_signal(signal.SIGTERM)
        assert "received      0, 0/s" in listener.remaining_lines()
