"""The tools in the hands of somebody who means no good: one sentence, the code that is documented, and no trap."""
import contextlib, os, socket, subprocess

import pytest

from brokers import PROGRAM, ROOT, free_port
from tools import Recorder, broker_named, tool


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    with broker_named("apus", tmp_path_factory.mktemp("broker")) as broker:
        yield ["-h", "127.0.0.1", "-p", broker.port]


def fails(done, code, said=""):
    text = done.stderr.decode()
    assert done.returncode == code and text.startswith("Error: ") and len(text.splitlines()) == 1 and said in text, done


def shell(command):
    return subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, timeout=30)


NUMBERS = ["", "x", "-1", "1e999", "99999999999999999999", "nan", "inf", " 1", "１"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name, flag", [
    ("pub", "-p"), ("pub", "-q"), ("pub", "-k"), ("pub", "-M"), ("pub", "--repeat"), ("pub", "--repeat-delay"), ("pub", "--will-qos"), ("pub", "--answer-timeout"), ("sub", "-C"), ("sub", "-W"), ("sub", "--random-filter"),
    ("rr", "-W"), ("check", "-W"), ("bench", "-n"), ("bench", "-s"), ("bench", "--rate"), ("bench", "--duration"), ("bench", "--window"), ("bench", "--wait"), ("bench", "--publishers"), ("bench", "--clients")])
def test_what_is_no_number_there_is_64(name, flag, number):
    needed = {"pub": ["-t", "t", "-n"], "sub": ["-t", "t"], "rr": ["-t", "t", "-n"], "bench": ["p2p"], "check": []}[name]
    fails(tool(name, *needed, f"{flag}={number}" if flag.startswith("--") else flag, *([] if flag.startswith("--") else [number])), 64)


@pytest.mark.parametrize("interval", ["-2", "4294967296", "x", "", "1.5"])
def test_a_session_expiry_that_is_none_is_64(interval):
    fails(tool("sub", "-t", "t", "-x", interval), 64, "-x")


@pytest.mark.parametrize("topic", ["", "a/#", "+", "a/+/b", "x" * 65_536], ids=lambda t: t[:10])
def test_what_is_no_topic_name_is_64(topic):
    for arguments in (["pub", "-n"], ["rr", "-n"], ["bench", "pub"]):
        fails(tool(*arguments, "-t", topic), 64, "-t is a topic name")
    fails(tool("rr", "-t", "t", "-n", "-e", topic), 64, "-e is a topic name")
    fails(tool("pub", "-t", "t", "-n", "--will-topic", topic), 64, "--will-topic is a topic name")


@pytest.mark.parametrize("filter", ["", "a/#/b", "a#", "+a", "$share/g", "$share//t", "$share/+/t", "x" * 65_536], ids=lambda t: t[:10])
def test_what_is_no_filter_is_64(filter):
    for flag in ("-t", "-T", "-U"):
        fails(tool("sub", "-t", "t", flag, filter), 64, "is not a topic filter")


@pytest.mark.parametrize("url", ["", "x", "mqtt://", "mqtt:///t", "mqtt://h:0/t", "mqtt://h:65536/t", "mqtt://h:x/t", "mqtt://[::1/t", "mqtt://[::1]x/t", "mqtt://u%zz@h/t", "://h/t", "mqtt:h"])
def test_what_is_no_url_is_64(url):
    fails(tool("sub", "-L", url), 64)
    fails(tool("check", "-L", url), 64)


def test_a_password_in_a_wrong_url_is_not_told():
    assert b"secret" not in tool("pub", "-L", "mqtt://user:secret@h:x/t", "-n").stderr


@pytest.mark.parametrize("arguments", [["pub", "-t", "t", "-n"], ["sub", "-t", "t"], ["rr", "-t", "t", "-n"], ["bench", "conn"], ["bench", "p2p"], ["check"]], ids=lambda a: " ".join(a[:2]))
def test_hosts_that_are_none(arguments):
    fails(tool(*arguments, "-h", "no.such.host.invalid"), 1, "no.such.host.invalid")
    fails(tool(*arguments, "-h", ""), 64, "-h")
    fails(tool(*arguments, "-h", "127.0.0.1", "-p", free_port()), 1, "Connection refused")
    fails(tool(*arguments, "-h", "a host"), 1, "a host")
    fails(tool(*arguments, "-h", "x" * 300), 1)


def test_arguments_that_are_not_utf_8_are_64_and_not_repaired():
    for arguments in ([b"pub", b"-t", b"t", b"-m", b"\xff"], [b"sub", b"-t", b"\xc3"], [b"pub", b"\xed\xa0\x80", b"x"]):
        fails(subprocess.run([*map(os.fsencode, PROGRAM), *arguments], cwd=ROOT, capture_output=True, timeout=30), 64, "not UTF-8")


def test_files_that_are_none(tmp_path):
    fails(tool("pub", "-t", "t", "-f", tmp_path), 1, "Is a directory")
    fails(tool("pub", "-t", "t", "-f", ""), 1, "cannot read")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(300_000_000)
    fails(tool("pub", "-t", "t", "-f", tmp_path / "sparse"), 1, "at most")
    fails(tool("pub", "-t", "t", "-f", "/dev/zero"), 1, "at most")
    fails(shell(f"{' '.join(PROGRAM)} pub -t t -s < /dev/zero"), 1, "at most")
    fails(tool("pub", "-t", "t", "-n", "--password-file", "/dev/null"), 1, "no password")


