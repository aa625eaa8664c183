"""`apus pub`: every way to give a payload, against our broker and mosquitto, and byte for byte as mosquitto_pub."""
import signal, socket, subprocess

import pytest

from brokers import PROGRAM, wait_until
from programs import Program, run
from tools import Recorder, Terminal, listening, tool


def recorded(*options, program=None, input=None):
    with Recorder() as recorder:
        options = ["-h", "127.0.0.1", "-p", str(recorder.port), "-i", "me", *map(str, options)]
        if program:
            run(program, *options, input=input)
        else:
            done = tool("pub", *options, input=input)
            assert (done.returncode, done.stdout, done.stderr) == (0, b"", b""), done
        recorder.thread.join(5)
        return recorder


@pytest.fixture
def some_file(tmp_path):
    (tmp_path / "payload").write_bytes(bytes(range(256)) * 300)
    return tmp_path / "payload"


@pytest.mark.parametrize("version", ["mqttv31", "mqttv311", "mqttv5"])
@pytest.mark.parametrize("options, input", [
    (["-m", "text °"], None), (["-m", "-dashes"], None), (["-n"], None), (["-f", "FILE"], None), (["-s"], b"all\nof\nit\n\0"), (["-l"], b"one\n\nthree\nrest"),
    (["-m", "x", "--repeat", "3"], None), (["-m", "x", "-r"], None), (["-m", "x", "--repeat", "2", "--repeat-delay", "0.1"], None)], ids=lambda o: " ".join(o) if isinstance(o, list) else "")
def test_publish_is_that_of_mosquitto_pub(options, input, version, some_file):
    options = ["-t", "a/b", "-V", version, *(str(some_file) if o == "FILE" else o for o in options)]
    for qos in ("0", "1"):
        ours = recorded(*options, "-q", qos, input=input)
        theirs = recorded(*options, "-q", qos, input=input, program="mosquitto_pub")
        assert ours.publishes() == theirs.publishes() and ours.publishes()
        assert ours.kinds()[-1] == 14


def test_properties_are_those_of_mosquitto_pub():
    options = ["-V", "5", "-t", "t", "-m", "x", "-D", "publish", "content-type", "text/plain", "-D", "publish", "correlation-data", "abc", "-D", "publish", "message-expiry-interval", 60,
               "-D", "publish", "payload-format-indicator", 1, "-D", "publish", "response-topic", "r/t", "-D", "publish", "user-property", "k", "v", "-D", "publish", "user-property", "k", "-D"]
    assert recorded(*options).publishes() == recorded(*options, program="mosquitto_pub").publishes()


def test_the_long_names(some_file):
    assert recorded("--topic", "t", "--message", "m", "--qos", 1, "--retain").publishes() == [(b"t", b"m", 1, True, {})]
    assert recorded("-t", "t", "--file", some_file).publishes()[0][1] == some_file.read_bytes()
    assert recorded("-t", "t", "--null-message").publishes() == [(b"t", b"", 0, False, {})]
    for flag in ("--stdin-file", "--stdin"):
        assert recorded("-t", "t", flag, input=b"a\nb\n").publishes() == [(b"t", b"a\nb\n", 0, False, {})]
    for flag in ("--stdin-line", "--multiline"):
        assert [p[1] for p in recorded("-t", "t", flag, input=b"a\nb\n").publishes()] == [b"a", b"b"]


def test_topic_and_payload_may_be_words():
    assert recorded("t/u", "hello", "-r").publishes() == [(b"t/u", b"hello", 0, True, {})]
    assert recorded("-t", "t", "hello").publishes() == [(b"t", b"hello", 0, False, {})]


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", ["31", "311", "5"])
def test_many_lines_arrive_in_order(server, version, qos):
    topic = f"lines/{version}/{qos}"
    options = ["-h", "127.0.0.1", "-p", server.port, "-V", version]
    with listening(*options, "-t", topic, "-q", qos, "-C", 500) as subscriber:
        done = tool("pub", *options, "-t", topic, "-q", qos, "-l", "-M", 7, input=b"".join(b"%d\n" % n for n in range(500)))
        assert done.returncode == 0, done
        assert subscriber.remaining_lines() == [str(n) for n in range(500)]
    assert tool("pub", *options, "-t", topic, "-q", qos, "-l", "--max-inflight", 1, input=b"a\nb\n").returncode == 0


def test_a_line_is_published_when_it_is_there(server):
    options = ["-h", "127.0.0.1", "-p", server.port]
    with listening(*options, "-t", "live") as subscriber, Program(*PROGRAM, "pub", *options, "-t", "live", "-l", "-q", 1, stdin=subprocess.PIPE) as publisher:
        for line in ("first", "second"):
            publisher.process.stdin.write(line + "\n")
            publisher.process.stdin.flush()
            assert subscriber.line() == line
        publisher.process.send_signal(signal.SIGINT)
        assert publisher.exit_code() == 130
        publisher.process.stdin.close()


def test_a_connection_that_is_lost_before_the_acknowledgement_is_1():
    class Silent(Recorder):
        def answer(self, peer, first, body):
            if first >> 4 == 1:
                super().answer(peer, first, body)
            else:
                peer.shutdown(socket.SHUT_RDWR)
    with Silent() as recorder:
        done = tool("pub", "-h", "127.0.0.1", "-p", recorder.port, "-t", "t", "-m", "x", "-q", 1)
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done


def test_on_a_terminal_it_says_nothing_and_an_error_has_no_colour(server):
    with Terminal("pub", "-h", "127.0.0.1", "-p", server.port, "-t", "x", "-m", "y", "-q", 2) as terminal:
        assert terminal.rest() == (b"", 0)
    with Terminal("pub", "-t", "#", "-n") as terminal:
        output, code = terminal.rest()
    assert code == 64 and output.startswith(b"Error: ") and output.count(b"\n") == 1 and b"\x1b" not in output


def test_the_password_of_a_file_is_not_in_the_process_list(server, tmp_path):
    (tmp_path / "password").write_text("hidden-secret\n")
    options = ["-h", "127.0.0.1", "-p", server.port, "-u", "u", "--password-file", tmp_path / "password"]
    with Program(*PROGRAM, "pub", *options, "-t", "x", "-l", stdin=subprocess.PIPE) as publisher:
        shown = wait_until(lambda: open(f"/proc/{publisher.process.pid}/cmdline", "rb").read(), 5, "the process has a command line")
        assert b"hidden-secret" not in shown and b"apus" in shown
        publisher.process.stdin.close()
        assert publisher.exit_code() == 0
