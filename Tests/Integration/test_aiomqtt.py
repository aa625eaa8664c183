"""aiomqtt, in 3.1.1 and 5.0: many clients on one asyncio loop."""
import asyncio

import aiomqtt
import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

SECONDS_MAX = 20


@pytest.fixture(params=[aiomqtt.ProtocolVersion.V311, aiomqtt.ProtocolVersion.V5], ids=["3.1.1", "5.0"])
def client(request, broker, name):
    """Makes clients: `async with client("id") as c`."""
    def client(client_id, *, lasting=False, **keywords):
        if request.param == aiomqtt.ProtocolVersion.V5:
            connect = Properties(PacketTypes.CONNECT)
            connect.SessionExpiryInterval = 300 if lasting else 0
            keywords |= {"clean_start": not lasting, "properties": connect}
        else:
            keywords |= {"clean_session": not lasting}
        return aiomqtt.Client("127.0.0.1", broker.port, identifier=f"{name}-{client_id}", protocol=request.param, **keywords)
    return client


def play(scene):
    asyncio.run(asyncio.wait_for(scene, SECONDS_MAX))


async def take(client, count):
    messages = []
    async for message in client.messages:
        messages.append(message)
        if len(messages) == count:
            return messages


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_ten_subscribers_each_get_all_messages_in_order(client, name, qos):
    async def subscriber(number, ready):
        async with client(f"s{number}") as c:
            await c.subscribe(f"{name}/#", qos=qos)
            ready.release()
            return [(m.payload.decode(), m.qos) for m in await take(c, 200)]

    async def scene():
        ready = asyncio.Semaphore(0)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(subscriber(n, ready)) for n in range(10)]
            for _ in tasks:
                await ready.acquire()
            async with client("p") as publisher:
                for n in range(200):
                    await publisher.publish(f"{name}/{n % 7}", str(n), qos=qos)
        for task in tasks:
            assert task.result() == [(str(n), qos) for n in range(200)]
    play(scene())


def test_fifty_clients_talk_in_a_ring(client, name):
    """Each client passes on what it gets to the next one, wherever its event loop is."""
    async def member(number, ready):
        async with client(f"m{number}") as c:
            await c.subscribe(f"{name}/{number}", qos=1)
            ready.release()
            for message in await take(c, 1):
                await c.publish(f"{name}/{number + 1}", message.payload + b".", qos=1)

    async def scene():
        ready = asyncio.Semaphore(0)
        async with client("start") as start, asyncio.TaskGroup() as group:
            for n in range(50):
                group.create_task(member(n, ready))
            for _ in range(50):
                await ready.acquire()
            await start.subscribe(f"{name}/50", qos=1)
            await start.publish(f"{name}/0", b"", qos=1)
            assert (await take(start, 1))[0].payload == b"." * 50
    play(scene())


def test_a_retained_message_comes_first(client, name):
    async def scene():
        async with client("p") as publisher:
            await publisher.publish(f"{name}/state", "old", qos=1, retain=True)
            await publisher.publish(f"{name}/state", "kept", qos=1, retain=True)
            async with client("s") as subscriber:
                await subscriber.subscribe(f"{name}/+", qos=1)
                await publisher.publish(f"{name}/state", "live", qos=1)
                assert [(m.payload, m.retain) for m in await take(subscriber, 2)] == [(b"kept", True), (b"live", False)]
    play(scene())


def test_a_will_comes_when_the_connection_breaks(client, name):
    async def scene():
        async with client("watcher") as watcher:
            await watcher.subscribe(f"{name}/will", qos=1)
            async with client("polite", will=aiomqtt.Will(f"{name}/will", "never", 1)):
                pass
            with pytest.raises(aiomqtt.MqttError):
                async with client("rude", will=aiomqtt.Will(f"{name}/will", "broken", 1)) as rude:
                    rude._client.socket().shutdown(2)
                    await take(rude, 1)
            assert (await take(watcher, 1))[0].payload == b"broken"
    play(scene())


def test_a_session_keeps_messages_while_its_client_is_away(client, name):
    async def scene():
        async with client("sleeper", lasting=True) as sleeper:
            await sleeper.subscribe(f"{name}/#", qos=2)
        async with client("p") as publisher:
            for n in range(50):
                await publisher.publish(f"{name}/x", str(n), qos=2)
        async with client("sleeper", lasting=True) as sleeper:
            assert [m.payload.decode() for m in await take(sleeper, 50)] == [str(n) for n in range(50)]
    play(scene())


def test_concurrent_calls_of_one_client(client, name):
    async def scene():
        async with client("c") as c:
            await asyncio.gather(*(c.subscribe(f"{name}/{n}", qos=1) for n in range(100)))
            await asyncio.gather(*(c.publish(f"{name}/{n}", str(n), qos=1) for n in range(100)))
            assert sorted(int(m.payload) for m in await take(c, 100)) == list(range(100))
            await asyncio.gather(*(c.unsubscribe(f"{name}/{n}") for n in range(99)))
            await asyncio.gather(*(c.publish(f"{name}/{n}", "again", qos=1) for n in range(100)))
            assert [m.topic.value for m in await take(c, 1)] == [f"{name}/99"]
            assert len(c.messages) == 0
    play(scene())


@pytest.mark.parametrize("client", [aiomqtt.ProtocolVersion.V5], indirect=True, ids=["5.0"])
def test_properties_of_5_0(client, name):
    async def scene():
        async with client("c") as c:
            await c.subscribe(name, qos=1)
            sent = Properties(PacketTypes.PUBLISH)
            sent.UserProperty = [("key", "value")]
            sent.ContentType = "text/plain"
            await c.publish(name, "x", qos=1, properties=sent)
            got = (await take(c, 1))[0].properties
            assert (got.UserProperty, got.ContentType) == (sent.UserProperty, "text/plain")
    play(scene())
