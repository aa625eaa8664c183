"""The client library's own tests with mosquitto as the server."""
import os, subprocess

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
