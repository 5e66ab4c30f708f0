"""Recordings of other formats, written by other programs' libraries or by the vendors' descriptions, are imported.

The oracle is SpikeInterface itself, in an environment of the tool's own lock.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, SPIKECRATE, last_json
from uv import find_uv_bin

from spikecrate._util.progress import Silent
from spikecrate.api import find_or_run, load
from spikecrate.errors import (
    RecordingAmbiguousError,
    RecordingFormatError,
    UsageError,
)
from spikecrate.recordings import identity, open_recording
from spikecrate.steps.imports import import_request, imported, needs_import
from spikecrate.steps.opening import import_recording
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store, results

DATA = ROOT / "tests" / "data"
OPENEPHYS = DATA / "openephys_binary" / "test" / "DelayedRecording" / "Record Node 118"
STREAM = "File_Reader-106.0"
META = DATA / "spikeglx" / "NP2_2013_subset_channels.imec0.ap.meta"
SCRIPT = Path(__file__).with_name("import") / "files.py"
FORMATS = {
    "nwb": ("nwb", {"electrical_series_path": "acquisition/raw"}),
    "zarr": ("zarr", {}),
    "intan": ("intan", {"stream_id": "0"}),
    "neuralynx": ("neuralynx", {}),
    "blackrock": ("blackrock", {}),
    "plexon": ("plexon", {}),
    "edf": ("edf", {}),
}
"""SpikeInterface's function for each format, and what it needs to be told that the import finds by itself."""
IN_MILLIVOLTS = {"plexon": 1e3}
"""neo gives Plexon's gains in mV without a unit, which SpikeInterface takes for uV."""

pytestmark = pytest.mark.usefixtures("shared_environments")


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Make an environment of the tool's lock."""
    folder = tmp_path_factory.mktemp("spikeinterface") / "venv"
    python = folder / "bin" / "python"
    subprocess.run([find_uv_bin(), "venv", "--quiet", "--python", "3.11", folder], check=True)
    install = [find_uv_bin(), "pip", "install", "--quiet", "--python", python, "--require-hashes"]
    subprocess.run([*install, "-r", ROOT / "tools/import/requirements.lock"], check=True)
    return python


@pytest.fixture(scope="module")
def sources(python, tmp_path_factory):
    """Write one recording of each format; give its path by the format's name."""
    root = tmp_path_factory.mktemp("other formats")
    paths = {}
    for form in (*FORMATS, "cbin"):
        (root / form).mkdir()
        if form == "cbin":
            text = re.sub("fileSizeBytes=.*", f"fileSizeBytes={3000 * 121 * 2}", META.read_text())
            text = re.sub("fileTimeSecs=.*", "fileTimeSecs=0.1", text)
            (root / form / "run_g0_t0.imec0.ap.meta").write_text(text)
        words = [python, SCRIPT, "write", form, root / form]
        written = subprocess.run(words, check=True, capture_output=True, text=True)
        paths[form] = Path(written.stdout)
    # An in-place recording of SpikeGLX otherwise.
    paths["cbin"].with_suffix(".bin").unlink()
    return paths


