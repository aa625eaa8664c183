"""Starting a broker for a test, ending it, and looking at it from outside.

APUS_BROKER is the command line of `apus serve`, with {port}, {dir} and {threads}; what stands before `serve` is the
program whose other subcommands are tested.
"""
import contextlib, os, shlex, shutil, signal, socket, subprocess, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = os.environ.get(
    "APUS_BROKER", ".build/release/apus serve --port {port} --in-memory --log-level error --threads {threads}")
PROGRAM = shlex.split(COMMAND.split(" serve")[0])
STARTING_SECONDS_MAX = 15
STOPPING_SECONDS_MAX = 5


def has_ipv6():
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as s:
        s.bind(("::1", 0))
        return True
    return False


def free_port():
    """A port that is free on both loopbacks."""
    while True:
        with socket.socket() as four:
            four.bind(("127.0.0.1", 0))
            port = four.getsockname()[1]
            if not has_ipv6():
                return port
            with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as six:
                six.bind(("::1", port))
                return port


def wait_until(condition, seconds, what):
    """For what tells nobody when it happens: a log line, a listening port, memory given back."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        time.sleep(0.02)
    return value


def can_connect(port, host="127.0.0.1"):
    try:
        socket.create_connection((host, port), 2).close()
        return True
    except OSError:
        return False


def apus(*arguments, input=None, timeout=20, prefix=()):
    """Runs the program to its end. Text in, text out."""
    return subprocess.run([*prefix, *PROGRAM, *map(str, arguments)], cwd=ROOT, text=True, input=input,
                          capture_output=True, timeout=timeout)


class Broker:
    """A running broker. All that it prints is kept."""

    def __init__(self, command, port, prefix=()):
        self.port = port
        self.directory = tempfile.mkdtemp(prefix="apus-integration-")
        self.log_path = os.path.join(self.directory, "broker.log")
        self.command = [*prefix, *(a.replace("{dir}", self.directory) for a in command)]
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def pid(self):
        return self.process.pid

    @property
    def log(self):
        return Path(self.log_path).read_text(errors="replace")

    def assert_alive(self):
        code = self.process.poll()
        assert code is None, f"the broker ended with {code}:\n{self.log[-4000:]}"

    def wait_until_it_listens(self, is_listening=None):
        def listens():
            self.assert_alive()
            return is_listening() if is_listening else can_connect(self.port)
        wait_until(listens, STARTING_SECONDS_MAX, f"{self.command} listens on {self.port}")

    def wait_for_log(self, *parts, seconds=5):
        """The lines that contain all parts, as soon as there is one."""
        return wait_until(lambda: self.log_lines(*parts), seconds, f"a line with {parts} in the log")

    def log_lines(self, *parts):
        return [l for l in self.log.splitlines() if all(p in l for p in parts)]

    def stop(self, with_signal=signal.SIGTERM):
        """Asks it to end, which it has to do with 0 and in time."""
        self.assert_alive()
        self.process.send_signal(with_signal)
        self.assert_ends()

    def assert_ends(self):
        try:
            code = self.process.wait(STOPPING_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the broker did not end within {STOPPING_SECONDS_MAX} s:\n{self.log[-4000:]}") from None
        assert code == 0, f"the broker ended with {code}:\n{self.log[-4000:]}"

    def discard(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def resident_bytes(self):
        """Of the process and its children."""
        total, todo = 0, [self.pid]
        while todo:
            pid = todo.pop()
            with contextlib.suppress(OSError, StopIteration):
                with open(f"/proc/{pid}/status") as f:
                    total += next(int(l.split()[1]) * 1024 for l in f if l.startswith("VmRSS"))
                with open(f"/proc/{pid}/task/{pid}/children") as f:
                    todo += map(int, f.read().split())
        return total


@contextlib.contextmanager
def running(command, port, prefix=(), is_listening=None):
    """A broker that must live until the end, and then end well (unless the test has ended it)."""
    broker = Broker(command, port, prefix)
    try:
        broker.wait_until_it_listens(is_listening)
        yield broker
        if broker.process.returncode is None:
            broker.stop()
    finally:
        broker.discard()


def running_with_threads(threads):
    """The broker of APUS_BROKER."""
    port = free_port()
    command = [a.replace("{port}", str(port)).replace("{threads}", str(threads)) for a in shlex.split(COMMAND)]
    return running(command, port)


def serving(*options, **keywords):
    """`apus serve` with these options and a free port."""
    port = free_port()
    return running([*PROGRAM, "serve", "--port", str(port), *map(str, options)], port, **keywords)
