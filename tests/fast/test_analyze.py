"""An analysis: which recording it takes, what its tool must write, and what the user sees of it."""

from __future__ import annotations

import csv
import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import pytest
from ci import docs_tables
from lab import ANSWER, TWO_EVENTS
from recording_files import samples, write_spikeglx

import spikecrate
from spikecrate._util.data import data_path
from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import catalogue, check, find
from spikecrate.cli import main
from spikecrate.errors import (
    JobNotFoundError,
    ParameterUnknownError,
    RecordingAmbiguousError,
    RecordingChangedError,
    RecordingNotFoundError,
    ResultInvalidError,
    UsageError,
)
from spikecrate.recordings.toy import write_toy
from spikecrate.sortings.units import NAMES, Unit, read_metrics, read_units
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job

ANALYSIS = import_module("spikecrate.api.analyze")
"""The module; the package has the function of this name."""

HEAD = ",".join(NAMES) + "\n"
ROW = "1,2,0.5,3,10.5,,-60.25,1.0,2.0,2\n"
EMPTY = ANSWER + "    return np.zeros(0), np.zeros(0)\n"
TABLES = f"""
import numpy as np
from spikecrate_harness import mda
def run(inputs, parameters, out, resources):
    labels = mda.read(inputs["sorting"] / "firings.mda")[2].astype(int)
    seconds = inputs["recording"].num_samples / inputs["recording"].sampling_frequency
    units, metrics = {HEAD!r}, "unit,firing_rate,snr\\n"
    for unit in np.unique(labels):
        events = int((labels == unit).sum())
        units += f"{{unit}},{{events}},{{events / seconds}},0,5.5,0.0,-60.25,1.0,2.0,{{events}}\\n"
        metrics += f"{{unit}},{{events / seconds}},\\n"
    (out / "units.csv").write_text(units)
    (out / "metrics.csv").write_text(metrics)
"""
"""A tool that counts, in the place of the one that has SpikeInterface."""


@pytest.fixture
def tool(sorter, monkeypatch):
    """Put a tool of the test's own in the place of `analyze`; its parameters are those of the true one."""
    described = json.loads((data_path("tools") / "analyze" / "tool.json").read_text())

    def put(body=TABLES):
        fields = {name: described[name] for name in ("kind", "inputs", "parameters")}
        monkeypatch.setattr(ANALYSIS, "TOOL", sorter(body, name="counts", **fields))

    return put


@pytest.fixture
def result(recording, sorter, here):  # noqa: ARG001
    return spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))


def test_the_units_of_a_sorting_are_a_table_and_the_second_time_a_cache_hit(result, tool, store):
    tool()
    done = result.analyze()
    assert done.result.status == "ran"
    rest = {"isi_violations": 0.0, "amplitude": -60.25, "x": 1.0, "y": 2.0, "waveforms": 1}
    rate = 1 / result.recording.duration_s
    units = tuple(Unit(unit=unit, events=1, rate=rate, channel=0, snr=5.5, **rest) for unit in (1, 2))
    assert done.units == units
    assert done.metrics == {"unit": [1, 2], "firing_rate": [rate, rate], "snr": [None, None]}
    assert done.folder == done.result.folder / "analysis"
    record = done.result.record
    assert (record["units"], record["events"]) == (2, 2)
    assert record["inputs"]["sorting"]["key"] == result.key
    for word in (result, result.key[:12], result.folder, str(result.folder), spikecrate.load(result.folder)):
        again = spikecrate.analyze(word)
        assert (again.result.status, again.result.key) == ("cached", done.result.key)
    options = {"runtime": "", "recording": None, "cores": None, "keep": False}
    earlier = find_job(done.result.key, store, Silent())
    assert rerun(earlier, **options, store=store, progress=Silent()).equal


def test_parameters_and_seed_make_another_job_and_unknown_ones_are_refused(result, tool):
    tool()
    keys = {
        result.analyze(**options).result.key
        for options in ({}, {"params": {"pca": True}}, {"params": {"freq_min": 500}}, {"seed": 1})
    }
    assert len(keys) == 4
    with pytest.raises(ParameterUnknownError, match="freq_low"):
        result.analyze(params={"freq_low": 1})


