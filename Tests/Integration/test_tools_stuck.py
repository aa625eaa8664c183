"""The tools with servers that do not do their part: none waits for ever, and each says why it ends."""
import contextlib, signal, socket, subprocess, threading

import pytest

from brokers import PROGRAM, wait_until
from programs import Program
from tools import Recorder, tool

CONNECT, PUBLISH, PUBREL, SUBSCRIBE, UNSUBSCRIBE, PINGREQ = 1, 3, 6, 8, 10, 12


class Server(Recorder):
    """Takes any number of connections, and never answers some kinds of packets."""

    def __init__(self, *unanswered, lets_go=True):
        self.unanswered, self.lets_go, self.peers = unanswered, lets_go, []
        super().__init__()

    def __exit__(self, *_):
        super().__exit__()
        for peer in self.peers:
            peer.close()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                self.peers.append(peer if self.lets_go else peer.dup())
                threading.Thread(target=self.converse, args=(peer,), daemon=True).start()

    def answer(self, peer, first, body):
        if first >> 4 not in self.unanswered:
            super().answer(peer, first, body)

    def drop_all(self):
        """As a broker that dies."""
        self.socket.close()
        for peer in self.peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def wait_for(self, kind):
        wait_until(lambda: kind in self.kinds(), 10, f"a packet of kind {kind}")

    @property
    def options(self):
        return ["-h", "127.0.0.1", "-p", self.port]


def sentence(done):
    text = done.stderr.decode()
    assert len(text.splitlines()) == 1 and text.startswith("Error: "), done
    return text


ALL = [["pub", "-t", "t", "-m", "x"], ["sub", "-t", "t"], ["rr", "-t", "t", "-n"], ["bench", "p2p"], ["bench", "conn", "--clients", 50], ["check"]]


@pytest.mark.parametrize("arguments", ALL, ids=lambda a: " ".join(map(str, a[:2])))
def test_a_server_that_never_answers_connect_is_2(arguments):
    with Server(CONNECT) as server:
        done = tool(*arguments, *server.options, "--answer-timeout", 0.4)
    assert done.returncode == 2 and "did not answer in time" in sentence(done), done
    if arguments == ["check"]:
        assert done.stdout.decode().count("no: the server did not answer in time") == 3


@pytest.mark.parametrize("arguments", ALL, ids=lambda a: " ".join(map(str, a[:2])))
def test_a_server_that_never_answers_connect_does_not_hold_up_ctrl_c(arguments):
    with Server(CONNECT) as server, Program(*PROGRAM, *arguments, *server.options) as program:
        server.wait_for(CONNECT)
        program.process.send_signal(signal.SIGINT)
        assert program.exit_code() == (0 if arguments[0] in ("sub", "bench") else 130)
        assert program.errors == []


@pytest.mark.parametrize("arguments", [["sub", "-t", "t"], ["rr", "-t", "t", "-n", "-e", "r"], ["bench", "p2p"], ["bench", "sub"]], ids=lambda a: " ".join(a[:2]))
def test_a_server_that_never_answers_subscribe_is_2(arguments):
    with Server(SUBSCRIBE) as server:
        done = tool(*arguments, *server.options, "--answer-timeout", 0.4)
    assert done.returncode == 2 and "no answer came in time" in sentence(done), done


def test_a_server_that_never_answers_unsubscribe_is_2():
    with Server(UNSUBSCRIBE) as server:
        done = tool("sub", "-U", "t", *server.options, "--answer-timeout", 0.4)
    assert done.returncode == 2 and "no answer came in time" in sentence(done), done


def test_a_response_that_never_comes_is_2():
    for more in ([], ["-e", "r"]):
        with Server() as server:
            done = tool("rr", "-t", "t", "-n", *more, *server.options, "-W", 0.4)
        assert done.returncode == 2 and "no answer came in time" in sentence(done), done


@pytest.mark.parametrize("arguments", [["-q", 1, "-m", "x"], ["-q", 2, "-m", "x"], ["-q", 1, "-l", "-M", 1], ["-q", 1, "-m", "x", "--repeat", 3]], ids=lambda a: " ".join(map(str, a)))
def test_a_server_that_never_acknowledges_is_2(arguments):
    with Server(PUBLISH) as server:
        done = tool("pub", "-t", "t", *arguments, *server.options, "--answer-timeout", 0.4, input=b"1\n2\n3\n")
    assert done.returncode == 2 and "no answer came in time" in sentence(done), done


def test_a_server_that_never_completes_is_2():
    with Server(PUBREL) as server:
        done = tool("pub", "-t", "t", "-q", 2, "-n", *server.options, "--answer-timeout", 0.4)
    assert done.returncode == 2 and "no answer came in time" in sentence(done), done


def test_a_measurement_that_is_never_acknowledged_is_2_and_printed():
    with Server(PUBLISH) as server:
        done = tool("bench", "pub", "-q", 1, "-n", 500, *server.options, "--answer-timeout", 0.4)
    assert done.returncode == 2 and "no answer came in time" in sentence(done), done
    assert done.stdout.startswith(b"scenario      pub\n")


def test_a_server_that_falls_silent_is_2():
    with Server(PINGREQ) as server:
        done = tool("rr", "-t", "t", "-n", "-e", "r", *server.options, "-k", 1)
    assert done.returncode == 2 and "fallen silent" in sentence(done), done


