"""A job from request to sealed result, on the harness itself with small sorters: no engine, nothing faked inside."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from threading import Timer

import numpy as np
import pytest
from lab import ANSWER, TWO_EVENTS, Here

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.errors import (
    DiskFullError,
    JobFailedError,
    JobMemoryError,
    JobNotFoundError,
    JobTimeoutError,
    OutputError,
    RecordingChangedError,
    ResultInvalidError,
    UsageError,
)
from spikecrate.steps import listing
from spikecrate.steps.forecast import forecast
from spikecrate.steps.request import SortRequest
from spikecrate.store import results
from spikecrate.store.lock import Lock
from spikecrate_harness import mda

pytestmark = pytest.mark.usefixtures("here")


def test_a_job_runs_once_and_is_then_found(recording, sorter):
    name = sorter(ANSWER + TWO_EVENTS)
    first, second = (spikecrate.sort(recording, sorter=name) for _ in range(2))
    assert (first.status, second.status) == ("ran", "cached")
    assert first.folder == second.folder
    assert second.sorting.times.tolist() == [10.0, 20.0]
    assert second.sorting.unit_ids.tolist() == [1, 2]


def test_a_result_folder_holds_what_the_docs_say(recording, sorter):
    name = sorter(ANSWER + "    open('extra.txt', 'w').write('x')\n" + TWO_EVENTS)
    folder = spikecrate.sort(recording, sorter=name).folder
    assert {path.name for path in folder.iterdir()} == {
        *("firings.mda", "units.csv", "run.json", "log.txt", "job.json"),
        *("manifest.json", "ro-crate-metadata.json"),
    }


def test_what_else_a_sorter_leaves_is_kept_in_a_folder_of_its_own(recording, sorter):
    body = ANSWER + "    import sys; out = sys.argv[sys.argv.index('--out') + 1]\n"
    body += "    open(out + '/templates.txt', 'w').write('x')\n"
    folder = spikecrate.sort(recording, sorter=sorter(body + TWO_EVENTS)).folder
    assert (folder / "sorter" / "templates.txt").read_text() == "x"


def test_a_changed_parameter_seed_sample_or_line_of_code_is_another_job(recording, sorter, store):
    name = sorter(ANSWER + TWO_EVENTS)

    def key(**asked):
        return SortRequest(recording=recording, sorter=name, **asked).job(store, Silent()).key

    keys = [spikecrate.sort(recording, sorter=name).key, key(params={"value": 2}), key(seed=1)]
    assert key() == keys[0]
    sorter(ANSWER + "    # another line\n" + TWO_EVENTS)
    keys.append(key())
    with (recording / "raw.mda").open("r+b") as file:
        file.seek(100)
        file.write(b"\x55\x55")
    keys.append(key())
    assert len(set(keys)) == 5


def test_a_moved_recording_is_the_same_job(recording, sorter, tmp_path):
    name = sorter(ANSWER + TWO_EVENTS)
    first = spikecrate.sort(recording, sorter=name)
    moved = recording.rename(tmp_path / "elsewhere")
    assert spikecrate.sort(moved, sorter=name).key == first.key


def test_force_runs_again(recording, sorter):
    name = sorter(ANSWER + TWO_EVENTS)
    spikecrate.sort(recording, sorter=name)
    assert spikecrate.sort(recording, sorter=name, force=True).status == "ran"


def test_force_beside_a_verification_of_the_same_job_runs_it(recording, sorter, store):
    """`job.verify` holds the job's lock and leaves the earlier result in place."""
    name = sorter(ANSWER + TWO_EVENTS)
    lock = Lock(store.lock(spikecrate.sort(recording, sorter=name).key))
    lock.acquire(lambda _: None)
    Timer(0.5, lock.release).start()
    assert spikecrate.sort(recording, sorter=name, force=True).status == "ran"


def test_force_takes_the_result_that_another_made_while_it_waited(recording, sorter, store):
    name = sorter(ANSWER + TWO_EVENTS)
    first = spikecrate.sort(recording, sorter=name)
    lock = Lock(store.lock(first.key))
    lock.acquire(lambda _: None)

    def replace():
        built = store.work / f"{first.key}-built"
        shutil.copytree(first.folder, built)
        (built / "manifest.json").unlink()
        results.publish(store, first.key, built)
        lock.release()

    Timer(0.5, replace).start()
    assert spikecrate.sort(recording, sorter=name, force=True).status == "cached"


