"""MQTT.js (Debian's node-mqtt) in the three versions. The programs are in mqttjs/."""
from pathlib import Path

import pytest

from programs import run

PROGRAMS = Path(__file__).parent / "mqttjs"


def play(program, broker, version, topic):
    output = run("node", PROGRAMS / f"{program}.js", broker.port, version, topic, env={"NODE_PATH": "/usr/share/nodejs"})
    assert output == "ok\n"


@pytest.mark.parametrize("version", [3, 4, 5])
@pytest.mark.parametrize("program", ["round_trip", "retained", "will", "reconnect"])
def test_mqttjs(broker, program, version, name):
    play(program, broker, version, f"{name}-{program}")


def test_mqttjs_properties_of_5_0(broker, name):
    play("properties", broker, 5, name)
