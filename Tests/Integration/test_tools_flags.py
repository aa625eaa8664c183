"""Every flag that the tools document is used by a test."""
import re
from pathlib import Path

import pytest

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
    return found - {"--help", "--version"}


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
