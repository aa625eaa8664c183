"""What all tools say of the connection: flags as mosquitto_pub has them, down to the bytes of CONNECT."""
import json, os, re, subprocess

import pytest

from brokers import PROGRAM, ROOT, free_port, has_ipv6, serving
from programs import run
from tools import Recorder, mosquitto, tool


def recorded(*options, program=None, env=None, **keywords):
    """What a publisher with the options sends."""
    with Recorder() as recorder:
        options = ["-h", "127.0.0.1", "-p", str(recorder.port), "-t", "t", "-m", "x", *map(str, options)]
        if program:
            run(program, *options)
        else:
            done = tool("pub", *options, env=env)
            assert done.returncode == 0, done.stderr
        recorder.thread.join(5)
        return recorder


@pytest.mark.parametrize("options", [
    ["-V", "mqttv31", "-i", "me"], ["-V", "mqttv311", "-i", "me", "-k", "17"], ["-V", "5", "-i", "me", "-c"],
    ["-V", "5", "-i", "me", "-c", "-x", "30"], ["-V", "5", "-i", "me", "-x", "-1", "-c"],
    ["-V", "311", "-i", "me", "-u", "user", "-P", "secret"], ["-V", "5", "-i", "me", "-u", "-user", "-P", "-p"],
    ["-V", "311", "-i", "me", "--will-topic", "w", "--will-payload", "gone", "--will-qos", "1", "--will-retain"],
    ["-V", "5", "-i", "me", "--will-topic", "w", "-D", "will", "will-delay-interval", "7", "-D", "will", "content-type", "t"],
    ["-V", "5", "-i", "me", "-D", "connect", "user-property", "-k", "-v", "-D", "connect", "user-property", "k", "w"],
    ["-V", "5", "-i", "me", "-D", "connect", "receive-maximum", "7", "-D", "connect", "topic-alias-maximum", "3",
     "-D", "connect", "maximum-packet-size", "4000", "-D", "connect", "request-problem-information", "0",
     "-D", "connect", "request-response-information", "1", "-D", "connect", "session-expiry-interval", "9"],
], ids=lambda options: " ".join(options)[:60])
def test_connect_is_that_of_mosquitto_pub(options):
    ours, theirs = recorded(*options).connect(), recorded(*options, program="mosquitto_pub").connect()
    # What neither was asked for is either's own matter.
    for identifier in (33, 34, 39, 17):
        name = {33: "receive-maximum", 34: "topic-alias-maximum", 39: "maximum-packet-size", 17: "session-expiry-interval"}[identifier]
        if name not in options and not (identifier == 17 and ("-x" in options or "-c" in options)):
            ours["properties"].pop(identifier, None)
            theirs["properties"].pop(identifier, None)
    assert ours == theirs


def test_the_long_names_are_those_of_mosquitto_and_of_mqtt_js():
    with Recorder() as recorder:
        done = tool("pub", "--hostname", "127.0.0.1", "--port", recorder.port, "--protocol-version", "5", "--clientId", "me", "--username", "u", "--password", "p",
                    "--keepalive", 5, "--will-topic", "w", "--will-message", "m", "--no-clean", "--session-expiry-interval", 60,
                    "--property", "connect", "user-property", "a", "b", "--topic", "t", "--message", "x")
        assert done.returncode == 0, done.stderr
        found = recorder.connect()
    assert found["id"] == b"me" and found["user"] == b"u" and found["password"] == b"p" and found["keep_alive"] == 5
    assert found["will"]["topic"] == b"w" and found["will"]["payload"] == b"m" and not found["clean"]
    assert found["properties"][17] == [60] and found["properties"][38] == [(b"a", b"b")]


@pytest.mark.parametrize("options", [["--id", "abc", "--pw", "p", "--keep-alive", 9, "--disable-clean-session"],
                                     ["--client-id", "abc", "-P", "p", "-k", 9, "-c"]])
def test_other_names_of_the_same(options):
    found = recorded("--host", "127.0.0.1", *options).connect()
    assert (found["id"], found["password"], found["keep_alive"], found["clean"]) == (b"abc", b"p", 9, False)


def test_an_identifier_with_a_prefix_is_made_up():
    for flag in ("-I", "--id-prefix"):
        found = recorded(flag, "line-").connect()
        assert found["id"].startswith(b"line-") and len(found["id"]) > 5


def test_disconnect_has_its_properties():
    recorder = recorded("-x", 60, "-D", "disconnect", "session-expiry-interval", 5)
    assert recorder.packets[-1] == (0xE0, b"\x00\x05\x11\0\0\0\x05")


