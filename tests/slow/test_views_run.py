"""A recording that is joined of files in several folders is sorted like the same samples in one file, in every runtime."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.errors import RecordingChangedError
from spikecrate.recordings import open_recording
from spikecrate.recordings.views import concatenate
from spikecrate.runtimes.docker import Docker

RUNTIMES = ("docker", "apptainer", "host")
TELLS = """
import hashlib
import time
from pathlib import Path
import numpy as np

def sort(recording, parameters, resources):
    found = [path for path in Path("/inputs").rglob("*") if path.is_file()]
    print("sees", sorted(path.relative_to("/inputs").as_posix() for path in found))
    print("samples", hashlib.sha256(recording.traces().tobytes()).hexdigest())
    print("opened", flush=True)
    time.sleep(PAUSE)
    return np.array([10.0, 20.0]), np.array([1, 2])
"""
"""Prints what it sees and what it reads."""


def write_part(folder, traces, geom, *, name="data.raw", dtype="<i2", time_axis=0, more=0):
    """Write samples as a flat file with further channels behind, and its description; return the recording."""
    folder.mkdir(parents=True, exist_ok=True)
    behind = np.full((len(traces), more), 7)
    stored = np.concatenate([traces, behind], axis=1).astype(dtype)
    (folder / name).write_bytes(b"head" + (stored.T if time_axis else stored).tobytes())
    (folder / "geom.csv").write_text(geom + "".join(f"{200 + index},0\n" for index in range(more)))
    fields = {"file": name, "dtype": dtype, "num_channels": stored.shape[1], "sampling_frequency": 30000}
    fields |= {"gain_uv": 1.0, "offset": 4, "time_axis": time_axis, "probe": "geom.csv"}
    description = folder / f"{name}.json"
    description.write_text(json.dumps(fields))
    return open_recording(description)


@pytest.fixture
def geom(toy):
    return (toy / "geom.csv").read_text()


@pytest.fixture
def traces(toy):
    """Samples x channels."""
    return open_recording(toy).traces()


@pytest.fixture
def single(traces, geom, tmp_path):
    """The samples in one file."""
    return write_part(tmp_path / "single", traces, geom)


@pytest.fixture
def joined(traces, geom, tmp_path):
    """The same samples in two folders, behind one another; the second is big-endian, channel after channel."""
    cut = len(traces) * 2 // 5
    one = write_part(tmp_path / "day 1", traces[:cut], geom, more=1)
    # The second begins before the cut and ends behind the last sample.
    second = np.concatenate([traces[cut - 100 :], traces[:50]])
    two = write_part(tmp_path / "day,2", second, geom, dtype=">i2", time_axis=1, more=1)
    two = two.view(start="100samples", end=f"{100 + len(traces) - cut}samples")
    return concatenate([one, two]).view(channels=["1-4"])


def firings_of(result):
    return (result.folder / "firings.mda").read_bytes()


@pytest.mark.usefixtures("shared", "sifs")
def test_a_join_gives_the_bytes_of_one_file_in_every_runtime_and_is_the_same_job(
    single, joined, own_store, environments
):
    (own_store / "environments").symlink_to(environments)
    one = spikecrate.sort(single, runtime="docker")
    assert one.record["events"] > 50
    found = spikecrate.sort(joined, runtime="docker")
    assert (found.status, found.key) == ("cached", one.key)
    expected = firings_of(one)
    for runtime in RUNTIMES:
        result = spikecrate.sort(joined, runtime=runtime, force=True)
        assert (result.status, result.key, result.record["runtime"]) == ("ran", one.key, runtime)
        assert firings_of(result) == expected
        facts = result.record["inputs"]["recording"]
        assert facts["files"] == list(map(str, joined.files))
        inodes = [file.stat().st_ino for file in joined.files]
        assert [found["inode"] for found in result.record["inside"]["opened"]["recording"]] == inodes


def test_a_sorter_in_another_language_reads_across_the_parts(single, joined):
    one = spikecrate.sort(single, sorter="threshold-octave", runtime="docker")
    assert one.record["events"] > 50
    expected = firings_of(one)
    result = spikecrate.sort(joined, sorter="threshold-octave", runtime="docker", force=True)
    assert (result.status, result.key) == ("ran", one.key)
    assert firings_of(result) == expected


@pytest.mark.usefixtures("sifs")
@pytest.mark.parametrize("runtime", ["docker", "apptainer"])
def test_links_out_of_the_folders_are_read_and_their_neighbours_are_not_seen(traces, geom, tmp_path, runtime):
    archive = tmp_path / "archive"
    archive.mkdir()
    (archive / "secret").write_text("not for the sorter")
    parts = []
    for place, (folder, name, is_link) in enumerate(
        [("a", "0.raw", False), ("a", "1.raw", True), ("b", "1.raw", True), ("b", "deep.raw", False)]
    ):
        stretch = traces[1000 * place : 1000 * (place + 1)]
        parts.append(write_part(tmp_path / folder, stretch, geom, name=name))
        if is_link:
            moved = (tmp_path / folder / name).rename(archive / f"{folder} {name}")
            (tmp_path / folder / name).symlink_to(
                moved if folder == "a" else Path("..", "archive", moved.name)
            )
    recording = concatenate(parts)
    body = TELLS.replace("PAUSE", "0")
    result = spikecrate.sort(recording, sorter="any", params={"value": body}, runtime=runtime)
    log = (result.folder / "log.txt").read_text()
    assert f"samples {hashlib.sha256(traces[:4000].tobytes()).hexdigest()}" in log
    (seen,) = [line for line in log.splitlines() if line.startswith("sees")]
    files = [f"recording/{number}/{part.files[0].name}" for number, part in enumerate(parts, start=1)]
    assert [name for name in re.findall("'(.*?)'", seen) if not name.endswith((".json", ".csv"))] == files


def test_a_part_that_is_replaced_while_the_sorter_runs_is_noticed(joined, lab_sorter):
    replaced = []

    class Replacing(Silent):
        def line(self, text):
            if "opened" in text and not replaced:
                last = joined.files[-1]
                other = last.with_name("other")
                other.write_bytes(last.read_bytes())
                replaced.append(other.replace(last))

    name = lab_sorter(TELLS.replace("PAUSE", "2"))
    with pytest.raises(RecordingChangedError, match=r"day,2.* changed during the run"):
        spikecrate.sort(joined, sorter=name, runtime="docker", progress=Replacing())
    assert replaced


def test_a_folder_of_a_part_that_is_exchanged_at_the_start_and_put_back_is_noticed(
    joined, lab_sorter, monkeypatch, tmp_path
):
    folder, away = joined.files[-1].parent, tmp_path / "away"
    run = Docker.run

    def exchanged(self, spec, on_output):
        folder.rename(away)
        folder.mkdir()
        for path in away.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        try:
            return run(self, spec, on_output)
        finally:
            folder.rename(tmp_path / "exchanged")
            away.rename(folder)

    monkeypatch.setattr(Docker, "run", exchanged)
    name = lab_sorter(TELLS.replace("PAUSE", "0"))
    with pytest.raises(RecordingChangedError, match=r"day,2.* was replaced while the job started"):
        spikecrate.sort(joined, sorter=name, runtime="docker")
