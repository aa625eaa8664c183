"""`$SYS/broker`: which figures there are, that they are those of mosquitto, and that they count what was done. And the
messages about each client, in the ways of aedes and mosca."""
import json, re, shutil, tempfile, time
from pathlib import Path

import pytest

from brokers import free_port, running, serving
from raw import (CONNACK, PUBACK, PUBLISH, UNSUBACK, UNSUBSCRIBE, Message, Raw, acknowledgement, connect_packet, packet, publish_packet,
                 session_expiry, string, varint)

INTERVAL = 0.2
LOADS = [f"load/{what}/{minutes}min" for minutes in (1, 5, 15) for what in (
    "messages/received", "messages/sent", "publish/received", "publish/sent", "bytes/received", "bytes/sent", "connections", "sockets")]
FIGURES = [
    "version", "uptime",
    "clients/total", "clients/connected", "clients/disconnected", "clients/maximum", "clients/expired",
    "messages/received", "messages/sent", "messages/stored",
    "publish/messages/received", "publish/messages/sent", "publish/messages/dropped",
    "publish/bytes/received", "publish/bytes/sent", "publish/bytes/dropped",
    "bytes/received", "bytes/sent", "packet/out/count", "packet/out/bytes",
    "subscriptions/count", "shared_subscriptions/count", "retained messages/count", "store/messages/count", "store/messages/bytes",
    *LOADS]
CAUSES = ["queue-full", "expired", "too-large", "qos0-backlog", "qos0-offline", "no-member", "session-ended", "not-retained",
          "not-forwarded", "cleared"]
EXCUSED = {  # what mosquitto has and Apus has not
    "clients/active": "mosquitto says that it is deprecated: clients/connected",
    "clients/inactive": "mosquitto says that it is deprecated: clients/disconnected",
    "heap/current": "of mosquitto's own memory tracking; here the system tells",
    "heap/maximum": "of mosquitto's own memory tracking; here the system tells",
}
NOT_AUTHORIZED = 0x87


def shape(payload):
    """What a payload looks like, for programs that read it."""
    for name, pattern in (("number", r"\d+"), ("two decimals", r"\d+\.\d\d"), ("seconds", r"\d+ seconds"),
                          ("version", r"\w+ version \d+\.\d+\.\d+")):
        if re.fullmatch(pattern, payload):
            return name
    return payload


class Watcher(Raw):
    """A client that looks at figures."""

    def figures(self, seconds=10):
        """All of them, by their names below $SYS/broker/."""
        self.subscribe("$SYS/#")
        found, end = {}, time.monotonic() + seconds
        # mosquitto has some at its start and the others when they have changed.
        while not {"version", "uptime", "load/connections/15min", "load/sockets/15min", "clients/maximum"} <= found.keys():
            message = self.message(end - time.monotonic())
            assert message.topic.startswith("$SYS/broker/"), message
            found[message.topic.removeprefix("$SYS/broker/")] = message
        while True:  # the rest of the replay
            try:
                message = self.message(0.1)
            except TimeoutError:
                return found
            found.setdefault(message.topic.removeprefix("$SYS/broker/"), message)

    def unsubscribe(self, *filters):
        """Gives what came before UNSUBACK."""
        self.send(packet(UNSUBSCRIBE, b"\0\x02" + b"".join(map(string, filters))))
        while self.read()[0] != UNSUBACK:
            pass

    def wait_for(self, figure, expected, seconds=5):
        """Until a figure is what `expected` gives at that time. One that only grows must not be more before."""
        self.subscribe("$SYS/broker/" + figure)
        end, seen = time.monotonic() + seconds, []
        while True:
            wanted = expected() if callable(expected) else expected
            try:
                seen.append(int(self.message(max(0.01, end - time.monotonic())).payload))
            except TimeoutError:
                raise AssertionError(f"{figure} was {seen}, and never {wanted}") from None
            if seen[-1] == wanted:
                return self.unsubscribe("$SYS/broker/" + figure)