def test_a_session_that_ends_with_its_connection_is_not_prolonged_by_disconnect():
    done = tool("pub", "-t", "t", "-m", "x", "-D", "disconnect", "session-expiry-interval", "5")
    assert done.returncode == 1 and b"needs a session that lasts" in done.stderr


def test_a_url_says_everything():
    with Recorder() as recorder:
        assert tool("pub", "-L", f"mqtt://us%65r:p%40ss@127.0.0.1:{recorder.port}/a/b", "-m", "x").returncode == 0
        assert recorder.connect()["user"] == b"user" and recorder.connect()["password"] == b"p@ss"
        assert recorder.publishes()[0][:2] == (b"a/b", b"x")
    with Recorder() as recorder:
        assert tool("pub", "--url", f"mqtt://127.0.0.1:{recorder.port}", "-t", "c", "-m", "x").returncode == 0
        assert recorder.publishes()[0][:2] == (b"c", b"x")


def test_connections_come_from_the_address_that_is_given():
    for flag in ("-A", "--bind-address"):
        assert recorded(flag, "127.0.0.2").peer[0] == "127.0.0.2"
    assert recorded("-A", "127.0.0.3", program="mosquitto_pub").peer[0] == "127.0.0.3"
    for address, said in (("203.0.113.1", "Cannot assign requested address"), ("no address", "-A no address is no address")):
        done = tool("pub", "-h", "127.0.0.1", "-p", free_port(), "-A", address, "-t", "t", "-n")
        assert done.returncode == 1 and said in done.stderr.decode() and len(done.stderr.splitlines()) == 1, done


def test_a_unix_domain_socket(tmp_path):
    path = tmp_path / "mqtt.sock"
    with Recorder(path) as recorder:
        assert tool("pub", "--unix", path, "-t", "t", "-m", "x", "-q", 1).returncode == 0
        assert recorder.publishes() == [(b"t", b"x", 1, False, {})]
    (tmp_path / "mosquitto").mkdir()
    with mosquitto(tmp_path, more=f"listener 0 {tmp_path / 'mosquitto' / 'mqtt.sock'}") as broker:
        options = ["--unix", tmp_path / "mosquitto" / "mqtt.sock"]
        assert tool("pub", *options, "-t", "t", "-m", "hello", "-r", "-q", 1).returncode == 0
        assert tool("sub", *options, "-t", "t", "-C", 1).stdout == b"hello\n"
        assert json.loads(tool("bench", "p2p", *options, "-n", 10, "--json").stdout)["broker"] == str(options[1])
        assert tool("check", *options, "-W", 2).returncode == 0
    done = tool("pub", "--unix", tmp_path / "none", "-t", "t", "-n")
    assert done.returncode == 1 and f"{tmp_path / 'none'}: No such file or directory" in done.stderr.decode(), done


def test_small_packets_are_not_held_back():
    trace = subprocess.run(["strace", "-f", "-e", "trace=setsockopt", *PROGRAM, "pub", "--nodelay", "-p", str(free_port()), "-t", "t", "-n"], cwd=ROOT, capture_output=True)
    assert re.search(rb'TCP_NODELAY, (\[1\]|"\\1)', trace.stderr), trace.stderr


def test_ipv6_addresses_with_and_without_brackets():
    if not has_ipv6():
        pytest.skip("no IPv6 here")
    for arguments in (["-h", "::1"], ["-h", "[::1]"], ["-L", "mqtt://[::1]"]):
        port = free_port()
        done = tool("pub", *arguments, "-p", port, "-t", "t", "-n")
        assert done.returncode == 1 and f"cannot connect to ::1 port {port}: Connection refused" in done.stderr.decode(), done
        with serving("--log-level", "error") as broker:
            assert tool("pub", *arguments, "-p", broker.port, "-t", "t", "-n", "-q", 1).returncode == 0


@pytest.mark.parametrize("flags", [["--cafile", "x"], ["--ca", "x"], ["--capath", "x"], ["--cert", "x"], ["--key", "x"], ["--keyform", "pem"], ["--ciphers", "x"], ["--tls-alpn", "x"], ["--tls-engine", "x"],
                                   ["--tls-engine-kpass-sha1", "x"], ["--tls-version", "tlsv1.3"], ["--psk", "00"], ["--psk-identity", "x"], ["--insecure"], ["--tls-use-os-certs"], ["--protocol", "mqtts"],
                                   ["-L", "mqtts://localhost/t"], ["-L", "wss://localhost/t"]], ids=" ".join)
