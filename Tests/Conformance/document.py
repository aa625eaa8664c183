#!/usr/bin/env python3
"""Writes the article Conformance anew: each statement that binds a server, and what proves it."""
import collections, pathlib, sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))

import statements

ARTICLE = FOLDER.parents[1] / "Sources" / "MQTTServer" / "MQTTServer.docc" / "Conformance.md"
INTRODUCTION = """# Conformance

Each normative statement of MQTT 3.1.1 and 5.0 that binds a server, in short words, and the test that proves it.

The tests are in `Tests/Conformance` and speak to a running broker over TCP, whatever it is made of. `make conformance` runs them and prints this table
with how each has ended; one that names no test and has no reason fails the build. {tested} statements have tests, {excused} have a reason
why none over TCP can show them. What binds only clients is not in the table.
"""


def text():
    rows = statements.rows()
    tested = statements.tested()
    reasons = {(version, id): reason for version, id, reason in statements.excused()}
    required = {key: row for key, row in rows.items() if row.required}
    counts = collections.Counter("tested" if key in tested else "excused" for key in required)
    parts = [INTRODUCTION.format(tested=counts["tested"], excused=counts["excused"])]
    for version in sorted(set(statements.VERSIONS.values()), reverse=True):
        parts.append(f"\n## MQTT {version}\n\n| statement | what | proof |\n|---|---|---|\n")
        for key, row in required.items():
            if key[0] == version:
                proof = ", ".join(f"`{name}`" for name in map(short, tested.get(key, []))) or reasons[key]
                parts.append(f"| {row.id} | {cell(row.paraphrase)} | {cell(proof)} |\n")
    return "".join(parts)


def short(test):
    return test.split("::")[1].removeprefix("test_")


def cell(words):
    return words.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    ARTICLE.write_text(text())
