"""What every sorter promises, in every runtime."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import working_for
from inputs import DENSE, SHORT_S
from matrix import OTHER_UID, SORTERS, SPIKECRATE, THREADS, Case, runtimes
from runs import SETTINGS

from spikecrate._util.progress import Silent
from spikecrate.errors import (
    JobMemoryError,
    JobTimeoutError,
    ProbeError,
    RecordingTooSmallError,
    StoppedError,
)
from spikecrate.runtimes.docker import create_arguments
from spikecrate.sortings.comparison.compare import agree
from spikecrate.steps.repeat import repeat
from spikecrate.store import open_store

SAME_UNITS = 0.9
"""Least agreement of two sortings of the same µV in samples of another type."""
NO_INTERFACE_BUT = ["lo"]
LITTLE_MIB = 64
"""The least memory that spikecrate gives; that of most sorters' libraries alone is more."""


def sorts(runs, case, kind, *, channels=None, duration_s=None):
    """Sort; where the sorter says that it cannot, hold it to a refusal before anything starts, and give None."""
    requires = SORTERS[case.sorter].requires
    too_few = channels is not None and channels < requires.get("channels", 1)
    too_short = duration_s is not None and duration_s < requires.get("duration_s", 0)
    if not too_few and not too_short:
        return runs.of(case, kind)
    with pytest.raises(RecordingTooSmallError, match="needs at least"):
        runs.of(case, kind)
    return None


# What it leaves -----------------------------------------------------------------------------------


@pytest.mark.main
def test_it_leaves_what_the_contract_says(runs, case):
    run = runs.of(case)
    assert run.record["runtime"] == case.runtime
    assert run.record["units"] >= 1
    assert run.record["events"] > 50
    assert (run.sorting.channels <= len(run.record["inputs"]["recording"]["channel_ids"])).all()
    assert run.record["wall_s"] > 0
    assert run.record["peak_memory_bytes"] > 2**20


@pytest.mark.main
def test_it_gives_the_bytes_that_every_other_runtime_gives(runs, sorter):
    """Where it promises equal bytes; where it does not, the same units."""
    made = {runtime: runs.of(Case(sorter, runtime)) for runtime in runtimes(sorter)}
    if SORTERS[sorter].deterministic:
        assert {runtime: run.firings for runtime, run in made.items()} == dict.fromkeys(
            made, made["docker"].firings
        )
    else:
        for run in made.values():
            assert agree(made["docker"].sorting, run.sorting).overall > SAME_UNITS


@pytest.mark.main
def test_it_leaves_the_recording_as_it_was(runs, case):
    run = runs.of(case)
    assert run.after == run.before


# What it is given ---------------------------------------------------------------------------------


def test_it_sorts_a_folder_with_spaces_and_letters_beyond_ascii(runs, case):
    assert_same(case, runs.of(case, "odd path"), runs.of(case))


@pytest.mark.main
def test_it_sorts_one_channel(runs, case):
    run = sorts(runs, case, "one channel", channels=1)
    assert run is None or run.record["events"] > 50


def test_channels_at_one_place_are_sorted_or_refused_before_anything_runs(runs, case):
    if SORTERS[case.sorter].requires.get("distinct_places"):
        with pytest.raises(ProbeError, match="needs a place of its own for each channel"):
            runs.of(case, "one place")
    else:
        assert runs.of(case, "one place").record["units"] >= 1


def test_it_sorts_32_channels(runs, case):
    run = sorts(runs, case, "32 channels", channels=DENSE)
    assert run is None or run.record["units"] >= 1


def test_it_sorts_samples_of_the_other_byte_order_to_the_same(runs, case):
    assert_same(case, runs.of(case, "big-endian"), runs.of(case))


@pytest.mark.main
def test_it_sorts_a_file_of_one_channel_after_the_other_to_the_same(runs, case):
    assert_same(case, runs.of(case, "channel after channel"), runs.of(case))


def test_it_sorts_microvolts_in_float32_to_the_same_units(runs, case):
    """A sorter that takes counts for µV finds others."""
    assert agree(runs.of(case).sorting, runs.of(case, "float32").sorting).overall > SAME_UNITS


def test_it_sorts_a_second(runs, case):
    run = sorts(runs, case, "short", duration_s=SHORT_S)
    assert run is None or run.record["events"] >= 0


@pytest.mark.main
def test_it_finds_nothing_in_silence(runs, case):
    run = runs.of(case, "silence")
    assert (run.record["events"], run.record["units"]) == (0, 0)
    assert run.record["warnings"][0].startswith("no units found")


def assert_same(case, one, other):
    if SORTERS[case.sorter].deterministic:
        assert one.firings == other.firings
    else:
        assert agree(one.sorting, other.sorting).overall > SAME_UNITS


# What it is allowed -------------------------------------------------------------------------------


