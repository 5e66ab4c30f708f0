"""`store.verify` reads everything that has a hash, names what is corrupt, and sets it aside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import shelf

from spikecrate._util.progress import Silent
from spikecrate.cli import store as request
from spikecrate.errors import StoreCorruptError
from spikecrate.images import provenance
from spikecrate.steps.listing import list_jobs
from spikecrate.store import file_hashes as memo
from spikecrate.store import index, results, verify
from spikecrate.store.file_hashes import FileHashCache, FileState
from spikecrate.store.lock import Lock
from spikecrate.store.result_manifest import hash_file

NAME = "ms4-abababababababab-cdcdcdcdcdcdcdcd"


def put_sif(store):
    store.sifs.mkdir(exist_ok=True)
    path = store.sifs / f"{NAME}.sif"
    path.write_bytes(b"SIF" * 100)
    said = {
        "path": str(path),
        "blake3": hash_file(path),
        "size_bytes": 300,
        "created": "2026",
        "seconds": 1.5,
    }
    path.with_suffix(".json").write_text(json.dumps(provenance.sealed(said, {"a": "b"}), indent=1))
    return path


def found_by(**words):
    with pytest.raises(StoreCorruptError) as caught:
        request.verify(dry_run=words.get("dry_run", False), progress=Silent())
    assert caught.value.exit_code == 53
    return caught.value.details["found"]


@pytest.fixture
def full(store, tmp_path, monkeypatch):
    """A store with some of everything, all whole."""
    monkeypatch.setattr(index, "SETTLED_S", -1.0)
    monkeypatch.setattr(memo, "SETTLED_S", -1.0)
    for seed in range(5):
        results.find(store, shelf.put(store, seed), pytest.fail)
    shelf.fail(store, 8)
    list_jobs(store)
    (tmp_path / "raw").write_text("samples")
    FileHashCache(store.memo).put(FileState.of(tmp_path / "raw"), "hash", "1")
    put_sif(store)
    store.lock("dead").write_text("{")
    return store


def test_a_sound_store_is_found_sound(full):
    done = request.verify(progress=Silent())
    assert done["found"] == []
    indexed = len(list(full.index.rglob("*.rows")))
    assert done["checked"] == 5 + 6 + indexed + 1 + 1
    assert not full.quarantine.exists()


def test_every_kind_of_thing_that_is_corrupt_is_named_and_set_aside(full):
    keys = sorted(results.keys(full))
    (full.result(keys[0]) / "log.txt").write_text("sOrted\n")
    (full.result(keys[1]) / "sorter" / "templates.npy").unlink()
    (full.result(keys[2]) / "sorter" / "added").write_text("")
    (full.index / "results" / f"{keys[3][:2]}.rows").write_text("rows")
    entry = next(FileHashCache(full.memo).entries())
    entry.write_text("{}")
    (full.sifs / f"{NAME}.sif").write_bytes(b"SIG" * 100)
    full.lock("folder").mkdir()
    dry = found_by(dry_run=True)
    assert not full.quarantine.exists()
    found = found_by()
    assert [row["what"] for row in dry] == [row["what"] for row in found]
    problems = {(row["kind"], Path(row["what"]).name): row["problem"] for row in found}
    assert problems[("result", keys[0])] == "log.txt does not match its hash"
    assert problems[("result", keys[1])] == "sorter/templates.npy is missing"
    assert problems[("result", keys[2])] == "sorter/added was added"
    assert sorted(row["kind"] for row in found) == [
        *("SIF", "index", "lock", "memo"),
        *("result", "result", "result"),
    ]
    assert all(Path(row["aside"]).exists() for row in found)
    assert request.verify(progress=Silent())["found"] == []
    assert set(results.keys(full)) == {*keys[3:]}


def test_every_harmed_byte_of_a_sif_s_provenance_is_noticed(store):
    path = put_sif(store)
    beside = path.with_suffix(".json")
    whole = beside.read_bytes()
    entry = json.loads(whole)
    for at in range(len(whole)):
        beside.unlink()
        beside.write_bytes(whole[:at])
        assert provenance.problem_of(path) is not None
        beside.unlink()
        beside.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        if provenance.problem_of(path) is None:
            # White space, or the path, which tells nothing.
            changed = json.loads(beside.read_bytes())
            changed["sif"]["path"] = entry["sif"]["path"]
            assert changed == entry
    beside.unlink()
    assert provenance.problem_of(path) is not None
    beside.write_bytes(whole)
    path.unlink()
    assert provenance.problem_of(path) == "the SIF is missing"


def test_a_sif_in_making_is_passed_over(store):
    path = put_sif(store)
    path.write_bytes(b"half")
    with Lock(store.lock(f"sif-{NAME.split('-')[1]}")):
        assert request.verify(progress=Silent())["found"] == []
    assert [row["kind"] for row in found_by()] == ["SIF"]
    assert list(store.sifs.iterdir()) == []


def test_a_check_that_fails_stops_the_rest(store):
    """As Ctrl-C does: what waits in line is not begun."""
    begun = []

    def problem():
        begun.append(1)
        if len(begun) == 3:
            raise KeyboardInterrupt

    one = verify.Check(kind="x", path=store.root, size_bytes=1, problem=problem, move=lambda: None)
    with pytest.raises(KeyboardInterrupt):
        verify.verify([one] * 100_000, Silent(), dry_run=True)
    assert len(begun) < 1000
