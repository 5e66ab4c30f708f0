"""Throw mutated bytes at one parser, guided by which lines they reach: `python -m fuzz mda --runs 1000000`.

Atheris is libFuzzer for Python. It stops at the first exception that is not ours, at an input that takes longer
than ten seconds, and at a process that grows beyond 1 GiB.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from pathlib import Path

import atheris

from fuzz.mutate import mutate


def main() -> None:
    """Run one target for a number of inputs."""
    with atheris.instrument_imports(include=["spikecrate", "spikecrate_harness", "fuzz.targets"]):
        from fuzz.targets import PARSERS

    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("target", choices=sorted(PARSERS))
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="an empty folder for the corpus; by default a new one")
    words = parser.parse_args()
    chosen = PARSERS[words.target]
    # Not removed here: libFuzzer ends the process where it stands.
    place = words.folder or Path(tempfile.mkdtemp(prefix=f"fuzz-{words.target}-"))
    corpus, work = place / "corpus", place / "work"
    corpus.mkdir()
    work.mkdir()
    for number, seed in enumerate(chosen.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    longest = 2 * max(map(len, chosen.seeds)) + 4096
    options = [
        *(f"-runs={words.runs}", f"-seed={words.seed}", f"-max_len={longest}", "-timeout=10"),
        *("-rss_limit_mb=1024", "-print_final_stats=1", f"-artifact_prefix={place}/", str(corpus)),
    ]
    atheris.Setup([sys.argv[0], *options], chosen.make(work), custom_mutator=_mutator)
    atheris.Fuzz()


def _mutator(data: bytes, longest: int, seed: int) -> bytes:
    """Change bytes as libFuzzer does, or where they are JSON, half the time, the tree."""
    if seed % 2:
        changed = mutate(data, random.Random(seed))
        if changed != data and len(changed) <= longest:
            return changed
    return bytes(atheris.Mutate(data, len(data)))


if __name__ == "__main__":
    main()
