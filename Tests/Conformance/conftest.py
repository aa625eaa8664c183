"""One broker for the session, connections and unique names for each test.

APUS_BROKER is the command line of the broker; {port} and {dir} (a directory of its own) are filled in.
"""
import contextlib, itertools, os, pathlib, shlex, signal, socket, subprocess, sys, time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import pytest

from mqtt import Client, Closed

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = os.environ.get("APUS_BROKER", ".build/release/apus serve --port {port} --in-memory --log-level error")
START_SECONDS = 15
numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes longer than all the others")


class Broker:
    """A broker process on a free port of loopback."""

    def __init__(self, directory, options=()):
        self.log = directory / "broker.log"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        command = shlex.split(COMMAND.replace("{port}", str(self.port)).replace("{dir}", str(directory)))
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*command, *options], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait_until_it_listens()

    def _wait_until_it_listens(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            self.check()
            with contextlib.suppress(OSError, Closed):
                probe = Client(self.port, client_id="")
                probe.close()
                return
            if time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"the broker does not listen:\n{self.log.read_text()}")
            time.sleep(0.02)

    def check(self):
        if self.process.poll() is not None:
            raise RuntimeError(f"the broker ended with {self.process.returncode}:\n{self.log.read_text()}")

    def stop(self):
        """SIGTERM; anything but an orderly end is a failure."""
        self.check()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise RuntimeError("the broker did not end within 10 s of SIGTERM") from None
        assert code == 0, f"the broker ended with {code}:\n{self.log.read_text()}"


@pytest.fixture(scope="session")
def broker(tmp_path_factory):
    try:
        running = Broker(tmp_path_factory.mktemp("broker"))
    except (OSError, RuntimeError) as error:
        pytest.exit(f"{COMMAND}: {error}", returncode=3)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def brokers(tmp_path_factory):
    """`brokers("--option", "value")` is a broker with further options, the same one each time."""
    running = {}

    def start(*options):
        if options not in running:
            running[options] = Broker(tmp_path_factory.mktemp("broker"), options)
        return running[options]
    yield start
    for one in running.values():
        one.stop()


@pytest.fixture
def unique():
    """A new name at each call."""
    return lambda: f"{os.getpid()}n{next(numbers)}"


@pytest.fixture
def topic(unique):
    return f"conformance/{unique()}"


@pytest.fixture
def dial(broker, unique, request):
    """A connection without CONNECT, in the version of the test's module; closed at the end."""
    opened = []

    def open(client_id=None, version=None, to=None):
        client = Client((to or broker).port, version or request.module.VERSION, unique() if client_id is None else client_id)
        opened.append(client)
        return client
    yield open
    for client in opened:
        client.close()
    broker.check()


@pytest.fixture
def connect(dial):
    """A connection that was let in."""
    def open(client_id=None, version=None, to=None, **fields):
        client = dial(client_id, version, to)
        client.connect(**fields)
        return client
    return open
