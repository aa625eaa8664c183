"""What `make docs` finds: symbols without a comment, and whatever docc warns of."""
import importlib.machinery, importlib.util, sys

import pytest

from brokers import ROOT


@pytest.fixture(scope="module")
def docs():
    loader = importlib.machinery.SourceFileLoader("docs", str(ROOT / "Scripts" / "docs"))
    # A script, of which no compiled file is to be left beside it.
    sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("docs", loader))
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


def symbol(name, kind="swift.struct", **more):
    return {"kind": {"identifier": kind}, "pathComponents": name.split("."), **more}


def test_a_symbol_without_a_comment_is_found(docs):
    graph = {"symbols": [
        symbol("A", docComment={"lines": [{"text": "A comment."}]}), symbol("A.b", "swift.property"),
        symbol("C", docComment={"lines": []}), symbol("Int", "swift.extension"),
    ]}
    assert [line.split(": ")[1] for line in docs.undocumented(graph)] == ["A.b has no comment", "C has no comment"]


def test_a_symbol_that_no_group_has_is_found(docs, tmp_path):
    page = tmp_path / "M.md"
    page.write_text("# ``M``\n\n## Topics\n\n### All\n\n- ``A``\n- ``f(_:)``\n")
    graph = {"symbols": [symbol("A"), symbol("A.b"), symbol("f(_:)", "swift.func"), symbol("B")]}
    assert docs.ungrouped(page, graph) == [f"{page}: no group has B"]


def test_every_library_is_documented(docs):
    found = docs.libraries()
    assert len(found) == 9 and {"MQTT", "MQTTServer", "MQTTTesting", "MQTTJournal"} <= set(found)
    assert docs.reexported("MQTTServer") == ["MQTTCore", "MQTTPackets"]


def test_a_link_that_leads_nowhere_is_a_failure(docs, tmp_path):
    module, catalog = tmp_path / "graphs", tmp_path / "MQTTStore.docc"
    docs.extract("MQTTStore", module)
    catalog.mkdir()
    page = catalog / "MQTTStore.md"
    for link, is_found in [("MessageStore", True), ("NoSuchStore", False)]:
        page.write_text(f"# ``MQTTStore``\n\nSee ``{link}``.\n")
        problems = docs.convert("MQTTStore", module, tmp_path / "archive", catalog)
        assert (problems == []) == is_found, problems
