"""Client programs as processes whose output is read line by line, and network namespaces to run them in."""
import contextlib, os, queue, subprocess, threading, time

from brokers import ROOT


class Program:
    """A running program. Its standard output arrives as lines."""

    def __init__(self, *command, env=None, stdin=None):
        self.process = subprocess.Popen(
            [str(c) for c in command], cwd=ROOT, text=True, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})})
        self.lines, self.errors = queue.Queue(), []
        self.readers = [threading.Thread(target=self.read_lines, daemon=True),
                        threading.Thread(target=self.read_errors, daemon=True)]
        for reader in self.readers:
            reader.start()

    def read_lines(self):
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))
        self.lines.put(None)

    def read_errors(self):
        self.errors.extend(self.process.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self.readers:
            reader.join()
        self.process.stdout.close()
        self.process.stderr.close()

    def line(self, seconds=10):
        """The next line."""
        try:
            line = self.lines.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"no line within {seconds} s from {self.process.args}: {self.errors}") from None
        assert line is not None, f"{self.process.args} ended: {self.process.wait()} {self.errors}"
        return line

    def line_with(self, part, seconds=10):
        """Reads on to a line that contains the part."""
        end = time.monotonic() + seconds
        while part not in (line := self.line(max(0.01, end - time.monotonic()))):
            pass
        return line

    def remaining_lines(self, seconds=10):
        """All that is still printed until the program ends, which it has to do with 0."""
        assert self.exit_code(seconds) == 0, f"{self.process.args}: {self.errors}"
        return list(iter(self.lines.get, None))

    def exit_code(self, seconds=10):
        code = self.process.wait(seconds)
        for reader in self.readers:
            reader.join()
        return code


def run(*command, input=None, seconds=20, env=None, succeeds=True):
    """A program that has to end with 0; what it printed."""
    done = subprocess.run([str(c) for c in command], cwd=ROOT, input=input, capture_output=True, timeout=seconds,
                          env={**os.environ, **(env or {})})
    assert not succeeds or done.returncode == 0, f"{command}: {done.returncode} {done.stdout!r} {done.stderr!r}"
    return done.stdout.decode()


class Namespace:
    """A network of its own with nothing but loopback, for what needs port 1883."""

    def __init__(self, without_ipv6=False):
        self.unprivileged = os.geteuid() != 0
        setup = "ip link set lo up"
        if without_ipv6:
            setup = "echo 1 > /proc/sys/net/ipv6/conf/lo/disable_ipv6 && " + setup
        # `cat` holds the namespace until its input is closed, so that nothing outlives this test process.
        self.holder = subprocess.Popen(
            ["unshare", "-n", *(["-r"] if self.unprivileged else []), "sh", "-c", f"{setup} && echo ready && exec cat"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.is_ready = self.holder.stdout.readline() == "ready\n"

    @property
    def prefix(self):
        """To stand before a command that runs inside."""
        user = ["-U", "--preserve-credentials"] if self.unprivileged else []
        return ["nsenter", "-t", str(self.holder.pid), *user, "-n", "--"]

    def listens_on(self, port):
        """Whether anything accepts connections on the port, over either protocol."""
        for table in ("tcp", "tcp6"):
            with open(f"/proc/{self.holder.pid}/net/{table}") as f:
                if any(l.split()[1].endswith(f":{port:04X}") and l.split()[3] == "0A" for l in f.readlines()[1:]):
                    return True
        return False

    def __enter__(self):
        if not self.is_ready:
            self.__exit__()
            raise AssertionError(f"no network namespace: {self.holder.stderr.read()}")
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.holder.stdin.close()
        self.holder.wait()
