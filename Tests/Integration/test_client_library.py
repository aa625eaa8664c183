"""The client library's own tests with mosquitto as the server, and with servers that end under it."""
import base64, contextlib, hashlib, json, os, re, subprocess
from pathlib import Path

import pytest

from brokers import ROOT, Broker, free_port

# Queues longer than mosquitto's defaults, for tests that publish faster than they read.
CONFIGURATION = """listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 100
"""
# What PeerServer says of each.
LIMITED = """listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 5
max_packet_size 2000
max_keepalive 10
max_qos 1
retain_available false
"""
GUARDED = """user root
listener {port} 127.0.0.1
allow_anonymous false
plugin {plugin}
plugin_opt_config_file {dir}/users.json
"""
# The list of `acl_file` refuses no subscription in 2.0: only this plugin does.
PLUGIN = next(Path("/usr/lib").glob("*/mosquitto_dynamic_security.so"), None)


def users():
    """Alice, who may publish and subscribe below `open`, for the plugin."""
    salt, rounds = os.urandom(12), 101
    key = hashlib.pbkdf2_hmac("sha512", b"right", salt, rounds, 64)
    rights = [{"acltype": right, "topic": "open/#", "priority": 0, "allow": True}
              for right in ["publishClientSend", "subscribePattern"]]
    return {
        "defaultACLAccess": {"publishClientSend": False, "publishClientReceive": True, "subscribe": False,
                             "unsubscribe": True},
        "clients": [{"username": "alice", "password": base64.b64encode(key).decode(),
                     "salt": base64.b64encode(salt).decode(), "iterations": rounds,
                     "roles": [{"rolename": "member"}]}],
        "roles": [{"rolename": "member", "acls": rights}],
    }


@contextlib.contextmanager
def mosquitto(directory, configuration):
    """A server with a configuration of its own."""
    directory.mkdir()
    port = free_port()
    path = directory / "mosquitto.conf"
    path.write_text(configuration.format(port=port, dir=directory, plugin=PLUGIN))
    (directory / "users.json").write_text(json.dumps(users()))
    server = Broker(["mosquitto", "-c", str(path)], port)
    try:
        server.wait_until_it_listens()
        yield server
    finally:
        server.discard()


def peer_suites():
    """Those whose names say that they hold with every server."""
    sources = Path(ROOT, "Tests/MQTTTests").glob("Peer*Tests.swift")
    return {suite for source in sources for suite in re.findall(r"struct (Peer\w*Tests)", source.read_text())}


def test_the_client_library_with_mosquitto(tmp_path):
    assert PLUGIN, "mosquitto came without its plugin for users"
    with mosquitto(tmp_path / "open", CONFIGURATION) as server, \
            mosquitto(tmp_path / "limited", LIMITED) as limited, \
            mosquitto(tmp_path / "guarded", GUARDED) as guarded:
        addresses = {"MQTT_TEST_SERVER": server, "MQTT_TEST_LIMITED_SERVER": limited,
                     "MQTT_TEST_GUARDED_SERVER": guarded}
        tests = subprocess.run(
            ["swift", "test", "-c", "release", "--skip-build", "--filter", r"MQTTTests.Peer\w*Tests"],
            cwd=ROOT, text=True, capture_output=True, timeout=300,
            env={**os.environ, **{name: f"mqtt://127.0.0.1:{s.port}" for name, s in addresses.items()}})
        output = tests.stdout + tests.stderr
        assert tests.returncode == 0, output + "".join(s.log[-4000:] for s in addresses.values())
        # A filter that finds nothing passes as well.
        passed = set(re.findall(r"Suite (\w+) passed", output))
        assert peer_suites() - passed == set()


# It writes its database when it is asked to end, and so keeps its promises over that.
# As the user that runs the tests, who may write there.
LASTING = CONFIGURATION + "user root\npersistence true\npersistence_location {dir}/\nmax_packet_size 100000\n"
APUS = f"{ROOT}/.build/release/apus serve --port {{port}} --data {{dir}}/data --log-level error"


@pytest.mark.parametrize("server", ["mosquitto", "apus"])
def test_the_client_library_with_a_server_that_ends_and_begins_anew(server, tmp_path):
    starter = tmp_path / "start"
    starter.write_text("#!/bin/sh\ncat >$2/mosquitto.conf <<E\n"
                       + LASTING.format(port="$1", dir="$2") + "E\nexec mosquitto -c $2/mosquitto.conf\n")
    starter.chmod(0o755)
    command, signal = (f"{starter} {{port}} {{dir}}", "15") if server == "mosquitto" else (APUS, "9")
    tests = subprocess.run(
        ["swift", "test", "-c", "release", "--skip-build", "--filter", "MQTTTests.RestartTests"],
        cwd=ROOT, text=True, capture_output=True, timeout=300,
        env={**os.environ, "MQTT_TEST_SERVER_COMMAND": command, "MQTT_TEST_SERVER_SIGNAL": signal})
    assert tests.returncode == 0, tests.stdout + tests.stderr
    assert "Suite RestartTests passed" in tests.stdout + tests.stderr
