"""mosquitto_pub and mosquitto_sub, in the three versions."""
import json, signal

import pytest

from programs import Program, run

VERSIONS = ["mqttv31", "mqttv311", "mqttv5"]


@pytest.fixture(params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture
def publish(broker, version):
    def publish(topic, *options, **keywords):
        run("mosquitto_pub", "-p", broker.port, "-V", version, "-t", topic, *options, **keywords)
    return publish


@pytest.fixture
def subscribe(broker, version):
    """Starts mosquitto_sub and waits until it says so; lines that are messages begin with `|`."""
    programs = []

    def subscribe(*options, until="Subscribed (mid"):
        program = Program("stdbuf", "-oL", "mosquitto_sub", "-d", "-p", broker.port, "-V", version, "-W", 30, "-F", "|%t|%p|%q|%r", *options)
        programs.append(program)
        program.line_with(until)
        return program
    yield subscribe
    for program in programs:
        program.__exit__()


@pytest.mark.parametrize("subscribed_qos", [0, 1, 2])
def test_a_message_arrives_at_the_lower_of_both_qualities_of_service(publish, subscribe, name, subscribed_qos):
    subscriber = subscribe("-t", f"{name}/#", "-q", subscribed_qos, "-C", 3)
    for qos in (0, 1, 2):
        publish(f"{name}/{qos}", "-m", f"at {qos}", "-q", qos)
        assert subscriber.line_with("|") == f"|{name}/{qos}|at {qos}|{min(qos, subscribed_qos)}|0"
    subscriber.remaining_lines()


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_thousand_lines_arrive_once_and_in_order(publish, subscribe, name, qos):
    subscriber = subscribe("-t", name, "-q", qos, "-C", 1000)
    publish(name, "-l", "-q", qos, input=b"".join(b"%d\n" % n for n in range(1000)))
    messages = [l.split("|")[2] for l in subscriber.remaining_lines() if l.startswith("|")]
    assert messages == [str(n) for n in range(1000)]


def test_a_message_of_a_megabyte_arrives_whole(publish, subscribe, name, tmp_path):
    content = "".join(f"{n:07d}\n" for n in range(131072))
    (tmp_path / "payload").write_text(content)
    subscriber = subscribe("-t", name, "-q", 1, "-C", 1)
    publish(name, "-f", tmp_path / "payload", "-q", 1)
    assert subscriber.line_with("|") == f"|{name}|{content[:7]}"
    assert [l for l in subscriber.remaining_lines() if l.isdigit()] == content.split()[1:]


def test_a_retained_message_is_kept_replaced_and_cleared(publish, subscribe, name):
    for qos in (0, 1, 2):
        publish(name, "-r", "-m", f"kept {qos}", "-q", qos)
        first = subscribe("-t", name, "-q", 2, "-C", 1, until="received CONNACK")
        assert first.line_with("|") == f"|{name}|kept {qos}|{qos}|1"
    publish(name, "-r", "-n")
    second = subscribe("-t", name, "-t", f"{name}/live", "-C", 1)
    publish(f"{name}/live", "-m", "not retained")
    assert second.line_with("|") == f"|{name}/live|not retained|0|0"


def test_a_will_is_published_when_the_client_is_killed_and_not_when_it_leaves(subscribe, version, name):
    watcher = subscribe("-t", f"{name}/#", "-q", 2)
    will = ["--will-topic", f"{name}/will", "--will-qos", "1", "--will-retain", "--will-payload"]
    polite = subscribe("-t", f"other/{name}", *will, "left")
    polite.process.send_signal(signal.SIGTERM)
    polite.exit_code()
    if version == "mqttv5":  # mosquitto_sub then leaves with 0x04, Disconnect with Will Message.
        assert watcher.line_with("|") == f"|{name}/will|left|1|0"
    subscribe("-t", f"other/{name}", *will, "killed").process.kill()
    assert watcher.line_with("|") == f"|{name}/will|killed|1|0"
    late = subscribe("-t", f"{name}/#", "-q", 1, until="received CONNACK")
    assert late.line_with("|") == f"|{name}/will|killed|1|1"


@pytest.mark.parametrize("qos", [1, 2])
def test_a_session_keeps_what_is_published_while_its_client_is_away(publish, subscribe, version, name, qos):
    session = ["-i", name, "-t", f"{name}/#", "-q", 2, "-c", *(["-x", 300] if version == "mqttv5" else [])]
    first = subscribe(*session, "-C", 1)
    publish(f"{name}/now", "-m", "now", "-q", 1)
    assert first.line_with("|") == f"|{name}/now|now|1|0"
    first.remaining_lines()
    for n in range(20):
        publish(f"{name}/away", "-m", n, "-q", qos)
    again = subscribe(*session, "-C", 20, until="received CONNACK")
    lines = [again.line_with("|") for _ in range(20)]
    assert lines == [f"|{name}/away|{n}|{qos}|0" for n in range(20)]


@pytest.mark.parametrize("topic_filter, matches", [
    ("{}/+/c", ["a/c", "b/c"]), ("{}/#", ["", "a", "a/c", "b/c"]), ("{}/a", ["a"]), ("+/a", ["a"])])
def test_wildcards_choose_what_arrives(publish, subscribe, name, topic_filter, matches):
    subscriber = subscribe("-t", topic_filter.format(name), "-t", f"end/{name}")
    for topic in ("", "a", "a/c", "b/c"):
        publish(f"{name}/{topic}".removesuffix("/"), "-m", topic)
    publish(f"end/{name}", "-m", "end")
    lines = [subscriber.line_with("|")]
    while not lines[-1].startswith("|end/"):
        lines.append(subscriber.line_with("|"))
    expected = [f"{name}/{t}".removesuffix("/") for t in matches]
    assert [l.split("|")[1] for l in lines[:-1]] == expected


def test_properties_of_5_0_arrive_as_they_were_sent(broker, name):
    with Program("mosquitto_sub", "-p", broker.port, "-V", "mqttv5", "-t", name, "-t", f"{name}/ready", "-q", 1, "-F", "%j") as subscriber:
        while not subscriber.lines.qsize():
            run("mosquitto_pub", "-p", broker.port, "-V", "mqttv5", "-t", f"{name}/ready", "-m", "x", "-q", 1)
        properties = ["content-type text/plain", "user-property first 1", "user-property second 2", "response-topic back/here",
                      "correlation-data 1234", "payload-format-indicator 1", "message-expiry-interval 60"]
        options = [part for p in properties for part in ("-D", "publish", *p.split(" "))]
        run("mosquitto_pub", "-p", broker.port, "-V", "mqttv5", "-t", name, "-m", "{}", "-q", 1, *options)
        line = subscriber.line_with(f'"topic":"{name}"')
    for part in ("text/plain", "first", "second", "back/here", "1234"):
        assert part in line, line
    assert json.loads(line)["topic"] == name