def by_spikeinterface(python, reader, path, options, tmp_path):
    """Read with SpikeInterface; give the traces, and what it knows of the channels."""
    words = [python, SCRIPT, "read", reader, path, tmp_path / "traces.npy", json.dumps(options)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return np.load(tmp_path / "traces.npy"), json.loads(done.stdout)


def request(path, **options):
    """Ask for the import, of the first segment where there are two."""
    return import_request(path, segment=0 if path.suffix == ".zarr" else None, **options)


@pytest.mark.parametrize("form", FORMATS)
def test_a_recording_is_imported_as_spikeinterface_reads_it(python, sources, tmp_path, form):
    reader, options = FORMATS[form]
    traces, known = by_spikeinterface(python, reader, sources[form], options, tmp_path)
    result = find_or_run(request(sources[form], runtime="host"), open_store(), Silent())
    recording = open_recording(result.folder / "recording")
    assert np.array_equal(recording.traces(), traces)
    assert recording.layout.dtype == traces.dtype.newbyteorder("<").str
    assert recording.layout.sampling_frequency == known["rate"]
    assert list(recording.channel_ids) == known["ids"]
    gains = IN_MILLIVOLTS.get(form, 1) * np.array(known["gains"])
    assert list(recording.layout.gains) == pytest.approx(gains.tolist())
    assert list(recording.layout.offsets) == known["offsets"]
    assert (known["locations"] is not None) == (result.folder / "recording" / "probe.json").exists()
    if known["locations"] is not None:
        assert [list(place) for place in recording.layout.locations] == known["locations"]


def test_the_bytes_are_equal_in_every_runtime_and_the_record_proves_them(sources):
    store = open_store()
    for form, path in sources.items():
        files = {}
        for runtime in ("docker", "apptainer", "host"):
            result = find_or_run(replace(request(path, runtime=runtime), force=True), store, Silent())
            assert (result.status, result.record["runtime"]) == ("ran", runtime)
            folder = result.folder / "recording"
            files[runtime] = {file.name: file.read_bytes() for file in folder.iterdir()}
        assert files["docker"] == files["apptainer"] == files["host"], form
        options = {"runtime": "docker", "recording": None, "cores": None, "keep": False}
        earlier = find_job(result.key, store, Silent())
        assert rerun(earlier, **options, store=store, progress=Silent()).equal
        assert load(result.folder).record["inputs"]["source"]["path"] in (str(path), str(path.parent))


def test_a_second_import_is_a_cache_hit_wherever_the_source_lies_and_another_content_is_not(
    sources, tmp_path
):
    store = open_store()
    folder = imported(sources["blackrock"], store=store, progress=Silent(), runtime="host")
    copied = Path(shutil.copytree(sources["blackrock"].parent, tmp_path / "moved")) / "session.ns5"
    for path in (sources["blackrock"], copied):
        result = find_or_run(request(path, runtime="host"), store, Silent())
        assert (result.status, result.folder / "recording") == ("cached", folder)
    with copied.open("r+b") as file:
        file.seek(-2, 2)
        file.write(b"\x07\x07")
    assert find_or_run(request(copied, runtime="host"), store, Silent()).status == "ran"


@pytest.mark.parametrize("runtime", ["docker", "host"])
def test_a_file_that_is_a_link_as_git_annex_makes_them_is_imported(sources, tmp_path, runtime):
    kept = tmp_path / "objects" / "SHA256E-s1--0123.nwb"
    kept.parent.mkdir()
    shutil.copy(sources["nwb"], kept)
    (tmp_path / "day.nwb").symlink_to(kept)
    folder = imported(tmp_path / "day.nwb", store=open_store(), progress=Silent(), runtime=runtime)
    assert open_recording(folder).layout.num_samples == 3000


def test_the_probe_keeps_its_shanks(sources):
    store = open_store()
    shanks = {}
    for form in ("zarr", "nwb"):
        result = find_or_run(request(sources[form], runtime="host"), store, Silent())
        probes = json.loads((result.folder / "recording" / "probe.json").read_text())["probes"]
        shanks[form] = [len(set(probe.get("shank_ids", ["all"]))) for probe in probes]
    # NWB's electrode groups are probes of their own.
    assert shanks == {"zarr": [2], "nwb": [1, 1]}


def test_a_compressed_spikeglx_recording_is_the_one_that_was_compressed(sources, python, tmp_path):
    compressed = sources["cbin"]
    assert needs_import(compressed.parent) == "compressedbinaryibl"
    folder = imported(compressed.parent, store=open_store(), progress=Silent(), runtime="host")
    run = tmp_path / "run_g0"
    run.mkdir()
    unpack = "import sys, mtscomp; mtscomp.decompress(*sys.argv[1:4], write_output=True)"
    raw = run / compressed.with_suffix(".bin").name
    subprocess.run([python, "-c", unpack, compressed, compressed.with_suffix(".ch"), raw], check=True)
    shutil.copy(compressed.with_suffix(".meta"), run)
    in_place, recording = open_recording(run), open_recording(folder)
    assert recording.channel_ids == in_place.channel_ids
    facts = [
        identity.identity(found, identity.hash_samples(found, Silent())) for found in (in_place, recording)
    ]
    assert facts[0] == facts[1]
    traces, known = by_spikeinterface(python, "cbin_ibl", compressed.parent, {}, tmp_path)
    assert np.array_equal(recording.traces(), traces)
    assert list(recording.layout.gains) == pytest.approx(known["gains"])
    # The origin differs; the places of the channels to one another do not.
    places, expected = np.array(recording.layout.locations), np.array(known["locations"])
    assert np.allclose(places - places[0], expected - expected[0])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda cbin: cbin.with_suffix(".ch").unlink(), "No such file"),
        (lambda cbin: cbin.write_bytes(cbin.read_bytes()[:-100]), "mtscomp cannot read"),
        (lambda cbin: change_hash(cbin.with_suffix(".ch")), "is damaged: its samples have not the SHA-1"),
    ],
)
def test_a_compressed_recording_that_is_damaged_is_refused(sources, tmp_path, damage, reason):
    folder = shutil.copytree(sources["cbin"].parent, tmp_path / "in")
    damage(folder / sources["cbin"].name)
    with pytest.raises(RecordingFormatError, match=reason):
        imported(folder, store=open_store(), progress=Silent(), runtime="host")


