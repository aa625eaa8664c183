"""Fixtures. A broker is started once for each file and thread setting; tests keep apart by their topics."""
import itertools, re, resource

import pytest

from brokers import running_with_threads
from tools import broker_named

DESCRIPTORS = 20_000
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard), hard))

numbers = itertools.count(1)


@pytest.fixture(scope="module", params=[1, 4], ids=["one-loop", "four-loops"])
def shared_broker(request):
    with running_with_threads(request.param) as broker:
        yield broker


@pytest.fixture
def broker(shared_broker):
    """On one event loop, then on four."""
    shared_broker.assert_alive()
    yield shared_broker
    shared_broker.assert_alive()


@pytest.fixture
def own_broker():
    """For tests that look at the whole process: memory, storms. On four event loops."""
    with running_with_threads(4) as broker:
        yield broker


@pytest.fixture(scope="module", params=["apus", "mosquitto"])
def server(request, tmp_path_factory):
    """What the tools are used with: ours, and mosquitto."""
    with broker_named(request.param, tmp_path_factory.mktemp("broker")) as broker:
        yield broker


@pytest.fixture
def options(server):
    """How a tool finds it."""
    return ["-h", "127.0.0.1", "-p", str(server.port)]


@pytest.fixture
def name(request):
    """A client id and topic level that no other test uses."""
    return f"{re.sub('[^a-z0-9]+', '-', request.node.originalname.removeprefix('test_'))[:40]}-{next(numbers)}"
