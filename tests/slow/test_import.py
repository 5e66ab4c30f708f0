"""Other formats, through the real SpikeInterface."""

from __future__ import annotations

import json
import re
import subprocess

import numpy as np
import pytest
from conftest import ROOT
from uv import find_uv_bin

from spikecrate._util.progress import Silent
from spikecrate.errors import RecordingAmbiguousError, RecordingFormatError
from spikecrate.recordings import identity as content
from spikecrate.recordings import open_recording

DATA = ROOT / "tests" / "data"
OPENEPHYS = DATA / "openephys_binary" / "test" / "DelayedRecording" / "Record Node 118"
STREAM = "File_Reader-106.0"
SAVE = """
import sys
from spikeinterface.extractors import read_mda_recording
read_mda_recording(sys.argv[1]).save(format=sys.argv[2], folder=sys.argv[3])
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """Make an environment with SpikeInterface and spikecrate, each from its lock."""
    folder = tmp_path_factory.mktemp("spikeinterface")
    python = folder / "venv" / "bin" / "python"
    uv = find_uv_bin()
    install = [uv, "pip", "install", "--quiet", "--python", python]
    subprocess.run([uv, "venv", "--quiet", "--python", "3.11", folder / "venv"], check=True)
    for lock in ("requirements.lock", "benchmarks/spikeinterface/requirements.lock"):
        subprocess.run([*install, "--require-hashes", "-r", ROOT / lock], check=True)
    subprocess.run([*install, "--no-deps", "--no-build-isolation", "-e", ROOT], check=True)
    return python


def save(python, toy, form, folder):
    """Save the toy recording with SpikeInterface."""
    subprocess.run([python, "-c", SAVE, toy, form, folder], check=True, capture_output=True)
    return folder


def run_import(python, *words):
    return subprocess.run(
        [python, "-m", "spikecrate", "recording.import", *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )


def imported(python, *words):
    """Import through the command line, and return the description of the new recording."""
    done = run_import(python, *words)
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout.splitlines()[-1])
    assert described["format"] == "flat"
    return described


def column(described, field):
    return [channel[field] for channel in described["channels"]]


@pytest.mark.parametrize("form", ["zarr", "binary", "mda"])
def test_a_recording_of_spikeinterface_is_imported_with_its_samples_and_places(python, toy, tmp_path, form):
    source = toy if form == "mda" else save(python, toy, form, tmp_path / f"session one.{form}")
    words = ["--reader", "mda"] if form == "mda" else []
    described = imported(python, source, tmp_path / "imported", *words)
    original = open_recording(toy)
    assert described["samples_hash"] == content.hash_samples(original, Silent())
    assert described["sampling_frequency"] == original.layout.sampling_frequency
    assert column(described, "location_um") == [list(place) for place in original.layout.locations]


def test_a_spikeglx_recording_is_imported_as_it_is_read_in_place(python, tmp_path):
    run = tmp_path / "run_g0"
    run.mkdir()
    text = (DATA / "spikeglx" / "NP2_2013_subset_channels.imec0.ap.meta").read_text()
    traces = np.random.default_rng(0).integers(-500, 500, (300, 121)).astype("<i2")
    text = re.sub("fileSizeBytes=.*", f"fileSizeBytes={traces.nbytes}", text)
    text = re.sub("fileTimeSecs=.*", f"fileTimeSecs={300 / 30000}", text)
    (run / "run_g0_t0.imec0.ap.meta").write_text(text)
    (run / "run_g0_t0.imec0.ap.bin").write_bytes(traces.tobytes())
    in_place = open_recording(run)
    described = imported(python, run, tmp_path / "imported", "--stream", "imec0.ap")
    assert described["samples_hash"] == content.hash_samples(in_place, Silent())
    assert column(described, "gain_uv") == pytest.approx(list(in_place.layout.gains))
    # The origin differs; the places of the channels to one another do not.
    places = np.array(column(described, "location_um"))
    expected = np.array(in_place.layout.locations)
    assert np.allclose(places - places[0], expected - expected[0])


def test_one_stream_of_an_open_ephys_recording_is_imported_by_its_name(python, tmp_path):
    ambiguous = run_import(python, OPENEPHYS, tmp_path / "imported")
    assert ambiguous.returncode == RecordingAmbiguousError.exit_code
    assert f"Record Node 118#{STREAM}" in ambiguous.stderr
    assert not (tmp_path / "imported").exists()
    described = imported(python, OPENEPHYS, tmp_path / "imported", "--stream", f"Record Node 118#{STREAM}")
    in_place = open_recording(OPENEPHYS / "experiment1" / "recording1" / "continuous" / STREAM)
    assert described["samples_hash"] == content.hash_samples(in_place, Silent())
    assert column(described, "gain_uv") == pytest.approx(list(in_place.layout.gains))


@pytest.mark.parametrize(("name", "reader"), [("broken.nwb", []), ("broken.bin", ["--reader", "mda"])])
def test_what_spikeinterface_cannot_read_is_a_format_error_and_leaves_nothing(python, tmp_path, name, reader):
    (tmp_path / name).write_bytes(b"not a recording")
    done = run_import(python, tmp_path / name, tmp_path / "imported", *reader)
    assert done.returncode == RecordingFormatError.exit_code, done.stderr
    assert "SpikeInterface" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [name]
