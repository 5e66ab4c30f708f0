"""NWB files of a real recording are valid, are read back with equal spikes by others, and have equal bytes everywhere."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.errors import JobFailedError
from spikecrate.exports.nwb import nwb_facts
from spikecrate.recordings import open_recording
from spikecrate.steps.request import StepRequest
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store
from spikecrate_harness import mda

MEAREC = DATA / "mearec_tetrode"
SCRIPT = Path(__file__).with_name("export") / "nwb.py"
RATE = 32000.0
SAMPLES = 640_000
START = "2019-05-01T14:30:00+02:00"
METADATA = {
    "NWBFile": {
        "session_description": "Simulated spikes on a tetrode.",
        "experimenter": ["Buccino, Alessio"],
        "experiment_description": "Simulation of a recording.",
        "institution": "University of Oslo",
        "keywords": ["simulation"],
    },
    "Subject": {
        "subject_id": "simulated",
        "species": "Rattus norvegicus",
        "sex": "U",
        "age": "P30D",
        "description": "models of cells of layer 5",
    },
    "Device": {"name": "tetrode", "description": "tetrode", "manufacturer": "MEArec"},
    "ElectrodeGroup": [{"location": "somatosensory cortex"}],
}
SERIES = "acquisition/raw"
UNTOLD = {
    f"check_{name}"
    for name in ("subject_exists", "experimenter_exists", "experiment_description", "institution", "keywords")
}
"""What nwbinspector misses without metadata of the user's."""
TASTE = "check_column_binary_capability"
"""A column of numbers that happen to be 0 and 1, such as counts of violations, is to be one of truth values."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory, environments):
    """One store for all tests of this file, in which the sorting and its analysis are made once."""
    store = tmp_path_factory.mktemp("nwb") / "store"
    store.mkdir(mode=0o700)
    (store / "environments").symlink_to(environments)
    return store


@pytest.fixture(autouse=True)
def own_store(filled, tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKECRATE_STORE", str(filled))
    monkeypatch.chdir(tmp_path)
    return filled


@pytest.fixture(scope="module")
def other(readers):
    """Let the libraries of others write, read and inspect."""

    def run(*words):
        done = subprocess.run(
            [readers, "-W", "ignore", SCRIPT, *words], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture
def existing(other, tmp_path):
    """Write a file of another program with the recording's traces."""
    recording = open_recording(MEAREC)
    np.save(tmp_path / "traces.npy", recording.traces())
    places = json.dumps([list(place) for place in recording.layout.locations])

    def write(kind):
        path = tmp_path / f"{kind}.nwb"
        other("write", path, kind, tmp_path / "traces.npy", places)
        return path

    return write


@pytest.fixture
def metadata(tmp_path):
    path = tmp_path / "session.json"
    path.write_text(json.dumps(METADATA))
    return path


@pytest.fixture
def result():
    return spikecrate.sort(MEAREC, runtime="docker")


@pytest.fixture
def export(result):
    """Export on the host, which is the quickest; give the file."""

    def run(**options):
        return spikecrate.export(result, to="nwb", runtime="host", **options).folder / "sorting.nwb"

    return run


@pytest.fixture
def export_events(result, tmp_path):
    """Export a few events; give the file."""

    def run(name, times, labels, gaps=(), channels=None, **changes):
        folder = tmp_path / name
        folder.mkdir()
        rows = [[0] * len(times) if channels is None else channels, times, labels]
        mda.write(folder / "firings.mda", np.array(rows, dtype=np.float64))
        recording = open_recording(MEAREC)
        facts = nwb_facts(
            recording,
            {"sorting": result.record},
            start=START,
            metadata=None,
            append_to=None,
            units_name="units",
            opener=open_recording,
            store=open_store(),
            progress=Silent(),
        )
        params = {
            "to": "nwb",
            "gaps": [*gaps],
            "channel_ids": ["a", "b", "c", "d"],
            "nwb": {**facts, **changes},
        }
        inputs = {"recording": MEAREC, "sorting": folder}
        request = StepRequest(tool="export", inputs=inputs, params=params, runtime="host")
        return spikecrate.run(request).folder / "export" / "sorting.nwb"

    return run


def trains(sorting):
    return {
        str(unit): np.sort(np.round(sorting.times[sorting.labels == unit])).astype(int).tolist()
        for unit in np.unique(sorting.labels)
    }


def require_valid(other, path, *, known=()):
    """Hold that nwbinspector has nothing to say but what is known."""
    found = {check for _importance, check, _message in other("inspect", path)}
    assert found <= {TASTE, *known}


