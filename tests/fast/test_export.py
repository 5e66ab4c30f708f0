"""An export: what the tool writes, how phy finds the recording, and what of the user's is never overwritten."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from lab import ANSWER, TWO_EVENTS, Notes

import spikecrate
from spikecrate._util.data import data_path
from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import catalogue, check, find
from spikecrate.cli import main
from spikecrate.errors import (
    JobFailedError,
    JobNotFoundError,
    OutputError,
    ParameterValueError,
    RecordingChangedError,
    UsageError,
)
from spikecrate.exports.user_folder import MARK, phy_files
from spikecrate.recordings.toy import write_toy
from spikecrate.sortings.units import NAMES
from spikecrate.steps.request import StepRequest
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate_harness import mda
from spikecrate_harness.traces import open_traces

# The package has functions of the same names.
analysis_step, export_step = (import_module(f"spikecrate.api.{verb}") for verb in ("analyze", "export"))
FOUR_EVENTS = "    return np.array([5.0, 10.0, 10.0, 20.0]), np.array([3, 1, 3, 1]), np.array([2, 1, 2, 0])\n"
PHY = """
import numpy as np
from spikecrate_harness import mda
from spikecrate_harness.traces import open_traces
def run(inputs, parameters, out, resources):
    labels = mda.read(inputs["sorting"] / "firings.mda")[2].astype(np.int32)
    channels = inputs["recording"].num_channels
    np.save(out / "spike_clusters.npy", labels)
    np.save(out / "channel_map.npy", np.arange(channels, dtype=np.int32))
    dat_path = "recording.dat" if parameters["copy_traces"] else []
    (out / "params.py").write_text(f"dat_path = {dat_path!r}\\nn_channels_dat = {channels}\\noffset = 0\\n")
"""
"""What of an export to phy the library fills in, in the place of the tool that has SpikeInterface."""
TABLES = f"""
def run(inputs, parameters, out, resources):
    (out / "units.csv").write_text({",".join(NAMES)!r} + "\\n")
    (out / "metrics.csv").write_text("unit\\n")
"""


@pytest.fixture
def phy(sorter, monkeypatch):
    """Put tools of the test's own in the place of `export` and `analyze`, with their parameters."""

    def put(module, body):
        described = json.loads((data_path("tools") / module.TOOL / "tool.json").read_text())
        fields = {name: described[name] for name in ("kind", "inputs", "parameters")}
        monkeypatch.setattr(module, "TOOL", sorter(body, name=f"small-{module.TOOL}", **fields))

    put(analysis_step, TABLES)
    put(export_step, PHY)


@pytest.fixture
def result(recording, sorter, here):  # noqa: ARG001
    return spikecrate.sort(recording, sorter=sorter(ANSWER + FOUR_EVENTS))


@pytest.fixture
def flat(tmp_path):
    """Make a recording of flat files; the fields are those of its recording.json."""

    def make(name="flat", dtype="<i2", samples=60, file="raw.dat", **fields):
        folder = tmp_path / name
        folder.mkdir()
        traces = np.arange(samples * 4).reshape(samples, 4).astype(dtype)
        (folder / file).write_bytes(traces.tobytes("F" if fields.get("time_axis") else "C"))
        described = {"file": file, "dtype": dtype, "num_channels": 4, "sampling_frequency": 1000, **fields}
        (folder / "recording.json").write_text(json.dumps(described))
        return spikecrate.open_recording(folder)

    return make


def rows_of(path):
    with path.open(newline="") as file:
        return [*csv.reader(file)]


def params_of(folder):
    scope = {}
    exec((folder / "params.py").read_text(), scope)  # noqa: S102 (as phy reads it)
    return {name: scope[name] for name in ("dat_path", "n_channels_dat", "offset")}


