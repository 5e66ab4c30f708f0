"""Finished results for a store, small and whole, without a sorter."""

from __future__ import annotations

import json
import os
import time

from spikecrate.steps.key import KeyParts
from spikecrate.store import results

FIRINGS = bytes(range(0, 256, 2))


def parts(seed, sorter="ms4", samples="aa" * 32, **parameters):
    return KeyParts(
        tool=sorter,
        recipe="ab" * 32,
        parameters=parameters,
        seed=seed,
        inputs={"recording": {"samples": samples, "dtype": "int16"}},
        cores=None,
    )


def put(store, seed=0, *, sorter="ms4", path="/data/rec", samples="aa" * 32, wall_s=1.5, **parameters):
    """Publish a result; give its key."""
    made_of = parts(seed, sorter, samples, **parameters)
    record = {
        "key": made_of.key,
        "recipe": made_of.recipe,
        "tool": {"name": sorter, "kind": "sorter"},
        "inputs": {"recording": {"kind": "recording", "path": path}},
        "runtime": "host",
        "units": 2,
        "events": 40,
        "wall_s": wall_s,
        "started": f"2026-01-01T00:{seed // 60:02d}:{seed % 60:02d}.000+00:00",
        "key_parts": made_of.as_dict(),
    }
    folder = store.work / f"{made_of.key}-00000000"
    (folder / "sorter").mkdir(parents=True)
    (folder / "firings.mda").write_bytes(FIRINGS)
    (folder / "log.txt").write_text("sorted\n")
    (folder / "job.json").write_text("{}")
    (folder / "ro-crate-metadata.json").write_text('{"@graph": []}')
    (folder / "sorter" / "templates.npy").write_bytes(b"templates")
    (folder / "run.json").write_text(json.dumps(record))
    results.publish(store, made_of.key, folder)
    return made_of.key


def fail(store, seed=0, sorter="ms4", path="/data/fly"):
    """Keep a failure; give its key."""
    made_of = parts(seed, sorter)
    folder = store.failure(made_of.key)
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("no\n")
    what = {
        "error": "JobFailedError",
        "key": made_of.key,
        "key_parts": made_of.as_dict(),
        "inputs": {"recording": {"kind": "recording", "path": path}},
        "at": "2026-02-01",
    }
    (folder / "failure.json").write_text(json.dumps(what))
    return made_of.key


def unused_for(store, key, seconds):
    """Put back when a result was last used."""
    at = time.time() - seconds
    os.utime(store.result(key) / "manifest.json", (at, at))
