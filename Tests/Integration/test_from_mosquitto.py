"""The article From mosquitto: no key of mosquitto.conf is missing, and no option of ours is made up."""
import gzip, re
from pathlib import Path

import pytest

from brokers import ROOT, apus

ARTICLE = ROOT / "Sources" / "MQTTServer" / "MQTTServer.docc" / "FromMosquitto.md"
MANUAL = Path("/usr/share/man/man5/mosquitto.conf.5.gz")
EXAMPLE = Path("/usr/share/doc/mosquitto/examples/mosquitto.conf")

# All of version 2.0, bridge_… apart, which have one row.
VERSION_2 = """
    per_listener_settings acl_file allow_anonymous allow_duplicate_messages allow_zero_length_clientid auto_id_prefix auth_opt_*
    auth_plugin auth_plugin_deny_special_chars autosave_interval autosave_on_changes check_retain_source clientid_prefixes
    connection_messages include_dir log_dest log_facility log_timestamp log_timestamp_format log_type max_inflight_bytes
    max_inflight_messages max_keepalive max_packet_size max_queued_bytes max_queued_messages queue_qos0_messages memory_limit
    message_size_limit password_file persistence persistence_file persistence_location persistent_client_expiration pid_file
    psk_file retain_available set_tcp_nodelay sys_interval upgrade_outgoing_qos user bind_address listener bind_interface http_dir
    port mount_point max_connections max_qos max_topic_alias protocol ciphers_tls1.3 socket_domain use_username_as_clientid
    websockets_log_level websockets_headers_size cafile capath certfile keyfile ciphers crlfile require_certificate dhparamfile
    tls_engine tls_engine_kpass_sha1 tls_keyform tls_version use_identity_as_username use_subject_as_username psk_hint address
    round_robin cleansession local_cleansession connection keepalive_interval idle_timeout local_clientid local_password
    local_username notifications notifications_local_only notification_topic remote_clientid remote_password remote_username
    restart_timeout start_type threshold try_private topic
""".split()


def rows():
    for line in ARTICLE.read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) == 3 and cells[0] not in ("mosquitto", "---"):
            yield cells


def their_names():
    return {name for theirs, _, _ in rows() for name in re.findall(r"`([^`]+)`", theirs)}


def missing(keys):
    names = their_names()
    return sorted(key for key in set(keys) if key not in names and not key.startswith("bridge_"))


def test_every_key_of_version_2_stands_in_the_tables():
    assert "bridge_*" in their_names() and missing(VERSION_2) == []


@pytest.mark.skipif(not MANUAL.exists(), reason="mosquitto's manual is not installed")
def test_every_key_of_the_installed_manual_stands_in_the_tables():
    text = re.sub(r"\\&", "", gzip.open(MANUAL, "rt").read()).replace("\\-", "-")
    keys = re.findall(r"^\\fB([a-z_0-9.*]+)\\fR (?:\\fI|\[ )", text, re.M)
    assert len(keys) > 80 and missing(keys) == []


@pytest.mark.skipif(not EXAMPLE.exists(), reason="mosquitto's example is not installed")
def test_every_key_of_the_installed_example_stands_in_the_tables():
    keys = [key for key in re.findall(r"^#([a-z_0-9]+)(?: |$)", EXAMPLE.read_text(), re.M) if "_" in key]
    assert len(keys) > 50 and missing(keys) == []


def test_every_option_of_ours_exists():
    words = apus("serve", "--help").stdout
    options = {option for _, ours, remark in rows() for option in re.findall(r"`(--[^`]+)`", ours + remark)}
    assert len(options) > 20
    for option in sorted(options):
        name, _, value = option.partition(" ")
        assert re.search(rf"{name}\b", words), option
        if name == "--limit":
            assert re.search(rf"^  {value}=N", words, re.M), option