def test_csv_has_the_time_of_gaps_and_the_names_of_channels(flat, sorter, here):  # noqa: ARG001
    recording = flat(channel_ids=["a", "b", "c", "d"], gaps=[[8, 1000], [15, -2]])
    done = spikecrate.sort(recording, sorter=sorter(ANSWER + FOUR_EVENTS)).export(to="csv")
    assert rows_of(done.folder / "spikes.csv") == [
        ["unit", "sample", "time_s", "channel_id"],
        ["3", "5", "0.005", "b"],
        ["1", "10", "1.01", "a"],
        ["3", "10", "1.01", "b"],
        ["1", "20", "1.018", ""],
    ]
    head, *rows = rows_of(done.folder / "units.csv")
    assert head[:4] == ["unit", "events", "rate", "channel_id"]
    assert [row[:2] for row in rows] == [["1", "2"], ["3", "2"]]


def test_npz_has_the_names_of_spikeinterface_and_no_time_of_day(result):
    done = result.export(to="npz")
    found = np.load(done.folder / "sorting.npz")
    assert {name: found[name].tolist() for name in found} == {
        "unit_ids": [1, 3],
        "num_segment": [1],
        "sampling_frequency": [30000.0],
        "spike_indexes_seg0": [5, 10, 10, 20],
        "spike_labels_seg0": [3, 1, 3, 1],
        "spike_channels_seg0": [1, 0, 1, -1],
        "spike_times_s_seg0": [5 / 30000, 10 / 30000, 10 / 30000, 20 / 30000],
    }
    with zipfile.ZipFile(done.folder / "sorting.npz") as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_second_time_is_a_cache_hit_and_a_rerun_gives_equal_bytes(result, store):
    done = result.export(to="csv")
    for word in (result, result.key[:12], result.folder):
        again = spikecrate.export(word, to="csv")
        assert (again.result.status, again.result.key) == ("cached", done.result.key)
    options = {"runtime": "", "recording": None, "cores": None, "keep": False}
    earlier = find_job(done.result.key, store, Silent())
    assert rerun(earlier, **options, store=store, progress=Silent()).equal


@pytest.mark.parametrize(("body", "count"), [("    return np.zeros(0), np.zeros(0)\n", 0), (TWO_EVENTS, 2)])
def test_a_sorting_of_no_events_has_empty_tables(recording, sorter, here, body, count):  # noqa: ARG001
    result = spikecrate.sort(recording, sorter=sorter(ANSWER + body))
    folder = result.export(to="csv").folder
    assert [len(rows_of(folder / name)) for name in ("spikes.csv", "units.csv")] == [count + 1] * 2
    assert np.load(result.export(to="npz").folder / "sorting.npz")["spike_labels_seg0"].size == count


def test_phy_reads_the_file_of_the_recording_with_its_header_and_its_columns(flat):
    whole = flat(offset=16, samples=68)
    path = str(whole.files[0])
    assert phy_files(whole) == {
        "dat_path": [path],
        "n_channels_dat": 4,
        "offset": 16,
        "channels": [0, 1, 2, 3],
    }
    view = whole.view(start="10samples", end="50samples", exclude_channels=["1"])
    found = phy_files(view)
    assert found == {
        "dat_path": [path],
        "n_channels_dat": 4,
        "offset": 16 + 10 * 8,
        "channels": list(view.parts[0].channels),
    }
    traces = np.fromfile(path, "<i2", offset=found["offset"]).reshape(-1, 4)[:40, found["channels"]]
    assert np.array_equal(traces, view.traces())


