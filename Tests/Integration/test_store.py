"""`apus store` on the journal of a real broker, and what keeps two processes from one journal."""
import base64, json, subprocess

import pytest

from brokers import PROGRAM, ROOT, apus, free_port, serving
from raw import PUBACK, Raw
from test_command import assert_refuses

TEXT, BYTES = "21 °C", b"\0\x01\xff"


@pytest.fixture
def data(tmp_path):
    """A session with two subscriptions and three messages, two retained messages, a will."""
    folder = tmp_path / "data"
    with serving("--data", folder, "--segment-bytes", 65536, "--log-level", "error") as broker:
        with Raw.connected(broker.port, "sleeper", clean=False) as sleeper:
            sleeper.subscribe("sensor/+", "other/#", qos=1)
            sleeper.disconnect()
        with Raw.connected(broker.port, "sender") as sender:
            for packet_id, payload in enumerate([TEXT.encode(), BYTES, b'"quoted\\"'], 1):
                sender.publish(f"sensor/{packet_id}", payload, 1, packet_id)
                sender.expect(PUBACK)
            for packet_id, topic in enumerate(["kept/1", "kept/2"], 10):
                sender.publish(topic, b"kept", 1, packet_id, retain=True)
                sender.expect(PUBACK)
            sender.disconnect()
        broker.stop()
    return folder


def damage(folder, text):
    """Flips a bit in the file in which the text stands; the name of the file and where."""
    for file in sorted(folder.glob("*.journal")):
        content = bytearray(file.read_bytes())
        if (at := content.find(text)) >= 0:
            content[at] ^= 1
            file.write_bytes(content)
            return file.name, at
    raise AssertionError(f"{text} is in no file")


def dump(folder):
    done = apus("store", "dump", folder)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def files(folder):
    return {f.name: f.read_bytes() for f in folder.iterdir()}


def test_check_finds_a_journal_sound_and_changes_nothing(data):
    before = files(data)
    done = apus("store", "check", data)
    assert done.returncode == 0, done.stdout + done.stderr
    first, *_, last = done.stdout.splitlines()
    assert "1 sessions, 3 queued, 2 retained" in first and last == "sound"
    assert files(data) == before


def test_check_says_which_byte_of_which_file_is_damaged(data):
    name, at = damage(data, b"sensor/1")
    done = apus("store", "check", data)
    assert done.returncode == 1
    damages = [l for l in done.stdout.splitlines() if l.startswith("damaged: ")]
    assert len(damages) == 1 and name in damages[0]
    assert int(damages[0].split("byte ")[1].split(":")[0]) <= at
    assert len(done.stderr.splitlines()) == 1 and str(data) in done.stderr
    assert_refuses(apus("serve", "--port", free_port(), "--data", data, "--log-level", "error"), name)


def test_check_tells_a_torn_tail_from_damage(data):
    last = sorted(data.glob("*.journal"))[-1]
    with open(last, "r+b") as file:
        content = file.read().rstrip(b"\0")
        file.seek(len(content) - 10)
        file.write(bytes(10))
    done = apus("store", "check", data)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [l for l in done.stdout.splitlines() if l.startswith("note: ") and last.name in l]


def test_repair_keeps_all_but_the_damaged_batch_and_says_what_that_was(data, tmp_path):
    name, _ = damage(data, b"sensor/2")
    before, target = files(data), tmp_path / "repaired"
    done = apus("store", "repair", data, target)
    assert done.returncode == 0, done.stdout + done.stderr
    dropped = [l for l in done.stdout.splitlines() if l.startswith("dropped: ")]
    assert len(dropped) == 1 and name in dropped[0] and '"sleeper"' in dropped[0]
    assert files(data) == before
    assert apus("store", "check", target).returncode == 0
    with serving("--data", target, "--log-level", "error") as broker:
        with Raw.connected(broker.port, "sleeper", clean=False) as sleeper:
            assert sleeper.session_present
            assert [sleeper.message().topic for _ in range(2)] == ["sensor/1", "sensor/3"]
        with Raw.connected(broker.port, "reader") as reader:
            reader.subscribe("kept/#")
            assert {reader.message().topic for _ in range(2)} == {"kept/1", "kept/2"}


