"""One subscriber that stops reading costs only itself."""
import json, os, shlex, subprocess, sys
from pathlib import Path

import pytest

from brokers import COMMAND, ROOT, free_port

CONFORMANCE = Path(os.environ.get("APUS_CONFORMANCE", ROOT / "Tests" / "Conformance"))
LONGEST_WAIT_SECONDS_MAX = 0.1
KIB_PER_MIB = 1024
SENT_MIB_MIN = 25
SEND_BUFFER_MIB, QUEUE_MIB = 8, 8
# What holds a message, and what the others have in flight.
OVERHEAD_MIB = 6


@pytest.mark.parametrize("qos", [0, 1])
def test_others_are_served_while_one_does_not_read(qos, tmp_path):
    """At QoS 0 the one has a full send buffer, at QoS 1 a full queue, and the rest is dropped."""
    out = tmp_path / "result.json"
    command = shlex.split(COMMAND.replace("{threads}", "4")) + ["--limit", f"queued-bytes={QUEUE_MIB << 20}"]
    done = subprocess.run(
        [sys.executable, str(CONFORMANCE / "slow_consumer.py"), "--port", str(free_port()), "--qos", str(qos), "--seconds", "6",
         "--out", str(out), "--", *command], cwd=ROOT, capture_output=True, text=True, timeout=90)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    result = json.loads(out.read_text())
    assert result["others_longest_wait_s"] <= LONGEST_WAIT_SECONDS_MAX
    assert result["publisher_longest_blocked_s"] <= LONGEST_WAIT_SECONDS_MAX
    assert result["others_disconnected"] == 0 and not result["publisher_error"]
    assert result["publisher_unacknowledged"] == 0
    assert result["sent_mib"] >= SENT_MIB_MIN
    memory = result["rss_kib"]
    assert memory["peak"] - memory["before"] <= ((QUEUE_MIB if qos else SEND_BUFFER_MIB) + OVERHEAD_MIB) * KIB_PER_MIB