def test_standard_input_that_cannot_be_read(options):
    pub = f"{' '.join(PROGRAM)} pub {' '.join(map(str, options))} -t t"
    for how in ("-s", "-l"):
        fails(shell(f"{pub} {how} <&-"), 1, "Bad file descriptor")
        fails(shell(f"{pub} {how} < /tmp"), 1, "Is a directory")
    assert shell(f"{pub} -l < /dev/null").returncode == 0


def test_standard_output_that_cannot_be_written(options):
    with Recorder() as recorder:
        # Nothing that is printed gets into the connection, which would have the number of standard output.
        done = shell(f"{' '.join(PROGRAM)} rr -h 127.0.0.1 -p {recorder.port} -t t -n -W 0.3 -d >&-")
        assert done.returncode == 2 and recorder.kinds()[0] == 1
    assert tool("pub", *options, "-t", "kept", "-m", "payload", "-r", "-q", 1).returncode == 0
    for arguments in ("sub -t kept -C 1", "check", "bench p2p -n 5", "sub -t kept -C 1 --watch"):
        command = f"{' '.join(PROGRAM)} {arguments} {' '.join(map(str, options))}"
        fails(shell(f"{command} >&-"), 1, "cannot print: Bad file descriptor")
        fails(shell(f"{command} > /dev/full"), 1, "cannot print: No space left on device")
        assert shell(f"{command} 2>&-").returncode == 0
        assert shell(f"{command} | true; exit ${{PIPESTATUS[0]}}").returncode == 0
    assert shell(f"{' '.join(PROGRAM)} pub -t t -p {free_port()} -n 2>&-").returncode == 1


def test_empty_texts_that_mean_something(options):
    for arguments in (["-m", ""], ["-n"], ["-f", "/dev/null"], ["-s"]):
        assert tool("pub", *options, "-t", "empty", "-q", 1, *arguments, input=b"").returncode == 0
    for version in ("3.1.1", "5"):
        for more in (["-i", ""], ["-u", ""], ["-u", "", "-P", ""], ["--will-topic", "w", "--will-payload", ""]):
            assert tool("pub", *options, "-V", version, "-t", "empty", "-n", "-q", 1, *more).returncode == 0
    assert tool("sub", *options, "-t", "none", "-F", "", "-W", 0.1).returncode == 2


def test_texts_that_do_not_fit(options):
    for flag in ("-i", "-u", "-P", "--will-payload"):
        more = {"-P": ["-u", "u"], "--will-payload": ["--will-topic", "w"]}.get(flag, [])
        done = tool("pub", *options, "-t", "t", "-n", *more, flag, "x" * 70_000)
        assert done.returncode in (1, 64) and len(done.stderr.splitlines()) == 1, done


@pytest.mark.parametrize("format", ["%", "%5", "%.", "%-", "%999999999999999999999t", "%.99999t", "@", "\\", "\\x", "%é", "%y"])
def test_formats_that_are_none_are_64(format):
    fails(tool("sub", "-t", "t", "-F", format), 64)


class Liar(Recorder):
    """Refuses with reasons that would command a terminal."""

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self.socket.accept()
                self.converse(peer)

    def answer(self, peer, first, body):
        reason = b"\x1b[2J\nError: all is well\r\xc2\x9b"
        properties = b"\x1f" + len(reason).to_bytes(2, "big") + reason
        rest = b"\0\x87" + bytes([len(properties)]) + properties
        peer.sendall(b"\x20" + bytes([len(rest)]) + rest)
        peer.shutdown(socket.SHUT_RDWR)


def test_reasons_of_a_broker_do_not_command_the_terminal():
    with Liar() as liar:
        for arguments in (["pub", "-t", "t", "-n"], ["sub", "-t", "t", "-d"], ["bench", "conn", "--clients", 1], ["check"]):
            done = tool(*arguments, "-h", "127.0.0.1", "-p", liar.port)
            output = done.stdout + done.stderr
            assert done.returncode == 1 and b"not authorized (0x87), \\x1b[2J Error: all is well" in output and b"\x1b" not in output and b"\xc2\x9b" not in output, done
            assert "-d" in arguments or len(done.stderr.splitlines()) == 1


def test_formats_of_any_characters(options):
    assert tool("pub", *options, "-t", "kept/format", "-m", "payload", "-r", "-q", 1).returncode == 0
    for format in ("@é", "@%", "@E", "@O", "é%pé", "@+", "@@@@", "%10000t", "%0000000005l"):
        done = tool("sub", *options, "-t", "kept/format", "-C", 1, "-F", format)
        assert done.returncode == 0 and done.stderr == b"", done


def test_flags_that_do_not_go_together_or_are_none():
    for arguments in (["pub", "-t"], ["pub", "--bogus"], ["pub", "-t", "t", "-Z"], ["sub", "-t", "t", "-q"], ["rr", "-t", "t", "-n", "surplus"], ["bench", "pub", "sub"], ["bench", "--merge"], ["completion"], ["dance"], ["check", "a", "b"], ["version", "x"],
                      ["pub", "-D"], ["pub", "-t", "t", "-n", "-D", "publish", "user-property", "a"], ["sub", "-t", "t", "--json=1"]):
        fails(tool(*arguments), 64)
