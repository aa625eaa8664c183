"""README and every article, word for word: their commands do in a clean folder what stands there."""
import contextlib, re, sys
from pathlib import Path

import pytest

from articles import DOCUMENTS, PORT, Shell, blocks, is_printed, parsed
from brokers import PROGRAM, ROOT, running
from programs import Namespace, Program, run

RUN = [document for document in DOCUMENTS if blocks(document)]

# Commands that are not run here, and what runs them.
ELSEWHERE = {
    "make build": "these tests run what it has built",
    "make run": "it builds again; of its recipe the broker is started",
    "make test": "these tests are part of it",
    "swift run": "it fetches SwiftNIO and builds for minutes; the program is Examples/Hub, built with all targets",
    "Benchmarks/peer/compare": "minutes, and figures that no test judges; make bench runs the same program",
}

# Documents that take for granted that a broker runs.
WITH_BROKER = {"docs/tools.md"}


def reason(command):
    """Why it is not run here; None where it is."""
    return next((why for start, why in ELSEWHERE.items() if command == start or command.startswith(start + " ")), None)


@contextlib.contextmanager
def broker(network, document):
    if document not in WITH_BROKER:
        yield
        return
    answering = [*network.prefix, sys.executable, Path(__file__).parent / "answering.py", "commands/lamp"]
    with (running([*PROGRAM, "serve", "--data", "{dir}/apus-data"], PORT, network.prefix, lambda: network.listens_on(PORT)),
          Program(*answering) as answerer):
        # `apus rr` needs somebody who answers.
        assert answerer.line() == "ready"
        yield


def recipe(target):
    """What it starts of the program that was built."""
    lines = run("make", "-n", target).splitlines()
    return next(line for line in lines if line.startswith(".build/release/apus "))


@pytest.mark.parametrize("document", RUN)
def test_commands_do_what_the_document_says(document, tmp_path):
    with Namespace() as network, broker(network, document), Shell(tmp_path, network) as shell:
        if document == "README.md":
            shell.run(recipe("run") + " &")
        for block in blocks(document):
            shown = block.output or ""
            printed = "".join(shell.run(command, fails="Error:" in shown) for command in block.commands if not reason(command))
            if block.output is not None:
                assert is_printed(shown, printed), f"{document}:{block.line} prints\n{printed}"


def test_a_command_that_fails_and_one_that_ought_to_are_found(tmp_path):
    with Namespace() as network, Shell(tmp_path, network) as shell:
        assert shell.run("cd .. && echo here") == "here\n"
        assert shell.run('basename "$OLDPWD"') == "apus\n"
        with pytest.raises(AssertionError, match="has not failed"):
            shell.run("true", fails=True)
        assert shell.run("echo no; false", fails=True) == "no\n"
        with pytest.raises(AssertionError, match="has failed"):
            shell.run("false")


@pytest.mark.parametrize("shown, printed, same", [
    ("a\n", "a\n", True), ("a\n", "b\n", False), ("a\n", "a\nb\n", False), ("a\n", "", False), ("a…c\n", "abbc\n", True),
    ("a…\n", "a1\nb\n", False), ("…\nb\n", "1\n2\nb\n", True), ("…\nb\n", "1\nb\nc\n", False), ("a.\n", "ab\n", False),
])
def test_output_is_compared(shown, printed, same):
    assert is_printed(shown, printed) == same


def test_blocks_are_taken_apart():
    text = "```swift\nx\n```\n```sh\na \\\n    b\nc\n```\n\n```text\nout\n```\n\n```sh\nd\n```\n"
    assert [(block.line, block.commands, block.output) for block in parsed(text)] == [(4, ["a b", "c"], "out\n"), (14, ["d"], None)]
    with pytest.raises(AssertionError, match="not behind its commands"):
        parsed("```sh\na\n```\nand\n```text\nout\n```\n")


def test_what_is_run_elsewhere_stands_in_a_document():
    commands = [command for document in RUN for block in blocks(document) for command in block.commands]
    assert [start for start in ELSEWHERE if not any(command.startswith(start) for command in commands)] == []


def test_readme_is_short_and_names_every_article():
    text = (ROOT / "README.md").read_text()
    lines = text.splitlines()
    assert len(lines) <= 100
    assert any(".docc/" in line for line in lines[:80])
    landing_pages = {document for document in DOCUMENTS if document.split("/")[-1][:-3] + ".docc" in document}
    articles = {document for document in DOCUMENTS if ".docc/" in document or document.startswith("docs/")} - landing_pages
    assert sorted(article for article in articles if f"({article})" not in text) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    folder = (ROOT / document).parent
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / document).read_text())
    assert [target for target in targets if "://" not in target and not (folder / target).exists()] == []
