"""The client library's own tests with mosquitto as the server, and with servers that end under it."""
import os, subprocess

import pytest

from brokers import ROOT, Broker, free_port

# Queues longer than mosquitto's defaults, for tests that publish faster than they read.
CONFIGURATION = """listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 100
"""


def test_the_client_library_with_mosquitto(tmp_path):
    port = free_port()
    configuration = tmp_path / "mosquitto.conf"
    configuration.write_text(CONFIGURATION.format(port=port))
    server = Broker(["mosquitto", "-c", str(configuration)], port)
    try:
        server.wait_until_it_listens()
        tests = subprocess.run(
            ["swift", "test", "-c", "release", "--skip-build", "--filter", "MQTTTests.PeerTests"],
            cwd=ROOT, text=True, capture_output=True, timeout=300,
            env={**os.environ, "MQTT_TEST_SERVER": f"mqtt://127.0.0.1:{port}", "PATH": os.environ["PATH"]})
        assert tests.returncode == 0, tests.stdout + tests.stderr + server.log
        # A filter that finds nothing passes as well.
        assert "Suite PeerTests passed" in tests.stdout + tests.stderr
    finally:
        server.discard()


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