class Ledger:
    """What clients have sent and got, as a broker would count it."""

    def __init__(self):
        self.packets_sent = self.bytes_sent = self.packets_got = self.bytes_got = self.publishes_got = self.payload_got = 0
        ledger = self

        class Client(Watcher):
            def send(self, data):
                ledger.packets_sent += 1
                ledger.bytes_sent += len(data)
                super().send(data)

            def read(self, wait=None):
                first, body = super().read(wait)
                ledger.packets_got += 1
                ledger.bytes_got += 1 + len(varint(len(body))) + len(body)
                if first & 0xF0 == PUBLISH:
                    ledger.publishes_got += 1
                    ledger.payload_got += len(Message.parse(first, body, self.level).payload)
                return first, body

        self.Client = Client


@pytest.fixture
def broker():
    with serving("--sys-interval", INTERVAL, "--log-level", "error") as broker:
        yield broker


# MARK: Which there are


def test_every_figure_is_there_and_retained(broker):
    with Watcher.connected(broker.port, "watcher") as watcher:
        figures = watcher.figures()
    missing = [f for f in FIGURES + [f"publish/messages/dropped/{cause}" for cause in CAUSES] if f not in figures]
    assert not missing
    not_retained = [f for f, message in figures.items() if not message.retain]
    assert not not_retained
    assert shape(figures["version"].payload.decode()) == "version" and figures["version"].payload.startswith(b"apus ")
    assert shape(figures["uptime"].payload.decode()) == "seconds"
    for f, message in figures.items():
        expected = {"version": "version", "uptime": "seconds"}.get(f, "two decimals" if f.startswith("load/") else "number")
        assert shape(message.payload.decode()) == expected, message


def test_the_figures_of_mosquitto_are_there_by_the_same_names_and_in_the_same_form(broker):
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if not program:
        pytest.skip("mosquitto is not installed")
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        configuration = Path(folder, "mosquitto.conf")
        configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nsys_interval 1\nuser root\n")
        with running([program, "-c", str(configuration)], port), Watcher.connected(port, "watcher") as theirs, \
                Watcher.connected(broker.port, "watcher") as ours:
            theirs = {f: shape(message.payload.decode()) for f, message in theirs.figures().items()}
            ours = {f: shape(message.payload.decode()) for f, message in ours.figures().items()}
    print(f"mosquitto has {len(theirs)} figures, Apus {len(ours)}")
    assert len(theirs) >= 50
    assert EXCUSED.keys() <= theirs.keys(), "excused, and mosquitto does not have it"
    assert not EXCUSED.keys() & ours.keys(), "excused, and there"
    assert {f: s for f, s in theirs.items() if f not in EXCUSED} == {f: ours.get(f) for f in theirs if f not in EXCUSED}


def test_without_an_interval_there_are_none():
    with serving("--sys-interval", 0, "--log-level", "error") as broker, Raw.connected(broker.port, "watcher") as watcher:
        watcher.subscribe("$SYS/#")
        with pytest.raises(TimeoutError):
            watcher.read(1)


def test_wildcards_at_the_first_level_do_not_match_them(broker):
    with Watcher.connected(broker.port, "watcher") as watcher:
        watcher.subscribe("#", "+/broker/#", "+/+/version")
        watcher.publish("seen", b"x")
        assert watcher.message().topic == "seen"
        with pytest.raises(TimeoutError):
            watcher.read(3 * INTERVAL)


# MARK: That they count


