"""A finished job: proved by a second run, made again from its record alone, held to another, explained."""

from __future__ import annotations

import json
import shutil

import pytest
from lab import ANSWER, TWO_EVENTS

import spikecrate
from spikecrate._util.files import remove_tree
from spikecrate._util.progress import Silent
from spikecrate.cli.show_record import show_record
from spikecrate.cli.sort import measure_repeats
from spikecrate.errors import (
    JobFailedError,
    JobNotFoundError,
    RecipeGoneError,
    RecordingChangedError,
    RecordingNotFoundError,
    ResultCorruptError,
    ResultDiffersError,
    UsageError,
)
from spikecrate.steps import rerun as again
from spikecrate.steps import resolve as named
from spikecrate.steps.diff import difference
from spikecrate.steps.explain import explain, explain_past
from spikecrate.steps.listing import show_job
from spikecrate.steps.record import outputs_hash
from spikecrate.steps.repeat import repeat
from spikecrate.steps.request import SortRequest
from spikecrate.store import open_store, results

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def fickle(sorter, tmp_path):
    """A sorter that finds its first unit elsewhere each time."""
    body = f"    from pathlib import Path; counter = Path({str(tmp_path / 'counter')!r})\n"
    body += "    runs = 1 + (counter.stat().st_size if counter.exists() else 0)\n"
    body += "    counter.write_text('x' * runs)\n"
    return sorter(ANSWER + body + "    return np.array([1000.0 * runs, 9000.0]), np.array([1, 2])\n")


def once_more(word, store, **asked):
    told = named.find_job(str(word), store, Silent())
    words = {"runtime": "", "recording": None, "cores": None, "keep": False, **asked}
    return again.rerun(told, store=store, progress=Silent(), **words)