def change_hash(file):
    """Write another hash of the samples."""
    fields = json.loads(file.read_text())
    file.write_text(json.dumps(fields | {"sha1_uncompressed": "0" * 40}))


def test_a_recording_that_is_read_in_place_is_copied_with_its_places_and_key(tmp_path):
    with pytest.raises(RecordingAmbiguousError, match=re.escape(STREAM)):
        import_recording(OPENEPHYS, tmp_path / "copied")
    assert not (tmp_path / "copied").exists()
    recording = import_recording(OPENEPHYS, tmp_path / "copied", stream=STREAM, probe="tetrode")
    in_place = open_recording(OPENEPHYS, stream=STREAM, probe="tetrode")
    facts = [
        identity.identity(found, identity.hash_samples(found, Silent())) for found in (in_place, recording)
    ]
    assert facts[0] == facts[1]
    assert (recording.channel_ids, recording.groups) == (in_place.channel_ids, in_place.groups)


def test_spikeinterface_reads_a_format_of_ours_where_its_reader_is_named(tmp_path):
    named = {"reader": "openephysbinary", "stream": f"Record Node 118#{STREAM}"}
    recording = import_recording(OPENEPHYS, tmp_path / "imported", runtime="host", **named)
    in_place = open_recording(OPENEPHYS, stream=STREAM)
    assert identity.hash_samples(recording, Silent()) == identity.hash_samples(in_place, Silent())
    assert list(recording.layout.gains) == pytest.approx(list(in_place.layout.gains))


def test_a_recording_of_another_format_is_sorted_straight_away_and_found_the_second_time(
    sources, tmp_path, command
):
    options = ("--runtime", "host", "--output", "-", "--json", "--param", "detect_threshold=6")
    first = command("sort", sources["nwb"], *options)
    assert first.returncode == 0, first.stderr
    assert "SpikeInterface (nwb) reads" in first.stderr
    second = command("sort", sources["nwb"], *options)
    assert "SpikeInterface" not in second.stderr
    results = [last_json(done) for done in (first, second)]
    assert [result["status"] for result in results] == ["ran", "cached"]
    record = load(results[0]["folder"]).record["inputs"]["recording"]
    assert (record["path"], record["format"]) == (str(sources["nwb"]), "nwb")
    # The sorting is made again from the source alone, on a store without the import.
    stored = imported(sources["nwb"], store=open_store(), progress=Silent(), runtime="host").parent
    shutil.rmtree(stored)
    again = command("job.verify", results[0]["key"][:12], "--json")
    assert again.returncode == 0, again.stderr
    assert last_json(again)["equal"]
    flat = command("recording.import", sources["nwb"], tmp_path / "flat", "--runtime", "host")
    assert flat.returncode == 0, flat.stderr
    copied = command("sort", tmp_path / "flat", *options)
    assert (last_json(copied)["key"], last_json(copied)["status"]) == (results[0]["key"], "cached")


def test_the_segments_of_a_recording_of_another_format_are_joined(sources, tmp_path):
    joined = import_recording(sources["zarr"], tmp_path / "joined", runtime="host", concatenate=True)
    each = [
        import_recording(sources["zarr"], tmp_path / str(number), runtime="host", segment=number).traces()
        for number in (0, 1)
    ]
    assert np.array_equal(joined.traces(), np.concatenate(each))


def test_the_command_copies_the_recording_and_leaves_the_source_as_it_was(sources, tmp_path, command):
    def state():
        paths = [sources["neuralynx"], *sorted(sources["neuralynx"].iterdir())]
        return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]

    before = state()
    done = command("recording.import", sources["neuralynx"], tmp_path / "flat", "--runtime", "host", "--json")
    assert done.returncode == 0, done.stderr
    assert last_json(done)["num_channels"] == 4
    assert sorted(path.name for path in (tmp_path / "flat").iterdir()) == ["recording.json", "traces.raw"]
    assert state() == before