def test_phy_reads_joined_files_that_are_whole(flat):
    first, second = flat("first"), flat("second", samples=30)
    found = phy_files(spikecrate.concatenate([first, second]))
    assert found["dat_path"] == [str(first.files[0]), str(second.files[0])]
    cut = spikecrate.concatenate([first, second.view(end="20samples")])
    assert phy_files(cut)["dat_path"] == found["dat_path"]


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda flat: flat(time_axis=1), "one channel after the other"),
        (lambda flat: flat(dtype=">i2"), "big-endian"),
        (lambda flat: flat(file="raw.i16"), r"phy opens .dat, .bin, .raw, .mda alone, not raw.i16"),
        (lambda flat: spikecrate.concatenate([flat("a").view(end="20samples"), flat("b")]), "only a part of raw.dat"),
        (lambda flat: spikecrate.concatenate([flat("a"), flat("b").view(start="20samples")]), "where their samples begin"),
        (lambda flat: spikecrate.concatenate([flat("a"), flat("b", offset=8, samples=61)]), "where their samples begin"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("phy", "here")
def test_what_phy_cannot_read_is_said_with_the_way_out(flat, sorter, tmp_path, make, reason):
    recording, notes = make(flat), Notes()
    result = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    done = result.export(to="phy", output=tmp_path / "phy", progress=notes)
    assert params_of(done.folder) == {"dat_path": [], "n_channels_dat": 4, "offset": 0}
    (note,) = [note for note in notes.notes if "--copy-traces" in note]
    assert re.search(reason, note)
    assert note.endswith("--copy-traces writes them into the export")


def test_the_copy_names_the_recording_and_the_store_does_not(result, phy, tmp_path, store):  # noqa: ARG001
    done = result.export(to="phy", output=tmp_path / "phy")
    raw = result.recording.files[0]
    assert params_of(done.folder) == {
        "dat_path": [str(raw)],
        "n_channels_dat": 4,
        "offset": result.recording.parts[0].offset,
    }
    kept = done.result.folder / "export"
    assert params_of(kept) == {"dat_path": [], "n_channels_dat": 4, "offset": 0}
    assert str(tmp_path).encode() not in (kept / "params.py").read_bytes()
    mark = json.loads((done.folder / MARK).read_text())
    assert (mark["key"], mark["sorting"]) == (done.result.key, result.key)
    assert done.analysis.name == "analysis"


def test_an_export_that_phy_has_changed_is_left_alone(result, phy, sorter, tmp_path):  # noqa: ARG001
    folder = result.export(to="phy", output=tmp_path / "phy").folder
    np.save(folder / "spike_clusters.npy", np.array([4, 4, 4, 4], dtype=np.int32))
    (folder / ".phy").mkdir()
    (folder / ".phy" / "state.json").write_text("{}")
    notes = Notes()
    again = result.export(to="phy", output=folder, progress=notes)
    assert (again.result.status, again.folder) == ("cached", folder)
    assert np.load(folder / "spike_clusters.npy").tolist() == [4, 4, 4, 4]
    (said,) = [note for note in notes.notes if "changes" in note]
    assert said.endswith("it is left with your changes (spike_clusters.npy and 1 more)")
    with pytest.raises(OutputError, match=r"has changed since it was exported \(.phy/state.json\)") as caught:
        result.export(to="phy", copy_traces=True, output=folder)
    assert "--force" in caught.value.next_step
    assert np.load(folder / "spike_clusters.npy").tolist() == [4, 4, 4, 4]
    result.export(to="phy", output=folder, force=True)
    assert np.load(folder / "spike_clusters.npy").tolist() == [3, 1, 3, 1]
    assert not (folder / ".phy").exists()


def test_an_export_as_it_was_written_gives_way_to_another(result, phy, tmp_path):  # noqa: ARG001
    folder = result.export(to="phy", output=tmp_path / "phy").folder
    result.export(to="phy", copy_traces=True, output=folder)
    assert params_of(folder)["dat_path"] == "recording.dat"


def test_a_folder_that_is_no_export_is_never_replaced(result, recording, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    for force in (False, True):
        with pytest.raises(OutputError, match="is not an export of spikecrate"):
            result.export(to="csv", output=tmp_path / "mine", force=force)
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    with pytest.raises(OutputError, match="is inside the recording"):
        result.export(to="csv", output=recording / "csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file(/below)? .*(cannot be written|is not an export)"):
        result.export(to="csv", output=tmp_path / "file" / "below")
    with pytest.raises(OutputError, match="is not an export of spikecrate"):
        result.export(to="csv", output=tmp_path / "file")


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"key": "0"}', '{"key": "0", "sorting": "0", "traces": {}, "files": []}']
)
def test_a_mark_that_is_none_protects_the_folder(result, tmp_path, text):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / MARK).write_text(text)
    with pytest.raises(OutputError, match="is not an export of spikecrate"):
        result.export(to="csv", output=tmp_path / "mine", force=True)