def test_repair_writes_only_where_there_is_nothing(data, tmp_path):
    target = tmp_path / "full"
    target.mkdir()
    (target / "file").write_text("mine")
    assert_refuses(apus("store", "repair", data, target), target)
    assert_refuses(apus("store", "repair", data, data), data)
    assert [f.name for f in target.iterdir()] == ["file"]


def test_dump_prints_all_that_is_live(data):
    objects = dump(data)
    of = lambda kind: [o for o in objects if o["kind"] == kind]
    assert [o["client"] for o in of("session")] == ["sleeper"]
    assert of("session")[0]["queued"] == 3
    assert [(o["filter"], o["qos"]) for o in of("subscription")] == [("other/#", 1), ("sensor/+", 1)]
    assert [o["topic"] for o in of("message")] == ["sensor/1", "sensor/2", "sensor/3"]
    first, second, third = of("message")
    assert first["payload"] == TEXT and first["publisher"] == "sender" and first["qos"] == 1
    assert base64.b64decode(second["payloadBase64"]) == BYTES and "payload" not in second
    assert third["payload"] == '"quoted\\"'
    assert sorted((o["topic"], o["payload"]) for o in of("retained")) == [("kept/1", "kept"), ("kept/2", "kept")]
    assert len(of("broker")) == 1


def test_dump_to_a_reader_that_has_had_enough_ends_without_a_word(data):
    with subprocess.Popen([*PROGRAM, "store", "dump", data], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(10) == 0


def test_compact_keeps_what_is_live_in_fewer_bytes(data):
    before = dump(data)
    with serving("--data", data, "--log-level", "error") as broker:
        with Raw.connected(broker.port, "sender") as churn:
            for n in range(1, 200):
                churn.publish("kept/1", b"x" * 500, 1, n, retain=True)
                churn.expect(PUBACK)
            churn.publish("kept/1", b"kept", 1, 200, retain=True)
            churn.expect(PUBACK)
        broker.stop()
    bytes_of = lambda: sum(f.stat().st_size for f in data.iterdir())
    taken = bytes_of()
    done = apus("store", "compact", data)
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert words[1:4] == ["bytes", "before,", words[3]] and int(words[3]) < int(words[0])
    assert bytes_of() == int(words[3]) < taken
    live = lambda objects: sorted(json.dumps({**o, "version": 0}) for o in objects if o["kind"] != "broker")
    assert live(dump(data)) == live(before)


@pytest.mark.parametrize("command", ["check", "dump", "compact", "repair"])
def test_what_is_no_journal_is_one_sentence(command, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in [tmp_path, tmp_path / "none", tmp_path / "file"]:
        more = [tmp_path / "new"] if command == "repair" else []
        assert_refuses(apus("store", command, folder, *more), folder)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["file"]


def test_an_unknown_version_is_one_sentence(data):
    first = sorted(data.glob("*.journal"))[0]
    content = bytearray(first.read_bytes())
    content[11] = 99
    content[32:36] = crc32c(content[:32]).to_bytes(4, "big")
    first.write_bytes(content)
    for command in (["check", data], ["dump", data], ["compact", data], ["repair", data, data.parent / "new"]):
        assert_refuses(apus("store", *command), "99")


def crc32c(content):
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def test_a_journal_in_use_is_left_alone_by_a_second_broker_and_by_the_tools(data, tmp_path):
    with serving("--data", data, "--log-level", "error") as broker:
        assert_refuses(apus("serve", "--port", free_port(), "--data", data, "--log-level", "error"), data, "in use")
        for command in ("check", "dump", "compact"):
            assert_refuses(apus("store", command, data), data, "in use")
        assert_refuses(apus("store", "repair", data, tmp_path / "new"), data, "in use")
        with Raw.connected(broker.port, "sleeper", clean=False) as sleeper:
            assert sleeper.session_present
            assert len([sleeper.message() for _ in range(3)]) == 3
            sleeper.publish("kept/3", b"more", 1, 9, retain=True)
            assert sleeper.expect(PUBACK)


@pytest.mark.parametrize("arguments", [["store", "--help"], ["store", "check", "--help"], ["store", "repair", "--help"]])
def test_help(arguments):
    done = apus(*arguments)
    assert done.returncode == 0 and "usage" in done.stdout.lower()
