"""Which images there are and which of them go, without an engine."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from lab import Notes

from spikecrate._util.progress import Silent
from spikecrate.errors import EngineMissingError
from spikecrate.images import inventory as of_images
from spikecrate.images.inventory import Entry, in_store, inventory, joined, state_of
from spikecrate.images.lookup import own_layers
from spikecrate.images.prune import Removed, prune
from spikecrate.steps.listing import sorters_running
from spikecrate.steps.paths import WorkPaths
from spikecrate.store.lock import Lock

NOW, BEFORE = "a" * 64, "b" * 64
RECIPES = {"ms4": NOW}


@pytest.fixture(autouse=True)
def no_docker(monkeypatch):
    def refuse():
        message = "Docker is not installed"
        raise EngineMissingError(message)

    monkeypatch.setattr(of_images, "docker_client", refuse)


@pytest.fixture
def put_sif(store):
    def put(recipe, *, name="ms4", digest="sha256:" + "1" * 64, size=100):
        store.sifs.mkdir(exist_ok=True)
        path = store.sifs / f"{name}-{recipe[:16]}-{digest[-16:]}.sif"
        path.write_bytes(bytes(size))
        said = {"sif": {"sorter": name, "recipe": recipe, "image_digest": digest}}
        path.with_suffix(".json").write_text(json.dumps(said))
        return path

    return put


def put_result(store, key, recipe):
    folder = store.result(key)
    folder.mkdir(parents=True)
    record = {
        "key": key,
        "recipe": recipe,
        "tool": {"name": "ms4"},
        "recording": {"path": "/rec"},
        "runtime": "host",
        "units": 1,
        "events": 1,
        "wall_s": 1.0,
        "started": "2026-01-01T00:00:00.000+00:00",
        "key_parts": {"tool": "ms4", "parameters": {}, "inputs": {"recording": {"samples": "00"}}},
    }
    (folder / "run.json").write_text(json.dumps(record))
    (folder / "manifest.json").write_text('{"files": {}}')


@pytest.mark.parametrize(
    ("name", "recipe", "state"),
    [("ms4", NOW, "current"), ("ms4", BEFORE, "stale"), ("lab", NOW, "unknown")],
)
def test_an_image_is_stale_only_when_its_sorter_s_folder_says_otherwise(name, recipe, state):
    assert state_of(name, recipe, RECIPES) == state


def test_without_docker_the_sifs_are_listed_and_one_note_says_why(store, put_sif):
    put_sif(NOW)
    put_sif(BEFORE, size=300)
    put_result(store, "0" * 64, BEFORE)
    put_result(store, "1" * 64, BEFORE)
    progress = Notes()
    rows = inventory(store, RECIPES, progress)
    assert [(row.state, row.sif_bytes, row.results, row.size_bytes) for row in rows] == [
        ("current", 100, 0, None),
        ("stale", 300, 2, None),
    ]
    (note,) = progress.notes
    assert note.endswith("only SIFs are listed")


def test_an_empty_store_has_nothing(store):
    assert inventory(store, RECIPES, Silent()) == []
    assert prune(store, RECIPES, Silent()).removed == []


def test_a_sif_stands_in_the_row_of_its_image_and_no_other(store, put_sif):
    put_sif(NOW, digest="sha256:" + "1" * 64)
    put_sif(NOW, digest="sha256:" + "2" * 64)
    image = Entry(
        name="ms4", recipe=NOW, digest="sha256:" + "1" * 64, state="current", reference="r", size_bytes=5
    )
    base = Entry(name="base", recipe=NOW, digest="sha256:3", state="current", reference="b", size_bytes=5)
    rows = joined([image, base], in_store(store, RECIPES), {NOW: 7})
    assert [(row.name, row.size_bytes, row.sif_bytes, row.results) for row in rows] == [
        ("base", 5, None, None),
        ("ms4", 5, 100, 7),
        ("ms4", None, 100, 7),
    ]


def test_stale_sifs_go_with_their_provenance_and_the_current_stays(store, put_sif):
    current, stale = put_sif(NOW), put_sif(BEFORE, size=300)
    done = prune(store, RECIPES, Silent())
    assert done.removed == [Removed(str(stale), 300)]
    assert done.freed_bytes == 300
    assert done.kept == []
    assert sorted(store.sifs.iterdir()) == [current.with_suffix(".json"), current]
    assert list(store.locks.iterdir()) == []


def test_a_dry_run_says_the_same_and_removes_nothing(store, put_sif):
    stale = put_sif(BEFORE)
    foreseen = prune(store, RECIPES, Silent(), dry_run=True)
    assert stale.exists()
    assert foreseen == replace(prune(store, RECIPES, Silent()), dry_run=True)
    assert not stale.exists()


def test_a_sif_without_its_provenance_is_stale_whatever_its_name(store, put_sif):
    left = put_sif(NOW)
    left.with_suffix(".json").unlink()
    assert [row.what for row in prune(store, RECIPES, Silent()).removed] == [str(left)]
    assert not left.exists()


def test_the_sif_of_a_sorter_that_is_not_in_the_catalogue_stays_and_the_reason_is_said(store, put_sif):
    other = put_sif(BEFORE, name="lab")
    (kept,) = prune(store, RECIPES, Silent()).kept
    assert kept.what == str(other)
    assert "SPIKECRATE_SORTERS" in kept.why
    assert other.exists()


def test_asked_for_one_sorter_it_looks_at_no_other(store, put_sif):
    stale, other = put_sif(BEFORE), put_sif(BEFORE, name="lab")
    recipes = {"ms4": NOW, "lab": NOW}
    done = prune(store, recipes, Silent(), only="ms4")
    assert [row.what for row in done.removed] == [str(stale)]
    assert done.kept == []
    assert other.exists()


def test_a_file_of_no_sorter_among_the_sifs_goes_too(store, put_sif):
    put_sif(NOW)
    stray = store.sifs / "stray.sif"
    stray.write_bytes(b"x")
    assert [row.what for row in prune(store, RECIPES, Silent()).removed] == [str(stray)]


def test_a_stale_sif_that_is_being_checked_stays(store, put_sif):
    stale = put_sif(BEFORE)
    with Lock(store.lock(f"sif-{BEFORE[:16]}")):
        (kept,) = prune(store, RECIPES, Silent()).kept
    assert kept.what == str(stale)
    assert stale.exists()


def test_a_sif_stays_while_a_job_of_its_sorter_runs_in_apptainer(store, put_sif):
    stale = put_sif(BEFORE)
    key = "c" * 64
    paths = WorkPaths.fresh(store.work, key)
    paths.make()
    paths.job_json.write_text('{"tool": "ms4"}')
    paths.owner.write_text('{"runtime": "apptainer", "pid": 1}')
    with Lock(store.lock(key)):
        assert sorters_running(store, "docker") == set()
        busy = sorters_running(store, "apptainer")
        assert busy == {"ms4"}
        (kept,) = prune(store, RECIPES, Silent(), busy=busy).kept
    assert kept.what == str(stale)
    assert sorters_running(store, "apptainer") == set()


def test_a_layer_that_another_image_needs_is_not_counted_as_freed():
    base, middle = ("base", 10), ("middle", 20)
    assert own_layers([[base, middle, ("a", 1)], [base, middle, ("b", 2)]], [[base]]) == 23
    assert own_layers([[base, ("a", 1)]], []) == 11
    # The same step on another base is another layer.
    assert own_layers([[("other", 5), middle]], [[base, middle]]) == 25
