"""The copy that the user keeps: complete or absent, never over something else, never in the recording."""

from __future__ import annotations

import json

import pytest

from spikecrate.errors import OutputError
from spikecrate.steps import output
from spikecrate.store import results

KEY = "ab" * 32


@pytest.fixture
def stored(store):
    folder = store.work / f"{KEY}-00000000" / "result"
    (folder / "sorter").mkdir(parents=True)
    (folder / "firings.mda").write_text("events")
    (folder / "sorter" / "extra.txt").write_text("left by the sorter")
    (folder / "run.json").write_text(json.dumps({"key": KEY}))
    return results.publish(store, KEY, folder)


def tree(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def test_the_copy_has_every_file(stored, store, tmp_path):
    output.put(stored, tmp_path / "deep" / "copy", store)
    assert tree(tmp_path / "deep" / "copy") == tree(stored.folder)


def test_a_copy_that_is_there_is_left_alone(stored, store, tmp_path):
    output.put(stored, tmp_path / "copy", store)
    before = (tmp_path / "copy").stat().st_ino
    output.put(stored, tmp_path / "copy", store)
    assert (tmp_path / "copy").stat().st_ino == before


def test_a_copy_that_lost_a_file_is_made_again(stored, store, tmp_path):
    output.put(stored, tmp_path / "copy", store)
    (tmp_path / "copy" / "firings.mda").unlink()
    output.put(stored, tmp_path / "copy", store)
    assert tree(tmp_path / "copy") == tree(stored.folder)


def test_an_earlier_result_is_replaced(stored, store, tmp_path):
    output.put(stored, tmp_path / "copy", store)
    manifest = tmp_path / "copy" / "manifest.json"
    entry = json.loads(manifest.read_bytes())
    entry["files"].pop("sorter/extra.txt")
    from spikecrate._util.canonical import digest

    manifest.write_text(json.dumps({"files": entry["files"], "seal": digest(["seal", entry["files"]])}))
    output.put(stored, tmp_path / "copy", store)
    assert tree(tmp_path / "copy") == tree(stored.folder)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".copy")] == []


def test_a_folder_with_something_else_in_it_is_refused_and_untouched(stored, store, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="mine exists and is not a result"):
        output.put(stored, tmp_path / "mine", store)
    assert tree(tmp_path / "mine") == {"thesis.tex": b"years of work"}


def test_a_file_in_the_way_is_refused(stored, store, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        output.put(stored, tmp_path / "file", store)


def test_what_a_killed_copy_left_beside_is_removed_by_the_next(stored, store, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        # SIGKILL runs no clean-up either.
        patched.setattr(output, "remove_tree", lambda _: None)
        patched.setattr(output, "copy_file", killed)
        with pytest.raises(KeyboardInterrupt):
            output.put(stored, tmp_path / "kept" / "copy", store)
    assert len(list((tmp_path / "kept").iterdir())) == 1
    output.put(stored, tmp_path / "kept" / "copy", store)
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["copy"]
    assert tree(tmp_path / "kept" / "copy") == tree(stored.folder)
