"""The article From MQTT.js: no name of MQTT.js is missing, and no name of ours is made up."""
import re
from pathlib import Path

import pytest

from brokers import ROOT

TABLE = ROOT / "Sources" / "MQTT" / "MQTT.docc" / "FromMQTTjs.md"
TYPES = Path("/usr/share/nodejs/mqtt/types/lib")
SOURCES = [ROOT / "Sources" / module for module in ("MQTT", "MQTTPackets", "MQTTStore", "MQTTJournal")]

# What the README of MQTT.js 5 has beyond the types of version 4.
VERSION_5 = """
    mqtt.connect mqtt.connectAsync client.connect client.publish client.publishAsync client.subscribe client.subscribeAsync
    client.unsubscribe client.unsubscribeAsync client.end client.endAsync client.removeOutgoingMessage client.reconnect
    client.handleMessage client.handleAuth client.connected client.reconnecting client.getLastMessageId
    store.put store.get store.del store.createStream store.close
    wsOptions keepalive reschedulePings clientId protocolId protocolVersion clean reconnectPeriod reconnectOnConnackError
    connectTimeout username password socksProxy socksTimeout incomingStore outgoingStore queueQoSZero customHandleAcks
    autoUseTopicAlias autoAssignTopicAlias authPacket will transformWsUrl createWebsocket resubscribe subscribeBatchSize
    messageIdProvider log manualConnect writeCache timerVariant forceNativeWebSocket unixSocket cbStorePut
    connect reconnect close disconnect offline error end message packetsend packetreceive outgoingEmpty
""".split()


def rows():
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if len(cells) == 3 and cells[0] not in ("MQTT.js", "---"):
            yield cells


def spans(cell):
    return re.findall(r"`([^`]+)`", cell)


def their_names():
    """Whole and by their last parts: `properties.receiveMaximum` is also `receiveMaximum`."""
    names = set()
    for theirs, _, _ in rows():
        for span in spans(theirs):
            name = span.split("(")[0]
            names |= {name, name.split(".")[-1]}
    return names


def names_in_types():
    """Options, methods and events that the types of the installed version declare."""
    options = (TYPES / "client-options.d.ts").read_text()
    client = re.sub(r"/\*.*?\*/|//[^\n]*", "", (TYPES / "client.d.ts").read_text(), flags=re.S)
    names = set(re.findall(r"^\s*(\w+)\??:", options, re.M))
    body = client[client.index("class MqttClient"):]
    names |= {name for name in re.findall(r"public (\w+)\s*[(:]", body) if name not in ("on", "once")}
    names |= set(re.findall(r"'(\w+)'", body))
    return names


def test_every_name_of_mqttjs_5_stands_in_the_table():
    assert sorted(set(VERSION_5) - their_names()) == []


@pytest.mark.skipif(not TYPES.exists(), reason="MQTT.js is not installed")
def test_every_name_of_the_installed_mqttjs_stands_in_the_table():
    names = names_in_types()
    assert len(names) > 60
    assert sorted(names - their_names()) == []


def declared(name, labels, text):
    """Whether a public member or type of that name, with these argument labels where it has any, is declared."""
    if labels is None:
        return re.search(rf"(?:public [\w ()]*(?:var|let|struct|class|enum|protocol|actor|func) |case |\bvar ){name}\b", text)
    for found in re.finditer(rf"(?:public [\w ]*)?(?:func {name}(?:<[^>]*>)?|{name})\s*\(", text):
        # A requirement of a protocol is as public as that.
        arguments = text[found.end():text.index("\n    }", found.end()) if "\n    }" in text[found.end():] else len(text)]
        given = re.findall(r"(?:^|[,(]\s*|\n\s*)(_|\w+)(?: \w+)?:", "(" + arguments.split(") ")[0].split(")\n")[0])
        wanted = [label for label in labels.split(":") if label]
        at = 0
        for label in given:
            if at < len(wanted) and label == wanted[at]:
                at += 1
        if at == len(wanted):
            return True
    return False


def test_every_name_of_ours_is_declared():
    text = "\n".join(file.read_text() for folder in SOURCES for file in folder.rglob("*.swift"))
    ours = [span for _, cell, _ in rows() for span in spans(cell)]
    assert len(ours) > 80
    missing = []
    for span in ours:
        name, _, labels = span.split(".")[-1].partition("(")
        if not declared(name, labels.rstrip(")") if labels else None, text):
            missing.append(span)
    assert missing == []
