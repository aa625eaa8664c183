"""The load of the soak test: clients that do at random what clients do, well and badly, until the time is over.

Each client has random numbers of its own, from the seed and its number: what it does can be repeated, when it does it cannot.
"""
import asyncio, collections, os, random, resource, socket, struct, sys, traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "Conformance"))
import codec
from codec import V5, V31, V311

SUBSCRIPTIONS_MAX, UNACKNOWLEDGED_MAX, UNWRITTEN_BYTES_MAX = 4, 20, 256 << 10
PAUSE_SECONDS, AWAY_SECONDS, STALL_SECONDS = 0.7, 2, (0.5, 8)      # the first two on average
ANSWER_SECONDS_MAX = 30
CHECKED_EVERY = 16                                                  # one PUBLISH of so many is decoded strictly
NEVER = 0xFFFFFFFF

PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(3, 8)
QUOTA_EXCEEDED, NOT_FOUND, NO_MATCHING_SUBSCRIBERS = 0x97, 0x92, 0x10
# Keep alive of one that stalls, a takeover, and a client that takes nothing for longer than the drain time.
EXPECTED_GOODBYES = {0x8D, 0x8E, QUOTA_EXCEEDED}


class Topics:
    """More clients have more topics, so that a message has as many receivers with few of them."""
    THINGS = 10

    def __init__(self, clients):
        self.areas, self.states, self.floods = max(1, clients // 10), max(1, clients // 3), max(1, clients // 500)

    def thing(self, random):
        return f"soak/{random.randrange(self.areas)}/{random.randrange(self.THINGS)}"

    def state(self, random):
        """Retained."""
        return f"state/{random.randrange(self.states)}"

    def flood(self, random):
        """Of large messages."""
        return f"flood/{random.randrange(self.floods)}"

    def filter(self, random):
        area, thing, kind = random.randrange(self.areas), random.randrange(self.THINGS), random.random()
        if kind < 0.55:
            return f"soak/{area}/{thing}"
        if kind < 0.68:
            return f"soak/{area}/+"
        if kind < 0.78:
            return f"soak/{area}/#"
        if kind < 0.95:
            return f"$share/group/soak/{area}/#"
        return f"soak/+/{thing}" if kind < 0.955 else f"{self.state(random)}/#" if kind < 0.99 else "state/+"


class Numbers(collections.Counter):
    """What all clients of one process have done and seen, and what was wrong with it."""
    ERRORS_MAX = 20

    def __init__(self):
        super().__init__()
        self.errors = []

    def error(self, text):
        self["errors"] += 1
        if len(self.errors) < self.ERRORS_MAX:
            self.errors.append(text)


class Link(asyncio.Protocol):
    """One connection of a client. What comes is answered as MQTT asks for; the rest is the client's business."""

    def __init__(self, client, version):
        self.client, self.version, self.numbers = client, version, client.numbers
        self.rest, self.answers = b"", bytearray()
        self.pending = {}           # packet id -> how many filters of a SUBSCRIBE or UNSUBSCRIBE
        self.aliases = {}           # topic -> alias, as this client has defined them
        self.aliases_max = self.unacknowledged_max = 0
        self.transport, self.is_owed_connack = None, False
        self.accepted = client.loop.create_future()
        self.lost = client.loop.create_future()

    @property
    def is_open(self):
        return not self.lost.done() and not self.transport.is_closing()

    def connection_made(self, transport):
        self.transport = transport

    def connection_lost(self, error):
        self.lost.set_result(None)
        if self.is_owed_connack and not self.accepted.done():
            self.numbers.error(f"{self.client.id}: the broker closes instead of CONNACK: {error}")
            self.accepted.set_result(False)

    def write(self, data):
        if not self.transport.is_closing():
            self.numbers["bytes written"] += len(data)
            self.transport.write(data)

    def data_received(self, data):
        self.numbers["bytes read"] += len(data)
        data = self.rest + data if self.rest else data
        at, end = 0, len(data)
        while end - at >= 2:
            length, body = data[at + 1], at + 2
            if length > 127:
                length &= 127
                for shift in (7, 14, 21):
                    if body == end:
                        break
                    length |= (data[body] & 127) << shift
                    body += 1
                    if data[body - 1] < 128:
                        break
                if data[body - 1] > 127:
                    break
            if end - body < length:
                break
            try:
                self.received(data, at, body, body + length)
            except codec.Violation as violation:
                self.numbers.error(f"{self.client.id}: {violation}")
            at = body + length
        self.rest = data[at:]
        if self.answers:
            self.write(bytes(self.answers))
        self.answers.clear()

    def received(self, data, at, body, end):
        kind = data[at] >> 4
        if kind == PUBLISH:
            self.publish_received(data, at, body, end)
        elif PUBACK <= kind <= PUBCOMP:
            reason = data[body + 2] if end - body > 2 else 0
            if reason or data[at] & 15 != (2 if kind == PUBREL else 0):
                codec.decode(self.version, data[at:end])
            self.answer_received(kind, data[body] << 8 | data[body + 1], reason)
        else:
            packet = codec.decode(self.version, data[at:end])
            getattr(self, packet.kind.lower() + "_received", lambda packet: None)(packet)

    def publish_received(self, data, at, body, end):
        self.numbers["messages received"] += 1
        if self.numbers["messages received"] % CHECKED_EVERY == 0:
            codec.decode(self.version, data[at:end])
        qos = data[at] >> 1 & 3
        # What a connection still delivers after another has taken its session over comes again there, or was of a session before.
        if qos == 0 or self is not self.client.link:
            return
        after_topic = body + 2 + (data[body] << 8 | data[body + 1])
        packet_id = data[after_topic:after_topic + 2]
        self.answers += (b"\x40\x02" if qos == 1 else b"\x50\x02") + packet_id
        if qos == 2:
            # [MQTT-4.3.3-12]: an identifier is used again only after PUBREL.
            if packet_id in self.client.unreleased and not data[at] & 8:
                self.numbers.error(f"{self.client.id}: a new message with packet id {packet_id.hex()}, which waits for its PUBREL")
            self.client.unreleased.add(packet_id)

    def answer_received(self, kind, packet_id, reason):
        raw, waiting = struct.pack("!H", packet_id), self.client.unacknowledged
        if self is not self.client.link:
            return
        if kind == PUBREL:
            self.client.unreleased.discard(raw)
            self.answers += b"\x70\x02" + raw
            return
        sent = waiting.get(packet_id)
        wanted = {PUBACK: "PUBACK", PUBREC: "PUBREC", PUBCOMP: "PUBCOMP"}[kind]
        if sent is None or sent[0] != wanted:
            self.numbers.error(f"{self.client.id}: {wanted} of packet id {packet_id}, which waits for {sent and sent[0]}")
        elif kind == PUBREC and reason < 0x80:
            waiting[packet_id] = ("PUBCOMP", None)
            self.answers += b"\x62\x02" + raw
        else:
            del waiting[packet_id]
        if reason not in (0, NO_MATCHING_SUBSCRIBERS, QUOTA_EXCEEDED, NOT_FOUND):
            self.numbers.error(f"{self.client.id}: {wanted} with {reason:#x}")

    def connack_received(self, packet):
        if packet.reason:
            self.numbers.error(f"{self.client.id}: CONNECT is refused with {packet.reason:#x}")
        self.aliases_max = packet.properties.get("topic_alias_maximum", 0)
        self.unacknowledged_max = min(UNACKNOWLEDGED_MAX, packet.properties.get("receive_maximum", 65535))
        self.client.connected(self, packet.session_present)
        self.accepted.set_result(packet.reason == 0)

    def suback_received(self, packet):
        self.filters_answered(packet, len(packet.reasons))

    def unsuback_received(self, packet):
        self.filters_answered(packet, len(packet.reasons) if self.version == V5 else 1)

    def filters_answered(self, packet, count):
        if self.pending.pop(packet.packet_id, None) != count or any(reason >= 0x80 for reason in packet.reasons):
            self.numbers.error(f"{self.client.id}: {packet.kind} {packet.raw.hex()} is no answer to what was asked")

    def disconnect_received(self, packet):
        self.numbers[f"disconnected with {packet.reason:#x}"] += 1
        if packet.reason not in EXPECTED_GOODBYES:
            self.numbers.error(f"{self.client.id}: the broker disconnects with {packet.reason:#x} {packet.properties}")


class Client:
    """One client identifier, and the session's other end."""

    def __init__(self, address, number, topics, seed, numbers, loop):
        self.address, self.id, self.topics, self.numbers, self.loop = address, f"soak-{number}", topics, numbers, loop
        self.random = random.Random(f"{seed}/{number}")
        self.link = None
        self.filters = []           # of the session
        self.unacknowledged = {}    # packet id -> what it waits for, the message to repeat
        self.unreleased = set()     # packet ids of the broker at QoS 2
        self.last_id = 0
        self.is_ending, self.awake = False, loop.create_future()

    # Coming

    async def come(self, **fields):
        """Connects; takes over the connection that there is. False where the broker was not willing or there in time."""
        version = self.random.choices((V31, V311, V5), (1, 2, 3))[0]
        link = Link(self, version)
        link.is_owed_connack = True
        self.numbers["connects"] += 1
        try:
            await self.open(link, codec.connect(version, self.id, **(fields or self.session(version))))
            return await asyncio.wait_for(link.accepted, ANSWER_SECONDS_MAX)
        except TimeoutError:
            self.numbers.error(f"{self.id}: no connection and CONNACK within {ANSWER_SECONDS_MAX} s")
            if link.transport:
                link.transport.abort()
        except OSError as error:
            self.numbers.error(f"{self.id}: cannot connect: {error}")
        return False

    async def open(self, link, first):
        """Connects and sends the first bytes, without a turn of the event loop in between: it may be late.

        Narrow connections fill fast when they are not read: small segments keep the broker's socket buffer small too.
        """
        s = socket.socket()
        try:
            if self.random.random() < 0.3:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
                s.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1024)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.settimeout(ANSWER_SECONDS_MAX)
            s.connect(self.address)
            s.sendall(first)
            self.numbers["bytes written"] += len(first)
            s.setblocking(False)
            await self.loop.create_connection(lambda: link, sock=s)
        except BaseException:
            s.close()
            raise

    def session(self, version):
        """Of CONNECT: how long the session is to last, the will, and what a 5.0 client can ask for."""
        pick, fields = self.random, {}
        fields["clean"] = pick.random() < 0.4
        fields["keep_alive"] = pick.choice((0, 5, 60))
        if pick.random() < 0.3:
            delay = {"will_delay_interval": pick.choice((1, 2, 5))} if version == V5 and pick.random() < 0.5 else {}
            topic, retain = (self.topics.state(pick), True) if pick.random() < 0.3 else (self.topics.thing(pick), False)
            fields["will"] = codec.Will(topic, b"gone", pick.randrange(3), retain, delay)
        if version == V5:
            fields["properties"] = {"session_expiry_interval": pick.choice((0, 1, 3, 10, 10, NEVER))}
            if pick.random() < 0.3:
                fields["properties"]["receive_maximum"] = pick.choice((1, 5, 20))
            if pick.random() < 0.5:
                fields["properties"]["topic_alias_maximum"] = pick.choice((4, 64))
            if pick.random() < 0.2:
                fields["properties"]["maximum_packet_size"] = 1500
        return fields

    def connected(self, link, session_present):
        """CONNACK is here: this is the connection from now on; what was not acknowledged is sent again, in order."""
        self.link = link
        if not session_present:
            if link.version != V31:      # whose CONNACK does not tell
                self.filters.clear()
            self.unacknowledged.clear()
            self.unreleased.clear()
        for packet_id, (wanted, message) in self.unacknowledged.items():
            if wanted == "PUBCOMP":
                link.write(codec.acknowledgement(link.version, "PUBREL", packet_id))
            else:
                self.numbers["messages repeated"] += 1
                link.write(codec.publish(link.version, dup=True, packet_id=packet_id, **message))

    # Living

    async def rest(self, seconds):
        """Does nothing for so long, or until the load ends."""
        if not self.is_ending:
            self.awake = self.loop.create_future()
            self.loop.call_later(seconds, wake, self.awake)
            await self.awake

    def end(self):
        self.is_ending = True
        wake(self.awake)

    async def live(self):
        await self.rest(self.random.uniform(0, 3))
        while not self.is_ending:
            if await self.come():
                await self.act_until_it_goes()
            await self.rest(self.random.expovariate(1 / AWAY_SECONDS))
            if self.random.random() < 0.1:
                await self.die_within_connect()

    async def act_until_it_goes(self):
        actions = (self.publish, self.subscribe, self.unsubscribe, self.ping, self.stall, self.take_over)
        while self.link.is_open and not self.is_ending:
            await self.rest(self.random.expovariate(1 / PAUSE_SECONDS))
            if self.random.random() < 0.04:
                return self.go()
            if self.link.is_open and self.link.transport.get_write_buffer_size() < UNWRITTEN_BYTES_MAX:
                action = self.random.choices(actions, (55, 14, 6, 5, 4, 4))[0]()
                if action:
                    await action
        if not self.link.is_open:
            self.numbers["closed by the broker"] += 1

    def next_id(self):
        while True:
            self.last_id = self.last_id % 65535 + 1
            if self.last_id not in self.unacknowledged and self.last_id not in self.link.pending:
                return self.last_id

    def publish(self):
        kind = self.random.random()
        if kind < 0.01:
            topic = self.topics.flood(self.random)
            for _ in range(8):
                self.publish_one(topic, bytes(self.random.choice((2000, 8000, 30000))))
        elif kind < 0.15:
            self.publish_one(self.topics.state(self.random), self.random.randbytes(2) * self.random.randrange(100), retain=True)
        else:
            topic = self.topics.thing(self.random)
            for _ in range(self.random.randrange(1, 5)):
                self.publish_one(topic, bytes(self.random.randrange(200)))

    def publish_one(self, topic, payload, retain=False):
        link, qos, packet_id, properties = self.link, self.random.choice((0, 0, 1, 1, 2)), None, {}
        if len(self.unacknowledged) >= link.unacknowledged_max:
            qos = 0
        if link.version == V5 and self.random.random() < 0.2:
            properties["message_expiry_interval"] = self.random.choice((1, 60))
        if qos:
            packet_id = self.next_id()
            message = {"topic": topic, "payload": payload, "qos": qos, "retain": retain, "properties": dict(properties)}
            self.unacknowledged[packet_id] = ("PUBACK" if qos == 1 else "PUBREC", message)
        if link.version == V5 and self.random.random() < 0.3:
            if topic in link.aliases:
                properties["topic_alias"], topic = link.aliases[topic], ""
            elif len(link.aliases) < min(4, link.aliases_max):
                properties["topic_alias"] = link.aliases[topic] = len(link.aliases) + 1
        self.numbers["messages published"] += 1
        link.write(codec.publish(link.version, topic, payload, qos=qos, retain=retain, packet_id=packet_id, properties=properties))

    def subscribe(self, *filters):
        if not filters and len(self.filters) >= SUBSCRIPTIONS_MAX:
            return self.unsubscribe()
        filters = filters or [self.topics.filter(self.random) for _ in range(self.random.choice((1, 1, 2)))]
        link, packet_id, properties = self.link, self.next_id(), {}
        if link.version == V5 and self.random.random() < 0.3:
            properties["subscription_identifier"] = self.random.randrange(1, 300)
        link.pending[packet_id] = len(filters)
        self.filters += filters
        link.write(codec.subscribe(link.version, packet_id, [(f, self.options(f)) for f in filters], properties))

    def options(self, filter):
        qos = self.random.randrange(3)
        if self.link.version != V5:
            return qos
        return codec.options(qos, no_local=not filter.startswith("$share") and self.random.random() < 0.3,
                             retain_as_published=self.random.random() < 0.3, retain_handling=self.random.randrange(3))

    def unsubscribe(self, filter=None):
        if not self.filters:
            return
        filter = filter or self.random.choice(self.filters)
        while filter in self.filters:
            self.filters.remove(filter)
        packet_id = self.next_id()
        self.link.pending[packet_id] = 1
        self.link.write(codec.unsubscribe(self.link.version, packet_id, [filter]))

    def ping(self):
        self.link.write(codec.PINGREQ)

    async def stall(self):
        """Reads nothing for a while, of more than the buffers on the way take."""
        link, filter = self.link, self.topics.flood(self.random)
        self.numbers["stalls"] += 1
        self.subscribe(filter)
        link.transport.pause_reading()
        await self.rest(self.random.uniform(*STALL_SECONDS))
        if link.is_open:
            link.transport.resume_reading()
            self.unsubscribe(filter)

    async def take_over(self):
        """A second connection with the same identifier; the broker has to close the first."""
        old = self.link
        if await self.come():
            self.numbers["takeovers"] += 1
            done, _ = await asyncio.wait([old.lost], timeout=ANSWER_SECONDS_MAX)
            if not done:
                self.numbers.error(f"{self.id}: a connection that was taken over is not closed within {ANSWER_SECONDS_MAX} s")
                old.transport.abort()

    # Going

    def go(self):
        """As told, or dead: with FIN or RST, also within a packet."""
        link, way = self.link, self.random.randrange(6)
        if not link.is_open:
            return
        if way == 0:
            link.write(codec.disconnect(link.version))
        elif way == 1:
            link.write(codec.disconnect(link.version, reason=4))     # with the will
        elif way < 4:
            link.write(codec.publish(link.version, self.topics.thing(self.random), bytes(1000))[:self.random.randrange(1, 1000)])
        self.numbers["left" if way < 2 else "died"] += 1
        die(link.transport, with_reset=way in (3, 4))

    async def die_within_connect(self):
        link, first = Link(self, V5), codec.connect(V5, self.id)
        await self.open(link, first[:self.random.randrange(12)])
        await self.rest(self.random.uniform(0, 1))
        die(link.transport, with_reset=self.random.random() < 0.5)

    async def end_session(self):
        """Leaves nothing behind but what it has retained."""
        if await self.come(clean=True):
            self.link.write(codec.disconnect(self.link.version))
            await asyncio.wait([self.link.lost], timeout=ANSWER_SECONDS_MAX)
            if self.link.is_open:
                self.numbers.error(f"{self.id}: the connection is still open {ANSWER_SECONDS_MAX} s after DISCONNECT")