def test_the_view_that_was_sorted_is_the_one_that_is_analyzed(recording, sorter, tool, here):  # noqa: ARG001
    tool()
    view = spikecrate.open_recording(recording).view(end=0.5, exclude_channels=["2"])
    first = spikecrate.sort(view, sorter=sorter(ANSWER + TWO_EVENTS))
    done = spikecrate.analyze(first.key)
    assert done.units[0].rate == 2.0
    layout = done.result.record["inputs"]["recording"]["layout"]
    assert layout == first.record["inputs"]["recording"]["layout"]


def test_a_folder_of_several_streams_is_refused_with_a_next_step_that_the_command_has(result, tool, tmp_path):
    tool()
    for probe in (0, 1):
        write_spikeglx(tmp_path / "two", samples(seed=probe), name=f"run_g0_t0.imec{probe}.ap")
    with pytest.raises(RecordingAmbiguousError, match="2 streams") as caught:
        result.analyze(recording=tmp_path / "two")
    was = f"it was {result.recording.path}"
    assert caught.value.next_step == f"name the folder or file of what was sorted alone; {was}"


def test_a_recording_that_has_moved_is_named_and_another_one_is_refused(result, recording, tool, tmp_path):
    tool()
    moved = shutil.move(recording, tmp_path / "moved")
    with pytest.raises(RecordingNotFoundError) as caught:
        spikecrate.analyze(result.key)
    assert caught.value.next_step == "name where it is now: --recording DIR"
    with pytest.raises(RecordingNotFoundError) as caught:
        spikecrate.analyze(result.key, recording=tmp_path / "nowhere")
    assert "--recording" not in caught.value.next_step
    assert spikecrate.analyze(result.key, recording=moved).result.status == "ran"
    longer = write_toy(tmp_path / "longer", duration_s=2, num_units=2)
    with pytest.raises(RecordingChangedError, match=r"longer is not .*: samples 60000, not 30000") as caught:
        spikecrate.analyze(result.key, recording=longer)
    assert "--recording" in caught.value.next_step
    slower = Path(shutil.copytree(moved, tmp_path / "slower"))
    fields = json.loads((slower / "params.json").read_text()) | {"samplerate": 10000}
    (slower / "params.json").write_text(json.dumps(fields))
    with pytest.raises(RecordingChangedError, match="sampling frequency 10000 Hz, not 30000 Hz"):
        result.analyze(recording=slower)
    other = write_toy(tmp_path / "other", duration_s=1, num_units=2, seed=5)
    with pytest.raises(RecordingChangedError, match="samples, gains or probe have changed"):
        result.analyze(recording=spikecrate.open_recording(other))


def test_only_a_sorting_is_analyzed(result, tool):
    tool()
    done = result.analyze()
    with pytest.raises(UsageError, match="is a result of counts, not a sorting"):
        spikecrate.analyze(done.result.key)
    with pytest.raises(JobNotFoundError):
        spikecrate.analyze("0123abcd")


def test_an_empty_sorting_has_empty_tables(recording, sorter, tool, here):  # noqa: ARG001
    tool()
    done = spikecrate.sort(recording, sorter=sorter(EMPTY)).analyze()
    assert (done.units, done.metrics) == ((), {"unit": [], "firing_rate": [], "snr": []})
    assert (done.result.record["units"], done.result.record["events"]) == (0, 0)


