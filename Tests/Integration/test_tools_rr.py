"""`apus rr` against who answers with paho."""
import json, threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from programs import run
from tools import Terminal, tool


@pytest.fixture(scope="module")
def options(server):
    """Somebody answers at `ask` in 5.0, and at `ask/old` before."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    ready = threading.Event()
    client.on_subscribe = lambda *_: ready.set()

    def answer(_, __, message):
        if message.topic == "ask/old":
            return client.publish("answer/old", message.payload.upper())
        properties = Properties(PacketTypes.PUBLISH)
        # First one that belongs to somebody else.
        properties.CorrelationData = b"not yours"
        client.publish(message.properties.ResponseTopic, b"wrong", properties=properties)
        properties.CorrelationData = message.properties.CorrelationData
        properties.ContentType = getattr(message.properties, "ContentType", "none")
        client.publish(message.properties.ResponseTopic, message.payload.upper(), qos=1, properties=properties)
    client.on_message = answer
    client.connect("127.0.0.1", server.port)
    client.loop_start()
    client.subscribe([("ask", paho.SubscribeOptions(qos=1)), ("ask/old", paho.SubscribeOptions(qos=1))])
    assert ready.wait(10)
    yield ["-h", "127.0.0.1", "-p", server.port]
    client.disconnect()
    client.loop_stop()


def test_a_response_and_how_long_it_took(options):
    done = tool("rr", *options, "-t", "ask", "-m", "question")
    assert (done.returncode, done.stdout) == (0, b"QUESTION\n")
    assert done.stderr.decode().startswith("answered in ") and done.stderr.decode().split()[-1] in ("µs", "ms", "s")
    assert tool("rr", *options, "-t", "ask", "-m", "question", "--quiet").stderr == b""


def test_every_way_to_ask(options, tmp_path):
    (tmp_path / "request").write_bytes(b"of a file")
    for more, input, answer in [(["--topic", "ask", "--message", "x", "--qos", 1], None, b"X"), (["-t", "ask", "-f", tmp_path / "request", "-q", 2], None, b"OF A FILE"),
                                (["-t", "ask", "--file", tmp_path / "request"], None, b"OF A FILE"), (["-t", "ask", "-s"], b"in", b"IN"), (["-t", "ask", "--stdin-file"], b"in", b"IN"),
                                (["-t", "ask", "--stdin"], b"in", b"IN"), (["-t", "ask", "-n"], None, b""), (["-t", "ask", "--null-message"], None, b"")]:
        done = tool("rr", *options, *more, input=input)
        assert (done.returncode, done.stdout) == (0, answer + b"\n"), done


def test_a_response_topic_of_ones_own(options):
    for flag in ("-e", "--response-topic"):
        assert tool("rr", *options, "-t", "ask", "-m", "x", flag, "my/answers").stdout == b"X\n"
    assert tool("rr", *options, "-V", "311", "-t", "ask/old", "-m", "x", "-e", "answer/old", "-q", 1).stdout == b"X\n"


def test_output_as_that_of_sub(options):
    ask = [*options, "-t", "ask", "-m", '{"a":1}', "-D", "publish", "content-type", "json", "-e", "my/answers"]
    assert tool("rr", *ask, "-v").stdout == b'my/answers {"A":1}\n'
    assert tool("rr", *ask, "-F", "%C %p", "-N").stdout == b'json {"A":1}'
    assert json.loads(tool("rr", *ask, "--json").stdout)["properties"]["content-type"] == "json"
    assert tool("rr", *ask, "--pretty").stdout == b'{\n  "A": 1\n}\n'
    assert tool("rr", *ask, "--hex").stdout.strip() == b'{"A":1}'.hex().encode()
    assert tool("rr", *ask, "--base64", "--verbose").stdout == b"my/answers eyJBIjoxfQ==\n"
    assert tool("rr", *ask, "--format", "%q", "--no-newline").stdout == b"0"


def test_a_retained_message_is_no_response(options):
    assert tool("pub", *options, "-t", "kept/answers", "-m", "old", "-r", "-q", 1).returncode == 0
    for more in ([], ["-R"], ["--no-retained"]):
        assert tool("rr", *options, "-t", "ask", "-m", "x", "-e", "kept/answers", *more).stdout == b"X\n"
    assert tool("pub", *options, "-t", "kept/answers", "-n", "-r", "-q", 1).returncode == 0


def test_on_a_terminal_what_could_command_it_is_escaped(options):
    with Terminal("rr", *options, "-t", "ask", "-m", "\x1b[2J") as terminal:
        output, code = terminal.rest()
    assert code == 0 and b"\x1b" not in output and b"\\x1b[2J\r\n" in output and b"answered in " in output


def test_nobody_answers(options):
    for flag in ("-W", "--timeout"):
        done = tool("rr", *options, "-t", "nobody/is/here", "-m", "x", flag, 0.5)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done
    done = tool("rr", *options, "-t", "nobody/is/here", "-m", "x", "-W", 0.5, "-e", "answers")
    assert done.returncode == 2, done


def test_it_asks_who_answers_with_mosquitto_rr(options):
    """mosquitto_rr gets the same answer, so the two ask alike."""
    assert run("mosquitto_rr", *options, "-t", "ask/old", "-e", "answer/old", "-m", "x", "-V", "311") == "X\n"
