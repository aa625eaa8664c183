"""paho-mqtt, in 3.1.1 and 5.0."""
import queue, threading

import paho.mqtt.client as paho
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

LEVELS = {"3.1.1": paho.MQTTv311, "5.0": paho.MQTTv5}


def properties(kind, **values):
    result = Properties(kind)
    for key, value in values.items():
        setattr(result, key, value)
    return result


class Peer:
    """A paho client on its own thread, whose messages arrive in a queue."""

    def __init__(self, port, client_id, level, *, clean=True, will=None, expiry_seconds=300, receive_maximum=None):
        session = {} if level == paho.MQTTv5 else {"clean_session": clean}
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id, protocol=level, reconnect_on_failure=False, **session)
        self.messages, self.answers, self.disconnected = queue.Queue(), queue.Queue(), queue.Queue()
        self.client.on_message = lambda c, u, message: self.messages.put(message)
        self.client.on_connect = lambda c, u, flags, reason, p: self.answers.put((flags, reason, p))
        self.client.on_subscribe = lambda c, u, mid, reasons, p: self.answers.put(reasons)
        self.client.on_unsubscribe = lambda c, u, mid, reasons, p: self.answers.put(reasons)
        self.client.on_disconnect = lambda c, u, flags, reason, p: self.disconnected.put(reason)
        if will:
            self.client.will_set(*will)
        options = {}
        if level == paho.MQTTv5:
            wishes = {"SessionExpiryInterval": 0 if clean else expiry_seconds}
            if receive_maximum:
                wishes["ReceiveMaximum"] = receive_maximum
            options = {"clean_start": clean, "properties": properties(PacketTypes.CONNECT, **wishes)}
        self.client.connect("127.0.0.1", port, **options)
        self.client.loop_start()
        self.flags, self.reason, self.properties = self.answers.get(timeout=10)
        assert not self.reason.is_failure, self.reason

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.disconnect()
        self.client.loop_stop()

    def subscribe(self, *arguments, **keywords):
        self.client.subscribe(*arguments, **keywords)
        return [reason.value for reason in self.answers.get(timeout=10)]

    def unsubscribe(self, topic):
        self.client.unsubscribe(topic)
        self.answers.get(timeout=10)

    def publish(self, *arguments, **keywords):
        self.client.publish(*arguments, **keywords).wait_for_publish(10)

    def message(self):
        return self.messages.get(timeout=10)

    def payloads(self, count):
        return [self.message().payload.decode() for _ in range(count)]

    def payloads_once(self, count, first):
        """From the first one on: at QoS 1, what the last connection did not get to acknowledge comes again before it."""
        message = self.message()
        while message.dup and message.qos == 1 and message.payload.decode() != first:
            message = self.message()
        return [message.payload.decode(), *self.payloads(count - 1)]

    def cut(self):
        """Breaks the connection without DISCONNECT."""
        self.client.socket().shutdown(2)
        self.disconnected.get(timeout=10)
        self.client.loop_stop()


@pytest.fixture(params=LEVELS)
def level(request):
    return LEVELS[request.param]


@pytest.fixture
def peer(broker, level):
    """Makes clients, and ends them after the test."""
    peers = []

    def peer(client_id, **keywords):
        peers.append(Peer(broker.port, client_id, level, **keywords))
        return peers[-1]
    yield peer
    for p in peers:
        p.__exit__()


@pytest.mark.parametrize("granted", [0, 1, 2])
def test_each_quality_of_service_meets_each(peer, name, granted):
    publisher, subscriber = peer(f"{name}-p"), peer(f"{name}-s")
    assert subscriber.subscribe(f"{name}/+", granted) == [granted]
    for qos in (0, 1, 2):
        publisher.publish(f"{name}/a", f"at {qos}", qos)
        message = subscriber.message()
        assert (message.topic, message.payload.decode(), message.qos, message.retain) == (f"{name}/a", f"at {qos}", min(qos, granted), False)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_many_messages_arrive_at_many_subscribers_in_order(peer, name, qos):
    subscribers = [peer(f"{name}-{n}") for n in range(8)]
    for s in subscribers:
        s.subscribe(name, qos)
    publisher = peer(name)
    sent = [str(n) for n in range(500)]
    tokens = [publisher.client.publish(name, payload, qos) for payload in sent]
    for token in tokens:
        token.wait_for_publish(10)
    for s in subscribers:
        assert s.payloads(len(sent)) == sent


def test_several_publishers_at_once_each_keep_their_order(peer, name):
    subscriber = peer(name)
    subscriber.subscribe(f"{name}/#", 1)
    publishers = [peer(f"{name}-{n}") for n in range(6)]

    def publish_all(number):
        for n in range(200):
            publishers[number].publish(f"{name}/{number}", str(n), 1)
    threads = [threading.Thread(target=publish_all, args=[n]) for n in range(6)]
    for t in threads:
        t.start()
    seen = {}
    for _ in range(1200):
        message = subscriber.message()
        seen.setdefault(message.topic, []).append(int(message.payload))
    for t in threads:
        t.join()
    assert seen == {f"{name}/{n}": list(range(200)) for n in range(6)}


