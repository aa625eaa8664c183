"""`apus sub`: what it prints, against our broker and mosquitto, and character for character as mosquitto_sub."""
import json, re, signal, subprocess

import pytest

from brokers import PROGRAM, ROOT, wait_until
from programs import Program, run
from tools import Terminal, broker_named, listening, tool

BINARY = b"\xff\0\x1b[31mred\x07\r\xc3\xa9\n"


@pytest.fixture
def retained(options):
    """Publishes retained messages, and takes them back at the end."""
    topics = []

    def retained(topic, payload, *more):
        topics.append(topic)
        assert tool("pub", *options, "-t", topic, "-r", "-q", 1, "-s", *more, input=payload).returncode == 0
    yield retained
    for topic in topics:
        tool("pub", *options, "-t", topic, "-r", "-q", 1, "-n")


def sub(*arguments, env=None, code=0):
    done = tool("sub", *arguments, env=env)
    assert done.returncode == code and done.stderr == b"", done
    return done.stdout


def test_payloads_go_into_a_pipe_unchanged(options, retained, name):
    retained(name, BINARY)
    assert sub(*options, "-t", name, "-C", 1) == BINARY + b"\n"
    assert sub(*options, "-t", name, "-C", 1, "-N") == BINARY
    assert sub(*options, "--topic", name, "--count", 1, "--no-newline", "--verbose") == name.encode() + b" " + BINARY
    assert sub(*options, "-t", name, "-C", 1, "-N", "-F", "%p") == BINARY


def test_on_a_terminal_what_could_command_it_is_escaped(options, retained, name):
    retained(name, BINARY)
    for more in (["-v"], ["-F", "%t %p"]):
        with Terminal("sub", *options, "-t", name, "-C", "1", *more) as terminal:
            output, code = terminal.rest()
        assert code == 0 and output == name.encode() + b" \\xff\\x00\\x1b[31mred\\x07\\x0d\xc3\xa9\r\n\r\n"
    with Terminal("sub", *options, "-t", name, "-C", "1", "-N", "-F", "\\e[1m%q") as terminal:
        assert terminal.rest()[0] == b"\x1b[1m0"  # what the user asked for stays


def test_hexadecimal_and_base64(options, retained, name):
    import base64
    for length in (0, 1, 2, 3, 256):
        payload = bytes(range(256))[:length] or b"~"
        retained(name, payload)
        assert sub(*options, "-t", name, "-C", 1, "--hex").strip() == payload.hex().encode()
        assert sub(*options, "-t", name, "-C", 1, "--base64").strip() == base64.b64encode(payload)
        assert sub(*options, "-t", name, "-C", 1, "--base64", "-v").split()[1] == base64.b64encode(payload)


FORMATS = ["%%", "%t|%p|%q|%r|%l", "%10t|%-40t|%.3t|%10.3t|%-10.3t|", "%8l|%08l|%-8l|", "%x|%X|%p", "%C|%E|%F|%R|%P|%D|", "%20C|%06E|", "@@ \\\\ \\a\\e\\n\\r\\t\\v \\0",
           "@Y-@m @Z", "%j", "%J", "plain", "%60p|%-60p|%060p|", "%010t|%5.2C|%-8E|%08F|"]


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("version", ["311", "5"])
def test_formats_are_those_of_mosquitto_sub(options, retained, name, format, version):
    properties = ["-D", "publish", "content-type", "text/plain", "-D", "publish", "message-expiry-interval", 600, "-D", "publish", "payload-format-indicator", 1,
                  "-D", "publish", "response-topic", "r/t", "-D", "publish", "correlation-data", "c d", "-D", "publish", "user-property", "a", "b", "-D", "publish", "user-property", "c", "d e"]
    retained(f"{name}/topic", b'{"a": [1, 2.5e3, "x\\u00e9"], "b": null}', *properties)
    arguments = [*options, "-V", version, "-t", f"{name}/+", "-C", "1", "-F", format]
    theirs = subprocess.run(["mosquitto_sub", *arguments], capture_output=True, timeout=20)
    assert theirs.returncode == 0, theirs
    ours = sub(*arguments)

    def comparable(output):
        if format.lower() != "%j":
            # Between the two a second may pass, which expiry and dates show.
            return re.sub(rb"(00)?(600|59\d)", b"E", output) if b"E" in format.encode() else output
        found = json.loads(output)
        # That of 2.0.11 has a Z before its offset, which its manual does not have.
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z?[+-]\d{4}", found.pop("tst"))
        found.get("properties", {}).pop("message-expiry-interval", None)
        found.pop("mid", None)
        return found
    assert comparable(ours) == comparable(theirs.stdout)


