"""What the broker says of itself: lines and objects, categories, one client's packets, drops, the summary; and what it
refuses to be told. Connects and disconnects are in test_command.py."""
import json, re, signal, threading, time
from datetime import datetime

import pytest

from brokers import apus, serving, wait_until
from raw import PUBACK, PUBCOMP, PUBREC, PUBREL, UNSUBACK, UNSUBSCRIBE, Raw, acknowledgement, packet, string

SECRET = b"nobody is to read this"


def lost_messages(broker, name, count, *, qos=0, pace=0.0):
    """Publishes for a session without connection."""
    with Raw.connected(broker.port, name, clean=False) as absent:
        absent.subscribe(name, qos=qos)
        absent.disconnect()
    with Raw.connected(broker.port, f"{name}-publisher") as publisher:
        for n in range(count):
            publisher.publish(name, SECRET, qos, n + 1)
            if qos:
                publisher.expect(PUBACK)
            time.sleep(pace)
        publisher.ping()


# MARK: JSON


def objects(broker):
    """All lines that are whole."""
    return [json.loads(l) for l in broker.log.splitlines(keepends=True) if l.endswith("\n")]


def test_json_is_one_object_a_line_with_time_level_label_and_message():
    with serving("--log-format", "json") as broker:
        strange = 'a "client"\\ with\ttabs\nand lines é'
        with Raw.connected(broker.port, strange, 5) as client:
            client.disconnect()
        with Raw.connected(broker.port, "plain") as client:
            client.disconnect()
        wait_until(lambda: [o for o in objects(broker) if o["message"] == "client disconnected" and o["client"] == "plain"], 5, "the last line")
        said = objects(broker)
        assert len(said) >= 6
        for o in said:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", o["time"])
            assert abs(datetime.fromisoformat(o["time"].replace("Z", "+00:00")).timestamp() - time.time()) < 60
            assert o["level"] in ("trace", "debug", "info", "notice", "warning", "error", "critical")
            assert o["label"] == "apus" and isinstance(o["message"], str) and o["message"]
        connected = [o for o in said if o["message"] == "client connected"]
        assert [(o["level"], o["category"], o["protocol"]) for o in connected] == [
            ("info", "connections", "MQTT 5.0"), ("info", "connections", "MQTT 3.1.1")]
        assert connected[0]["client"] == strange.replace("\t", r"\t").replace("\n", r"\n")
        assert [o for o in said if o["message"] == "listening" and o["port"] == str(broker.port)]
        broker.stop()
        assert objects(broker)[-1]["message"] == "apus has ended"


# MARK: Levels


def test_a_category_has_a_level_of_its_own():
    with serving("--log-level", "warning,connections=info") as broker:
        with Raw.connected(broker.port, "here") as client:
            client.disconnect()
        broker.wait_for_log("client disconnected", "client=here")
        assert broker.log_lines("client connected", "client=here")
        broker.stop()
        assert not [l for l in broker.log.splitlines() if "category=connections" not in l], broker.log


def test_a_category_can_be_quieter_than_the_others():
    with serving("--log-level", "info,connections=error") as broker:
        broker.wait_for_log("listening")
        with Raw.connected(broker.port, "unseen") as client:
            client.disconnect()
        broker.stop()
        assert broker.log_lines("apus has ended")
        assert "unseen" not in broker.log


# MARK: One client's packets


