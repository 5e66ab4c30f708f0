"""Other formats, through the real SpikeInterface."""

from __future__ import annotations

import json
import subprocess

import pytest
from conftest import ROOT
from uv import find_uv_bin

from spikecrate._util.progress import Silent
from spikecrate.recordings import identity as content
from spikecrate.recordings import open_recording

WRITE_ZARR = """
import sys
from spikeinterface.extractors import read_mda_recording
read_mda_recording(sys.argv[1]).save(format="zarr", folder=sys.argv[2])
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


def test_a_zarr_recording_is_imported_with_the_samples_it_has(python, toy, tmp_path):
    source, imported = tmp_path / "session one.zarr", tmp_path / "imported"
    subprocess.run([python, "-c", WRITE_ZARR, toy, source], check=True, capture_output=True)
    done = subprocess.run(
        [python, "-m", "spikecrate", "recording.import", source, imported, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    described = json.loads(done.stdout.splitlines()[-1])
    assert described["format"] == "flat"
    assert described["samples_hash"] == content.hash_samples(open_recording(toy), Silent())
    places = [channel["location_um"] for channel in described["channels"]]
    assert places == [list(place) for place in open_recording(toy).layout.locations]