def test_widths_of_hexadecimal_and_of_what_is_not_there(options, retained, name):
    # mosquitto_sub 2.0.11 cuts the former and leaves out the latter, where its manual says that a width is the least.
    retained(name, b"\xab\xcd")
    assert sub(*options, "-t", name, "-C", 1, "-F", "%6x|%-6x|%06X|%2x|%-3C|%3R|") == b"  abcd|abcd  |00ABCD|abcd|   |   |\n"


@pytest.mark.parametrize("format", ["%m|%5m|%05m|%-5m|", "%j", "%A|%S|%q|%r", "%J"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_packet_identifiers_are_those_that_mosquitto_sub_prints(options, retained, name, format, qos):
    topics = [f"{name}/{n}" for n in range(3)]
    for topic in topics:
        retained(topic, b"[]", "-q", 2)
    arguments = [*options, "-V", "5", "-t", f"{name}/+", "-C", "3", "-q", str(qos), "-F", format]
    theirs = subprocess.run(["mosquitto_sub", *arguments], capture_output=True, timeout=20).stdout
    tst = re.compile(rb'"tst":"[^"]*"')
    # The topics may come in any order.
    assert sorted(tst.sub(b"", sub(*arguments)).splitlines()) == sorted(tst.sub(b"", theirs).splitlines()) != []


def test_times_in_formats(options, retained, name):
    retained(name, b"x")
    env = {"TZ": "Asia/Kathmandu"}
    date, unix, nanoseconds, own = sub(*options, "-t", name, "-C", 1, "-F", "%I %U @N @H:@M", env=env).decode().split()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+0545", date) and re.fullmatch(r"\d{10}\.\d{9}", unix)
    assert len(nanoseconds) == 9 and own == date[11:16]


def test_a_payload_that_is_not_json_is_told_and_left_out(options, retained, name):
    retained(name, b'{"a": 1,}')
    done = tool("sub", *options, "-t", name, "-C", 1, "-F", "%J")
    assert (done.returncode, done.stdout) == (0, b"") and name in done.stderr.decode() and len(done.stderr.splitlines()) == 1
    assert tool("sub", *options, "-t", name, "-C", 1, "--format", "%J", "--quiet").stderr == b""


def test_json_lines(options, retained, name):
    retained(name, "{\"°\"\n".encode(), "-D", "publish", "content-type", "text/plain", "-D", "publish", "user-property", "a", "b", "-D", "publish", "user-property", "a", "c")
    lines = sub(*options, "-t", name, "-C", 1, "--json", env={"TZ": "America/St_Johns"}).decode().splitlines()
    found = json.loads(lines[0])
    assert len(lines) == 1 and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}-0[23]:30", found.pop("timestamp"))
    assert found == {"topic": name, "qos": 0, "retain": True, "duplicate": False, "payload": "{\"°\"\n",
                     "properties": {"content-type": "text/plain", "user-properties": [["a", "b"], ["a", "c"]]}}
    retained(name, b"\xff\xfe")
    assert json.loads(sub(*options, "-t", name, "-C", 1, "--json"))["payloadBase64"] == "//4="
    assert json.loads(sub(*options, "-t", name, "-C", 1, "--json", "--hex"))["payloadHex"] == "fffe"
    pretty = sub(*options, "-t", name, "-C", 1, "--json", "--pretty").decode()
    assert json.loads(pretty)["topic"] == name and pretty.splitlines()[1].startswith("  \"timestamp\"")


def test_pretty_indents_payloads_that_are_json_and_no_others(options, retained, name):
    retained(name, b'{"a":[1,{}],"b":"x"}')
    assert sub(*options, "-t", name, "-C", 1, "--pretty") == b'{\n  "a": [\n    1,\n    {}\n  ],\n  "b": "x"\n}\n'
    for text in (b"{]", b"01", b'{"a":1} x', b'"\x01"', b"[1,]", b"nul", b"1e", b"[" * 600 + b"]" * 600):
        retained(name, text)
        assert sub(*options, "-t", name, "-C", 1, "--pretty") == text + b"\n"


def test_filters_and_what_is_filtered_out(options, retained, name):
    for n in range(4):
        retained(f"{name}/{n}", b"%d" % n)
    retained(f"{name}/1/deep", b"deep")
    lines = sub(*options, "-t", f"{name}/#", "-T", f"{name}/1/#", "-T", f"{name}/+/deep", "--filter-out", f"{name}/2", "-C", 2, "-q", 2).split()
    assert sorted(lines) == [b"0", b"3"]
    assert sorted(sub(*options, "-C", 2, f"{name}/0", f"{name}/3", "--qos", 1).split()) == [b"0", b"3"]
    assert sub("-L", f"mqtt://127.0.0.1:{options[3]}/{name}/1", "-C", 1) == b"1\n"
    arguments = ["-L", f"mqtt://127.0.0.1:{options[3]}/{name}/1", "-t", f"{name}/3", "-C", "2"]
    assert sorted(sub(*arguments).split()) == sorted(run("mosquitto_sub", *arguments).encode().split()) == [b"1", b"3"]


def test_without_messages_that_were_retained_and_with_them_alone(options, retained, name):
    retained(f"{name}/old", b"old")
    for flag in ("-R", "--no-retained"):
        with listening(*options, "-t", f"{name}/#", "-C", 1, flag) as subscriber:
            assert tool("pub", *options, "-t", f"{name}/new", "-m", "new").returncode == 0
            assert subscriber.remaining_lines() == ["new"]
    with listening(*options, "-t", f"{name}/#", "--retained-only") as subscriber:
        assert subscriber.line() == "old"
        assert tool("pub", *options, "-t", f"{name}/new", "-m", "new").returncode == 0
        assert subscriber.remaining_lines() == []


def test_retained_messages_are_removed(options, retained, name):
    for n in range(3):
        retained(f"{name}/{n}", b"%d" % n)
    assert sorted(sub(*options, "-t", f"{name}/#", "-T", f"{name}/1", "--remove-retained", "-W", 1, code=2).split(b"\n")) == [b"", b"0", b"2"]
    assert sub(*options, "-t", f"{name}/#", "-W", 1, code=2) == b"1\n"


def test_retained_as_published(options, name):
    for flags, seen in (([], "0"), (["--retain-as-published"], "1")):
        with listening(*options, "-t", name, "-C", 1, "-F", "%r", *flags) as subscriber:
            assert tool("pub", *options, "-t", name, "-m", "x", "-r", "-q", 1).returncode == 0
            assert subscriber.remaining_lines() == [seen]
        assert tool("pub", *options, "-t", name, "-n", "-r", "-q", 1).returncode == 0


def test_some_messages_at_random(options, name):
    session = [*options, "-i", name, "-c", "-q", 1, "-t", name]
    counts = []
    for percent in (100, 50, 0.1):
        sub(*session, "-E")
        assert tool("pub", *options, "-t", name, "-q", 1, "-l", input=b"x\n" * 400).returncode == 0
        counts.append(len(sub(*session, "-C", 400, "--random-filter", percent).split()))
    # A fair coin falls outside of this less than once in 10^15 times.
    assert counts[0] == 400 and 120 < counts[1] < 280 and counts[2] < 30


@pytest.mark.parametrize("version", ["311", "5"])
def test_filters_are_taken_out_of_a_session(options, name, version):
    session = [*options, "-V", version, "-i", name, "-c", "-q", 1]

    def publish_both():
        for level in "ab":
            assert tool("pub", *options, "-t", f"{name}/{level}", "-m", level, "-q", 1).returncode == 0
    sub(*session, "-t", f"{name}/a", "-t", f"{name}/b", "-E")
    publish_both()
    assert sub(*session, "-U", f"{name}/a", "-C", 2).split() == [b"a", b"b"]  # they waited there before
    publish_both()
    assert sub(*session, "-t", f"{name}/b", "-C", 1) == b"b\n"
    # Its own too, once they are made: as those of mosquitto_sub.
    properties = ["-D", "unsubscribe", "user-property", "a", "b"] if version == "5" else []
    sub(*session, "-t", f"{name}/a", "--unsubscribe", f"{name}/a", "-U", f"{name}/b", *properties, "-E")
    publish_both()
    assert sub(*session, "-U", f"{name}/none", "-W", 0.5, code=2) == b""
    assert tool("sub", *options, "-V", version, "-i", name, "-t", name, "-E").returncode == 0


def test_a_timeout_is_2(options, name):
    assert sub(*options, "-t", name, "-W", 0.5, code=2) == b""
    assert sub(*options, "-t", name, "--timeout", 0.5, code=2) == b""


def test_it_ends_once_it_has_subscribed(options, name):
    assert sub(*options, "-t", name, "-E") == b""
    assert sub(*options, "-t", name, "--exit-after-subscribing") == b""


@pytest.mark.parametrize("version", ["311", "5"])
def test_a_session_keeps_what_nobody_has_read(options, name, version):
    session = [*options, "-V", version, "-i", name, "-c", "-q", 1]
    sub(*session, "-t", f"{name}/#", "-E")
    assert tool("pub", *options, "-t", f"{name}/x", "-q", 1, "-l", input=b"".join(b"%d\n" % n for n in range(90))).returncode == 0
    seen = []
    for count in (1, 4, 50, 35):
        seen += sub(*session, "-t", f"{name}/#", "-C", count, "-W", 10).split()
    assert seen == [b"%d" % n for n in range(90)]
    sub(*session, "-t", f"{name}/#", "-W", 0.5, code=2)
    assert tool("sub", *options, "-V", version, "-i", name, "-t", name, "-E").returncode == 0  # gone


def test_a_reader_that_has_enough_ends_it_quietly(options, retained, name):
    for n in range(10):
        retained(f"{name}/{n}", b"x")
    done = subprocess.run(f"{' '.join(PROGRAM)} sub {' '.join(options)} -t '{name}/#' | head -3; echo ${{PIPESTATUS[0]}}", shell=True,
                          executable="/bin/bash", cwd=ROOT, capture_output=True, timeout=20)
    assert (done.stdout, done.stderr) == (b"x\nx\nx\n0\n", b"")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_quietly(options, name, how):
    with listening(*options, "-t", name) as subscriber:
        subscriber.process.send_signal(how)
        assert subscriber.exit_code() == 0


def test_a_lost_connection_is_made_again(tmp_path, name):
    from brokers import serving
    with serving("--data", tmp_path / "data", "--log-level", "error") as broker:
        options = ["-h", "127.0.0.1", "-p", broker.port]
        with listening(*options, "-t", name) as subscriber:
            broker.stop()
            broker.process = subprocess.Popen(broker.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            broker.wait_until_it_listens()
            wait_until(lambda: sum("connected to" in e for e in subscriber.errors) == 2, 20, "it is connected again")
            wait_until(lambda: tool("pub", *options, "-t", name, "-m", "again").returncode == 0 and not subscriber.lines.empty(), 10, "a message")
            assert subscriber.line() == "again" and any("attempt 1" in e for e in subscriber.errors)


def test_who_takes_the_session_over_ends_it(tmp_path):
    with broker_named("apus", tmp_path) as broker:
        options = ["-h", "127.0.0.1", "-p", broker.port, "-i", "same"]
        with listening(*options, "-t", "x") as subscriber:
            assert tool("pub", *options, "-t", "y", "-n").returncode == 0
            assert subscriber.exit_code() == 1 and "session taken over (0x8E)" in subscriber.errors[-1]


# Watching

def test_watch_on_a_terminal_is_a_table_that_stays_and_ends_with_a_summary(options, name):
    name = "watched" + name.rsplit("-", 1)[1]  # short enough for its column
    with Terminal("sub", *options, "-d", "-t", f"{name}/#", "--watch", rows=8) as terminal:
        terminal.read_until(b"subscribed to")
        for n in range(8):
            for _ in range(2):
                assert tool("pub", *options, "-t", f"{name}/{n}", "-m", f"\x1b[2Jvalue {n}", "-q", 1).returncode == 0
        terminal.read_until(b"more topics")
        terminal.interrupt()
        output, code = terminal.rest()
    text = output.decode()
    assert code == 0 and "16 messages, 176 bytes on 8 topics in" in text.splitlines()[-1]
    assert "PER SECOND" in text and "\x1b[K" in text and "\x1b[2J" not in text and "\\x1b[2Jvalue 0" in text
    assert re.search(rf"{name}/0 +2 +\d+\.\d +[\d.]+ (m?s|µs)  ", text)


def test_watch_in_a_pipe_has_no_colour_and_counts(options, name):
    name = "watched" + name.rsplit("-", 1)[1]
    with listening(*options, "-t", f"{name}/#", "-w", "-C", 20, "-q", 1) as subscriber:
        for n in range(20):
            assert tool("pub", *options, "-t", f"{name}/{n % 2}", "-m", str(n), "-q", 1).returncode == 0
        lines = subscriber.remaining_lines(20)
    assert lines[-1].startswith("20 messages, 30 bytes on 2 topics") and "\x1b" not in "".join(lines)
    assert [l.split()[:2] for l in lines[-4:-2]] == [[f"{name}/0", "10"], [f"{name}/1", "10"]]