def test_what_needs_tls_is_told_that_there_is_none(flags):
    for name in (["pub", "-n"], ["sub"], ["rr", "-n"], ["bench", "pub"], ["check"]):
        done = tool(*name, *flags, *(["-t", "t"] if name != ["check"] else []))
        assert done.returncode == 64 and done.stderr.startswith(b"Error: TLS is not there yet") and len(done.stderr.splitlines()) == 1, done


def test_other_flags_that_are_not_there_are_told():
    for flags, said in [(["--proxy", "socks5h://x"], b"--proxy"), (["-S"], b"SRV"), (["-L", "ws://localhost/t"], b"WebSockets"), (["--protocol", "ws"], b"WebSockets"), (["--protocol", "gopher"], b"gopher")]:
        done = tool("pub", "-t", "t", "-n", *flags)
        assert done.returncode == 64 and said in done.stderr and len(done.stderr.splitlines()) == 1, done
    assert recorded("--protocol", "mqtt").publishes()


def test_credentials_from_the_environment_and_from_a_file(tmp_path):
    (tmp_path / "password").write_text("from the file\nnot this\n")
    found = recorded(env={"APUS_USERNAME": "u", "APUS_PASSWORD": "of the environment"}).connect()
    assert (found["user"], found["password"]) == (b"u", b"of the environment")
    found = recorded("-u", "v", "--password-file", tmp_path / "password", env={"APUS_PASSWORD": "x"}).connect()
    assert (found["user"], found["password"]) == (b"v", b"from the file")


def test_a_refused_connection_is_1_and_says_why_in_one_sentence(tmp_path):
    (tmp_path / "passwords").touch(mode=0o644)
    run("mosquitto_passwd", "-b", tmp_path / "passwords", "user", "right")
    with mosquitto(tmp_path, anonymous=False, more=f"password_file {tmp_path / 'passwords'}") as broker:
        for version, words in (("5", "not authorized (0x87)"), ("311", "not authorized (0x87)")):
            options = ["-h", "127.0.0.1", "-p", broker.port, "-V", version]
            for arguments in (["pub", "-t", "x", "-n"], ["sub", "-t", "x"], ["bench", "conn", "--clients", 1]):
                done = tool(*arguments, *options)
                text = done.stderr.decode()
                assert done.returncode == 1 and words in text and len(text.splitlines()) == 1, done
                quiet = tool(*arguments, *options, "--quiet")
                assert quiet.returncode == 1 and quiet.stderr == b"", quiet
            env = {"APUS_USERNAME": "user", "APUS_PASSWORD": "right"}
            assert tool("pub", *options, "-t", "x", "-n", env=env).returncode == 0
            assert tool("check", *options[:4], env=env).returncode == 0


def test_debug_tells_what_happens():
    for flag in ("-d", "--debug"):
        with Recorder() as recorder:
            done = tool("pub", "-h", "127.0.0.1", "-p", recorder.port, "-i", "me", "-t", "t", "-m", "x", flag)
        assert done.returncode == 0 and b"connected to mqtt://127.0.0.1" in done.stderr and b"as me" in done.stderr
        assert b"packet=publish" in done.stderr and b"packet=connack" in done.stderr