@pytest.mark.usefixtures("phy")
def test_a_recording_that_has_moved_is_named_anew_and_another_one_is_refused(result, recording, tmp_path):
    folder = result.export(to="phy", output=tmp_path / "phy").folder
    moved = shutil.move(recording, tmp_path / "moved")
    again = spikecrate.export(result.key, to="phy", recording=moved, output=folder)
    assert again.result.status == "cached"
    assert params_of(folder)["dat_path"] == [str(tmp_path / "moved" / result.recording.files[0].name)]
    longer = write_toy(tmp_path / "longer", duration_s=2, num_units=2)
    with pytest.raises(RecordingChangedError, match=r"longer is not .*: samples 60000, not 30000"):
        spikecrate.export(result.key, to="csv", recording=longer)


def test_a_copy_of_the_traces_needs_no_recording(result, phy, tmp_path):  # noqa: ARG001
    notes = Notes()
    done = result.export(to="phy", copy_traces=True, output=tmp_path / "phy", progress=notes)
    assert params_of(done.folder)["dat_path"] == "recording.dat"
    assert not [note for note in notes.notes if "--copy-traces" in note]


def test_only_a_sorting_is_exported_with_an_analysis_of_it(result, phy):  # noqa: ARG001
    analysis = result.analyze()
    with pytest.raises(UsageError, match="is a result of small-analyze, not a sorting"):
        spikecrate.export(analysis.result.key, to="csv")
    with pytest.raises(UsageError, match="is a result of lab, not an analysis"):
        result.export(to="csv", analysis=result.key)
    with pytest.raises(ParameterValueError, match="parameter to: 'pdf' is not one of"):
        result.export(to="pdf")
    keys = {
        result.export(to="phy", analysis=word).result.key for word in (None, analysis, analysis.result.key)
    }
    assert len(keys) == 1


@pytest.mark.usefixtures("phy")
def test_an_analysis_of_another_sorting_is_refused_and_one_of_equal_content_taken(result, sorter, recording):
    body = ANSWER + TWO_EVENTS
    other = spikecrate.sort(recording, sorter=sorter(body, name="other"))
    analysis = other.analyze().result.key
    with pytest.raises(UsageError, match="is of another sorting, of") as caught:
        result.export(analysis=analysis)
    assert f"spikecrate analyze {result.key[:12]}" in caught.value.next_step
    same = spikecrate.sort(recording, sorter=sorter(body, name="same"))
    assert same.key != other.key
    assert same.export(analysis=analysis).to == "phy"


@pytest.mark.parametrize("events", [0, 1])
@pytest.mark.usefixtures("phy", "here")
def test_a_sorting_that_phy_cannot_open_is_refused_before_it_is_analyzed(
    recording, sorter, monkeypatch, events
):
    trains = f"    return np.array([5.0][:{events}]), np.array([1][:{events}])\n"
    result = spikecrate.sort(recording, sorter=sorter(ANSWER + trains))
    assert result.record["events"] == events
    monkeypatch.setattr(export_step, "analyze", None)
    with pytest.raises(UsageError, match=f"fewer than 2 events; [0-9a-f]{{12}} has {events}"):
        result.export()


def test_a_format_that_is_named_twice_is_refused(result):
    with pytest.raises(UsageError, match="the format is phy, but the parameter to is 'csv'") as caught:
        result.export(params={"to": "csv"})
    assert caught.value.next_step == "name it once: --to csv"
    assert result.export(to="csv", params={"to": "csv"}).to == "csv"


def test_an_analysis_that_is_damaged_is_said_and_made_anew(result, phy):  # noqa: ARG001
    for again in (False, True):
        analysis = result.analyze()
        (analysis.folder / "units.csv").chmod(0o644)
        with (analysis.folder / "units.csv").open("a") as file:
            file.write("1,")
        notes = Notes()
        if again:
            assert result.export(to="phy", progress=notes).result.status == "ran"
        else:
            with pytest.raises(JobNotFoundError):
                result.export(to="phy", analysis=analysis.result.key, progress=notes)
            for word in (analysis.result.key, analysis.result.key[:12]):
                with pytest.raises(JobNotFoundError, match="was corrupt, and is set aside in") as caught:
                    result.export(to="phy", analysis=word)
                assert caught.value.next_step == f"spikecrate analyze {result.key[:12]} makes it again"
        assert any("analysis/units.csv" in note for note in notes.notes)


