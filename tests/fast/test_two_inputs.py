"""A tool with two inputs, a recording and the output of another job: the very code that sorts runs it."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from lab import ANSWER, TWO_EVENTS, Here, write_sorter

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.api import find_or_run, load
from spikecrate.catalogue.tools import check
from spikecrate.errors import RecordingChangedError, ResultInvalidError, SorterNotFoundError, UsageError
from spikecrate.sortings import read_firings
from spikecrate.steps.diff import difference
from spikecrate.steps.explain import explain
from spikecrate.steps.inputs import recording_facts
from spikecrate.steps.listing import list_jobs
from spikecrate.steps.request import StepRequest
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job

SECTION = (Path(__file__).parents[2] / "docs" / "add-a-sorter.md").read_text(encoding="utf-8")
SECTION = SECTION.split("## A tool with other inputs\n", 1)[1]
(DESCRIBED,) = re.findall(r"^```json\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
PEAKS, CALL = re.findall(r"^```python\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
"""The tool of the page, and how the page runs it."""


@pytest.fixture
def peaks(tmp_path, monkeypatch):
    """Make the tool, in a catalogue of its own."""

    def make(body=PEAKS):
        write_sorter(tmp_path / "tools", body, **json.loads(DESCRIBED))
        monkeypatch.setenv("SPIKECRATE_TOOLS", str(tmp_path / "tools"))
        return "peaks"

    return make


@pytest.fixture
def sorted_once(recording, sorter, here):  # noqa: ARG001
    return spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))


def step(recording, sorting, store, **options):
    request = StepRequest(tool="peaks", inputs={"recording": recording, "sorting": sorting}, **options)
    return find_or_run(request, store, Silent())


def test_the_output_of_a_job_is_an_input_of_the_next(recording, sorted_once, peaks, store):
    peaks()
    result = step(recording, sorted_once.key, store)
    assert result.status == "ran"
    assert result.record["tool"]["kind"] == "command"
    found = json.loads((result.folder / "output" / "peaks" / "counts.json").read_text())
    traces = spikecrate.open_recording(recording).traces()
    times = read_firings(sorted_once.folder / "firings.mda", 30000.0).times.astype(int)
    assert found == {"times": times.tolist(), "counts": traces[times].tolist()}
    assert list(result.record["files"]) == ["output/peaks/counts.json", "log.txt"]
    assert result.record["inputs"]["sorting"]["key"] == sorted_once.key
    assert "units" not in result.record
    assert step(recording, sorted_once.key, store).status == "cached"
    assert load(result.folder).key == result.key


def test_the_tool_of_the_page_runs_as_the_page_runs_it(recording, sorted_once, peaks):
    peaks()
    check(Path(os.environ["SPIKECRATE_TOOLS"]) / "peaks")
    namespace = {}
    exec(CALL.replace("rec/", str(recording)).replace("0123abcd", sorted_once.key[:8]), namespace)  # noqa: S102
    found = json.loads((namespace["result"].folder / "output" / "peaks" / "counts.json").read_text())
    traces = spikecrate.open_recording(recording).traces()
    assert found["counts"] == traces[np.array(found["times"]) + 1].tolist()
    assert len(found["times"]) == 2


def test_an_input_enters_the_key_by_content_and_never_by_path_or_time(
    recording, sorted_once, peaks, store, tmp_path
):
    peaks()
    result = step(recording, sorted_once.key, store)
    (tmp_path / "plain").mkdir()
    for name in ("firings.mda", "units.csv"):
        shutil.copyfile(sorted_once.folder / name, tmp_path / "plain" / name)
    copied = shutil.copytree(sorted_once.folder, tmp_path / "copy")
    for sorting in (sorted_once.folder, copied, tmp_path / "plain"):
        assert step(recording, sorting, store).status == "cached"
    with (tmp_path / "plain" / "firings.mda").open("r+b") as file:
        file.seek(-8, 2)
        file.write(np.float64(1).tobytes())
    other = step(recording, tmp_path / "plain", store)
    assert other.status == "ran"
    assert other.key != result.key
    assert (
        difference(find_job(result.key, store, Silent()), find_job(other.key, store, Silent()), store).key
        != []
    )


def test_a_step_is_listed_explained_run_again_and_checked_as_a_sorting_is(
    recording, sorted_once, peaks, store
):
    peaks()
    result = step(recording, sorted_once.key, store)
    rows = {row["key"]: row for row in list_jobs(store)}
    assert rows[result.key]["sorter"] == "peaks"
    assert rows[result.key]["units"] is None
    again = rerun(
        find_job(result.key, store, Silent()),
        runtime="",
        recording=None,
        cores=None,
        keep=False,
        store=store,
        progress=Silent(),
    )
    assert again.equal
    job = StepRequest(
        tool="peaks", inputs={"recording": recording, "sorting": sorted_once.key}, params={"shift": 2}
    ).job(store, Silent())
    assert explain(job, store, Silent(), force=False).reasons == ["parameters.shift: 2 (was 0)"]
    counts = result.folder / "output" / "peaks" / "counts.json"
    counts.chmod(0o644)
    counts.write_text("{}")
    assert step(recording, sorted_once.key, store).status == "ran"


def test_an_input_that_is_missing_or_unknown_is_named(recording, sorted_once, peaks, store):
    peaks()
    request = StepRequest(tool="peaks", inputs={"recording": recording, "sortings": sorted_once.key})
    with pytest.raises(
        UsageError, match=r"inputs are recording, sorting; missing or unknown: sorting, sortings"
    ):
        request.job(store, Silent())
    with pytest.raises(UsageError, match="does not exist"):
        step(recording, recording / "nothing", store)
    with pytest.raises(SorterNotFoundError, match="peaks is a command tool, not a sorter"):
        spikecrate.sort(recording, sorter="peaks")


def test_a_folder_that_changes_while_the_tool_runs_gives_no_result(
    recording, sorted_once, peaks, store, tmp_path
):
    plain = tmp_path / "plain"
    plain.mkdir()
    shutil.copyfile(sorted_once.folder / "firings.mda", plain / "firings.mda")
    peaks(PEAKS + f"    open({str(plain / 'planted')!r}, 'w').close()\n")
    with pytest.raises(RecordingChangedError, match=r"plain (changed during the run|was replaced)"):
        step(recording, plain, store)


def test_a_link_in_an_input_folder_is_refused(recording, peaks, store, tmp_path):
    peaks()
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "firings.mda").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="a link or a special file"):
        step(recording, tmp_path / "plain", store)


@pytest.mark.usefixtures("here")
def test_a_result_of_another_recording_that_stood_in_for_a_moment_is_discarded(
    recording, sorter, tmp_path, monkeypatch
):
    other, aside = shutil.copytree(recording, tmp_path / "other"), tmp_path / "aside"
    put_back = (
        f"    import os\n    os.rename({str(recording)!r}, {str(other)!r})\n"
        f"    os.rename({str(aside)!r}, {str(recording)!r})\n"
    )
    name, prepare = sorter(ANSWER + put_back + TWO_EVENTS), Here.prepare

    def exchange(self, request, progress):
        recording.rename(aside)
        other.rename(recording)
        return prepare(self, request, progress)

    monkeypatch.setattr(Here, "prepare", exchange)
    with pytest.raises(RecordingChangedError, match="was replaced while the job started"):
        spikecrate.sort(recording, sorter=name)


def test_a_command_without_its_report_is_refused(recording, sorted_once, peaks, store):
    peaks("import os\ndef run(inputs, parameters, out, resources):\n    os._exit(0)\n")
    with pytest.raises(ResultInvalidError, match=r"/out/run\.json is missing"):
        step(recording, sorted_once.key, store)


def test_a_file_that_was_added_to_a_result_is_named(recording, sorted_once, peaks, store, tmp_path):
    peaks()
    result = step(recording, sorted_once.key, store)
    copy = shutil.copytree(result.folder, tmp_path / "copy")
    (copy / "output" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt was added to the result"):
        step(recording, copy, store)


MERGE = """
def run(inputs, parameters, out, resources):
    from spikecrate_harness import mda

    counts = [mda.read(folder / "firings.mda").shape[1] for folder in inputs["sortings"]]
    (out / "counts.txt").write_text(f"{counts} {'truth' in inputs}")