def test_ten_messages_to_two_subscribers_are_counted_exactly(broker):
    ledger = Ledger()
    connect, port = ledger.Client.connected, broker.port
    with connect(port, "one") as one, connect(port, "two", 5) as two, connect(port, "publisher") as publisher, connect(port, "watcher") as watcher:
        for subscriber in (one, two):
            subscriber.subscribe("counted", qos=1)
        for n in range(1, 11):
            publisher.publish("counted", b"12345", 1, n)
            publisher.expect(PUBACK)
            for subscriber in (one, two):
                subscriber.send(acknowledgement(PUBACK, subscriber.message().packet_id))
        one.ping(), two.ping()  # so PUBACK has come
        watcher.wait_for("publish/messages/received", 10)
        watcher.wait_for("publish/bytes/received", 50)
        # What the watcher is told counts, too.
        watcher.wait_for("publish/messages/sent", lambda: ledger.publishes_got)
        watcher.wait_for("publish/bytes/sent", lambda: ledger.payload_got)
        watcher.wait_for("publish/copies/routed", lambda: ledger.publishes_got)
        watcher.wait_for("publish/copies/completed", lambda: ledger.publishes_got)
        watcher.wait_for("publish/copies/unfinished", 0)
        watcher.wait_for("messages/received", lambda: ledger.packets_sent)
        watcher.wait_for("messages/sent", lambda: ledger.packets_got)
        watcher.wait_for("bytes/received", lambda: ledger.bytes_sent)
        watcher.wait_for("bytes/sent", lambda: ledger.bytes_got)
        watcher.wait_for("publish/messages/dropped", 0)
        assert ledger.publishes_got >= 20 and ledger.payload_got >= 100
        watcher.subscribe("$SYS/broker/load/publish/received/1min")
        # Ten messages an interval ago are as many a minute as these; less with every interval that has passed.
        assert 0 < float(watcher.message().payload) <= 10 * 60 / INTERVAL


def test_clients_subscriptions_and_what_is_stored_are_counted(broker):
    port = broker.port
    with Watcher.connected(port, "watcher") as watcher:
        watcher.subscribe("$SYS/broker/retained messages/count")
        while (count := int(watcher.message().payload)) < len(FIGURES) + len(CAUSES):
            pass  # at the first time the figures themselves were not retained yet
        watcher.unsubscribe("$SYS/broker/retained messages/count")
        with Raw.connected(port, "publisher") as publisher, Raw.connected(port, "lasting", 5, properties=session_expiry(300)) as lasting, \
                Raw.connected(port, "short", 5, properties=session_expiry(1)) as short:
            lasting.subscribe("stored", "$share/group/shared", qos=1)
            short.subscribe("short")
            watcher.wait_for("clients/connected", 4)
            watcher.wait_for("clients/maximum", 4)
            watcher.wait_for("subscriptions/count", 4)  # with the watcher's
            watcher.wait_for("shared_subscriptions/count", 1)
            lasting.disconnect()
            watcher.wait_for("clients/disconnected", 1)
            watcher.wait_for("clients/total", 4)
            for n in range(1, 4):
                publisher.publish(f"retained/{n}", b"x" * 1000, 1, n, retain=True)
                publisher.publish("stored", b"y" * 1000, 1, n + 10)
                publisher.expect(PUBACK), publisher.expect(PUBACK)
            watcher.wait_for("retained messages/count", count + 3)
            watcher.wait_for("messages/stored", count + 6)
            watcher.wait_for("store/messages/count", count + 6)
            watcher.subscribe("$SYS/broker/store/messages/bytes")
            assert int(watcher.message().payload) > 6000
            watcher.unsubscribe("$SYS/broker/store/messages/bytes")
            short.disconnect()
            watcher.wait_for("clients/expired", 1)
            watcher.wait_for("clients/connected", 2)
            watcher.wait_for("clients/maximum", 4)
            publisher.publish("retained/1", b"", 1, 20, retain=True)
            publisher.expect(PUBACK)
            watcher.wait_for("retained messages/count", count + 2)