@pytest.mark.parametrize("kind", ["new", "existing"])
def test_the_bytes_are_equal_in_every_runtime_and_name_no_place(result, existing, metadata, kind):
    store, analysis = open_store(), result.analyze(runtime="host")
    options = (
        {"session_start": START, "metadata": metadata} if kind == "new" else {"append_to": existing("named")}
    )
    made = []
    for runtime, cores in (("docker", 2), ("apptainer", 2), ("host", 1)):
        done = result.export(to="nwb", analysis=analysis, runtime=runtime, cores=cores, force=True, **options)
        assert (done.result.status, done.result.record["runtime"]) == ("ran", runtime)
        made.append((done.folder / "sorting.nwb").read_bytes())
    assert made[0] == made[1] == made[2]
    for place in (
        os.fsencode(store.root),
        b"/inputs",
        b"/tmp",
        os.fsencode(MEAREC),
        os.fsencode(metadata.parent),
    ):
        assert place not in made[0]
    again = {"runtime": "docker", "recording": None, "cores": None, "keep": False}
    assert rerun(find_job(done.result.key, store, Silent()), **again, store=store, progress=Silent()).equal


def test_pynwb_and_spikeinterface_read_equal_spikes_metrics_and_waveforms(result, export, other, metadata):
    analysis = result.analyze(runtime="host")
    path = export(session_start=START, metadata=metadata, analysis=analysis)
    found = other("read", path, "units")
    assert found["errors"] == []
    expected = trains(result.sorting)
    assert found["trains"] == expected
    assert [str(unit) for unit in found["ids"]] == list(expected)
    seconds = [(np.array(train) / RATE).tolist() for train in expected.values()]
    assert found["spike_times"] == seconds
    assert found["obs_intervals"] == [[[0.0, SAMPLES / RATE]]] * len(expected)
    assert found["sampling_frequency"] == found["rate"] == RATE
    average = np.load(analysis.folder / "extensions" / "templates" / "average.npy")
    assert np.allclose(found["waveforms"]["waveform_mean"], average * 1e-6, rtol=1e-6, atol=0)
    deviation = np.load(analysis.folder / "extensions" / "templates" / "std.npy")
    assert np.allclose(found["waveforms"]["waveform_sd"], deviation * 1e-6, rtol=1e-6, atol=0)
    assert found["electrodes"] == [[0, 1, 2, 3]] * len(expected)
    assert found["before_ms"] == 1.0
    with (analysis.folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    meanings = json.loads((analysis.folder / "metrics.json").read_text())["metrics.csv"]
    for name in ("snr", "isi_violations_ratio", "amplitude_median", "num_spikes"):
        assert [str(value) for value in found["plain"][name]] == [row[name] for row in rows]
        assert meanings[name]["formula"] in found["columns"][name]
        assert meanings[name]["source"] in found["columns"][name]
    names = [result.recording.channel_ids[unit.channel] for unit in analysis.units]
    assert found["plain"]["primary_channel"] == names
    table = found["table"]
    assert table["channel_name"] == list(result.recording.channel_ids)
    assert list(zip(table["rel_x"], table["rel_y"], strict=True)) == list(result.recording.layout.locations)
    assert set(table["location"]) == {"somatosensory cortex"}
    assert (found["start"], found["created"]) == (START, [START.replace("T", " ")])
    job = found["scratch"]["spikecrate"]["jobs"]["sorting"]
    assert (job["key"], job["tool"]["name"], job["tool"]["reference"]) == (
        result.key,
        "ms4",
        result.record["tool"]["reference"],
    )
    assert result.key in found["description"]
    require_valid(other, path)


def test_without_metadata_only_what_the_user_knows_is_missing(export, other):
    path = export(session_start=START)
    require_valid(other, path, known=UNTOLD)
    found = other("read", path, "units")
    assert set(found["table"]["location"]) == {"unknown"}
    assert (found["subject"], "waveform_mean" in found["columns"]) == (None, False)


@pytest.mark.parametrize("kind", ["rate", "timestamps", "named"])
def test_units_are_added_to_a_copy_of_an_existing_file(result, export, other, existing, kind):
    old = existing(kind)
    before = old.read_bytes()
    old.chmod(0o444)
    path = export(append_to=old, analysis=result.analyze(runtime="host"))
    assert old.read_bytes() == before
    series = () if kind == "named" else (SERIES,)
    found = other("read", path, "units", *series)
    assert (found["errors"], found["trains"]) == ([], trains(result.sorting))
    assert (found["identifier"], list(found["scratch"])) == ("id of the session", ["spikecrate"])
    assert found["electrodes"][0] == [0, 1, 2, 3]
    first = np.sort(result.sorting.times[result.sorting.labels == found["ids"][0]])
    table = found["table"]
    match kind:
        case "rate":
            assert found["spike_times"][0] == (2.5 + first / RATE).tolist()
            assert found["obs_intervals"][0] == [[2.5, 2.5 + SAMPLES / RATE]]
        case "timestamps":
            clock = 3 + np.arange(SAMPLES) / RATE * 1.00001
            clock[200_000:] += 5
            assert found["spike_times"][0] == clock[first.astype(int)].tolist()
            end, begin, last = clock[199_999], clock[200_000], clock[-1]
            expected = [[3.0, end + 1 / RATE], [begin, last + 1 / RATE]]
            assert np.allclose(found["obs_intervals"][0], expected, rtol=0, atol=1e-9)
        case "named":
            assert table["channel_name"] == ["1", "2", "3", "4"]
            assert (table["quality"], table["location"]) == (
                ["good", "good", "", ""],
                ["AL", "AL", "unknown", "unknown"],
            )
            assert found["groups"][:2] == ["shank0", "shank0"]
            assert list(result.recording.layout.locations[3]) == [table["rel_x"][3], table["rel_y"][3]]
    if kind != "named":
        assert len(table["location"]) == 4


def test_a_second_table_gets_another_name(result, export, other, existing):
    old = existing("units")
    with pytest.raises(JobFailedError, match=r"has a table units already.*--units-name"):
        export(append_to=old)
    twice = export(append_to=export(append_to=old, units_name="units_a"), units_name="units_b")
    found = other("read", twice, "processing/ecephys/units_b", SERIES)
    assert (found["errors"], found["trains"]) == ([], trains(result.sorting))
    assert sorted(found["scratch"]) == ["spikecrate_units_a", "spikecrate_units_b"]


def test_a_file_of_other_electrodes_and_a_damaged_one_are_refused(export, existing, tmp_path):
    with pytest.raises(JobFailedError, match="the electrodes of the file are others: channels 1 and 2"):
        export(append_to=existing("far"))
    damaged = tmp_path / "damaged.nwb"
    damaged.write_bytes(existing("rate").read_bytes()[:2000])
    with pytest.raises(JobFailedError, match=r"damaged\.nwb is damaged"):
        export(append_to=damaged)


def test_few_events_and_gaps_have_right_answers(export_events, other):
    found = other("read", path := export_events("one", [5000], [7], channels=[2]), "units")
    assert (found["errors"], found["trains"], found["electrodes"]) == ([], {"7": [5000]}, [[1]])
    assert found["plain"]["primary_channel"] == ["b"]
    require_valid(other, path, known=UNTOLD)
    found = other("read", export_events("none", [], []), "units")
    assert (found["errors"], found["trains"], found["ids"]) == ([], {}, [])
    found = other(
        "read", export_events("gaps", [5, 10, 20], [1, 1, 1], [[10, 64_000]], start_s=60.0), "units"
    )
    assert np.allclose(found["spike_times"][0], np.array([5, 64_010, 64_020]) / RATE + 60, rtol=0, atol=1e-9)
    stops = [[0, 10], [64_010, SAMPLES + 64_000]]
    assert np.allclose(found["obs_intervals"][0], 60 + np.array(stops) / RATE, rtol=0, atol=1e-9)
    assert "electrodes" not in found
    with pytest.raises(JobFailedError, match=f"events up to sample {SAMPLES}"):
        export_events("late", [SAMPLES], [1])


def test_groups_with_signs_that_nwb_has_not_in_names_stay_apart(export_events, other):
    found = other("read", export_events("groups", [5], [1], groups=["a/b", "a:b", "c", "c"]), "units")
    assert (found["errors"], found["table"]["group_name"]) == ([], ["a_b", "a_b_", "c", "c"])


def test_ten_million_events_take_less_than_a_gigabyte(export_events):
    count = 10_000_000
    samples = np.sort(np.arange(count) % SAMPLES)
    path = export_events("many", samples, np.arange(count) % 1000 + 1)
    report = find_job(path.parents[1].name, open_store(), Silent()).record
    assert report["peak_memory_bytes"] < 2**30
    assert path.stat().st_size < 8 * count