"""


@pytest.fixture
def merge(tmp_path, monkeypatch):
    """Make a tool that takes several folders, and one that may be missing."""
    inputs = {"truth": "folder?", "sortings": "folders"}
    fields = {**json.loads(DESCRIBED), "name": "merge", "inputs": inputs}
    write_sorter(tmp_path / "tools", MERGE, **fields)
    monkeypatch.setenv("SPIKECRATE_TOOLS", str(tmp_path / "tools"))
    check(tmp_path / "tools" / "merge")


def merged(store, **inputs):
    return find_or_run(StepRequest(tool="merge", inputs=inputs), store, Silent())


def test_several_folders_are_one_input_and_another_may_be_missing(sorted_once, merge, store, tmp_path):  # noqa: ARG001
    (tmp_path / "plain").mkdir()
    shutil.copyfile(sorted_once.folder / "firings.mda", tmp_path / "plain" / "firings.mda")
    done = merged(store, sortings=[sorted_once.key, tmp_path / "plain"])
    assert (done.folder / "output" / "counts.txt").read_text() == "[2, 2] False"
    assert [one["key"] for one in done.record["inputs"]["sortings"]["folders"]] == [sorted_once.key, None]
    with_truth = merged(store, sortings=[sorted_once.key, tmp_path / "plain"], truth=tmp_path / "plain")
    assert (with_truth.folder / "output" / "counts.txt").read_text() == "[2, 2] True"
    assert with_truth.key != done.key
    assert merged(store, sortings=[sorted_once.key]).key != done.key
    found = find_job(done.key, store, Silent())
    options = {"runtime": "", "recording": None, "cores": None, "keep": False}
    assert rerun(found, **options, store=store, progress=Silent()).equal
    assert load(done.folder).key == done.key


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        ({}, "missing or unknown: sortings"),
        ({"sortings": [], "truth": "x"}, "sortings is one folder or more"),
        ({"sortings": ["x"], "recording": "x"}, "missing or unknown: recording"),
        ({"sortings": "x"}, "sortings is one folder or more"),
    ],
)
def test_the_inputs_that_a_tool_does_not_take_are_refused(inputs, told, merge, store, tmp_path, monkeypatch):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").mkdir()
    with pytest.raises(UsageError, match=told):
        merged(store, **inputs)


def test_a_result_of_a_sorting_knows_the_recording_that_was_sorted(recording, sorted_once, merge, store):  # noqa: ARG001
    facts = recording_facts(sorted_once.record)
    assert facts["path"] == str(recording)
    done = merged(store, sortings=[sorted_once.key], truth=sorted_once.key)
    assert recording_facts(done.record) == facts


LOOK = """
def run(inputs, parameters, out, resources):
    import json

    seen = {name: sorted(path.name for path in folder.iterdir()) for name, folder in inputs.items()}
    (out / "seen.json").write_text(json.dumps(seen))
"""


def test_a_tool_sees_of_an_input_the_files_that_it_was_given_alone(sorted_once, store, tmp_path, monkeypatch):
    fields = {**json.loads(DESCRIBED), "name": "look", "inputs": {"one": "folder", "result": "folder"}}
    write_sorter(tmp_path / "tools", LOOK, **fields)
    monkeypatch.setenv("SPIKECRATE_TOOLS", str(tmp_path / "tools"))
    (tmp_path / "many").mkdir()
    for name in ("wanted.txt", "beside.txt"):
        (tmp_path / "many" / name).write_text(name)
    inputs = {"one": tmp_path / "many" / "wanted.txt", "result": sorted_once.key}
    done = find_or_run(StepRequest(tool="look", inputs=inputs), store, Silent())
    seen = json.loads((done.folder / "output" / "seen.json").read_text())
    assert seen == {"one": ["wanted.txt"], "result": ["firings.mda", "units.csv"]}