def test_the_packets_of_one_client_are_logged_with_names_and_sizes_and_without_payloads():
    with serving("--log-format", "json", "--log-level", "error,packets=notice", "--log-packets", "bob") as broker:
        with Raw.connected(broker.port, "bob", 5, will=("bob/will", SECRET, 0, 0)) as bob, Raw.connected(broker.port, "alice", 5) as alice:
            bob.subscribe("to/bob", qos=2)
            alice.publish("to/bob", SECRET, 1, 7)
            alice.expect(PUBACK)
            received = bob.message()
            assert received.payload == SECRET
            bob.send(acknowledgement(PUBACK, received.packet_id))
            alice.publish("to/bob", SECRET * 100, 2, 8)
            alice.expect(PUBREC)
            alice.send(acknowledgement(PUBREL, 8))
            alice.expect(PUBCOMP)
            second = bob.message()
            bob.send(acknowledgement(PUBREC, second.packet_id))
            bob.expect(PUBREL)
            bob.send(acknowledgement(PUBCOMP, second.packet_id))
            bob.publish("from/bob", SECRET, 1, 300, retain=True)
            bob.expect(PUBACK)
            bob.send(packet(UNSUBSCRIBE, b"\0\x09\0" + string("to/bob")))
            bob.expect(UNSUBACK)
            bob.ping()
            bob.disconnect()
        said = wait_until(lambda: (o := objects(broker)) and o[-1]["message"] == "< disconnect" and o, 5, "bob's DISCONNECT")
        size = len(SECRET)
        assert [o["message"] for o in said] == [
            "< connect", "> connack", "< subscribe", "> suback", "> publish", "< puback", "> publish", "< pubrec", "> pubrel", "< pubcomp",
            "< publish", "> puback", "< unsubscribe", "> unsuback", "< pingreq", "> pingresp", "< disconnect"]
        assert {(o["client"], o["category"], o["level"]) for o in said} == {("bob", "packets", "notice")}
        first, third, second_in, own = said[0], said[2], said[6], said[10]
        assert first["protocol"] == "MQTT 5.0" and first["clean-start"] == "true"
        assert third["id"] == "1" and third["filters"] == ["to/bob qos 2"]
        assert (said[4]["topic"], said[4]["qos"], said[4]["payload-bytes"]) == ("to/bob", "1", str(size))
        assert said[4]["id"] == said[5]["id"] == str(received.packet_id)
        assert (second_in["topic"], second_in["qos"], second_in["payload-bytes"]) == ("to/bob", "2", str(100 * size))
        assert int(second_in["bytes"]) > 100 * size
        assert {said[n]["id"] for n in range(6, 10)} == {str(second.packet_id)}
        assert (own["topic"], own["qos"], own["payload-bytes"], own["id"], own["retain"]) == ("from/bob", "1", str(size), "300", "true")
        assert own["bytes"] == str(2 + 2 + len("from/bob") + 2 + 1 + size)
        assert said[12]["filters"] == ["to/bob"]
        assert SECRET.decode() not in broker.log and SECRET.hex() not in broker.log and "alice" not in broker.log


# MARK: Drops


def drops(broker, name):
    return [o for o in objects(broker) if o["message"] == "messages dropped" and o["client"] == name]


def test_drops_are_logged_with_client_cause_and_count_once_a_second_for_a_session():
    with serving("--log-format", "json", "--log-level", "warning", "--limit", "queued-messages=5") as broker:
        count = 250
        begun = time.monotonic()
        lost_messages(broker, "full", count, qos=1, pace=0.01)
        wait_until(lambda: sum(int(o["count"]) for o in drops(broker, "full")) >= count - 5, 5, "all drops in the log")
        seconds = time.monotonic() - begun
        said = drops(broker, "full")
        assert sum(int(o["count"]) for o in said) == count - 5
        assert {(o["cause"], o["level"], o["category"]) for o in said} == {("queue-full", "warning", "drops")}
        assert 2 <= len(said) <= seconds + 1
        times = [datetime.fromisoformat(o["time"].replace("Z", "+00:00")).timestamp() for o in said]
        assert min(b - a for a, b in zip(times, times[1:])) >= 0.9
        assert SECRET.decode() not in broker.log


def test_what_no_limit_took_is_logged_at_debug_with_a_cause_of_its_own():
    with serving("--log-format", "json", "--log-level", "warning,drops=debug", "--limit", "queued-messages=5") as broker:
        lost_messages(broker, "full", 20, qos=1)
        lost_messages(broker, "absent", 30, qos=0)
        wait_until(lambda: drops(broker, "full") and drops(broker, "absent"), 5, "a drop for each")
        Raw.connected(broker.port, "full").close()  # a clean start ends the old session
        wait_until(lambda: len(drops(broker, "full")) > 1, 5, "a drop of the session that ended")
        assert [(o["cause"], o["count"], o["level"]) for o in drops(broker, "full")] == [
            ("queue-full", "15", "warning"), ("session-ended", "5", "debug")]
        offline = drops(broker, "absent")
        assert {(o["cause"], o["level"]) for o in offline} == {("qos0-offline", "debug")}
        wait_until(lambda: sum(int(o["count"]) for o in drops(broker, "absent")) == 30, 5, "all drops in the log")