def test_drops_are_counted_by_cause_and_in_bytes():
    with serving("--sys-interval", INTERVAL, "--limit", "queued-messages=5", "--limit", "retained-messages=1000", "--log-level", "error") as broker:
        port, lasting = broker.port, session_expiry(300)
        with Raw.connected(port, "publisher", 5) as publisher, Watcher.connected(port, "watcher") as watcher:
            def publish(topic, count, qos=1, size=10, properties=b""):
                for n in range(1, count + 1):
                    publisher.send(publish_packet(topic, bytes(size), qos, n if qos else 0, level=5, properties=properties))
                    if qos:
                        publisher.expect(PUBACK)
                publisher.ping()

            for name, qos in (("queue", 1), ("offline", 0), ("expiring", 1)):
                with Raw.connected(port, name, 5, properties=lasting) as absent:
                    absent.subscribe(name, qos=qos)
                    absent.disconnect()
            publish("queue", 12)  # 5 are kept
            publish("offline", 3, 0)
            publish("expiring", 4, properties=b"\x02" + (1).to_bytes(4, "big"))
            with Raw.connected(port, "small", 5, properties=b"\x27" + (60).to_bytes(4, "big")) as small:
                small.subscribe("small", qos=1)
                publish("small", 2, size=100)
                small.ping()
            with Raw.connected(port, "member", 5, properties=lasting) as member:
                member.subscribe("$share/group/member", qos=0)
                member.disconnect()
            publish("member", 6, 0)
            with Raw.connected(port, "queue", 5):  # ends the session that has 5
                pass
            watcher.wait_for("publish/messages/dropped/queue-full", 7)
            watcher.wait_for("publish/messages/dropped/qos0-offline", 3)
            watcher.wait_for("publish/messages/dropped/too-large", 2)
            watcher.wait_for("publish/messages/dropped/no-member", 6)
            watcher.wait_for("publish/messages/dropped/session-ended", 5)
            time.sleep(1.1)  # nothing tells when a message has expired
            with Raw.connected(port, "expiring", 5, clean=False, properties=lasting) as back:
                assert back.session_present
                back.ping()
            watcher.wait_for("publish/messages/dropped/expired", 4)
            watcher.wait_for("publish/messages/dropped", 7 + 3 + 2 + 6 + 5 + 4)
            watcher.wait_for("publish/messages/dropped/not-retained", 0)
            watcher.subscribe("$SYS/broker/publish/bytes/dropped")
            payloads = 10 * (7 + 3 + 6 + 5 + 4) + 200
            assert payloads <= int(watcher.message().payload) <= payloads + 5 * 500  # the ended session counts all that it held


def test_what_waits_to_be_sent_is_counted(broker):
    with Watcher.connected(broker.port, "watcher") as watcher, Raw.connected(broker.port, "publisher") as publisher, \
            Raw.connected(broker.port, "stuck", receive_buffer_bytes=4096) as stuck:
        stuck.subscribe("stuck")
        for _ in range(200):
            publisher.publish("stuck", bytes(65536))
        publisher.ping()
        for figure, most in (("packet/out/count", 200), ("packet/out/bytes", 200 * 65536)):
            watcher.subscribe("$SYS/broker/" + figure)
            while not (value := int(watcher.message(5).payload)):
                pass
            assert 0 < value <= most
            watcher.unsubscribe("$SYS/broker/" + figure)
        stuck.close()
        watcher.wait_for("packet/out/count", 0)
        watcher.wait_for("packet/out/bytes", 0)


# MARK: Who publishes there


def test_a_client_cannot_publish_below_it(broker):
    topic = "$SYS/broker/version"
    with Raw.connected(broker.port, "subscriber") as subscriber, Raw.connected(broker.port, "old") as old, \
            Raw.connected(broker.port, "new", 5) as new, Watcher.connected(broker.port, "watcher") as watcher:
        subscriber.subscribe(topic, "$SYS/own/#", "$SYS")
        assert subscriber.message().payload.startswith(b"apus")
        n = 0
        for name in (topic, "$SYS/own/topic", "$SYS"):
            n += 1
            old.publish(name, b"forged")
            old.publish(name, b"forged", 1, n, retain=True)
            assert old.expect(PUBACK)[1] == n  # 3.1.1 has no other answer
            new.publish(name, b"forged", 1, n, retain=True)
            assert new.expect(PUBACK)[2] == NOT_AUTHORIZED
        with Raw(broker.port, level=5) as dying:
            dying.send(connect_packet("dying", 5, will=(topic, b"forged", 0, 1)))
            assert dying.expect(CONNACK)[1] == NOT_AUTHORIZED
        watcher.wait_for("publish/messages/refused", 9)
        with pytest.raises(TimeoutError):
            subscriber.read(2 * INTERVAL)
        with Raw.connected(broker.port, "late") as late:
            late.subscribe("$SYS/own/#", topic)
            assert late.message().payload.startswith(b"apus")