def test_firings_of_an_entry_point_of_its_own_are_brought_to_the_documented_form(recording, sorter):
    body = (
        "import os, pathlib, sys, numpy as np\nfrom spikecrate_harness import mda\n"
        "def sort(recording, parameters, resources):\n"
        "    out = pathlib.Path(sys.argv[sys.argv.index('--out') + 1])\n"
        "    mda.write(out / 'firings.mda', np.array([[1, 2, 1], [30, 10, 20], [2, 1, 1]], dtype=np.float32))\n"
        "    (out / 'run.json').write_text('{}')\n"
        "    os._exit(0)\n"
    )
    result = spikecrate.sort(recording, sorter=sorter(body, entrypoint=["/opt/own"]))
    table = mda.read(result.folder / "firings.mda")
    assert table.dtype == np.float64
    assert table.tolist() == [[2, 1, 1], [10, 20, 30], [1, 1, 2]]


def test_cores_are_part_of_the_key_only_where_they_change_the_result(recording, sorter, store, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2, 3})
    free, bound = (
        sorter(ANSWER + TWO_EVENTS, "free"),
        sorter(ANSWER + TWO_EVENTS, "bound", cores_change_result=True),
    )
    keys = {
        (name, cores): SortRequest(recording=recording, sorter=name, cores=cores).job(store, Silent()).key
        for name in (free, bound)
        for cores in (1, 2)
    }
    assert keys[free, 1] == keys[free, 2]
    assert keys[bound, 1] != keys[bound, 2]


def test_a_gpu_is_part_of_the_key_only_where_the_sorter_can_do_without(recording, sorter, monkeypatch):
    sees = ANSWER + "    import os; print('sees', os.environ.get('CUDA_VISIBLE_DEVICES'))\n" + TWO_EVENTS
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setattr("spikecrate.steps.request.is_present", lambda: True)
    seen = {}
    for need, asked in (("optional", "on"), ("optional", "off"), ("required", "auto"), ("none", "auto")):
        result = spikecrate.sort(recording, sorter=sorter(sees, f"lab-{need}", gpu=need), gpu=asked)
        (line,) = [
            line for line in (result.folder / "log.txt").read_text().splitlines() if line.startswith("sees")
        ]
        seen[need, asked] = (result.record["key_parts"].get("gpu"), line)
    assert seen == {
        ("optional", "on"): (True, "sees 7"),
        ("optional", "off"): (False, "sees "),
        ("required", "auto"): (None, "sees 7"),
        ("none", "auto"): (None, "sees "),
    }


def test_a_corrupt_result_is_set_aside_and_made_again(recording, sorter, store):
    name = sorter(ANSWER + TWO_EVENTS)
    first = spikecrate.sort(recording, sorter=name)
    good = (first.folder / "firings.mda").read_bytes()
    (first.folder / "firings.mda").write_bytes(good[:-1] + b"\x01")
    again = spikecrate.sort(recording, sorter=name)
    assert again.status == "ran"
    assert (again.folder / "firings.mda").read_bytes() == good
    assert len(list(store.quarantine.iterdir())) == 1


def test_nothing_of_a_run_is_left_in_the_work_folder(recording, sorter, store):
    spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    assert list(store.work.iterdir()) == []
    assert list(store.locks.iterdir()) == []


def test_a_failure_is_kept_with_its_log_and_is_no_result(recording, sorter, store):
    name = sorter(ANSWER + "    raise RuntimeError('no spikes today')\n")
    with pytest.raises(JobFailedError, match="no spikes today") as caught:
        spikecrate.sort(recording, sorter=name)
    assert "no spikes today" in Path(caught.value.details["log"]).read_text()
    (row,) = listing.list_jobs(store)
    assert (row["status"], row["reason"]) == ("failed", "JobFailedError")
    assert listing.show_job(store, row["key"][:8])["error"] == "JobFailedError"
    assert list(results.keys(store)) == []
    assert list(store.work.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "error", "words"),
    [
        ("    raise MemoryError\n", JobMemoryError, ("memory", "MemoryError")),
        (
            "    raise OSError(28, 'No space left on device')\n",
            DiskFullError,
            ("space", "No space left on device"),
        ),
        ("    return np.array([np.nan]), np.array([1])\n", ResultInvalidError, ("times", "nan", "event 0")),
        ("    import os; os._exit(0)\n", ResultInvalidError, ("/out/firings.mda", "missing")),
        ("    import os; os.kill(os.getpid(), 9)\n", JobFailedError, ("signal 9",)),
    ],
    ids=["memory", "disk", "answer", "no answer", "killed"],
)
def test_every_bad_end_has_its_error(recording, sorter, body, error, words):
    with pytest.raises(error) as caught:
        spikecrate.sort(recording, sorter=sorter(ANSWER + body))
    assert [word for word in words if word not in str(caught.value)] == []