# MARK: The summary


def test_sigusr1_prints_a_summary_with_clients_queues_drops_and_the_busiest_topic():
    rate = 200
    with serving("--log-level", "error", "--limit", "queued-messages=5") as broker:
        lost_messages(broker, "full", 20, qos=1)
        is_over, sent = threading.Event(), []

        def publish():
            with Raw.connected(broker.port, "busy") as busy:
                begun = time.monotonic()
                while not is_over.wait(max(0, begun + len(sent) / rate - time.monotonic())):
                    busy.publish("quite/busy", b"x")
                    if len(sent) % 10 == 0:
                        busy.publish("less/busy", b"x")
                    sent.append(time.monotonic())

        publisher = threading.Thread(target=publish, daemon=True)
        publisher.start()
        try:
            wait_until(lambda: len(sent) > 20, 5, "the publisher publishes")
            for times in (1, 2):
                broker.process.send_signal(signal.SIGUSR1)
                wait_until(lambda: broker.log.count('"less/busy"\n') == times, 5, "the summary")
        finally:
            is_over.set()
            publisher.join()
        summary = broker.log[broker.log.rindex("apus "):].splitlines()
        print(*summary, sep="\n")
        assert re.fullmatch(r"apus \d+\.\d+\.\d+, up for \d+ s", summary[0])
        lines = {l[:12].strip(): l[12:] for l in reversed(summary[1:])}  # the first topic is the last one set
        assert lines["clients"].startswith("1 connected, 1 disconnected, ")
        assert lines["queues"].startswith("5 copies, ")
        assert lines["dropped"] == "15 queue-full"
        assert lines["subscribed"].startswith("1 filters, 0 of them shared")
        assert lines["received"].split()[0].isdigit() and int(lines["received"].split()[0]) > 20
        busiest = re.fullmatch(r'(\d+) messages/s  "quite/busy"', lines["topic"])
        window = [t for t in sent if t > sent[-1] - 1]
        assert busiest and abs(int(busiest[1]) - len(window)) <= 0.2 * rate, f"{lines['topic']}, and {len(window)} were sent in the last second"
        second = re.fullmatch(r'topic +(\d+) messages/s  "less/busy"', summary[-1])
        assert second and abs(int(second[1]) - rate / 10) <= 0.3 * rate / 10


# MARK: What it does not accept


@pytest.mark.parametrize("options, parts", [
    (["--limit", "foo=1"], ["no limit named foo", "apus serve --help"]),
    (["--limit", "sessions=0"], ["sessions is a number from 1 to"]),
    (["--limit", "sessions=many"], ["sessions is a number from 1 to"]),
    (["--limit", "sessions"], ["name=value"]),
    (["--log-level", "loud"], ["loud", "--log-level"]),
    (["--log-level", "warning,weather=info"], ["weather=info", "--log-level"]),
    (["--log-format", "xml"], ["xml", "json"]),
    (["--queue-policy", "x"], ["'x'", "drop-newest", "drop-oldest", "disconnect"]),
    (["--client-topics", "x"], ["'x'", "aedes", "mosca"]),
    (["--broker-id", "a/b"], ["--broker-id is one level"]),
    (["--drain-time", "0"], ["--drain-time is a number of seconds above 0"]),
    (["--sys-interval", "0.01"], ["--sys-interval is 0 or a number of seconds from 0.1"])])
def test_a_bad_option_ends_it_with_a_sentence_that_says_what_was_expected(options, parts):
    done = apus("serve", *options)
    assert done.returncode > 0
    said = done.stderr.strip().splitlines()
    assert said and said[0].startswith("Error: "), done.stderr
    for part in parts:
        assert part in said[0], f"{part!r} is not said: {said[0]}"
    assert len(said) <= 12 and not done.stdout, done.stderr
