"""Every flag that the tools document is used by a test, and those that docs/tools.md tells of are there."""
import re, subprocess
from pathlib import Path

import pytest

from brokers import ROOT
from tools import tool

HERE = Path(__file__).parent
TOOLS = ["pub", "sub", "rr", "bench", "check"]


def flags(name):
    """All names of all options in --help, but --help itself."""
    done = tool(name, "--help")
    assert done.returncode == 0
    found = set()
    for line in done.stdout.decode().splitlines():
        if re.match(r"  -", line):
            found.update(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", re.split(r" {2,}", line.strip())[0]))
    assert len(found) > 10, found
    return found - {"--help", "-H", "--version"}


def words(*files):
    return set(re.findall(r'"(--?[A-Za-z][\w-]*)"', "".join((HERE / f).read_text() for f in files)))


@pytest.mark.parametrize("name", TOOLS)
def test_every_flag_is_used(name):
    common = set.intersection(*(flags(tool) for tool in TOOLS))
    assert {"-h", "--quiet", "--property"} <= common
    assert flags(name) - common - words(f"test_tools_{name}.py") == set()


def test_every_flag_of_the_connection_is_used():
    common = set.intersection(*(flags(tool) for tool in TOOLS))
    assert common - words("test_tools_connection.py") == set()


def test_the_flags_of_the_documentation_are_there():
    page = (ROOT / "docs/tools.md").read_text()
    ours, differences = page.split("## For who knows the others")
    told = set(re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", " ".join(re.findall(r"`([^`\n]*)`", ours) + re.findall(r"```sh\n(.*?)```", ours, re.S))))
    known = set.union(*(flags(tool) for tool in TOOLS)) | {"--help"}
    assert len(told) > 40 and told - known == set()


def test_what_is_not_there_is_documented():
    """Each flag of mosquitto's clients is taken, or the page tells why it is not."""
    page = (ROOT / "docs/tools.md").read_text().split("## For who knows the others")[1]
    for name in ("pub", "sub", "rr"):
        text = subprocess.run([f"mosquitto_{name}", "--help"], capture_output=True).stdout.decode()
        theirs = set(re.findall(r"^ (--?[A-Za-z][\w-]*) :", text, re.M)) - {"--help"}
        missing = theirs - flags(name)
        assert len(theirs) > 30
        # In the hidden group, which answers with a sentence; --tls-… are one row.
        assert {flag for flag in missing if f"`{flag}`" not in page and not flag.startswith("--tls-")} == set()