def content(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_job_that_gives_the_same_bytes_again_is_proved_and_its_result_untouched(recording, sorter, store):
    first = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    before = content(first.folder)
    done = once_more(first.key[:8], store)
    assert done.equal
    assert done.before["blake3"] == done.now["blake3"] == outputs_hash(first.record)
    assert done.folder is None
    assert content(first.folder) == before
    assert list(store.work.iterdir()) == list(store.locks.iterdir()) == []


def test_a_job_that_gives_other_bytes_is_told_with_how_far_they_agree(recording, store, fickle):
    first = spikecrate.sort(recording, sorter=fickle)
    before = content(first.folder)
    with pytest.raises(ResultDiffersError, match=r"agreement 0\.3333 .*unit 1: 0\.000") as caught:
        once_more(first.key, store)
    details = caught.value.details
    assert details["before"]["blake3"] != details["now"]["blake3"]
    assert [unit["agreement"] for unit in details["agreement"]["units"]] == [0.0, 1.0]
    assert content(first.folder) == before


def test_a_second_run_that_fails_leaves_the_result(recording, sorter, store, tmp_path):
    flag = tmp_path / "flag"
    body = (
        ANSWER
        + f"    import pathlib\n    if pathlib.Path({str(flag)!r}).exists(): raise RuntimeError('no')\n"
    )
    first = spikecrate.sort(recording, sorter=sorter(body + TWO_EVENTS))
    flag.touch()
    with pytest.raises(JobFailedError):
        once_more(first.key, store)
    assert results.find(store, first.key, pytest.fail) is not None


def test_a_result_is_made_again_in_an_empty_store_from_a_copy_of_its_folder(recording, sorter, tmp_path):
    name = sorter(ANSWER + TWO_EVENTS)
    first = spikecrate.sort(recording, sorter=name, params={"value": 3}, seed=5, output=tmp_path / "copy")
    other = open_store(tmp_path / "other")
    done = once_more(tmp_path / "copy", other, keep=True)
    assert done.folder == str(other.result(first.key))
    stored = results.find(other, first.key, pytest.fail)
    assert stored.record["key_parts"] == first.record["key_parts"]
    assert content(stored.folder)["firings.mda"] == content(first.folder)["firings.mda"]


def test_a_job_runs_again_as_it_was_after_its_sorter_has_changed_or_gone(recording, sorter, store, tmp_path):
    name = sorter(ANSWER + TWO_EVENTS)
    first = spikecrate.sort(recording, sorter=name)
    sorter(ANSWER + "    return np.array([7.0]), np.array([1])\n")
    assert spikecrate.sort(recording, sorter=name).key != first.key
    assert once_more(first.key, store).equal
    shutil.rmtree(tmp_path / "sorters" / name)
    assert once_more(first.key, store).equal


def test_a_recipe_that_was_not_kept_is_said_to_be_gone(recording, sorter, store):
    first = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    sorter(ANSWER + "    return np.array([7.0]), np.array([1])\n")
    remove_tree(store.recipes)
    with pytest.raises(RecipeGoneError, match=first.record["recipe"][:12]):
        once_more(first.key, store)


def test_a_kept_recipe_that_was_edited_is_not_believed(recording, sorter, store):
    first = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    sorter(ANSWER + "    return np.array([7.0]), np.array([1])\n")
    (code,) = store.recipes.glob(f"{first.record['recipe']}/sorter/*/run.py")
    code.write_text(code.read_text() + "# edited\n")
    with pytest.raises(RecipeGoneError):
        once_more(first.key, store)


def test_another_recording_in_the_same_place_is_named_by_its_parts(recording, sorter, store):
    first = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    with (recording / "raw.mda").open("r+b") as file:
        file.seek(100)
        file.write(b"\x55\x55")
    (recording / "geom.csv").write_text("0,0\n0,1\n0,2\n0,3\n")
    with pytest.raises(RecordingChangedError, match=r"recording\.locations: .*recording\.samples: "):
        once_more(first.key, store)


def test_a_recording_that_moved_is_named_anew(recording, sorter, store, tmp_path):
    first = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    moved = recording.rename(tmp_path / "moved")
    with pytest.raises(RecordingNotFoundError) as caught:
        once_more(first.key, store)
    assert "--recording" in caught.value.next_step
    assert once_more(first.key, store, recording=moved).equal


def test_recordings_that_were_joined_and_moved_are_named_by_a_recording_json(
    recording, sorter, store, tmp_path
):
    parts = [spikecrate.open_recording(recording).view(**half) for half in ({"end": 0.5}, {"start": 0.5})]
    joined = spikecrate.concatenate([*parts, *parts])
    first = spikecrate.sort(joined, sorter=sorter(ANSWER + TWO_EVENTS))
    recording.rename(tmp_path / "moved")
    whole = tmp_path / "joined" / "recording.json"
    whole.parent.mkdir()
    whole.write_text(json.dumps({"recordings": ["../moved"] * 2}))
    assert once_more(first.key, store, recording=whole.parent).equal
    whole.write_text(json.dumps({"recordings": ["../moved"] * 3}))
    with pytest.raises(RecordingChangedError, match="num_samples"):
        once_more(first.key, store, recording=whole.parent)


def test_runs_of_one_job_are_held_to_each_other_and_the_store_left_alone(recording, store, fickle):
    asked = SortRequest(recording=recording, sorter=fickle)
    first = spikecrate.sort(recording, sorter=fickle)
    before = content(first.folder)
    done = repeat(asked, 3, store, Silent())
    assert not done.equal
    assert len({run["blake3"] for run in done.runs}) == 3
    assert done.agreement == [[1.0 if a == b else 0.333333 for a in range(3)] for b in range(3)]
    assert json.loads(json.dumps(done.as_dict()))["wall_s"].keys() == {"least", "median", "most"}
    assert content(first.folder) == before
    assert list(store.work.iterdir()) == []


def test_a_repeatable_sorter_is_said_to_be_one(recording, sorter, store):
    done = repeat(SortRequest(recording=recording, sorter=sorter(ANSWER + TWO_EVENTS)), 2, store, Silent())
    assert done.equal
    assert done.agreement == [[1.0, 1.0], [1.0, 1.0]]
    assert list(results.keys(store)) == []


@pytest.mark.parametrize("times", [1, 0, -3])
def test_a_job_cannot_be_repeated_less_than_twice(recording, times):
    with pytest.raises(UsageError, match="--repeat"):
        measure_repeats(SortRequest(recording=recording), times, Silent())


def test_two_jobs_are_held_to_each_other_part_by_part(recording, sorter, store):
    name = sorter(ANSWER + TWO_EVENTS)
    first = spikecrate.sort(recording, sorter=name)
    sorter(ANSWER + "    return np.array([10.0]), np.array([1])\n")
    second = spikecrate.sort(recording, sorter=name, params={"value": 2})
    one, other = (named.find_job(key, store, Silent()) for key in (first.key, second.key))
    found = difference(one, other, store)
    assert not found.equal
    assert found.key[1:] == ["parameters.value: 2.0 (was 1.0)"]
    assert found.recipe == ["sorter/run.py"]
    assert found.image == found.environment == found.machine == found.run == []
    assert found.result[:2] == ["units: 1 (was 2)", "events: 1 (was 2)"]
    assert found.result[-1] == "agreement 0.5000 within 0.4 ms (unit 2: 0.000)"
    assert difference(one, one, store).equal


def test_jobs_of_two_tools_are_said_to_be_and_their_parameters_left_out(recording, sorter, store):
    names = [
        sorter(
            ANSWER + TWO_EVENTS,
            name=name,
            parameters={
                "type": "object",
                "additionalProperties": False,
                "properties": {name: {"type": "number", "default": 1, "description": "Anything."}},
            },
        )
        for name in ("one", "other")
    ]
    jobs = [named.find_job(spikecrate.sort(recording, sorter=name).key, store, Silent()) for name in names]
    found = difference(*jobs, store)
    assert found.key[:2] == [
        "the tools differ, so their parameters are not compared",
        "tool: other (was one)",
    ]
    assert not any(line.startswith("parameters") for line in found.key)


def test_the_place_of_a_file_on_the_disk_is_no_difference(recording, sorter, store, tmp_path):
    name = sorter(ANSWER + TWO_EVENTS)
    copy = shutil.copytree(recording, tmp_path / "copy")
    first = spikecrate.sort(recording, sorter=name)
    second = spikecrate.sort(copy, sorter=name, seed=1)
    one, other = (named.find_job(key, store, Silent()) for key in (first.key, second.key))
    assert one.record["inside"]["opened"] != other.record["inside"]["opened"]
    assert difference(one, other, store).environment == []


def test_a_job_is_explained_by_results_of_its_own_tool_alone(recording, sorter, store):
    for name in ("one", "other"):
        sorter(ANSWER + TWO_EVENTS, name=name)
    spikecrate.sort(recording, sorter="one")
    job = SortRequest(recording=recording, sorter="other").job(store, Silent())
    first = explain(job, store, Silent(), force=False)
    past = explain_past(spikecrate.sort(recording, sorter="other").key, store)
    for seen in (first, past):
        assert (seen.nearest, seen.reasons) == (None, ["the store has no earlier result of this tool"])


def test_a_run_is_explained_before_and_after_it(recording, sorter, store):
    name = sorter(ANSWER + TWO_EVENTS)
    first = spikecrate.sort(recording, sorter=name)

    def would(**asked):
        job = SortRequest(recording=recording, sorter=name, **asked).job(store, Silent())
        return explain(job, store, Silent(), force=False)

    assert would().action == "hit"
    sorter(ANSWER + "    # another line\n" + TWO_EVENTS)
    seen = would(params={"value": 2})
    assert (seen.action, seen.nearest, seen.recipe) == ("run", first.key, ["sorter/run.py"])
    second = spikecrate.sort(recording, sorter=name, params={"value": 2})
    past = explain_past(second.key[:8], store)
    assert (past.action, past.nearest, past.recipe) == ("ran", first.key, ["sorter/run.py"])
    assert past.reasons == seen.reasons
    assert explain_past(first.key, store).nearest is None


def test_a_failed_job_is_explained_as_one(recording, sorter, store):
    name = sorter(ANSWER + "    raise RuntimeError('no spikes today')\n")
    with pytest.raises(JobFailedError):
        spikecrate.sort(recording, sorter=name)
    (key,) = (path.name for path in store.failures.glob("*/*"))
    seen = explain_past(key, store)
    assert seen.action == "failed"
    assert "JobFailedError" in seen.reasons[-1]
    with pytest.raises(JobNotFoundError, match="no result"):
        once_more(key, store)


def test_a_result_is_read_back_from_its_folder_or_its_crate(recording, sorter, tmp_path):
    copy = tmp_path / "copy"
    first = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS), params={"value": 2}, output=copy)
    for place in (first.folder, copy, copy / "ro-crate-metadata.json", str(copy / "run.json")):
        read = spikecrate.load(place)
        assert (read.key, read.status, read.record) == (first.key, "loaded", first.record)
        assert read.sorting.times.tolist() == [10.0, 20.0]
        assert read.parameters == {"value": 2.0}
    (copy / "my notes.txt").write_text("a file added does no harm")
    assert spikecrate.load(copy).key == first.key