# MARK: Messages about each client

IDENTIFIERS = ["x", 'quote"d', "back\\slash", "tab\tand\nline", "é€😀", "</script>", "a/+/#"]


class Told:
    """What is published below $SYS/<broker id>/."""

    def __init__(self, port, broker_id):
        self.watcher, self.prefix = Raw.connected(port, "watcher"), f"$SYS/{broker_id}/"
        self.watcher.subscribe(self.prefix + "#")
        self.own = self.next()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.watcher.close()

    def next(self):
        message = self.watcher.message(5)
        assert message.topic.startswith(self.prefix) and not message.retain and message.qos == 0
        return message.topic.removeprefix(self.prefix), message.payload

    def assert_nothing_more(self):
        with pytest.raises(TimeoutError):
            self.watcher.read(0.2)


def test_aedes_is_told_about_each_client_and_packet():
    with serving("--client-topics", "aedes", "--broker-id", "b1", "--sys-interval", 0, "--log-level", "error") as broker, \
            Told(broker.port, "b1") as told:
        assert told.own == ("new/subscribes", b'{"clientId":"watcher","subs":[{"topic":"$SYS/b1/#","qos":0}]}')
        with Raw.connected(broker.port, "x") as client:
            assert told.next() == ("new/clients", b"x")
            client.subscribe("a")
            assert told.next() == ("new/subscribes", b'{"clientId":"x","subs":[{"topic":"a","qos":0}]}')
            client.send(packet(0x82, b"\0\x02" + string("b/+") + b"\1" + string('c"') + b"\2"))
            client.read()
            assert told.next() == ("new/subscribes", b'{"clientId":"x","subs":[{"topic":"b/+","qos":1},{"topic":"c\\"","qos":2}]}')
            client.send(packet(UNSUBSCRIBE, b"\0\x03" + string("a")))
            client.read()
            assert told.next() == ("new/unsubscribes", b'{"clientId":"x","subs":["a"]}')
            client.send(packet(UNSUBSCRIBE, b"\0\x04" + string("b/+") + string('c"')))
            client.read()
            assert told.next() == ("new/unsubscribes", b'{"clientId":"x","subs":["b/+","c\\""]}')
            client.disconnect()
        assert told.next() == ("disconnect/clients", b"x")
        Raw.connected(broker.port, "lost").close()
        assert told.next() == ("new/clients", b"lost")
        assert told.next() == ("disconnect/clients", b"lost")
        told.assert_nothing_more()


def test_mosca_is_told_about_each_client_and_filter():
    with serving("--client-topics", "mosca", "--broker-id", "b1", "--sys-interval", 0, "--log-level", "error") as broker, \
            Told(broker.port, "b1") as told:
        assert told.own == ("new/subscribes", b'{"clientId":"watcher","topic":"$SYS/b1/#"}')
        with Raw.connected(broker.port, "x") as client:
            assert told.next() == ("new/clients", b"x")
            client.subscribe("a", "b")
            assert told.next() == ("new/subscribes", b'{"clientId":"x","topic":"a"}')
            assert told.next() == ("new/subscribes", b'{"clientId":"x","topic":"b"}')
            client.send(packet(UNSUBSCRIBE, b"\0\x03" + string("a") + string("b")))
            client.read()
            assert told.next() == ("new/unsubscribes", b'{"clientId":"x","topic":"a"}')
            assert told.next() == ("new/unsubscribes", b'{"clientId":"x","topic":"b"}')
            client.disconnect()
        assert told.next() == ("disconnect/clients", b"x")
        told.assert_nothing_more()


