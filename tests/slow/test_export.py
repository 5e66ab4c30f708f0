"""Exports of real recordings are read back by others with equal spikes and traces, and have equal bytes everywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, last_json

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.errors import DiskFullError, JobFailedError, OutputError
from spikecrate.recordings.copying import write_copy
from spikecrate.recordings.toy import write_toy
from spikecrate.steps.request import StepRequest
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store
from spikecrate_harness import mda

MEAREC = DATA / "mearec_tetrode"
SCRIPT = Path(__file__).with_name("export") / "read_back.py"
SAMPLES = 640_000
"""Of the MEArec tetrode: 20 s at 32 kHz."""
FEW = {
    "empty": ([], []),
    "one event": ([5000], [3]),
    "units without a waveform": ([0, 3, SAMPLES - 2, SAMPLES - 1], [1, 1, 1, 2]),
    "one unit": (list(range(100, 600_000, 1000)), [7] * 600),
}
"""Times and labels."""
FORMATS = ("phy", "spikeinterface", "csv", "npz")


@pytest.fixture(scope="module")
def shelf(tmp_path_factory, environments):
    """Give a store for all tests: the tetrode is sorted and analyzed once."""
    root = tmp_path_factory.mktemp("exports") / "store"
    root.mkdir(mode=0o700)
    (root / "environments").symlink_to(environments)
    return root


@pytest.fixture(autouse=True)
def in_shelf(own_store, shelf, monkeypatch):  # noqa: ARG001
    monkeypatch.setenv("SPIKECRATE_STORE", str(shelf))


@pytest.fixture
def read(readers, tmp_path):
    """Read an export with the programs of others; one of phy from a copy, since phylib writes into its folder."""

    def run(what, folder, *words):
        if what != "merge":
            copied = tmp_path / f"read-{len(list(tmp_path.glob('read-*')))}"
            folder = shutil.copytree(folder, copied)
        done = subprocess.run(
            [readers, "-W", "ignore", SCRIPT, what, folder, *words],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture
def read_phy(read, tmp_path):
    """Read an export to phy, and compare its traces with those of a recording."""

    def run(folder, recording):
        np.save(tmp_path / "expected.npy", recording.traces())
        return read("phy", folder, tmp_path / "expected.npy")

    return run


@pytest.fixture
def result():
    return spikecrate.sort(MEAREC, runtime="docker")


def of_folder(recording, folder, to, **params):
    """Export a folder with a firings.mda on the host, phy with an analysis of it."""
    inputs = {"recording": recording, "sorting": folder}
    if to == "phy":
        analyzed = StepRequest(tool="analyze", inputs=inputs, runtime="host", params={"pca": True})
        inputs = {**inputs, "analysis": spikecrate.run(analyzed).key}
    done = spikecrate.run(
        StepRequest(tool="export", inputs=inputs, runtime="host", params={"to": to, **params})
    )
    return done.folder / "export"


def sorting(folder, times, labels):
    """Write a sorting."""
    folder.mkdir()
    mda.write(folder / "firings.mda", np.array([np.zeros(len(times)), times, labels], dtype=np.float64))
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def events_of(sorting):
    """Give samples and units in order of both, as SpikeInterface and phylib do not."""
    return sorted(zip(np.round(sorting.times).astype(int).tolist(), sorting.labels.tolist(), strict=True))


def events(found):
    return sorted(zip(found["samples"], found["units"], strict=True))


@pytest.mark.timeout(900)
def test_the_bytes_are_equal_in_every_runtime_and_name_no_place(result):
    store = open_store()
    analysis = result.analyze(params={"pca": True}, runtime="host")
    for to in FORMATS:
        made = {}
        for runtime, cores in (("docker", 2), ("apptainer", 2), ("host", 1)):
            options = {"copy_traces": to == "phy", "runtime": runtime, "cores": cores}
            done = result.export(to=to, analysis=analysis, force=True, **options)
            assert (done.result.status, done.result.record["runtime"]) == ("ran", runtime)
            made[runtime] = contents(done.folder)
        first, *others = made.values()
        assert all(other == first for other in others), to
        for name, data in first.items():
            assert str(store.root).encode() not in data, name
            assert b"/inputs" not in data, name
            assert os.fsencode(MEAREC) not in data, name
        options = {"runtime": "docker", "recording": None, "cores": None, "keep": False}
        assert rerun(
            find_job(done.result.key, store, Silent()), **options, store=store, progress=Silent()
        ).equal


def test_phylib_reads_the_traces_from_the_recordings_own_file(result, read_phy, tmp_path):
    analysis = result.analyze(params={"pca": True, "max_waveforms": 50}, runtime="host")
    done = result.export(to="phy", analysis=analysis, runtime="host", output=tmp_path / "phy")
    assert "recording.dat" not in {path.name for path in done.folder.iterdir()}
    found = read_phy(done.folder, result.recording)
    assert found["equal"]
    assert events(found) == events_of(result.sorting)
    assert found["templates"] == found["units"]
    assert found["positions"] == [list(place) for place in result.recording.layout.locations]
    for unit in analysis.units:
        assert found["best"][str(unit.unit)] == unit.channel
        assert found["metadata"]["snr"][str(unit.unit)] == unit.snr
        assert found["metadata"]["group"][str(unit.unit)] == "unsorted"
    # The event is in the middle, and a template times its amplitudes is in uV.
    average = np.load(analysis.folder / "extensions" / "templates" / "average.npy")
    assert found["length"] == 2 * 64
    peaks = np.abs(average).max(axis=(1, 2))
    assert [found["peaks"][str(unit.unit)] for unit in analysis.units] == pytest.approx(
        peaks.tolist(), rel=1e-5
    )
    assert found["middle"] == {
        str(unit.unit): 64 - 32 + int(np.abs(one).max(axis=1).argmax())
        for unit, one in zip(analysis.units, average, strict=True)
    }
    ptp = np.ptp(average, axis=1).max(axis=1).tolist()
    assert [found["largest"][str(unit.unit)] for unit in analysis.units] == pytest.approx(ptp, rel=1e-5)
    counts = Counter(result.sorting.labels.tolist())
    assert found["waveforms"] == [counts[min(counts)], 128, 4]
    assert found["features"] == sum(unit.waveforms for unit in analysis.units)


def test_phylib_reads_a_view_by_its_columns_and_from_its_start(read_phy, tmp_path):
    view = spikecrate.open_recording(MEAREC).view(start=4.5, end=15, exclude_channels=["2"])
    done = spikecrate.sort(view, runtime="docker").export(to="phy", runtime="host", output=tmp_path / "phy")
    found = read_phy(done.folder, view)
    assert found["equal"]
    assert min(found["samples"]) >= 0
    assert max(found["samples"]) < view.layout.num_samples


def test_phylib_reads_recordings_that_are_joined(read_phy, tmp_path):
    first = spikecrate.open_recording(MEAREC)
    second = write_copy(first.view(start=12), tmp_path / "copy", Silent())
    assert second.parts[0].offset != first.parts[0].offset
    twice = write_copy(first, tmp_path / "twice", Silent())
    joined = spikecrate.concatenate([twice, second])
    done = spikecrate.sort(joined, runtime="docker").export(to="phy", runtime="host", output=tmp_path / "phy")
    assert read_phy(done.folder, joined)["equal"]


def test_what_phy_cannot_read_in_place_it_reads_from_a_copy(read_phy, tmp_path):
    traces = spikecrate.open_recording(MEAREC).traces()
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec" / "raw.dat").write_bytes(traces.astype(">i2").T.tobytes())
    rate = json.loads((MEAREC / "params.json").read_text())["samplerate"]
    fields = {
        "file": "raw.dat",
        "dtype": ">i2",
        "num_channels": 4,
        "sampling_frequency": rate,
        "time_axis": 1,
    }
    (tmp_path / "rec" / "recording.json").write_text(json.dumps(fields))
    result = spikecrate.sort(tmp_path / "rec", runtime="docker")
    without = result.export(to="phy", runtime="host", output=tmp_path / "without")
    assert not read_phy(without.folder, result.recording)["shown"]
    done = result.export(to="phy", runtime="host", copy_traces=True, output=tmp_path / "phy")
    shutil.rmtree(tmp_path / "rec")
    copied = np.fromfile(done.folder / "recording.dat", "<i2").reshape(traces.shape)
    assert np.array_equal(copied, traces)
    moved = shutil.move(done.folder, tmp_path / "elsewhere")
    np.save(tmp_path / "expected.npy", traces)
    assert read_phy(moved, spikecrate.open_recording(MEAREC))["equal"]


def test_phylib_reads_the_components_of_an_event_on_the_channels_of_its_unit(read, tmp_path):
    toy = write_toy(tmp_path / "toy", duration_s=12, num_channels=64, num_units=4)
    (tmp_path / "truth").mkdir()
    shutil.copyfile(toy / "firings_true.mda", tmp_path / "truth" / "firings.mda")
    folder = of_folder(toy, tmp_path / "truth", "phy", copy_traces=True)
    record = json.loads((folder.parent / "run.json").read_text())
    analysis = Path(record["inputs"]["analysis"]["path"]) / "analysis"
    extensions = analysis / "extensions"
    sampled = np.load(extensions / "random_spikes" / "random_spikes_indices.npy")
    projected = np.load(extensions / "principal_components" / "pca_projection.npy")
    mask = np.load(analysis / "sparsity_mask.npy")
    assert 0 < mask.sum() < mask.size
    expected = np.zeros((len(sampled), 64, projected.shape[1]))
    for row, unit in enumerate(np.load(analysis / "sorting" / "spikes.npy")["unit_index"][sampled]):
        expected[row, mask[unit]] = projected[row, :, : mask[unit].sum()].T
    np.save(tmp_path / "events.npy", sampled)
    assert read("features", folder, tmp_path / "events.npy", tmp_path / "found.npy")["pcs"] == 5
    assert np.array_equal(np.load(tmp_path / "found.npy"), expected.astype(np.float32))


def test_a_merge_saved_in_phy_is_kept_and_its_templates_are_the_units_still(result, read, tmp_path):
    folder = result.export(to="phy", runtime="host", output=tmp_path / "phy").folder
    units = sorted({*result.sorting.labels.tolist()})
    found = read("merge", folder)
    assert found == {"clusters": [*units[2:], units[-1] + 1], "templates": units}
    assert np.load(folder / "spike_templates.npy").tolist() == [unit for _, unit in events_of(result.sorting)]
    edited = contents(folder)
    assert result.export(to="phy", runtime="host", output=folder).result.status == "cached"
    with pytest.raises(OutputError, match="has changed since it was exported"):
        result.export(to="csv", runtime="host", output=folder)
    assert contents(folder) == edited


@pytest.mark.parametrize(
    ("to", "reader"), [("spikeinterface", "spikeinterface"), ("npz", "npz"), ("phy", "from_phy")]
)
def test_spikeinterface_reads_equal_spikes_and_what_is_known_of_the_units(result, read, tmp_path, to, reader):
    analysis = result.analyze(runtime="host")
    done = result.export(to=to, analysis=analysis, runtime="host", output=tmp_path / "out")
    found = read(reader, done.folder)
    assert events(found) == events_of(result.sorting)
    assert found["rate"] == result.sorting.sampling_frequency
    if to != "npz":
        assert found["properties"]["snr"] == analysis.metrics["snr"]


@pytest.mark.parametrize(("times", "labels"), FEW.values(), ids=FEW)
def test_few_events_have_right_answers(read, read_phy, tmp_path, times, labels):
    folder = sorting(tmp_path / "few", times, labels)
    expected = sorted(zip(times, labels, strict=True))
    for to in ("spikeinterface", "npz"):
        assert events(read(to, of_folder(MEAREC, folder, to))) == expected, to
    if len(times) < 2:
        with pytest.raises(JobFailedError, match=f"fewer than 2 events; this one has {len(times)}"):
            of_folder(MEAREC, folder, "phy")
        return
    found = read_phy(of_folder(MEAREC, folder, "phy", copy_traces=True), spikecrate.open_recording(MEAREC))
    assert events(found) == expected
    assert found["equal"]


def test_what_phy_cannot_hold_ends_with_the_reason(tmp_path):
    large = sorting(tmp_path / "large", [5000, 6000], [10_000, 1])
    with pytest.raises(JobFailedError, match="unit 10000: an export to phy has labels up to 9999"):
        of_folder(MEAREC, large, "phy")
    inputs = {"recording": MEAREC, "sorting": large}
    with pytest.raises(JobFailedError, match="name one as the input analysis"):
        spikecrate.run(StepRequest(tool="export", inputs=inputs, runtime="host", params={"to": "phy"}))
    other = sorting(tmp_path / "other", [5000, 6001], [1, 1])
    key = spikecrate.run(StepRequest(tool="analyze", inputs={**inputs, "sorting": other}, runtime="host")).key
    ours = {**inputs, "sorting": sorting(tmp_path / "ours", [5000, 6000], [1, 1]), "analysis": key}
    with pytest.raises(JobFailedError, match="the analysis is of another sorting"):
        spikecrate.run(StepRequest(tool="export", inputs=ours, runtime="host", params={"to": "phy"}))


def test_a_disk_that_is_full_is_said_and_leaves_no_part_of_an_export(result, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", disk], check=True)
    try:
        with pytest.raises(DiskFullError):
            result.export(to="phy", runtime="host", copy_traces=True, output=disk / "phy")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)
    assert (
        result.export(to="phy", runtime="host", copy_traces=True, output=tmp_path / "phy").result.status
        == "cached"
    )


def test_the_command_analyzes_first_and_the_second_time_finds_both(command, tmp_path):
    key = last_json(command("sort", MEAREC, "--output", "-", "--runtime", "docker", "--json"))["key"]
    words = ("export", key[:12], "--to", "phy", "--runtime", "host", "--output", tmp_path / "phy", "--json")
    done = command(*words)
    assert done.returncode == 0, done.stderr
    told = last_json(done)
    assert told["opened_by"] == f"phy template-gui {tmp_path / 'phy' / 'params.py'}"
    again = last_json(command(*words))
    assert (again["status"], again["key"], again["analysis"]) == ("cached", told["key"], told["analysis"])