@pytest.mark.parametrize(
    ("units", "metrics", "message"),
    [
        (None, "unit\n1\n", r"/out/units.csv is missing"),
        (HEAD + ROW, None, r"/out/metrics.csv is missing"),
        ("unit,events\n1,2\n", "unit\n1\n", "the columns are unit, events, not unit, events, rate"),
        ("", "unit\n", "the columns are , not"),
        (HEAD + ROW, "", "of different units"),
        (HEAD + ROW, "unit\n2\n", "of different units"),
        (HEAD + ROW, "unit,snr\n1\n", "/out/metrics.csv: "),
        (HEAD + ROW, "unit,snr\n1,much\n", "could not convert string to float: 'much'"),
        (
            HEAD + ROW.replace("1,2,0.5,3", "1,2,0.5,4"),
            "unit\n1\n",
            "a channel beyond the 4 of the recording",
        ),
        (HEAD + ROW.replace("0.5", ""), "unit\n1\n", "line 2: a rate is missing"),
        (
            HEAD + ROW.replace("1,2,", "1,-2,"),
            "unit\n1\n",
            "line 2: a rate is missing, or a number is negative",
        ),
        (HEAD + ROW.replace("10.5", "nan"), "unit\n1\n", "line 2: a value is not finite"),
        (HEAD + ROW.replace("1,2,", "1,2.5,"), "unit\n1\n", r"line 2: invalid literal for int\(\)"),
        (HEAD + "1,2\n", "unit\n1\n", "line 2: "),
    ],
)
def test_a_tool_that_writes_no_tables_of_units_broke_the_contract(result, tool, units, metrics, message):
    body = "def run(inputs, parameters, out, resources):\n    (out / 'other').write_text('')\n"
    for name, text in (("units.csv", units), ("metrics.csv", metrics)):
        body += f"    (out / {name!r}).write_text({text!r})\n" if text is not None else ""
    tool(body)
    with pytest.raises(ResultInvalidError, match=message) as caught:
        result.analyze()
    assert "contract.md" in caught.value.next_step


def test_a_unit_without_a_waveform_has_no_channel(result, tool, capsys):
    lone = HEAD + "1,2,0.5,,,0.0,,,,0\n"
    tool(
        "def run(inputs, parameters, out, resources):\n"
        f"    (out / 'units.csv').write_text({lone!r})\n"
        "    (out / 'metrics.csv').write_text('unit,snr\\n1,\\n')\n"
    )
    (unit,) = result.analyze().units
    assert (unit.channel, unit.snr, unit.amplitude, unit.x) == (None, None, None, None)
    assert main.run(["analyze", result.key]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [*("1", "2", "0.50"), *"––", "0.00", *"–––"]


def test_the_command_prints_the_units_by_the_recordings_own_names(result, tool, capsys, tmp_path):
    tool()
    assert main.run(["analyze", result.key[:12], "--output", str(tmp_path / "analyzed")]) == 0
    head, *rows, counts, key, place = capsys.readouterr().out.splitlines()
    assert re.split(" {2,}", head.strip()) == [
        *("unit", "events", "rate (Hz)", "channel", "SNR", "ISI viol.", "ampl. (uV)", "x (um)", "y (um)")
    ]
    name = result.recording.channel_ids[0]
    assert rows[0].split() == ["1", "1", "1.00", name, "5.50", "0.00", "-60.25", "1.00", "2.00"]
    assert (len(rows), counts.partition(";")[0]) == (2, "2 units, 2 events")
    assert place.split()[1] == str(tmp_path / "analyzed")
    copied = tmp_path / "analyzed" / "analysis"
    assert [unit.unit for unit in read_units(copied / "units.csv")] == [1, 2]
    assert read_metrics(copied / "metrics.csv")["unit"] == [1, 2]
    assert main.run(["analyze", result.key[:12], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["key"]) == ("cached", key.split()[1])
    assert [unit["channel_id"] for unit in told["units"]] == [name, name]
    assert main.run(["analyze", result.key[:12], "--param", "pca=maybe"]) != 0


def test_the_catalogue_has_the_tool():
    found = find(ANALYSIS.TOOL, kind="analyze")
    check(found.folder)
    assert [*catalogue(kind="analyze")] == [ANALYSIS.TOOL]
    assert ANALYSIS.TOOL not in catalogue()


def test_the_tool_writes_the_columns_that_the_library_reads_and_explains_each():
    tool = docs_tables.tool("analyze")
    assert tuple(tool.UNIT_COLUMNS) == NAMES
    assert set(tool.OF_TIMES) < set(tool.METRICS)
    for name, metric in tool.METRICS.items():
        assert all(metric), name


def test_a_value_that_is_not_finite_is_an_empty_cell(tmp_path):
    rows = [[1, float("nan")], [2, float("inf")], [3, None], [4, 0.1]]
    docs_tables.tool("analyze").write_csv(tmp_path / "metrics.csv", ["unit", "snr"], rows)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        assert [*csv.reader(file)] == [["unit", "snr"], ["1", ""], ["2", ""], ["3", ""], ["4", "0.1"]]
