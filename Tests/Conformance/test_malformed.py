"""Hostile input: the cases of malformed.json are refused as wanted, and another client is served all the while."""
import re, subprocess, sys

import pytest

import statements

VERSION = None


@pytest.mark.slow
def test_run_malformed_has_no_failure_and_no_remark(broker):
    run = subprocess.run([sys.executable, statements.FOLDER / "run_malformed.py", "--port", str(broker.port), "--pid", str(broker.process.pid)],
                         capture_output=True, text=True, timeout=900)
    total = re.search(r"^(\d+) passed, (\d+) failed, (\d+) remarks, of (\d+)$", run.stdout, re.MULTILINE)
    assert run.returncode == 0 and total, run.stdout + run.stderr
    passed, failed, remarks, all = map(int, total.groups())
    assert (passed, failed, remarks) == (all, 0, 0), run.stdout
    assert all > 0
    broker.check()
