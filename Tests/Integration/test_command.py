"""`apus serve` as a command: what it refuses to start with, where it listens, what it logs. Its end is in test_shutdown.py."""
import os, re, socket

import pytest

from brokers import PROGRAM, apus, can_connect, free_port, has_ipv6, running, serving
from programs import Namespace, run
from raw import Closed, Raw, connect_packet

NOISE = ("Fatal error", "Backtrace", "Stack dump", "Crash", "Swift/", ".swift:")


def assert_refuses(done, *parts, lines_max=1):
    """Ends with an error whose first sentence names the parts; the usage may follow a bad option."""
    assert done.returncode > 0, f"ended with {done.returncode}: {done.stdout}{done.stderr}"
    text = done.stderr.strip()
    assert not [n for n in NOISE if n in text], text
    assert text and len(text.splitlines()) <= lines_max, text
    for part in parts:
        assert str(part) in text.splitlines()[0], f"{part!r} is not said: {text}"


def test_a_port_in_use_is_one_sentence():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert_refuses(apus("serve", "--host", "127.0.0.1", "--port", port, "--log-level", "error"), port)
        assert_refuses(apus("serve", "--port", port, "--log-level", "error"), port)


def test_a_second_broker_on_the_same_port_is_refused_and_the_first_lives_on():
    with serving("--log-level", "error") as broker:
        assert_refuses(apus("serve", "--port", broker.port, "--log-level", "error"), broker.port)
        with Raw.connected(broker.port, "still-here") as client:
            client.ping()


def test_an_address_that_is_not_ours_is_one_sentence():
    address = "198.51.100.1"  # TEST-NET-2
    done = apus("serve", "--host", address, "--port", free_port(), "--allow-anonymous", "--log-level", "error")
    assert_refuses(done, address)


def test_no_permission_for_the_port_is_one_sentence():
    unprivileged = [] if os.geteuid() else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    with Namespace() as network:  # in a new one, ports below 1024 are privileged
        done = apus("serve", "--port", 80, "--log-level", "error", prefix=[*network.prefix, *unprivileged])
        assert_refuses(done, 80)


def test_a_data_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "below"
    assert_refuses(apus("serve", "--port", free_port(), "--data", folder, "--log-level", "error"), folder)


@pytest.mark.parametrize("options, named", [
    (["--bogus"], "--bogus"), (["--port", "70000"], "port"), (["--port", "many"], "many"), (["--port", "-1"], "-1"),
    (["--threads", "0"], "threads"), (["--threads", "some"], "some"), (["--log-level", "loud"], "loud"), (["--port"], "port"),
    (["surplus"], "surplus"), (["--connect-timeout", "soon"], "soon"), (["--max-keep-alive", "70000"], "max-keep-alive")])
def test_a_bad_option_is_named(options, named):
    assert_refuses(apus("serve", *options), named, lines_max=12)


def test_an_unknown_subcommand_is_named():
    assert_refuses(apus("dance"), "dance", lines_max=12)


def test_by_default_it_listens_on_both_loopbacks_and_says_so():
    with serving() as broker:
        assert can_connect(broker.port, "127.0.0.1")
        assert broker.wait_for_log("127.0.0.1", str(broker.port))
        if has_ipv6():
            assert can_connect(broker.port, "::1")
            assert broker.wait_for_log("::1", str(broker.port))
        elsewhere = [a for a in addresses() if not a.startswith("127.") and a != "::1"]
        assert not [a for a in elsewhere if can_connect(broker.port, a)]


def addresses():
    return re.findall(r"inet6? ([0-9a-f.:]+)/\d+ .*scope global", run("ip", "addr"))


def test_without_ipv6_it_says_so_in_one_line_and_listens_on_the_other():
    try:
        network = Namespace(without_ipv6=True).__enter__()
    except AssertionError as error:
        pytest.skip(f"IPv6 cannot be turned off here: {error}")
    with network, running([*PROGRAM, "serve"], 1883, network.prefix, lambda: network.listens_on(1883)) as broker:
        run(*network.prefix, "mosquitto_pub", "-h", "127.0.0.1", "-t", "x", "-m", "x")
        said = [l for l in broker.log.splitlines() if "IPv6" in l or "::1" in l]
        assert len(said) == 1, broker.log


