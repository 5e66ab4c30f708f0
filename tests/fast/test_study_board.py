"""What a user sees while a study runs, and of its plan and its state."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from spikecrate._util.progress import Terminal
from spikecrate.cli import show_study, study_board
from spikecrate.cli.study_board import Board
from spikecrate.studies.actions import Action, Actions
from spikecrate.studies.outcome import OutcomeError
from spikecrate.studies.status import JobStatus, StudyStatus


class Plan(SimpleNamespace):
    """As much of a plan as a board shows."""

    def title(self, index):
        return f"rec{index}: ms4"


PLAN = Plan(name="toys", jobs=[SimpleNamespace(wall_s=60.0) for _ in range(30)])
ERROR = OutcomeError(kind="JobFailedError", message="the sorter failed", cause="ValueError: \x1b[2Jno")


def job(index, status, error=None):
    return JobStatus(
        index=index, key="a" * 64, title=PLAN.title(index), status=status, attempts=1, error=error
    )


def test_in_a_pipe_each_job_that_ends_is_a_line(capsys):
    board = Board(Terminal())
    board.begin(PLAN, hits=10, todo=20)
    board.tick([0, 1])
    board.ended(job(0, "finished"))
    board.ended(job(1, "failed", ERROR))
    board.close()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "toys: 30 jobs, 20 to run, 10 have ended before"
    assert lines[1].startswith("1 of 20: job 0 finished in 0:00: rec0: ms4")
    assert lines[2].startswith("2 of 20: job 1 failed in 0:00: rec1: ms4: JobFailedError: ValueError: ")
    assert "\x1b" not in "".join(lines)


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(study_board, "is_terminal", lambda _stream: True)
    monkeypatch.setattr(study_board, "REDRAW_S", -1)


@pytest.mark.usefixtures("terminal")
def test_on_a_terminal_one_table_is_redrawn_in_its_place(capsys):
    board = Board(Terminal())
    board.begin(PLAN, hits=0, todo=30)
    board.tick(range(20))
    first = capsys.readouterr().err
    _note, *lines = first.removesuffix("\n").split("\n")
    rows = [line.removeprefix("\r\x1b[K") for line in lines]
    assert rows[0].startswith("0 of 30 (none ended yet); 20 running")
    assert rows[1].split() == ["0", "rec0:", "ms4", "0:00", "of", "about", "1:00"]
    assert rows[-1] == "  … and 8 more"
    board.tick([3])
    assert capsys.readouterr().err.startswith(f"\r\x1b[{len(rows)}A\x1b[J")
    board.ended(job(3, "finished"))
    assert capsys.readouterr().err.startswith("\r\x1b[2A\x1b[J")
    board.tick([4])
    board.close()
    assert capsys.readouterr().err.endswith("\r\x1b[2A\x1b[J")


@pytest.mark.usefixtures("terminal")
def test_quiet_shows_nothing(capsys):
    board = Board(Terminal(quiet=True))
    board.begin(PLAN, hits=0, todo=30)
    board.tick([0])
    board.ended(job(0, "finished"))
    board.close()
    assert capsys.readouterr().err == ""


def test_the_state_names_every_job_that_needs_a_step_and_the_step(capsys):
    states = [job(0, "finished"), job(1, "failed", ERROR), job(2, "died"), job(3, "waiting")]
    states.append(JobStatus(index=4, key=None, title="rec4: ms4", status="failed", error=ERROR))
    show_study.show_status(StudyStatus(name="toys", folder="/x", jobs=tuple(states)))
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0] == "toys: 5 jobs: 1 finished, 1 waiting, 2 failed, 1 died"
    assert [line.split()[:2] for line in lines[3:6]] == [["1", "failed"], ["2", "died"], ["4", "failed"]]
    assert "\x1b" not in out
    assert [line.partition(":")[0] for line in lines[6:]] == ["next"] * 3


def test_the_plan_has_totals_of_what_runs_once(capsys):
    shared = {"recording": "rec", "variant": "ms4", "seed": 0, "reason": "why"}
    known = {"memory_bytes": 2**30, "wall_s": 60.0, "disk_bytes": 2**20}
    unknown = dict.fromkeys(known)
    found = Actions(
        name="toys",
        cores=2,
        jobs=(
            Action(index=0, key="a", action="hit", **shared, **known),
            Action(index=1, key="b", action="run", **shared, **known),
            Action(index=2, key="b", action="run", **shared, **known),
            Action(index=3, key="c", action="run", **shared, **unknown),
            Action(index=4, key=None, action="none", **shared, **unknown),
        ),
    )
    show_study.show_plan(found)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3:] == [
        "5 jobs: 1 cache hit, 3 to run, 1 cannot run",
        "to run: about 1:00 one after the other with 2 cores, up to 1.0 GiB of memory a job, 1.0 MiB of disk",
        "1 of them have no forecast: their sorters have no measured run",
    ]