def test_it_has_no_network_and_needs_none(runs, case):
    """In a container there is no interface but the one to itself; on the host it is run where there is none."""
    with runs.attempt(case) as (engine, spec, paths):
        if case.runtime == "host":
            image = replace(spec.image, entrypoint=("unshare", "--net", *spec.image.entrypoint))
            ended, text = finished(engine, replace(spec, image=image))
            assert ended.code == 0, text
            assert (paths.out / "firings.mda").exists()
            return
        image = replace(spec.image, entrypoint=("/bin/ls", "/sys/class/net"))
        if case.runtime == "docker":
            assert create_arguments(spec)["network_mode"] == "none"
            ended, text = finished(engine, replace(spec, image=image))
            assert (ended.code, text.split()) == (0, NO_INTERFACE_BUT)
        else:
            # Apptainer shows the machine's /sys; what the process itself has stands in /proc.
            image = replace(spec.image, entrypoint=("/bin/cat", "/proc/net/dev"))
            ended, text = finished(engine, replace(spec, image=image))
            names = [line.split(":")[0].strip() for line in text.splitlines() if ":" in line]
            assert (ended.code, names) == (0, NO_INTERFACE_BUT)


@pytest.mark.main
def test_it_runs_as_a_user_that_its_image_does_not_know(runs, sorter):
    with runs.attempt(Case(sorter, "docker")) as (engine, spec, paths):
        for folder in (paths.out, paths.scratch):
            os.chown(folder, OTHER_UID, OTHER_UID)
        paths.root.chmod(0o755)
        ended, text = finished(engine, replace(spec, user=(OTHER_UID, OTHER_UID)))
        assert ended.code == 0, text
        assert (paths.out / "firings.mda").stat().st_uid == OTHER_UID
        if SORTERS[sorter].deterministic:
            assert (paths.out / "firings.mda").read_bytes() == runs.of(Case(sorter, "docker")).firings


def test_it_is_held_to_its_memory(runs, case, command):
    """What needs more is ended; what is done was content with it."""
    done = command(*words(runs, case, "32 channels"), "--memory", f"{LITTLE_MIB}M", "--json")
    if done.returncode != 0:
        assert done.returncode == JobMemoryError.exit_code, done.stderr
        return
    record = json.loads((Path(json.loads(done.stdout)["folder"]) / "run.json").read_text())
    assert record["peak_memory_bytes"] <= LITTLE_MIB * 2**20


def test_it_is_held_to_its_time(runs, case, command):
    """Ended before the interpreter of a sorter has so much as started."""
    done = command(*words(runs, case, "32 channels"), "--timeout", "0.1s")
    assert done.returncode == JobTimeoutError.exit_code, done.stderr


def test_ctrl_c_leaves_nothing(runs, case, containers_of, own_store):
    """Stopped in the middle, when its workers, if it has any, are at work."""
    wall_s = runs.of(case, "32 channels").record["wall_s"]
    before = sorted((own_store / "results").rglob("firings.mda"))
    # A run may be over sooner than the one before: then it is stopped earlier.
    for share in (1 / 4, 1 / 16, 0):
        code = interrupted(words(runs, case, "32 channels"), share * wall_s)
        assert containers_of(own_store) == []
        assert working_for(own_store) == []
        assert sorted((own_store / "results").rglob("firings.mda")) == before
        if code == StoppedError().code:
            return
    pytest.fail("it could not be stopped before it was done")


def interrupted(line, after_s):
    """Run spikecrate, and press Ctrl-C some time after the sorter has said what its tool is told."""
    child = subprocess.Popen(
        [SPIKECRATE, *map(str, line), "-v"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    with child:
        assert any(said.startswith(SETTINGS) for said in child.stderr)
        time.sleep(after_s)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
    return child.returncode


def words(runs, case, kind):
    recording = runs.recording(case.sorter, kind)
    return ("sort", recording, "--sorter", case.sorter, "--runtime", case.runtime, "--output", "-", "--force")


def finished(engine, spec):
    """Run a step to its end; give how it ended, and what it printed."""
    chunks = []
    ended = engine.run(spec, chunks.append)
    return ended, b"".join(chunks).decode(errors="replace")


# What it says of itself ---------------------------------------------------------------------------


def test_it_is_as_repeatable_as_it_says(runs, sorter, agreements):
    """Three runs, by what `sort --repeat 3` does. One that varies says how much, and does not say that it does not."""
    started = time.monotonic()
    measured = repeat(runs.asked(Case(sorter, "docker")), 3, open_store(), Silent())
    runs.spend(sorter, started)
    if SORTERS[sorter].deterministic:
        assert measured.equal, json.dumps(measured.as_dict())
    else:
        least = min(map(min, measured.agreement))
        agreements[sorter] = f"three runs agree to {least:.4f} at least; equal bytes: {measured.equal}"


@pytest.mark.main
def test_its_tool_uses_the_cores_that_it_is_given(runs, threaded):
    """On a processor: a GPU leaves the other cores idle."""
    cores = len(os.sched_getaffinity(0))
    assert runs.told(Case(threaded, "docker"))[THREADS[threaded]] == cores


def test_the_number_of_cores_changes_the_result_only_where_it_says_so(runs, sorter):
    """Against a run with all processors, which must be two at least."""
    case = Case(sorter, "docker")
    one, two = runs.of(case, cores=1), runs.of(case)
    assert two.record["limits"]["cores"] > 1
    if not SORTERS[sorter].cores_change_result:
        assert one.firings == two.firings
    assert (one.record["key"] != two.record["key"]) == SORTERS[sorter].cores_change_result
