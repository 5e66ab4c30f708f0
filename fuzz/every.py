"""Run the targets one after the other, each in a process of its own, and print a table."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from fuzz.targets import PARSERS

FACTS = ("number_of_executed_units", "average_exec_per_sec", "peak_rss_mb")


def main() -> int:
    """Run the targets named, or all; give 1 where one found something."""
    parser = argparse.ArgumentParser(prog="python -m fuzz.every", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(PARSERS)}")
    parser.add_argument("--runs", type=int, default=100_000)
    words = parser.parse_args()
    print(f"{'parser':16} {'inputs':>9} {'inputs/s':>9} {'MiB':>5}  found")
    found = 0
    for name in words.targets or PARSERS:
        # In memory, where there is such a place: a disk would be the bottleneck.
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            argv = [sys.executable, "-m", "fuzz", name, "--runs", str(words.runs), "--folder", folder]
            done = subprocess.run(argv, capture_output=True, text=True, check=False)
        facts = dict(re.findall(r"^stat::(\w+):\s+(\d+)", done.stderr, flags=re.MULTILINE))
        numbers = [facts.get(fact, "?") for fact in FACTS]
        print(f"{name:16} {numbers[0]:>9} {numbers[1]:>9} {numbers[2]:>5}  {_said(done)}", flush=True)
        if done.returncode:
            found += 1
            print(done.stderr[-4000:], file=sys.stderr)
    return 1 if found else 0


def _said(done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode == 0:
        return "nothing"
    uncaught = re.search(r"Uncaught Python exception: ===\n(.*)", done.stderr)
    return uncaught[1][:100] if uncaught else f"exit code {done.returncode}"


if __name__ == "__main__":
    sys.exit(main())
