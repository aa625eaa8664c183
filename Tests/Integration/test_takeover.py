"""A second connection with a client id takes over from the first, whatever has become of that one; and keep alive."""
import os, select, socket, time

import pytest

from raw import (CONNACK, DISCONNECT, PINGREQ, SESSION_TAKEN_OVER, Closed, Raw, connect_packet, fill_until_blocked, publish_packet,
                 session_expiry)

LEVELS = pytest.mark.parametrize("level", [3, 4, 5], ids=["3.1", "3.1.1", "5.0"])
TCP_REPAIR = 19


def lasting(level):
    return {"clean": False, "properties": session_expiry(300) if level == 5 else b""}


@LEVELS
def test_the_old_connection_is_closed_and_the_new_one_works(broker, level, name):
    with Raw.connected(broker.port, name, level) as first, Raw.connected(broker.port, name, level) as second:
        packets = first.read_until_closed(5)
        assert [(kind, body[0]) for kind, body in packets] == ([(DISCONNECT, SESSION_TAKEN_OVER)] if level == 5 else [])
        second.subscribe(name)
        second.publish(name, b"mine")
        assert second.message().payload == b"mine"


def test_a_takeover_between_versions(broker, name):
    for old in (3, 4, 5):
        for new in (3, 4, 5):
            with Raw.connected(broker.port, name, old) as first, Raw.connected(broker.port, name, new) as second:
                first.read_until_closed(5)
                second.ping()


@LEVELS
def test_a_thousand_takeovers_in_a_row_keep_the_session(broker, level, name):
    """Neighbours sit on different event loops: with each takeover the session changes its loop."""
    current = Raw.connected(broker.port, name, level, **lasting(level))
    current.subscribe(name, qos=1)
    with Raw.connected(broker.port, f"{name}-p", level) as publisher:
        for n in range(1000):
            # One that does not wait for the broker to close the old one, every other time.
            following = Raw.connected(broker.port, name, level, **lasting(level))
            assert following.session_present or level == 3
            if n % 2:
                current.read_until_closed(5)
            current.close()
            current = following
            if n % 50 == 0:
                publisher.publish(name, str(n).encode())
                assert current.message().payload == str(n).encode()
    current.ping()
    current.close()


@LEVELS
def test_a_message_on_its_way_survives_the_takeover(broker, level, name):
    """Never acknowledged, a message comes again on each new connection, marked as a duplicate."""
    current = Raw.connected(broker.port, name, level, **lasting(level))
    current.subscribe(name, qos=1)
    with Raw.connected(broker.port, f"{name}-p", level) as publisher:
        publisher.publish(name, b"kept", 1, 1)
        publisher.expect(0x40)
    identifier = None
    for n in range(20):
        first, body = current.read()
        assert first == (0x32 if n == 0 else 0x3A) and body.endswith(b"kept")
        packet_id = body[2 + len(name):4 + len(name)]
        assert identifier in (None, packet_id)
        identifier = packet_id
        following = Raw.connected(broker.port, name, level, **lasting(level))
        current.close()
        current = following
    current.close()


@LEVELS
def test_of_two_connects_at_once_one_survives(broker, level, name):
    for n in range(100):
        pair = [Raw(broker.port, level=level) for _ in range(2 + n % 3)]
        for raw in pair:
            raw.send(connect_packet(f"{name}-{n}", level))
        survivors = 0
        for raw in pair:
            try:
                raw.expect(CONNACK, 5)
                raw.send(PINGREQ)
            except Closed:
                pass
        for raw in pair:
            survivors += answers_a_ping(raw)
        assert survivors == 1, f"round {n}"
        for raw in pair:
            raw.close()


def answers_a_ping(raw):
    """Whether this one stays; the others have to be closed. A PINGRESP may have come before the takeover."""
    try:
        while raw.read(5)[0] != 0xD0:
            pass
        raw.ping(5)
        return True
    except (Closed, AssertionError, ConnectionError):
        return False


@LEVELS
def test_takeover_from_a_socket_that_does_not_read(broker, level, name):
    with Raw.connected(broker.port, name, level, receive_buffer_bytes=4096) as stuck:
        stuck.subscribe(f"{name}/flood")
        fill_until_blocked(broker.port, f"{name}/flood", seconds=0.5)
        begun = time.monotonic()
        with Raw.connected(broker.port, name, level) as following:
            following.ping(2)
            assert time.monotonic() - begun < 2
        stuck.read_until_closed(10)


@LEVELS
def test_takeover_from_a_socket_that_is_half_closed(broker, level, name):
    for _ in range(50):
        half = Raw.connected(broker.port, name, level)
        half.socket.shutdown(socket.SHUT_WR)
        with Raw.connected(broker.port, name, level) as following:
            following.ping()
            half.close()
            following.ping()


@LEVELS
@pytest.mark.skipif(os.geteuid() != 0, reason="a connection without its other end needs TCP_REPAIR, so root")
def test_takeover_from_a_socket_whose_other_end_is_gone(broker, level, name):
    """As after a power cut at the client: no FIN, no RST, until the broker writes."""
    for n in range(50):
        vanished = Raw.connected(broker.port, name, level, **lasting(level))
        if n % 2:
            vanished.subscribe(name, qos=1)
        vanished.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        vanished.close()
        with Raw.connected(broker.port, name, level, **lasting(level)) as following:
            following.ping()
            if n % 2:
                following.publish(name, b"mine")
                assert following.message().payload == b"mine"


def test_keep_alive_of_nothing_and_of_the_most(broker, name):
    """Both outlive a client whose keep alive of 1 s runs out, which has to be closed after 1.5 s."""
    lasting_ones = [Raw.connected(broker.port, f"{name}-{level}-{seconds}", level, keep_alive=seconds)
                    for level in (3, 4, 5) for seconds in (0, 65535)]
    short_ones = [Raw.connected(broker.port, f"{name}-{level}-short", level, keep_alive=1) for level in (3, 4, 5)]
    begun = time.monotonic()
    for raw in short_ones:
        raw.read_until_closed(10)
        assert 1.4 <= time.monotonic() - begun < 4
    readable, _, _ = select.select([raw.socket for raw in lasting_ones], [], [], 1)
    assert not readable
    for raw in lasting_ones:
        raw.subscribe(name)
        raw.send(publish_packet(name, b"alive", level=raw.level))
        assert raw.message().payload == b"alive"
        raw.close()