@pytest.mark.parametrize("arguments, kind", [(["pub", "-t", "t", "-l"], PUBLISH), (["rr", "-t", "t", "-n"], PUBLISH), (["rr", "-t", "t", "-n", "-e", "r"], PUBLISH),
                                             (["bench", "p2p", "--rate", 10, "--duration", 60], PUBLISH), (["bench", "sub", "--duration", 60], SUBSCRIBE), (["bench", "pub", "-q", 1, "--rate", 10, "--duration", 60], PUBLISH)],
                         ids=lambda a: " ".join(map(str, a)) if isinstance(a, list) else "")
def test_a_broker_that_dies_is_1_for_what_needs_it(arguments, kind):
    with Server() as server, Program(*PROGRAM, *arguments, *server.options, stdin=subprocess.PIPE) as program:
        if arguments[0] == "pub":
            program.process.stdin.write("x\n")
            program.process.stdin.flush()
        server.wait_for(kind)
        server.drop_all()
        if arguments[0] == "pub":
            # It connects again, until it is told to end.
            wait_until(lambda: any("attempt 1 to connect" in e for e in program.errors), 10, "a note of the lost connection")
            program.process.send_signal(signal.SIGINT)
            assert program.exit_code() == 130
            program.process.stdin.close()
        else:
            assert program.exit_code() == 1 and "the connection was lost" in program.errors[-1], program.errors
            assert len(program.errors) == 1


def test_a_subscriber_waits_for_a_broker_that_died_and_no_longer_than_it_may():
    with Server() as server, Program(*PROGRAM, "sub", "-t", "t", "-W", 1.5, *server.options) as program:
        server.wait_for(SUBSCRIBE)
        server.drop_all()
        assert program.exit_code() == 2 and "attempt 1 to connect again" in program.errors[0]


def test_ctrl_c_ends_the_waiting_for_messages_and_what_was_measured_is_printed():
    with Server() as server:
        with Program(*PROGRAM, "bench", "sub", *server.options, "-d") as program:
            wait_until(lambda: any("subscribed to" in e for e in program.errors), 10, "it has subscribed")
            program.process.send_signal(signal.SIGINT)
            assert "received      0, 0/s" in program.remaining_lines()


def test_clients_that_the_server_never_lets_go_end_together():
    with Server(lets_go=False) as server:
        done = tool("bench", "conn", "--clients", 30, *server.options, timeout=15)  # a second each would be twice as long
    assert done.returncode == 0 and b"connected     30" in done.stdout


class Slow(Recorder):
    """Reads nothing behind CONNECT before it is told to."""

    def __init__(self):
        self.may_read, self.received = threading.Event(), 0
        super().__init__()

    def serve(self):
        with contextlib.suppress(OSError):
            peer, _ = self.socket.accept()
            with peer:
                peer.recv(4096)
                peer.sendall(b"\x20\x03\0\0\0")
                self.may_read.wait(60)
                while data := peer.recv(1 << 20):
                    self.received += len(data)


def test_a_large_message_arrives_whole_where_the_server_takes_its_time(tmp_path):
    size = 30_000_000
    (tmp_path / "large").write_bytes(bytes(size))
    with Slow() as server, Program(*PROGRAM, "pub", "-h", "127.0.0.1", "-p", server.port, "-t", "t", "-f", tmp_path / "large") as program:
        # Longer than who ends a connection waits for the other end.
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.process.wait(2)
        server.may_read.set()
        assert program.exit_code(20) == 0, program.errors
        server.thread.join(10)
        assert server.received > size


def test_a_large_message_that_the_server_never_takes_is_1(tmp_path):
    (tmp_path / "large").write_bytes(bytes(30_000_000))
    with Slow() as server:
        done = tool("pub", "-h", "127.0.0.1", "-p", server.port, "-t", "t", "-f", tmp_path / "large")
        assert done.returncode == 1 and "the server takes nothing more" in sentence(done), done
        server.may_read.set()


# Versions

class Older(Recorder):
    """Speaks 3.1.1 alone: others get return code 1, or nothing (section 3.1.2.2 of 3.1.1)."""

    def __init__(self, says_so=True):
        self.says_so = says_so
        super().__init__()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                self.converse(peer)

    def answer(self, peer, first, body):
        if first >> 4 == 1 and body[6] != 4:
            if self.says_so:
                peer.sendall(b"\x20\x02\0\1")
            peer.shutdown(socket.SHUT_RDWR)
        else:
            super().answer(peer, first, body)


@pytest.mark.parametrize("says_so", [True, False], ids=["it says so", "it hangs up"])
def test_a_server_without_5_0_is_1_and_the_way_out_is_told(says_so):
    with Older(says_so) as server:
        options = ["-h", "127.0.0.1", "-p", server.port]
        for arguments in (["pub", "-t", "t", "-n"], ["sub", "-t", "t"], ["rr", "-t", "t", "-n"]):
            done = tool(*arguments, *options)
            said = sentence(done)
            assert done.returncode == 1 and "try -V 3.1.1" in said, done
            assert ("unsupported protocol version" in said) is says_so
        assert tool("pub", "-t", "t", "-n", "-V", "3.1.1", *options).returncode == 0


def test_check_says_which_versions_a_server_speaks():
    with Older() as server:
        done = tool("check", "127.0.0.1", "-p", server.port, "-W", 0.4)
    rows = dict(line.split("  ", 1) for line in done.stdout.decode().splitlines())
    assert done.returncode == 0 and rows["MQTT 3.1.1"].strip() == "yes", done
    for version in ("MQTT 3.1", "MQTT 5.0"):
        assert "no: the server refused the connection: unsupported protocol version" in rows[version]