@pytest.mark.parametrize("way", ["aedes", "mosca"])
def test_any_client_id_and_topic_is_valid_json(way):
    with serving("--client-topics", way, "--broker-id", "b1", "--sys-interval", 0, "--log-level", "error") as broker, \
            Told(broker.port, "b1") as told:
        for name in IDENTIFIERS:
            topic = 'topic "of" \\ ' + name
            with Raw.connected(broker.port, name, 5) as client:
                assert told.next() == ("new/clients", name.encode())
                client.subscribe(*([topic] if "+" not in name else ["plain"]))
                what, payload = told.next()
                said = json.loads(payload)
                assert what == "new/subscribes" and said["clientId"] == name
                filters = [s["topic"] for s in said["subs"]] if way == "aedes" else [said["topic"]]
                assert filters == ([topic] if "+" not in name else ["plain"])
            assert told.next() == ("disconnect/clients", name.encode())


@pytest.mark.parametrize("way", ["aedes", "mosca"])
def test_only_subscriptions_that_were_granted_and_have_ended_are_told(way):
    with serving("--client-topics", way, "--broker-id", "b1", "--limit", "topic-levels=3", "--sys-interval", 0, "--log-level", "error") as broker, \
            Told(broker.port, "b1") as told:
        with Raw.connected(broker.port, "x") as client:
            assert told.next()[0] == "new/clients"
            assert client.subscribe("a/b/c/d/e", "a")[2:] == b"\x80\0"
            assert b"a/b/c/d/e" not in (payload := told.next()[1]) and b'"a"' in payload
            client.send(packet(UNSUBSCRIBE, b"\0\x03" + string("never/was")))
            client.read()
            told.assert_nothing_more()


def test_without_client_topics_nobody_is_told():
    with serving("--sys-interval", 0, "--log-level", "error") as broker, Raw.connected(broker.port, "watcher") as watcher:
        watcher.subscribe("$SYS/#")
        with Raw.connected(broker.port, "x") as client:
            client.subscribe("a")
            client.disconnect()
        with pytest.raises(TimeoutError):
            watcher.read(0.3)


# MARK: The store


def test_a_durable_store_has_figures_of_its_own(tmp_path):
    with serving("--data", tmp_path / "data", "--sys-interval", INTERVAL, "--log-level", "error") as broker:
        with Watcher.connected(broker.port, "watcher") as watcher, Raw.connected(broker.port, "publisher") as publisher:
            watcher.subscribe("$SYS/broker/store/#")
            figures, missing = {}, {f"store/{name}" for name in (
                "commits/count", "commits/rate", "commits/changes", "sync/mean", "sync/longest", "bytes/live", "bytes/total", "full",
                "failure", "messages/count", "messages/bytes")}
            count = 0
            while missing or int(figures["store/commits/count"]) < count or not int(figures["store/bytes/live"]):
                if count < 20:
                    count += 1
                    publisher.publish("t", b"m", 1, count, retain=True)
                    publisher.expect(PUBACK)
                message = watcher.message()
                name = message.topic.removeprefix("$SYS/broker/")
                figures[name] = message.payload.decode()
                missing.discard(name)
            assert figures["store/full"] == "0" and figures["store/failure"] == "none"
            assert int(figures["store/bytes/total"]) >= int(figures["store/bytes/live"])
            assert [shape(figures["store/" + f]) for f in ("commits/rate", "commits/changes", "sync/mean")] == ["two decimals"] * 3


def test_a_volatile_store_has_none(tmp_path):
    with serving("--in-memory", "--sys-interval", INTERVAL, "--log-level", "error") as broker:
        with Watcher.connected(broker.port, "watcher") as watcher:
            assert not [name for name in watcher.figures() if name.startswith("store/") and "messages" not in name]
