"""`apus pub` and `apus sub`, as one uses them by hand."""
import time

import pytest

from brokers import PROGRAM, apus, free_port
from programs import Program
from raw import VERSIONS, Raw

pytestmark = pytest.mark.parametrize("version", list(VERSIONS.values()))


@pytest.fixture
def pub(broker, version):
    """`apus pub`, which has to succeed and to say nothing."""
    def pub(*options, input=None):
        done = apus("pub", "-h", "127.0.0.1", "-p", broker.port, "-V", version, *options, input=input)
        assert (done.returncode, done.stdout) == (0, ""), done
    return pub


@pytest.fixture
def sub(broker, version):
    """`apus sub`, run to its end; its lines."""
    def sub(*options):
        done = apus("sub", "-h", "127.0.0.1", "-p", broker.port, "-V", version, *options)
        assert done.returncode == 0, done
        return done.stdout.splitlines()
    return sub


@pytest.fixture
def listening(broker, version, pub, name):
    """`apus sub` left running, once it is known to have subscribed (a probe has arrived)."""
    programs = []

    def listening(*options):
        probe = f"{name}/probe/{len(programs)}"
        program = Program(*PROGRAM, "sub", "-h", "127.0.0.1", "-p", broker.port, "-V", version, *options, "-t", probe)
        programs.append(program)
        end = time.monotonic() + 10
        with Raw.connected(broker.port, f"{name}-probe") as prober:
            while program.lines.empty():
                assert time.monotonic() < end and program.process.poll() is None, f"{program.process.args}: {program.errors}"
                prober.publish(probe, b"probe")
                prober.ping()
                time.sleep(0.02)

        def next_line():
            while "probe" in (line := program.line()):
                pass
            return line
        return program, next_line
    yield listening
    for program in programs:
        program.__exit__()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_is_published_is_printed_at_once(pub, listening, name, qos):
    _, next_line = listening("-t", f"{name}/#", "-q", qos, "-v")
    for n in range(3):
        pub("-t", f"{name}/{n}", "-m", f"hello {n}", "-q", qos)
        assert next_line() == f"{name}/{n} hello {n}"


def test_retained_messages_and_several_filters(pub, sub, name):
    for n in range(3):
        pub("-t", f"{name}/{n}", "-m", f"{n}°", "-r", "-q", 1)
    assert sorted(sub("-t", f"{name}/0", "-t", f"{name}/1", "-t", f"{name}/2", "-C", 3, "-v", "-q", 1)) == [f"{name}/{n} {n}°" for n in range(3)]
    assert sub("-t", f"{name}/+", "-C", 1, "-W", 10)[0] in ("0°", "1°", "2°")
    pub("-t", f"{name}/0", "-r", "-n")
    assert sorted(sub("-t", f"{name}/#", "-C", 2, "-W", 10)) == ["1°", "2°"]


def test_lines_of_the_input_are_messages(pub, listening, name):
    _, next_line = listening("-t", name, "-q", 1)
    pub("-t", name, "-l", "-q", 1, input="one\ntwo words\nthree\n")
    assert [next_line() for _ in range(3)] == ["one", "two words", "three"]


def test_a_file_is_one_message(pub, sub, name, tmp_path):
    (tmp_path / "file").write_text("x" * 200_000)
    pub("-t", name, "-f", tmp_path / "file", "-r")
    assert sub("-t", name, "-C", 1, "-W", 10) == ["x" * 200_000]


def test_an_empty_message(pub, listening, name):
    _, next_line = listening("-t", name, "-v")
    pub("-t", name, "-n")
    assert next_line().rstrip() in (name, f"{name} (null)")


def test_the_client_id_is_the_one_given(broker, pub, listening, name):
    for used in (lambda client_id: listening("-t", name, "-i", client_id), lambda client_id: pub("-t", name, "-m", "x", "-i", client_id)):
        with Raw.connected(broker.port, f"id-{name}") as loser:
            used(f"id-{name}")
            loser.read_until_closed(5)  # taken over


def test_sub_ends_after_its_time(broker, version, name):
    begun = time.monotonic()
    apus("sub", "-h", "127.0.0.1", "-p", broker.port, "-V", version, "-t", name, "-W", 1)
    assert 0.9 < time.monotonic() - begun < 4


@pytest.mark.parametrize("arguments", [["pub", "-t", "x", "-m", "x"], ["sub", "-t", "x", "-W", "5"]], ids=["pub", "sub"])
def test_no_broker_is_one_sentence(broker, version, arguments):
    done = apus(*arguments, "-h", "127.0.0.1", "-p", free_port(), "-V", version)
    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1 and "Fatal" not in done.stderr, done.stderr
