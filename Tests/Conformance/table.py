#!/usr/bin/env python3
"""Runs the conformance suite and prints a row for each statement: whom it binds, what it says, its tests or why there are none, and
how they ended. The exit code is 0 only if all passed and nothing that binds a server is missing.

Arguments go to pytest, for example `-m "not slow"`; what is not run counts as missing.
"""
import collections, os, pathlib, sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
os.chdir(FOLDER)

import pytest

import statements


class Recorder:
    """Keeps how each test ended; a test with parameters passed if all its cases did."""

    def __init__(self):
        self.outcomes = collections.defaultdict(set)

    def pytest_runtest_logreport(self, report):
        if report.when == "call" or not report.passed:
            self.outcomes[report.nodeid.split("[")[0]].add(report.outcome)

    def outcome(self, test):
        outcomes = self.outcomes.get(test, {"not run"})
        return "passed" if outcomes == {"passed"} else "FAILED" if "failed" in outcomes else min(outcomes - {"passed"})


def verdict(row, recorder):
    if row.tests:
        outcomes = {recorder.outcome(test) for test in row.tests}
        return "passed" if outcomes == {"passed"} else "FAILED" if "FAILED" in outcomes else min(outcomes - {"passed"})
    return "excused" if row.reason else "MISSING" if row.required else "client only"


def print_table(recorder):
    rows = statements.rows()
    for key, tests in statements.tested().items():
        if key in rows:
            rows[key].tests = tests
    for version, id, reason in statements.excused():
        if (version, id) in rows:
            rows[version, id].reason = reason
    totals = collections.Counter()
    for row in rows.values():
        if not row.required and not row.tests:
            continue
        result = verdict(row, recorder)
        if row.required:
            totals[result] += 1
        proof = ", ".join(test.removesuffix(".py") for test in row.tests) or row.reason or ""
        print(f"{row.version:5}  {row.id:14}  {row.binds}  {result:7}  {row.paraphrase}\n{'':33}{proof}")
    required = sum(row.required for row in rows.values())
    tests = [recorder.outcome(test) for test in recorder.outcomes]
    print(f"\n{required} statements bind a server: {totals.pop('passed', 0)} passed, {totals.pop('excused', 0)} excused"
          + "".join(f", {count} {result}" for result, count in sorted(totals.items()))
          + f"; {tests.count('passed')} of {len(tests)} tests passed")
    return not totals


def main():
    recorder = Recorder()
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--tb=short", "--rootdir", str(FOLDER), *sys.argv[1:]], plugins=[recorder])
    complete = print_table(recorder)
    return 0 if code == 0 and complete else 1


if __name__ == "__main__":
    sys.exit(main())