@pytest.mark.parametrize(
    ("form", "options", "error", "reason"),
    [
        ("zarr", {}, RecordingAmbiguousError, "2 segments; name one, from 0 to 1"),
        ("zarr", {"segment": 2}, UsageError, "there is no segment 2; the segments are 0 to 1"),
        ("nwb", {"stream": "acquisition/lfp"}, UsageError, "'acquisition/raw', 'processing/ecephys/LFP/lfp'"),
        ("intan", {"stream": "none"}, UsageError, "the streams are 'RHD2000 amplifier channel'"),
        ("intan", {"reader": "itnan"}, UsageError, "no reader is named 'itnan'; the readers are alphaomega"),
        ("cbin", {"stream": "lf"}, UsageError, "no stream is named 'lf'"),
        ("edf", {"reader": "intan"}, RecordingFormatError, r"SpikeInterface \(intan\) cannot read it"),
    ],
)
def test_what_cannot_be_imported_is_said_in_one_line_and_leaves_nothing(
    sources, tmp_path, form, options, error, reason
):
    with pytest.raises(error, match=reason) as caught:
        import_recording(sources[form], tmp_path / "flat", runtime="host", **options)
    assert "\n" not in str(caught.value)
    assert str(sources[form]) in str(caught.value)
    assert caught.value.next_step
    assert not (tmp_path / "flat").exists()
    assert list(results.keys(open_store())) == []


def test_an_nwb_file_without_a_recording_is_said_to_have_none(python, tmp_path):
    path = tmp_path / "units.nwb"
    subprocess.run([python, "-c", f"import h5py; h5py.File({str(path)!r}, 'w').close()"], check=True)
    with pytest.raises(RecordingFormatError, match="the file has no ElectricalSeries"):
        imported(path, store=open_store(), progress=Silent(), runtime="host")


@pytest.mark.parametrize("name", ["broken.nwb", "broken.rhd", "broken.plx", "broken.ns5"])
def test_a_file_that_is_not_of_its_format_is_a_format_error_in_every_runtime(tmp_path, name):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(b"not a recording")
    for runtime in ("docker", "host"):
        with pytest.raises(RecordingFormatError, match="SpikeInterface"):
            import_recording(tmp_path / "in" / name, tmp_path / "flat", runtime=runtime)
    assert not (tmp_path / "flat").exists()


def large(session, folder, num_samples):
    """A .ns5 of four channels, as large as wanted, of zeros that take no place on disk."""
    folder.mkdir()
    path = folder / "large.ns5"
    header = session.read_bytes()[: 314 + 4 * 66]
    data = b"\x01" + (0).to_bytes(4, "little") + num_samples.to_bytes(4, "little")
    path.write_bytes(header + data)
    with path.open("r+b") as file:
        file.truncate(len(header) + len(data) + 8 * num_samples)
    return path


def test_a_recording_larger_than_the_memory_is_imported(sources, tmp_path):
    path = large(sources["blackrock"], tmp_path / "in", 2**27)
    asked = replace(import_request(path, runtime="docker"), memory_bytes=512 * 2**20)
    assert path.stat().st_size > 2 * asked.memory_bytes
    result = find_or_run(asked, open_store(), Silent())
    assert result.record["samples"] == 2**27
    lines = (result.folder / "log.txt").read_text().splitlines()
    assert [line for line in lines if line.startswith("importing:")] == [
        f"importing: {tenth}0%" for tenth in range(1, 11)
    ]


@pytest.mark.parametrize("runtime", ["docker", "host"])
def test_a_killed_import_leaves_nothing_and_the_next_one_is_whole(sources, tmp_path, runtime):
    path = large(sources["blackrock"], tmp_path / "in", 2**26)
    store = open_store()
    words = [SPIKECRATE, "recording.import", path, tmp_path / "out" / "flat", "--runtime", runtime]
    child = subprocess.Popen(words, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not [file for file in store.work.glob("*/out/traces.raw") if file.stat().st_size]:
        assert child.poll() is None, "the import ended before it could be killed"
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert not (tmp_path / "out").exists()
    assert list(results.keys(store)) == []
    recording = import_recording(path, tmp_path / "out" / "flat", runtime=runtime)
    assert recording.layout.num_samples == 2**26
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["flat"]