def test_retained_messages_are_kept_and_cleared(peer, name):
    publisher = peer(f"{name}-p")
    for n in range(20):
        publisher.publish(f"{name}/{n}", f"value {n}", n % 3, retain=True)
    first = peer(f"{name}-1")
    first.subscribe(f"{name}/#", 2)
    got = {m.topic: (m.payload.decode(), m.qos, m.retain) for m in (first.message() for _ in range(20))}
    assert got == {f"{name}/{n}": (f"value {n}", n % 3, True) for n in range(20)}
    for n in range(19):
        publisher.publish(f"{name}/{n}", b"", 1, retain=True)
    second = peer(f"{name}-2")
    second.subscribe(f"{name}/#", 2)
    publisher.publish(f"{name}/end", "end")
    assert second.payloads(2) == ["value 19", "end"]


def test_a_will_comes_when_the_connection_breaks_only(peer, name):
    watcher = peer(name)
    watcher.subscribe(f"{name}/will", 2)
    polite = peer(f"{name}-polite", will=(f"{name}/will", "never", 1))
    polite.client.disconnect()
    polite.disconnected.get(timeout=10)
    peer(f"{name}-rude", will=(f"{name}/will", "broken", 2, True)).cut()
    message = watcher.message()
    assert (message.payload, message.qos, message.retain) == (b"broken", 2, False)
    assert watcher.messages.empty()


@pytest.mark.parametrize("qos", [1, 2])
def test_a_session_survives_a_broken_connection(peer, name, qos):
    sleeper = peer(name, clean=False)
    assert not sleeper.flags.session_present
    sleeper.subscribe(f"{name}/#", 2)
    publisher = peer(f"{name}-p")
    for round in range(3):
        sleeper.cut()
        sent = [f"{round}.{n}" for n in range(30)]
        for payload in sent:
            publisher.publish(f"{name}/x", payload, qos)
        sleeper = peer(name, clean=False)
        assert sleeper.flags.session_present
        assert sleeper.payloads_once(30, sent[0]) == sent
    assert sleeper.messages.empty()
    sleeper.client.disconnect()
    sleeper.disconnected.get(timeout=10)
    assert not peer(name, clean=True).flags.session_present


def test_unsubscribe_ends_what_arrives(peer, name):
    client = peer(name)
    client.subscribe([(f"{name}/a", 1), (f"{name}/b", 1)])
    client.unsubscribe(f"{name}/a")
    client.publish(f"{name}/a", "unheard", 1)
    client.publish(f"{name}/b", "heard", 1)
    assert client.payloads(1) == ["heard"]


def test_properties_pass_unchanged(broker, name):
    with Peer(broker.port, name, paho.MQTTv5) as client:
        client.subscribe(name, 1, properties=properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=7))
        sent = dict(PayloadFormatIndicator=1, ContentType="application/json", ResponseTopic="answer", CorrelationData=b"\0\xff",
                    UserProperty=[("same", "1"), ("same", "2")], MessageExpiryInterval=500)
        client.publish(name, "{}", 1, properties=properties(PacketTypes.PUBLISH, **sent))
        got = client.message().properties
    assert got.SubscriptionIdentifier == [7]
    assert 0 < got.MessageExpiryInterval <= 500
    for key in sent.keys() - {"MessageExpiryInterval"}:
        assert getattr(got, key) == sent[key]


def test_request_and_response(broker, name):
    with Peer(broker.port, f"{name}-1", paho.MQTTv5) as asking, Peer(broker.port, f"{name}-2", paho.MQTTv5) as answering:
        answering.subscribe(f"{name}/question", 1)
        asking.subscribe(f"{name}/answer", 1)
        for n in range(20):
            request = properties(PacketTypes.PUBLISH, ResponseTopic=f"{name}/answer", CorrelationData=bytes([n]))
            asking.publish(f"{name}/question", str(n), 1, properties=request)
            asked = answering.message()
            response = properties(PacketTypes.PUBLISH, CorrelationData=asked.properties.CorrelationData)
            answering.publish(asked.properties.ResponseTopic, asked.payload * 2, 1, properties=response)
            answer = asking.message()
            assert (answer.payload.decode(), answer.properties.CorrelationData) == (str(n) * 2, bytes([n]))


def test_subscription_options(broker, name):
    with Peer(broker.port, f"{name}-1", paho.MQTTv5) as own, Peer(broker.port, f"{name}-2", paho.MQTTv5) as other:
        other.publish(f"{name}/old", "retained", 1, retain=True)
        options = SubscribeOptions(qos=1, noLocal=True, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND)
        assert own.subscribe(f"{name}/#", options=options) == [1]
        own.publish(f"{name}/x", "own", 1)
        other.publish(f"{name}/x", "other", 1, retain=True)
        message = own.message()
        assert (message.payload, message.retain) == (b"other", True)


def test_a_shared_subscription_gives_each_message_to_one(broker, name):
    workers = [Peer(broker.port, f"{name}-{n}", paho.MQTTv5, receive_maximum=3) for n in range(4)]
    common = queue.Queue()
    with Peer(broker.port, name, paho.MQTTv5) as publisher:
        for w in workers:
            w.messages = common
            w.subscribe(f"$share/workers/{name}/#", 1)
        for n in range(200):
            publisher.publish(f"{name}/{n}", str(n), 1)
        got = sorted(int(common.get(timeout=10).payload) for _ in range(200))
    for w in workers:
        w.__exit__()
    assert got == list(range(200)) and common.empty()


def test_a_takeover_tells_its_reason(broker, name):
    with Peer(broker.port, name, paho.MQTTv5) as first, Peer(broker.port, name, paho.MQTTv5) as second:
        assert first.disconnected.get(timeout=10).value == 0x8E
        second.subscribe(name)
        second.publish(name, "mine now")
        assert second.payloads(1) == ["mine now"]