@pytest.mark.parametrize("arguments, said", [
    (["pub"], "-t"), (["pub", "-t", "a/#", "-m", "x"], "-t"), (["pub", "-t", "a"], "payload"), (["pub", "-t", "a", "-m", "x", "-n"], "one way"),
    (["pub", "-t", "a", "-m", "x", "-q", "3"], "-q"), (["pub", "-t", "a", "-m", "x", "-p", "0"], "port"), (["pub", "-t", "a", "-m", "x", "-V", "6"], "-V"),
    (["pub", "-t", "a", "-m", "x", "-D", "publish", "colour", "red"], "colour"), (["pub", "-t", "a", "-m", "x", "-D", "subscribe", "user-property", "a", "b"], "SUBSCRIBE"),
    (["pub", "-t", "a", "-m", "x", "-D", "publish", "message-expiry-interval", "soon"], "soon"), (["pub", "-t", "a", "-m", "x", "-D", "publish"], "-D"),
    (["pub", "-t", "a", "-m", "x", "-c"], "-i"), (["pub", "-t", "a", "-m", "x", "--will-retain"], "--will-topic"), (["pub", "-t", "a", "b", "c"], "c"),
    (["pub", "-t", "a", "-l", "--repeat", "2"], "--repeat"), (["pub", "-t", "a", "-n", "-M", "0"], "-M"), (["pub", "-t", "a", "-n", "-V", "311", "-D", "publish", "content-type", "x"], "-D"),
    (["sub"], "-t"), (["sub", "-t", "a/#/b"], "a/#/b"), (["sub", "-t", "a", "-C", "0"], "-C"), (["sub", "-t", "a", "-F", "%y"], "%"), (["sub", "-t", "a", "-F", "\\q"], "\\"),
    (["sub", "-t", "a", "-v", "--json"], "one of"), (["sub", "-t", "a", "-R", "--retained-only"], "-R"), (["sub", "-t", "a", "--watch", "-v"], "--watch"), (["sub", "-t", "a", "--hex", "--base64"], "one of"),
    (["rr", "-t", "a", "-m", "x", "-V", "311"], "-e"), (["rr", "-m", "x"], "-t"), (["bench"], "conn"), (["bench", "dance"], "dance"), (["bench", "pub", "-s", "3"], "-s"),
    (["pub", "-t", "a", "-n", "-i", "x", "-I", "y"], "-i or -I"), (["pub", "-t", "a", "-n", "--unix", "x", "-p", "1"], "--unix"), (["pub", "-t", "a", "-n", "--unix", "x" * 108], "107"), (["pub", "-t", "a", "-n", "--answer-timeout", "0"], "--answer-timeout"),
    (["sub", "-U", "a/#/b"], "a/#/b"), (["sub", "-t", "a", "--retain-as-published", "-V", "311"], "--retain-as-published"), (["sub", "-t", "a", "--random-filter", "0"], "--random-filter"), (["sub", "-t", "a", "--random-filter", "50", "--watch"], "--watch"),
    (["pub", "-L", "http://x", "-t", "a", "-n"], "scheme"), (["bench", "p2p", "--publishers", "2", "--subscribers", "3"], "p2p"), (["check", "here", "-h", "there"], "one way"), (["completion", "tcsh"], "bash")])
def test_a_wrong_command_line_is_64_and_says_what_is_wrong(arguments, said):
    done = tool(*arguments)
    assert done.returncode == 64 and said in done.stderr.decode() and len(done.stderr.splitlines()) == 1, done
    assert done.stdout == b""


def test_the_host_is_not_taken_for_a_cry_for_help():
    for name in ("pub", "sub", "rr", "bench", "check"):
        done = tool(name, "-h", "127.0.0.1", "--bogus")
        assert done.returncode == 64 and done.stdout == b"" and len(done.stderr.splitlines()) == 1, done
        assert tool(name, "-H").stdout == tool(name, "--help").stdout != b""


def test_what_cannot_be_done_is_1_and_one_sentence(tmp_path):
    port = free_port()
    for arguments, said in [(["pub", "-p", port, "-t", "a", "-n"], str(port)), (["sub", "-p", port, "-t", "a"], str(port)), (["rr", "-p", port, "-t", "a", "-n"], str(port)),
                            (["bench", "p2p", "-p", port], str(port)), (["check", "127.0.0.1", "-p", port], str(port)), (["pub", "-t", "a", "-f", tmp_path / "none"], "none"),
                            (["pub", "-t", "a", "-n", "--password-file", tmp_path / "none"], "none"), (["bench", "--merge", tmp_path / "none"], "none")]:
        done = tool(*arguments)
        text = done.stderr.decode()
        assert done.returncode == 1 and said in text and len(text.splitlines()) == 1, done


def test_the_commands_of_mqtt_js_are_taken():
    with Recorder() as recorder:
        assert tool("publish", "-h", "127.0.0.1", "-p", recorder.port, "t", "x").returncode == 0
    assert recorder.publishes()[0][:2] == (b"t", b"x")
    with Recorder() as recorder:
        assert tool("subscribe", "-h", "127.0.0.1", "-p", recorder.port, "t", "-E").returncode == 0
    assert 8 in recorder.kinds()


def test_version_and_completion():
    assert tool("version").stdout.startswith(b"apus ")
    assert tool("--version").stdout == tool("version").stdout
    for shell in ("bash", "zsh", "fish"):
        script = tool("completion", shell)
        assert script.returncode == 0 and b"retained-only" in script.stdout
    subprocess.run(["bash", "-n"], input=tool("completion", "bash").stdout, check=True)