def wake(future):
    if not future.done():
        future.set_result(None)


def die(transport, with_reset):
    if transport.is_closing():
        return
    if with_reset:
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    else:
        transport.close()


async def run_clients(address, members, topics, seed, seconds, numbers):
    loop = asyncio.get_running_loop()
    clients = [Client(address, number, topics, seed, numbers, loop) for number in members]
    lives = [asyncio.create_task(client.live()) for client in clients]
    await asyncio.wait(lives, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    # None is cut off while it connects: a CONNECT that is still under way would begin a session after the last one.
    for client in clients:
        client.end()
    for result in await asyncio.gather(*lives, return_exceptions=True):
        if result:
            numbers.errors.insert(0, f"the load itself failed: {''.join(traceback.format_exception(result))}")
            numbers["errors"] += 1
    for client in clients:
        if client.link:
            client.go()
    few = asyncio.Semaphore(100)

    async def end(client):
        async with few:
            await client.end_session()
    await asyncio.gather(*map(end, clients))


def run(address, members, topics, seed, seconds, niceness, results):
    """One process of the load. Its numbers and errors go into `results`, a pipe."""
    os.nice(niceness)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    numbers = Numbers()
    asyncio.run(run_clients(address, members, topics, seed, seconds, numbers))
    numbers["processor ms"] = int(1000 * sum(os.times()[:2]))
    results.send((dict(numbers), numbers.errors))