def test_a_broken_result_is_refused_by_the_name_of_the_file(recording, sorter, tmp_path):
    copy = tmp_path / "copy"
    spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS), output=copy)
    names = {path.name for path in copy.iterdir()}
    assert len(names) == 7
    for name in names:
        path = copy / name
        whole = path.read_bytes()
        flipped = bytearray(whole)
        flipped[len(whole) // 2] ^= 1
        for harm in (flipped, whole[:-3], b"", None):
            path.unlink() if harm is None else path.write_bytes(harm)
            with pytest.raises(ResultCorruptError, match=name.replace(".", r"\.")):
                spikecrate.load(copy)
        path.write_bytes(whole)
    assert spikecrate.load(copy).sorting.unit_ids.tolist() == [1, 2]


def schema_2(record):
    """Return a run record as it was until schema 3: the recording in one file, whose facts were the layout's own."""
    recording = dict(record["inputs"]["recording"])
    layout = dict(recording["layout"])
    (sample_file,), (part,) = recording["files"], layout.pop("parts")
    for name in ("origin", "files", "gaps"):
        del recording[name]
    for name in ("start", "file_samples"):
        del part[name]
    recording |= {"sample_file": sample_file, "layout": part | layout}
    return record | {"schema": 2, "inputs": {"recording": recording}}


def schema_1(record):
    """Return a run record as it was until schema 2: of a sorter and its recording, with another key."""
    record = schema_2(record)
    parts = record["key_parts"]
    return {
        **{name: value for name, value in record.items() if name not in ("tool", "inputs")},
        "schema": 1,
        "sorter": record["tool"],
        "recording": record["inputs"]["recording"],
        "key_parts": {"sorter": parts["tool"], "recording": parts["inputs"]["recording"]},
    }


@pytest.mark.parametrize(
    ("earlier_version", "reason"), [(schema_1, "earlier version"), (schema_2, "no earlier result")]
)
def test_a_result_of_an_earlier_version_is_shown_and_refused_by_its_schema(
    recording, sorter, store, tmp_path, capsys, earlier_version, reason
):
    first = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    earlier = earlier_version(first.record)
    built = shutil.copytree(first.folder, store.work / f"{first.key}-earlier")
    (built / "run.json").write_text(json.dumps(earlier))
    (built / "manifest.json").unlink()
    remove_tree(first.folder)
    stored = results.publish(store, first.key, built)
    shutil.copytree(stored.folder, tmp_path / "copy")
    for word in (first.key, str(tmp_path / "copy")):
        refused = rf"run\.json: schema: is {earlier['schema']}, this spikecrate reads 3"
        with pytest.raises(ResultCorruptError, match=refused):
            named.find_job(word, store, Silent())
    assert reason in explain_past(first.key, store).reasons[0]
    show_record(show_job(store, first.key))
    assert str(recording) in capsys.readouterr().out


def test_a_place_without_a_result_is_said_to_be_one(tmp_path, store):
    for word in (tmp_path, tmp_path / "nothing", "./0123abcd"):
        with pytest.raises((JobNotFoundError, ResultCorruptError)):
            named.find_job(str(word), store, Silent())
