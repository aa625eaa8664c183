"""One subscriber that stops reading costs only itself."""
import json, os, shlex, subprocess, sys
from pathlib import Path

import pytest

from brokers import COMMAND, ROOT, free_port

CONFORMANCE = Path(os.environ.get("APUS_CONFORMANCE", ROOT / "Tests" / "Conformance"))
LONGEST_WAIT_SECONDS_MAX = 1.0
GROWTH_KIB_MAX = 64 * 1024


@pytest.mark.parametrize("qos", [0, 1])
def test_others_are_served_while_one_does_not_read(qos, tmp_path):
    out = tmp_path / "result.json"
    command = shlex.split(COMMAND.replace("{threads}", "4"))
    done = subprocess.run(
        [sys.executable, str(CONFORMANCE / "slow_consumer.py"), "--port", str(free_port()), "--qos", str(qos), "--seconds", "8",
         "--out", str(out), "--", *command], cwd=ROOT, capture_output=True, text=True, timeout=90)
    print(done.stdout, done.stderr)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    result = json.loads(out.read_text())
    assert result["others_longest_wait_s"] <= LONGEST_WAIT_SECONDS_MAX
    assert result["publisher_longest_blocked_s"] <= LONGEST_WAIT_SECONDS_MAX
    assert result["others_disconnected"] == 0 and not result["publisher_error"]
    assert result["publisher_unacknowledged"] == 0
    memory = result["rss_kib"]
    assert memory["peak"] - memory["before"] <= GROWTH_KIB_MAX
