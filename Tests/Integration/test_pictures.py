"""The pictures of README.md show what the tools show."""
import re
import xml.etree.ElementTree as xml

import pytest

from brokers import ROOT
from programs import Namespace, run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    with Namespace() as network:
        run(*network.prefix, ROOT / "Scripts" / "pictures", folder, seconds=60)
    return folder


def lines(file):
    return ["".join(text.itertext()) for text in xml.parse(file).iter("{http://www.w3.org/2000/svg}text")]


def labels(line):
    """Without figures and their units, which differ from run to run."""
    return re.sub(r"\d[\d.]*( (µs|ms|s)\b)?", "", line).split()


@pytest.mark.parametrize("picture", ["watch.svg", "bench.svg"])
def test_a_picture_shows_what_is_shown_today(folder, picture):
    drawn = [labels(line) for line in lines(ROOT / "docs" / picture)]
    assert len(drawn) > 5 and drawn == [labels(line) for line in lines(folder / picture)], "make docs-pictures draws it anew"
