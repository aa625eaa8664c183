#!/usr/bin/env python3
"""Kills the broker with SIGKILL under load, again and again, and prints what it acknowledged and then had no more.

    kills.py --kills 20 -- .build/release/apus serve --port {port} --data {dir}

Each row is a run of crash_durability.py: MQTT 3.1.1 and 5.0, the broker as it is, with tiny segments, so that its journal
is compacted all the time, and with four event loops. Ends with 1 if any row has anything but zeros.
"""
import argparse, json, subprocess, sys, tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HARNESS = Path(__file__).resolve().parents[1] / "Conformance" / "crash_durability.py"
sys.path.insert(0, str(HARNESS.parents[1] / "Integration"))
from brokers import free_port

KINDS = {"default": [], "tiny segments": ["--segment-bytes", "16384"], "four loops": ["--threads", "4"]}
PROMISES = {"lost": "lost", "doubled at QoS 2": "duplicates_qos2", "out of order": "order_violations",
            "subscriptions lost": "subscriptions_lost", "retained lost": "retained_lost_or_stale",
            "sessions lost": "publisher_sessions_lost"}
VERSIONS = {4: "3.1.1", 5: "5.0"}


def run(options, kind, level):
    with tempfile.TemporaryDirectory(prefix="apus-kills-") as folder:
        return run_in(options, kind, level, Path(folder) / "result.json")


def run_in(options, kind, level, out):
    command = [sys.executable, HARNESS, "--port", free_port(), "--mqtt", level, "--kills", options.kills, "--out", out,
               "--shortest", options.shortest, "--longest", options.longest, "--rate", options.rate,
               "--retained", options.retained, "--seed", options.seed, "--quiet", "--", *options.command, *KINDS[kind]]
    done = subprocess.run(list(map(str, command)), text=True, capture_output=True)
    if not out.exists():
        sys.exit(f"the run of {kind}, MQTT {VERSIONS[level]}, has come to nothing:\n{done.stdout}{done.stderr}")
    return json.loads(out.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="in each row")
    parser.add_argument("--shortest", type=float, default=0.3, help="seconds between kills, at least")
    parser.add_argument("--longest", type=float, default=2.0)
    parser.add_argument("--rate", type=float, default=100, help="messages a second, each of four publishers")
    parser.add_argument("--retained", type=int, default=400, help="topics, for each of two publishers")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--parallel", type=int, default=1, help="rows that are run at a time")
    parser.add_argument("--kind", choices=KINDS, action="append", help="only this one; may be given several times")
    parser.add_argument("command", nargs="+", help="the command line of the broker, with {port} and {dir}")
    options = parser.parse_args()

    columns = ["broker", "MQTT", "kills", "acknowledged", *PROMISES, "repeated at QoS 1", "start: ms"]
    print("| " + " | ".join(columns) + " |\n|---|---|" + "--:|" * (len(columns) - 2), flush=True)
    rows = [(kind, level) for kind in options.kind or KINDS for level in VERSIONS]
    broken = 0
    with ThreadPoolExecutor(options.parallel) as pool:
        for (kind, level), result in zip(rows, pool.map(lambda row: run(options, *row), rows)):
            totals = result["totals"]
            figures = [totals.get(name, 0) for name in PROMISES.values()]
            ended = result["broker_ended_by_itself"]
            broken += sum(figures) + ended
            row = [kind, VERSIONS[level], result["kills"], totals["messages_acknowledged"], *figures,
                   totals["duplicates_qos1"], result["recovery_ms"]["worst"]]
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
            if ended:
                print(f"The broker of this row has ended by itself {ended} times.", flush=True)
    sys.exit("Something that was acknowledged is gone, or has come twice or in another order." if broken else 0)


if __name__ == "__main__":
    main()