def test_listening_elsewhere_without_authentication_needs_allow_anonymous():
    for host in ["0.0.0.0"] + (["::"] if has_ipv6() else []):
        assert_refuses(apus("serve", "--host", host, "--port", free_port(), "--log-level", "error"), "--allow-anonymous")
        with serving("--host", host, "--allow-anonymous", "--log-level", "error", is_listening=None if host == "0.0.0.0" else lambda: True) as broker:
            if host == "::":
                broker.wait_until_it_listens(lambda: can_connect(broker.port, "::1"))
            for address in addresses():
                if (":" in address) == (":" in host) and not address.startswith("fe80"):
                    assert can_connect(broker.port, address)


def test_one_loopback_alone():
    with serving("--host", "127.0.0.1", "--log-level", "error") as broker:
        assert not can_connect(broker.port, "::1")


def test_a_data_folder_is_made_and_the_start_says_what_it_is_used_for(tmp_path):
    folder = tmp_path / "new" / "data"
    with serving("--data", folder) as broker:
        assert (folder / "lock").is_file()
        assert broker.log_lines(f"what is acknowledged is kept in {folder}"), broker.log


@pytest.mark.parametrize("level, protocol", [(3, "3.1"), (4, "3.1.1"), (5, "5.0")])
def test_one_line_for_a_connect_one_for_its_disconnect_none_for_messages(level, protocol):
    with serving() as broker:
        for name, is_polite in (("polite-client", True), ("rude-client", False)):
            with Raw.connected(broker.port, name, level) as client:
                client.subscribe("secret/topic")
                for n in range(1, 51):
                    client.publish("secret/topic", b"secret payload", 1, n)
                    for _ in range(2):
                        client.read()
                connected = broker.wait_for_log("connected", name)
                assert len(connected) == 1
                assert "127.0.0.1" in connected[0] and "MQTT" in connected[0] and protocol in connected[0]
                if is_polite:
                    client.disconnect()
            disconnected = broker.wait_for_log("disconnected", name)
            assert len(disconnected) == 1 and "reason" in disconnected[0]
            assert "127.0.0.1" in disconnected[0] and "MQTT" in disconnected[0]
            assert len(broker.log_lines(name)) == 2, broker.log
        assert "secret" not in broker.log


def test_a_client_id_cannot_forge_a_log_line():
    with serving() as broker:
        with Raw(broker.port) as forger, Raw(broker.port) as honest:
            forger.send(connect_packet("nice\nclient connected client=forged"))
            try:  # refusing such a client id is as good
                forger.read()
            except Closed:
                pass
            honest.connect("honest")
            broker.wait_for_log("connected", "honest")
        assert not [l for l in broker.log.splitlines() if l.startswith("client connected client=forged")]


def test_the_server_keep_alive_and_the_response_information_reach_5_0_clients():
    with serving("--max-keep-alive", 10, "--response-information", "answers/here", "--log-level", "error") as broker:
        with Raw.connected(broker.port, "x", 5, keep_alive=600, properties=b"\x19\x01") as client:
            assert b"\x13\0\x0a" in client.connack
            assert b"\x1a\0\x0canswers/here" in client.connack


def test_who_says_nothing_is_closed_after_the_connect_timeout():
    with serving("--connect-timeout", 1, "--log-level", "error") as broker, Raw(broker.port) as silent:
        assert silent.read_until_closed(5) == []


def test_version():
    done = apus("version")
    assert done.returncode == 0 and re.search(r"\d+\.\d+", done.stdout)
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["pub", "--help"], ["sub", "--help"]])
def test_help(arguments):
    done = apus(*arguments)
    assert done.returncode == 0 and "usage" in done.stdout.lower()
