"""System calls of the running broker: what is acknowledged was synced before."""
import contextlib, re, signal, subprocess

import pytest

from brokers import serving
from raw import PUBACK, Raw, session_expiry

READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg")
FILE_WRITES = ("write", "pwrite64", "pwritev")
SYNCS = ("fdatasync", "fsync")
PAYLOAD = b"a lone message"


class Call:
    """A line of strace's: a call, or the begin or the end of one within which others were made by other threads."""

    def __init__(self, line):
        # 1234  <... read resumed>"\x30"..., 65536) = 23
        match = re.match(r"\d+ +(?:<\.\.\. )?(\w+)( resumed>)?", line)
        self.name = match[1] if match else ""
        self.begins = bool(match) and not match[2]
        self.ends = "<unfinished" not in line
        self.has_succeeded = self.ends and bool(re.search(r"\) += \d", line))
        self.line = line

    def has(self, data):
        return "".join(f"\\x{b:02x}" for b in data) in self.line


@contextlib.contextmanager
def traced(pid, path):
    """The system calls of a process, one a line in a file that is complete at the end."""
    strace = subprocess.Popen(
        ["strace", "-f", "-p", str(pid), "-o", path, "-xx", "-s", "400",
         "-e", "trace=" + ",".join(sorted({*READS, *WRITES, *FILE_WRITES, *SYNCS}))],
        stderr=subprocess.PIPE, text=True)
    try:
        said = strace.stderr.readline()
        if "attached" not in said:
            strace.wait(5)
            if "not permitted" in said:
                pytest.skip(f"nobody may trace here: {said.strip()}")
            pytest.fail(f"strace: {said}")
        yield
        strace.send_signal(signal.SIGINT)
        strace.wait(10)
    finally:
        strace.stderr.close()
        if strace.poll() is None:
            strace.kill()
            strace.wait()


def first(calls, start, what, is_it):
    at = next((n for n in range(start, len(calls)) if is_it(calls[n])), None)
    assert at is not None, f"no {what} from line {start + 1} of:\n" + "\n".join(c.line for c in calls)
    return at


@pytest.mark.parametrize("retain", [True, False], ids=["retained", "queued"])
def test_a_sync_is_over_between_the_read_of_a_publish_and_the_write_of_its_puback(tmp_path, retain):
    trace = tmp_path / "trace"
    with serving("--data", tmp_path / "data", "--log-level", "error", "--sys-interval", 0) as broker:
        with Raw.connected(broker.port, "away", 5, properties=session_expiry(600)) as away:
            if not retain:
                away.subscribe("lone", qos=1)
            away.disconnect()
        with Raw.connected(broker.port, "publisher", 4) as publisher:
            with traced(broker.pid, trace):
                publisher.publish("lone", PAYLOAD, 1, 0x1234, retain=retain)
                assert publisher.expect(PUBACK) == b"\x12\x34"
    calls = [Call(line) for line in trace.read_text().splitlines()]
    read = first(calls, 0, "read of the PUBLISH", lambda c: c.name in READS and c.ends and c.has(PAYLOAD))
    written = first(calls, read, "write to the journal",
                    lambda c: c.name in FILE_WRITES and c.begins and c.has(PAYLOAD))
    begun = first(calls, written + 1, "sync that begins", lambda c: c.name in SYNCS and c.begins)
    synced = first(calls, begun, "sync that succeeds", lambda c: c.name in SYNCS and c.has_succeeded)
    answered = first(calls, read, "write of the PUBACK",
                     lambda c: c.name in WRITES and c.begins and c.has(b"\x40\x02\x12\x34"))
    assert synced < answered, "\n".join(c.line for c in calls)
