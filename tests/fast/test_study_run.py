"""A study is run: each job once, whatever is killed, and a failed job stops no other."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
import study_main
from lab import ANSWER, TWO_EVENTS, Here, Notes

from spikecrate import api
from spikecrate._util.progress import Silent
from spikecrate.cli import main
from spikecrate.errors import (
    DiskFullError,
    ImageBuildError,
    OutputError,
    StoppedError,
    StudyInvalidError,
    UsageError,
)
from spikecrate.recordings import open_recording
from spikecrate.recordings.toy import write_toy
from spikecrate.steps.request import SortRequest
from spikecrate.store import open_store
from spikecrate.store.lock import Lock
from spikecrate.studies import work as work_module
from spikecrate.studies.actions import actions
from spikecrate.studies.attempts import Attempts
from spikecrate.studies.control import LOCK, cancel, log_of
from spikecrate.studies.definition import read_study
from spikecrate.studies.plan import freeze, load_plan
from spikecrate.studies.planning import make_plan
from spikecrate.studies.run import RunOptions, run_study
from spikecrate.studies.status import status_of
from spikecrate.studies.work import work

DEADLINE_S = 120


class Watcher:
    """Keeps what a run tells, and calls a function at each tick."""

    def __init__(self, at_tick=lambda _running: None):
        self.told, self.at_tick, self.todo = [], at_tick, None

    def begin(self, plan, hits, todo):  # noqa: ARG002
        self.todo = todo

    def ended(self, job):
        self.told.append(job)

    def tick(self, running):
        self.at_tick(running)


@pytest.fixture
def recordings(tmp_path):
    """Two recordings of a second that differ."""
    for number in range(2):
        write_toy(tmp_path / "data" / f"rec{number}", duration_s=1, num_units=2, seed=number)
    return tmp_path / "data"


@pytest.fixture
def counted(tmp_path, sorter):
    """Make a sorter that notes each of its runs, and then does as it is told."""

    def make(then=TWO_EVENTS, name="lab", **fields):
        note = f"    open({str(tmp_path / 'runs')!r}, 'a').write('x')\n"
        sorter(ANSWER + note + then, name, **fields)

    make.runs = lambda: (tmp_path / "runs").stat().st_size if (tmp_path / "runs").exists() else 0
    return make


def write(tmp_path, sorters="[lab]", more=""):
    path = tmp_path / "study.yaml"
    path.write_text(f"recordings: ['data/rec*']\nsorters: {sorters}\n{more}")
    return read_study(path)


def run(study, store, watcher=None, progress=None, **options):
    chosen = RunOptions(command=study_main.command, **options)
    return run_study(study, store, watcher or Watcher(), progress or Notes(), chosen)


def until(condition):
    """Wait for a condition, never for ever."""
    deadline = time.monotonic() + DEADLINE_S
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


@pytest.fixture
def submitter(tmp_path):
    """Start `study.run` as a process of its own; end it and its workers with the test."""
    children = []

    def start(*words):
        argv = [sys.executable, study_main.__file__, *words]
        child = subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()
    for attempt in Attempts(tmp_path / "study-run").read_all().values():
        if attempt.state == "running":
            try:
                os.kill(attempt.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


@pytest.mark.usefixtures("here", "recordings")
def test_every_job_runs_once_and_the_same_run_again_runs_none(tmp_path, store, counted):
    counted()
    study = write(tmp_path, "[lab, {sorter: lab, name: b, params: {value: 2}}]", "seeds: [5]\n")
    watcher = Watcher()
    found = run(study, store, watcher)
    assert found.counts == {"finished": 4}
    assert counted.runs() == 4
    assert sorted(job.index for job in watcher.told) == list(range(4))
    again = Watcher()
    assert run(study, store, again).counts == {"finished": 4}
    assert (counted.runs(), again.todo, again.told) == (4, 0, [])
    plan = load_plan(study.folder)
    assert "rec0: lab" in log_of(study.folder, plan, 0, store)
    # What `sort` asks for has the same key.
    one = api.sort(tmp_path / "data" / "rec1", sorter="lab", params={"value": 2}, seed=5, store=store.root)
    assert one.status == "cached"
    shutil.rmtree(study.folder / "logs")
    assert log_of(study.folder, plan, 3, store) == (one.folder / "log.txt").read_text()
    assert one.key == plan.jobs[3].key


@pytest.mark.usefixtures("here", "recordings")
def test_a_failed_job_stops_no_other_and_its_cause_is_told(tmp_path, store, counted, capsys):
    fails = "    assert recording.traces(0, 1)[0, 0] != FIRST, 'no good'\n" + TWO_EVENTS
    value = int(open_recording(tmp_path / "data" / "rec1").traces(0, 1)[0, 0])
    counted(fails.replace("FIRST", str(value)))
    study = write(tmp_path)
    found = run(study, store)
    assert found.counts == {"finished": 1, "failed": 1}
    (failed,) = [job for job in found.jobs if job.status == "failed"]
    assert (failed.index, failed.error.kind, failed.attempts) == (1, "JobFailedError", 1)
    assert failed.error.cause == "AssertionError: no good"
    # A sorter's own error is not tried again, unless asked for.
    assert run(study, store).counts == {"finished": 1, "failed": 1}
    assert counted.runs() == 2
    assert run(study, store, retry=True).jobs[1].attempts == 2
    assert counted.runs() == 3
    assert main.run(["study.status", str(study.path)]) == 0
    assert "AssertionError: no good" in capsys.readouterr().out
    assert main.run(["study.run", str(study.path)]) == 40


@pytest.mark.usefixtures("here", "recordings")
def test_a_time_limit_that_kills_is_told_and_retried_with_twice_the_time(tmp_path, store, counted):
    counted("    import time\n    time.sleep(3600)\n")
    study = write(tmp_path, more="resources: {time: 1}\n")
    found = run(study, store)
    assert {job.error.kind for job in found.jobs} == {"JobTimeoutError"}
    run(study, store, retry=True)
    attempts = Attempts(study.folder).read_all().values()
    assert {(attempt.number, attempt.timeout_s, attempt.memory_bytes) for attempt in attempts} == {
        (2, 2.0, None)
    }


@pytest.mark.usefixtures("here", "recordings")
def test_only_a_job_that_ran_out_of_memory_gets_more(tmp_path, store, counted):
    counted("    raise MemoryError\n")
    study = write(tmp_path, more="resources: {memory: 1G}\n")
    found = run(study, store)
    assert {job.error.kind for job in found.jobs} == {"JobMemoryError"}
    run(study, store, retry=True)
    attempts = Attempts(study.folder).read_all().values()
    assert {(attempt.memory_bytes, attempt.timeout_s) for attempt in attempts} == {(2 * 2**30, None)}


@pytest.mark.usefixtures("here")
def test_a_recording_that_vanished_fails_alone_and_its_result_outlives_it(
    tmp_path, store, counted, recordings
):
    counted()
    study = write(tmp_path)
    freeze(make_plan(study, store, Silent()), study.folder)
    work(study.folder, 0, store, Silent())
    shutil.rmtree(recordings / "rec0")
    shutil.rmtree(recordings / "rec1")
    found = run(study, store)
    assert [job.status for job in found.jobs] == ["finished", "failed"]
    assert found.jobs[1].error.kind == "RecordingNotFoundError"
    with pytest.raises(StudyInvalidError, match=r"line 1: .* matches nothing"):
        run(study, store, replan=True)


@pytest.mark.usefixtures("here")
def test_a_recording_that_changed_since_the_plan_is_told(tmp_path, store, counted, recordings):
    counted()
    study = write(tmp_path)
    freeze(make_plan(study, store, Silent()), study.folder)
    shutil.rmtree(recordings / "rec0")
    write_toy(recordings / "rec0", duration_s=1, num_units=2, seed=99)
    found = run(study, store)
    assert [job.status for job in found.jobs] == ["failed", "finished"]
    assert "has changed since the plan" in found.jobs[0].error.message
    assert run(study, store, replan=True).counts == {"finished": 2}
    assert counted.runs() == 2


@pytest.mark.usefixtures("here", "recordings")
def test_a_sorter_that_changed_since_the_plan_is_told_before_any_job_runs(tmp_path, store, counted):
    counted()
    study = write(tmp_path)
    freeze(make_plan(study, store, Silent()), study.folder)
    counted(TWO_EVENTS + "    # another\n")
    with pytest.raises(UsageError, match="the sorter lab has changed since the plan"):
        run(study, store)
    assert counted.runs() == 0
    assert run(study, store, replan=True).counts == {"finished": 2}


@pytest.mark.usefixtures("here")
def test_a_recording_that_cannot_be_opened_has_its_problem_in_the_plan(tmp_path, store, counted, recordings):
    counted()
    (recordings / "rec1" / "raw.mda").write_bytes(b"no")
    study = write(tmp_path)
    planned = actions(make_plan(study, store, Silent()), study.folder, store)
    assert [job.action for job in planned.jobs] == ["run", "none"]
    assert planned.jobs[1].reason.startswith("RecordingFormatError: ")
    assert run(study, store).counts == {"finished": 1, "failed": 1}
    with pytest.raises(UsageError, match="job 1 cannot run"):
        work(study.folder, 1, store, Silent())


@pytest.mark.usefixtures("here", "recordings")
def test_a_sorter_without_an_image_fails_its_jobs_at_once_and_the_others_run(
    tmp_path, store, counted, monkeypatch
):
    counted()
    counted(name="other")
    built = []
    prepare = Here.prepare

    def refuse(self, request, progress):
        built.append(request.name)
        if request.name == "lab":
            message = "no such package"
            raise ImageBuildError(message, next_step="mend it")
        return prepare(self, request, progress)

    monkeypatch.setattr(Here, "prepare", refuse)
    found = run(write(tmp_path, "[lab, other]"), store)
    assert found.counts == {"finished": 2, "failed": 2}
    assert {job.error.kind for job in found.jobs if job.error} == {"ImageBuildError"}
    assert built == ["lab", "other"]
    assert counted.runs() == 2


@pytest.mark.usefixtures("here", "recordings")
def test_a_full_disk_is_told_as_such(tmp_path, store, counted, monkeypatch):
    counted()
    study = write(tmp_path)
    freeze(make_plan(study, store, Silent()), study.folder)

    def full(*_args, **_options):
        message = "no space"
        raise DiskFullError(message, next_step="free some space")

    monkeypatch.setattr(work_module.api, "find_or_run", full)
    with pytest.raises(DiskFullError):
        work(study.folder, 0, store, Silent())
    state = status_of(load_plan(study.folder), study.folder, store).jobs[0]
    assert (state.status, state.error.kind) == ("failed", "DiskFullError")


@pytest.mark.usefixtures("here", "recordings")
def test_a_second_run_of_a_study_is_refused_while_the_first_is_alive(tmp_path, store, counted):
    counted()
    study = write(tmp_path)
    study.folder.mkdir()
    with (
        Lock(study.folder / LOCK),
        pytest.raises(UsageError, match=f"process {os.getpid()} on .* runs this study"),
    ):
        run(study, store)
    assert counted.runs() == 0


@pytest.mark.usefixtures("here", "recordings")
def test_two_studies_over_one_store_run_a_common_job_once(tmp_path, store, counted, submitter):
    counted("    import time\n    time.sleep(1)\n" + TWO_EVENTS)
    study = write(tmp_path)
    (tmp_path / "twin.yaml").write_text(study.path.read_text())
    twin = submitter("study.run", "twin.yaml")
    assert run(study, store).counts == {"finished": 2}
    assert twin.wait(DEADLINE_S) == 0
    assert counted.runs() == 2


BLOCKED = """    import pathlib, time
    pathlib.Path({started!r}).touch()
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.02)
"""


@pytest.fixture
def blocked(tmp_path, counted):
    """Make a sorter that waits for a file."""
    started, go = tmp_path / "started", tmp_path / "go"
    counted(BLOCKED.format(started=str(started), go=str(go)) + TWO_EVENTS)
    return started, go


@pytest.mark.usefixtures("here", "recordings")
def test_after_a_kill_of_the_submitter_its_job_goes_on_and_the_next_run_runs_nothing_twice(
    tmp_path, store, counted, blocked, submitter
):
    started, go = blocked
    study = write(tmp_path)
    child = submitter("study.run", "study.yaml", "--jobs", "1")
    until(started.exists)
    child.kill()
    child.wait()
    plan = load_plan(study.folder)
    assert status_of(plan, study.folder, store).counts == {"running": 1, "waiting": 1}
    watcher = Watcher(lambda running: go.touch() if 0 in running else None)
    assert run(study, store, watcher, jobs=2).counts == {"finished": 2}
    assert watcher.todo == 1
    assert sorted(job.index for job in watcher.told) == [0, 1]
    assert counted.runs() == 2


@pytest.mark.usefixtures("here", "recordings")
def test_a_killed_worker_is_told_and_runs_again(tmp_path, store, counted, blocked):
    _started, go = blocked
    study = write(tmp_path)
    killed = []

    def kill(running):
        for key, attempt in Attempts(study.folder).read_all().items():
            if not killed and running and attempt.state == "running" and counted.runs():
                killed.append(key)
                os.kill(attempt.pid, signal.SIGKILL)
                go.touch()

    found = run(study, store, Watcher(kill), jobs=1)
    assert found.counts == {"finished": 1, "died": 1}
    assert [job.key for job in found.jobs if job.status == "died"] == killed
    assert run(study, store).counts == {"finished": 2}
    assert [job.attempts for job in load_status(study, store).jobs if job.key in killed] == [2]


def load_status(study, store):
    return status_of(load_plan(study.folder), study.folder, store)


@pytest.mark.usefixtures("here", "recordings")
def test_an_interrupted_run_stops_its_jobs_and_goes_on_later(tmp_path, store, blocked):
    started, go = blocked
    study = write(tmp_path)

    def interrupt(running):
        if running and started.exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, store, Watcher(interrupt), jobs=1)
    assert load_status(study, store).counts == {"waiting": 1, "cancelled": 1}
    assert list(store.work.iterdir()) == []
    go.touch()
    assert run(study, store).counts == {"finished": 2}


@pytest.mark.usefixtures("here", "recordings")
def test_cancel_stops_the_submitter_and_its_jobs(tmp_path, store, blocked, submitter):
    study = write(tmp_path)
    child = submitter("study.run", "study.yaml", "--jobs", "1")
    until(blocked[0].exists)
    assert cancel(study.folder) == 1
    assert child.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert load_status(study, store).counts == {"waiting": 1, "cancelled": 1}
    assert cancel(study.folder) == 0


@pytest.mark.usefixtures("here", "recordings")
def test_cancel_stops_jobs_that_a_killed_submitter_has_left(tmp_path, store, blocked, submitter):
    study = write(tmp_path)
    child = submitter("study.run", "study.yaml", "--jobs", "1")
    until(blocked[0].exists)
    child.kill()
    child.wait()
    assert cancel(study.folder) == 1
    assert load_status(study, store).counts == {"waiting": 1, "cancelled": 1}


@pytest.mark.usefixtures("here", "recordings")
def test_an_interrupt_stops_jobs_that_a_killed_submitter_has_left_too(tmp_path, store, blocked, submitter):
    study = write(tmp_path)
    child = submitter("study.run", "study.yaml", "--jobs", "1")
    until(blocked[0].exists)
    child.kill()
    child.wait()

    def interrupt(running):
        if running:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, store, Watcher(interrupt), jobs=1)
    assert "running" not in load_status(study, store).counts
    assert list(store.work.iterdir()) == []


@pytest.mark.usefixtures("here", "recordings")
def test_a_stopped_worker_is_no_failure(tmp_path, store, counted, monkeypatch):
    counted()
    study = write(tmp_path)
    freeze(make_plan(study, store, Silent()), study.folder)

    def stop(*_args, **_options):
        raise StoppedError(signal=signal.SIGTERM)

    monkeypatch.setattr(work_module.api, "find_or_run", stop)
    with pytest.raises(StoppedError):
        work(study.folder, 0, store, Silent())
    assert load_status(study, store).jobs[0].status == "cancelled"


@pytest.mark.usefixtures("here", "recordings")
def test_a_corrupt_result_is_set_aside_and_runs_again(tmp_path, store, counted):
    counted()
    study = write(tmp_path)
    run(study, store)
    key = load_plan(study.folder).jobs[1].key
    (store.result(key) / "firings.mda").write_bytes(b"no")
    notes = Notes()
    assert run(study, store, progress=notes).counts == {"finished": 2}
    assert counted.runs() == 3
    assert any("is corrupt" in note for note in notes.notes)


@pytest.mark.usefixtures("here", "recordings")
def test_the_plan_counts_until_the_file_says_something_else(tmp_path, store, counted):
    counted()
    study = write(tmp_path)
    run(study, store)
    write_toy(tmp_path / "data" / "rec3", duration_s=1, num_units=2, seed=3)
    notes = Notes()
    assert run(study, store, progress=notes).counts == {"finished": 2}
    assert any("--replan" in note for note in notes.notes)
    assert run(study, store, replan=True).counts == {"finished": 3}
    assert run(write(tmp_path, more="seeds: [1]\n"), store).counts == {"finished": 3}
    assert counted.runs() == 6


@pytest.mark.usefixtures("here", "recordings")
def test_the_plan_tells_what_becomes_of_each_job_and_why(tmp_path, store, counted, capsys):
    counted()
    counted(name="other")
    api.sort(tmp_path / "data" / "rec0", sorter="lab", store=store.root)
    study = write(tmp_path, "[lab, {sorter: lab, name: b, params: {value: 3}}, other]")
    found = actions(make_plan(study, store, Silent()), study.folder, store)
    assert [(job.action, job.reason) for job in found.jobs[:4]] == [
        ("hit", "the store has the result"),
        ("run", "parameters.value: 3.0 (was 1.0)"),
        ("run", "the store has no result of other on this recording"),
        ("run", "the store has no result on this recording"),
    ]
    assert found.totals["hit"] == 1
    assert found.totals["run"] == len(found.to_run) == 5
    assert main.run(["study.plan", str(study.path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [job["key"] for job in printed["jobs"]] == [job.key for job in found.jobs]
    assert not study.folder.exists()
    assert counted.runs() == 1


@pytest.mark.usefixtures("here")
def test_keys_in_bulk_are_the_keys_of_single_requests(tmp_path, store, counted, recordings):
    counted(cores_change_result=True)
    study = write(tmp_path, "[{sorter: lab, params: {value: 7}}, lab]", "seeds: [5]\nresources: {cores: 1}\n")
    plan = make_plan(study, store, Silent())
    for job in plan.jobs:
        request = SortRequest(
            recording=recordings / f"rec{job.recording}",
            sorter="lab",
            params=[{"value": 7}, {}][job.variant],
            seed=5,
            cores=1,
        )
        assert request.job(store, Silent()).key == job.key


@pytest.mark.usefixtures("here")
def test_each_group_of_a_recording_is_a_job(tmp_path, store, counted, recordings):
    counted()
    shutil.rmtree(recordings)
    write_toy(recordings / "rec", duration_s=1, num_units=2, num_channels=8)
    places = [[0, 20 * channel] if channel < 4 else [5000, 20 * channel] for channel in range(8)]
    lines = "".join(f"{x},{y}\n" for x, y in places)
    (recordings / "rec" / "geom.csv").write_text(lines)
    (tmp_path / "study.yaml").write_text("recordings: [{path: data/rec, by_group: true}]\nsorters: [lab]\n")
    study = read_study(tmp_path / "study.yaml")
    assert run(study, store).counts == {"finished": 2}
    plan = load_plan(study.folder)
    assert [(one.channels, one.places) for one in plan.recordings] == [(4, [0, 1, 2, 3]), (4, [4, 5, 6, 7])]
    assert [one.name.partition(":")[0] for one in plan.recordings] == ["rec", "rec"]


def test_a_study_folder_inside_a_recording_is_refused(toy, tmp_path, store, counted):
    counted()
    inside = shutil.copytree(toy, tmp_path / "rec")
    (inside / "study.yaml").write_text("recordings: [.]\nsorters: [lab]\n")
    with pytest.raises(UsageError, match="inside the recording"):
        make_plan(read_study(inside / "study.yaml"), store, Silent())


def test_the_state_of_an_attempt_is_judged_by_its_process_or_by_its_age(tmp_path):
    attempts = Attempts(tmp_path)
    with attempts.running("a" * 64) as attempt:
        assert attempts.is_alive("a" * 64, attempt)
        assert not attempts.is_alive("a" * 64, replace(attempt, pid_started=attempt.pid_started + 1))
        elsewhere = replace(attempt, host="another")
        assert attempts.is_alive("a" * 64, elsewhere)
        old = time.time() - 3600
        os.utime(attempts.folder / ("a" * 64), (old, old))
        assert not attempts.is_alive("a" * 64, elsewhere)
    assert attempts.read("b" * 64) is None
    (attempts.folder / ("b" * 64)).write_text("{")
    assert attempts.read("b" * 64) is None


@pytest.mark.usefixtures("here", "recordings")
def test_a_failure_that_the_store_kept_counts_where_the_worker_died_after_it(tmp_path, store, counted):
    counted("    raise ValueError('late')\n")
    study = write(tmp_path)
    freeze(make_plan(study, store, Silent()), study.folder)
    key = load_plan(study.folder).jobs[0].key
    attempts = Attempts(study.folder)
    with attempts.running(key) as begun:
        pass
    dead = replace(begun, pid_started=0)
    attempts.write(key, dead)
    assert load_status(study, store).jobs[0].status == "died"
    with pytest.raises(Exception, match="failed with exit code"):
        api.sort(tmp_path / "data" / "rec0", sorter="lab", cores=1, store=store.root)
    state = load_status(study, store).jobs[0]
    assert (state.status, state.error.cause) == ("failed", "ValueError: late")
    attempts.write(key, replace(dead, started="9999"))
    assert load_status(study, store).jobs[0].status == "died"


def test_a_plan_that_is_missing_or_damaged_is_told(tmp_path):
    with pytest.raises(UsageError, match="has not run"):
        load_plan(tmp_path)
    for text in ("{", "[]", '{"schema": 99}', '{"schema": 1}'):
        (tmp_path / "plan.json").write_text(text)
        with pytest.raises(Exception, match=r"plan\.json"):
            load_plan(tmp_path)


@pytest.mark.usefixtures("recordings")
def test_the_commands_refuse_with_the_line_the_number_or_the_next_step(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def refused(*words):
        code = main.run(list(words))
        return code, capsys.readouterr().err.splitlines()

    assert main.run(["study.new", "data"]) == 0
    assert refused("study.new", "data")[0] == OutputError.exit_code
    for name in ("status", "cancel", "outcome"):
        code, lines = refused(f"study.{name}", "study.yaml")
        assert (code, lines[-1]) == (2, "next: spikecrate study.run STUDY")
    freeze(make_plan(read_study(tmp_path / "study.yaml"), open_store(), Silent()), tmp_path / "study-run")
    assert refused("study.logs", "study.yaml", "9")[1][0] == "spikecrate: the plan has no job 9; it has 2"
    assert "job 0 has not run" in refused("study.logs", "study.yaml", "0")[1][0]
    assert refused("study.work", "study.yaml") == (
        2,
        ["spikecrate: --index is missing", "next: name the job: --index 0"],
    )
    assert (
        refused("study.work", "study.yaml", "--index", "-1")[1][0]
        == "spikecrate: --index -1: the plan has 2 jobs"
    )
    (tmp_path / "bad.yaml").write_text("recordings: [a]\nsorters: [ms44]\nfoo: 1\nseed: 2\n")
    code, lines = refused("study.run", "bad.yaml")
    assert code == 3
    assert [line.partition(":")[0] for line in lines] == ["spikecrate", "line 3", "line 4", "next"]
    (tmp_path / "gone.yaml").write_text("recordings: [gone]\nsorters: [ms4]\n")
    code, lines = refused("study.run", "gone.yaml")
    assert (code, lines[0]) == (
        3,
        f"spikecrate: {tmp_path}/gone.yaml: line 1: {tmp_path}/gone does not exist",
    )
    assert not (tmp_path / "gone-run").exists()
