"""SIGTERM and SIGINT: stop accepting, tell the clients, flush, end with 0 within 5 s."""
import signal, socket, time

import pytest

from brokers import can_connect, running_with_threads
from raw import DISCONNECT, PUBLISH, SERVER_SHUTTING_DOWN, Closed, Message, Raw, fill_until_blocked

SIGNALS = pytest.mark.parametrize("with_signal", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
THREADS = pytest.mark.parametrize("threads", [1, 4], ids=["one-loop", "four-loops"])


@SIGNALS
@THREADS
def test_5_0_clients_are_told_and_all_are_closed(with_signal, threads):
    with running_with_threads(threads) as broker:
        clients = [Raw.connected(broker.port, f"c{n}", 3 + n % 3) for n in range(60)]
        half_open = Raw(broker.port)
        broker.process.send_signal(with_signal)
        for client in clients:
            packets = client.read_until_closed(5)
            assert [(kind, body[:1]) for kind, body in packets] == \
                ([(DISCONNECT, bytes([SERVER_SHUTTING_DOWN]))] if client.level == 5 else [])
        assert half_open.read_until_closed(5) == []
        broker.assert_ends()
        assert not can_connect(broker.port)


@SIGNALS
@THREADS
def test_what_was_acknowledged_is_flushed_before_the_end(with_signal, threads):
    count = 400
    with running_with_threads(threads) as broker:
        subscribers = [Raw.connected(broker.port, f"s{n}", 4 + n % 2) for n in range(4)]
        for s in subscribers:
            s.subscribe("last", qos=0)
        with Raw.connected(broker.port, "publisher", 4) as publisher:
            for n in range(count):
                publisher.publish("last", b"%d" % n + b" " * 1000, 1, n + 1)
            for _ in range(count):
                publisher.expect(0x40)
            broker.process.send_signal(with_signal)
            for s in subscribers:
                packets = s.read_until_closed(5)
                got = [int(Message.parse(*p, s.level).payload) for p in packets if p[0] & 0xF0 == PUBLISH]
                assert got == list(range(count))
                assert packets[-1][0] == (DISCONNECT if s.level == 5 else PUBLISH)
        broker.assert_ends()


@SIGNALS
@THREADS
def test_clients_that_do_not_read_hold_nothing_up(with_signal, threads):
    with running_with_threads(threads) as broker:
        stuck = [Raw.connected(broker.port, f"stuck{n}", 4 + n % 2, receive_buffer_bytes=4096) for n in range(8)]
        for s in stuck:
            s.subscribe("flood")
        reader = Raw.connected(broker.port, "reader", 5)
        fill_until_blocked(broker.port, "flood")
        begun = time.monotonic()
        broker.process.send_signal(with_signal)
        assert reader.read_until_closed(5)[-1][1][:1] == bytes([SERVER_SHUTTING_DOWN])
        broker.assert_ends()
        assert time.monotonic() - begun <= 5


@SIGNALS
def test_no_client_is_accepted_any_more(with_signal):
    with running_with_threads(4) as broker:
        # A client that does not read keeps the broker busy with its end for as long as it waits.
        stuck = Raw.connected(broker.port, "stuck", receive_buffer_bytes=4096)
        stuck.subscribe("flood")
        told = Raw.connected(broker.port, "told", 5)
        fill_until_blocked(broker.port, "flood")
        broker.process.send_signal(with_signal)
        told.read_until_closed(5)
        with pytest.raises((Closed, OSError)):
            late = Raw.connected(broker.port, "late", wait=2)
            late.ping()
        broker.assert_ends()


def test_a_second_signal_does_no_harm():
    with running_with_threads(4) as broker:
        client = Raw.connected(broker.port, "x", 5)
        broker.process.send_signal(signal.SIGTERM)
        client.read_until_closed(5)
        broker.process.send_signal(signal.SIGTERM)
        broker.assert_ends()


def test_the_port_is_free_at_once_for_the_next_broker():
    with running_with_threads(1) as broker:
        clients = [Raw.connected(broker.port, f"c{n}") for n in range(20)]
        port = broker.port
        broker.stop()
        for client in clients:
            client.read_until_closed(5)
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(("127.0.0.1", port))
