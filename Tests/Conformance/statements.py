"""Which test proves which normative statement: the decorator, and the sum of what was decorated."""
import csv, dataclasses, importlib, inspect, pathlib

FOLDER = pathlib.Path(__file__).resolve().parent
VERSIONS = {4: "3.1.1", 5: "5.0"}


def statement(*ids):
    """Names the statements that a test proves, of the version that its module tests (`VERSION`)."""
    def mark(test):
        test.statements = ids
        return test
    return mark


@dataclasses.dataclass
class Row:
    version: str
    id: str
    binds: str          # S server, C client, B both
    paraphrase: str
    tests: list[str] = dataclasses.field(default_factory=list)
    reason: str | None = None

    @property
    def required(self):
        return self.binds in "SB"


def rows():
    """The statements of both lists, by version and id."""
    found = {}
    for version in VERSIONS.values():
        for line in (FOLDER / f"mqtt-{version}.tsv").read_text().splitlines()[1:]:
            id, binds, paraphrase = line.split("\t")
            found[version, "MQTT-" + id] = Row(version, "MQTT-" + id, binds, paraphrase)
    return found


def tested():
    """(version, id) and the tests that name it, as read from the decorators in the test modules."""
    found = {}
    for path in sorted(FOLDER.glob("test_*.py")):
        module = importlib.import_module(path.stem)
        for name, test in inspect.getmembers(module, inspect.isfunction):
            for id in getattr(test, "statements", ()):
                found.setdefault((VERSIONS.get(module.VERSION), id), []).append(f"{path.name}::{name}")
    return found


def excused():
    """Triples of version, id and reason."""
    with open(FOLDER / "excused.tsv", newline="") as file:
        return [tuple(row) for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if row and not row[0].startswith("#")]
