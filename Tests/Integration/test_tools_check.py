"""`apus check`: what our broker and mosquitto say of themselves, and what trying them shows."""
import json

from brokers import serving
from tools import Terminal, broker_named, mosquitto, tool

TRIED = ["a message of QoS 0", "a message of QoS 1", "a message of QoS 2", "a retained message", "a shared subscription", "a session that is kept"]


def checked(port, *options, host=("127.0.0.1",)):
    done = tool("check", *host, "-p", port, "--json", *options)
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def test_our_broker_supports_everything(tmp_path):
    with serving("--limit", "packet-bytes=100000", "--max-keep-alive", 50, "--log-level", "error") as broker:
        found = checked(broker.port)
        assert all(found[name] is True for name in ["MQTT 3.1", "MQTT 3.1.1", "MQTT 5.0", *TRIED, "shared subscriptions", "retained messages"]), found
        assert found["maximum packet size"] == 100000 and found["server keep alive"] == 50
        # It leaves nothing behind.
        assert tool("sub", "-p", broker.port, "-t", "apus-check/#", "-W", 0.5).stdout == b""
        table = tool("check", "127.0.0.1", "-p", broker.port).stdout.decode().splitlines()
        assert len(table) == len(found) and table[0].split() == ["MQTT", "3.1", "yes"]


def test_mosquitto_with_less(tmp_path):
    with mosquitto(tmp_path, more="max_qos 1\nretain_available false\nmax_keepalive 30") as broker:
        found = checked(broker.port, "-W", 3)
        assert found["maximum QoS"] == 1 and found["retained messages"] is False and found["MQTT 5.0"] is True
        assert found["a message of QoS 1"] is True and "QoS not supported" in found["a message of QoS 2"]
        assert "retain not supported" in found["a retained message"]


def test_mosquitto_with_everything(tmp_path):
    with broker_named("mosquitto", tmp_path) as broker:
        found = checked(broker.port, "--timeout", 3, host=("-h", "127.0.0.1"))
        assert all(found[name] is True for name in TRIED), found


def test_on_a_terminal_too(tmp_path):
    with broker_named("apus", tmp_path) as broker, Terminal("check", "127.0.0.1", "-p", broker.port) as terminal:
        output, code = terminal.rest()
        assert code == 0 and b"\x1b" not in output and b"MQTT 5.0" in output