def test_the_time_limit_ends_the_sorter_and_its_children(recording, sorter):
    body = ANSWER + "    import subprocess; subprocess.run(['sleep', '600'])\n"
    with pytest.raises(JobTimeoutError, match=r"0\.5 s"):
        spikecrate.sort(recording, sorter=sorter(body), timeout_s=0.5)


def test_the_memory_limit_ends_the_sorter(recording, sorter):
    body = ANSWER + "    x = np.ones(4 * 10**7); import time; time.sleep(60)\n"
    with pytest.raises(JobMemoryError, match=r"0\.2 GiB") as caught:
        spikecrate.sort(recording, sorter=sorter(body), memory_bytes=200 * 2**20)
    assert caught.value.next_step == "give it more: --memory 1G"


def test_a_recording_that_changes_meanwhile_gives_no_result(recording, sorter, store):
    body = ANSWER + f"    open({str(recording / 'raw.mda')!r}, 'ab').close()\n"
    body += f"    import os; os.utime({str(recording / 'raw.mda')!r})\n"
    with pytest.raises(RecordingChangedError, match=r"raw\.mda changed during the run"):
        spikecrate.sort(recording, sorter=sorter(body + TWO_EVENTS))
    assert list(results.keys(store)) == []


def test_an_output_inside_the_recording_is_refused_before_anything_runs(recording, sorter, store):
    name = sorter(ANSWER + TWO_EVENTS)
    with pytest.raises(OutputError, match="nothing is written"):
        spikecrate.sort(recording, sorter=name, output=recording / "sortings")
    assert list(results.keys(store)) == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"cores": 0}, ("--cores 0",)),
        ({"cores": 10_000}, ("--cores 10000", "may use")),
        ({"memory_bytes": 1}, ("memory", "1 bytes")),
        ({"timeout_s": 0}, ("--timeout", "0 s")),
        ({"seed": -1}, ("seed", "-1", "4294967295")),
    ],
)
def test_limits_that_make_no_sense_are_refused(recording, sorter, asked, words):
    with pytest.raises(UsageError) as caught:
        spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS), **asked)
    assert [word for word in words if word not in str(caught.value)] == []
    assert caught.value.next_step


def test_a_key_is_found_by_its_first_digits_and_an_unknown_one_is_said_so(recording, sorter, store):
    key = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS)).key
    assert listing.find_key(store, key[:6]) == key
    with pytest.raises(JobNotFoundError):
        listing.find_key(store, "zz")


def test_a_sample_file_that_is_a_link_is_read_where_it_is(recording, sorter, tmp_path):
    target = (recording / "raw.mda").rename(tmp_path / "archive.mda")
    (recording / "raw.mda").symlink_to(target)
    body = ANSWER + "    assert recording.traces(0, 5).shape == (5, 4)\n"
    assert spikecrate.sort(recording, sorter=sorter(body + TWO_EVENTS)).status == "ran"


def test_a_dash_for_the_output_leaves_the_result_in_the_store_alone(recording, sorter, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS), output="-").output is None
    assert not (tmp_path / "-").exists()


def test_the_json_of_a_result_has_the_promised_fields(recording, sorter, tmp_path):
    result = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS), output=tmp_path / "copy")
    assert {
        *("key", "status", "folder", "sorter", "version", "recipe", "image", "runtime", "units", "events"),
        *("wall_s", "output"),
    } <= set(json.loads(json.dumps(result.as_dict())))


def test_the_forecast_names_what_is_new_against_the_nearest_result(recording, sorter, store, monkeypatch):
    name = sorter(ANSWER + TWO_EVENTS)
    monkeypatch.setattr(Here, "preview", lambda self, request: self.prepare(request, None))
    first = spikecrate.sort(recording, sorter=name)
    hit = forecast(SortRequest(recording=recording, sorter=name), store, Silent())
    assert hit.plan.action == "hit"
    seen = forecast(SortRequest(recording=recording, sorter=name, params={"value": 7}), store, Silent())
    assert seen.plan.action == "run"
    assert seen.plan.nearest == first.key
    assert seen.plan.reasons == ("parameters.value: 7.0 (was 1.0)",)
    assert seen.argv[:2] == [sys.executable, "-I"]
    assert list(store.work.iterdir()) == []