def test_events_beyond_the_recording_end_with_the_reason(recording, tmp_path, sorter, here):  # noqa: ARG001
    mda.write(tmp_path / "firings.mda", np.array([[0.0], [30000.0], [1.0]]))
    inputs = {"recording": recording, "sorting": (tmp_path / "firings.mda",)}
    with pytest.raises(
        JobFailedError, match="events up to sample 30000, the recording 30000 samples"
    ) as caught:
        spikecrate.run(StepRequest(tool="export", inputs=inputs, params={"to": "npz"}))
    assert "Traceback" not in str(caught.value)
    assert "Traceback" in Path(caught.value.details["log"]).read_text()


def test_the_command_prints_what_opens_the_export(result, phy, capsys, tmp_path, monkeypatch):  # noqa: ARG001
    monkeypatch.chdir(tmp_path)
    assert main.run(["export", result.key[:12], "--to", "phy", "--output", "my phy"]) == 0
    head, key, place, how, metrics = capsys.readouterr().out.splitlines()
    assert head.startswith("phy; exported in ")
    assert place.split(maxsplit=1) == ["result", str(tmp_path / "my phy")]
    assert how.split(maxsplit=1)[1] == f"phy template-gui '{tmp_path}/my phy/params.py'"
    assert metrics.endswith("/analysis, a SortingAnalyzer")
    assert main.run(["export", result.key[:12], "--to", "phy", "--output", "my phy", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["key"], told["folder"]) == (
        "cached",
        key.split()[1],
        str(tmp_path / "my phy"),
    )
    assert main.run(["export", result.key[:12], "--to", "csv"]) == 0
    (made,) = (tmp_path / "sortings" / "rec").glob("*export-csv-*")
    assert f"pandas.read_csv('{made}/spikes.csv')" in capsys.readouterr().out
    assert main.run(["export", result.key[:12], "--to", "npz", "--output", "-", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["folder"].endswith("/export")


def test_the_catalogue_has_the_tool():
    found = find(export_step.TOOL, kind="export")
    check(found.folder)
    assert [*catalogue(kind="export")] == [export_step.TOOL]
    assert found.parameters["properties"]["to"]["enum"] == [*export_step.OPENED_BY]


@pytest.fixture
def tool_module(monkeypatch):
    """Import a module of the tool, which finds the others beside it."""
    monkeypatch.syspath_prepend(data_path("tools") / "export")
    yield import_module
    for name in ("phy", "sorted_units"):
        sys.modules.pop(name, None)


def test_labels_of_a_curation_are_groups_of_phy_or_columns_of_their_own(flat, tool_module, tmp_path):
    recording = open_traces(flat().layout, flat("again").files)
    mda.write(tmp_path / "firings.mda", np.array([[0.0] * 4, [5.0, 6, 7, 8], [1.0, 2, 3, 4]]))
    table = "unit,events,rate,snr,quality,cell/type\n1,1,0.5,5.5,good,a\tb\n2,1,0.5,,MUA,\n3,1,0.5,2.5,artifact,c\n4,1,0.5,3,,\n"
    (tmp_path / "units.csv").write_text(table)
    parameters = {"channel_ids": [], "gaps": []}
    inputs = {"recording": recording, "sorting": tmp_path}
    sorting = tool_module("sorted_units").SortedUnits.read(inputs, parameters)
    (tmp_path / "out").mkdir()
    tool_module("phy").write_tables(sorting, tmp_path / "out")
    found = {}
    for path in (tmp_path / "out").iterdir():
        with path.open(newline="") as file:
            (_, name), *rows = csv.reader(file, delimiter="\t")
        assert path.name == f"cluster_{name}.tsv"
        assert [row[0] for row in rows] == ["1", "2", "3", "4"]
        found[name] = [row[1] for row in rows]
    assert found == {
        "group": ["good", "mua", "unsorted", "unsorted"],
        "quality": ["", "", "artifact", ""],
        "cell_type": ["a\tb", "", "c", ""],
        "snr": ["5.5", "", "2.5", "3"],
    }
