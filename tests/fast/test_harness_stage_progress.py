"""StageProgress: a line at every tenth of a stage, and no more."""

from __future__ import annotations

import numpy as np
import pytest

from spikecrate_harness.stage_progress import StageProgress

TENTHS = [f"sorting: {tenth}0%" for tenth in range(1, 11)]


def lines(capsys):
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("steps", [10, 11, 99, 1000])
def test_every_tenth_is_told_once(steps, capsys):
    assert list(StageProgress(range(steps), desc="sorting")) == list(range(steps))
    assert lines(capsys) == TENTHS


def test_few_steps_tell_few_lines(capsys):
    list(StageProgress("abc", desc="sorting"))
    assert lines(capsys) == ["sorting: 30%", "sorting: 60%", "sorting: 100%"]


def test_an_array_is_gone_through_as_a_list_is(capsys):
    assert list(StageProgress(np.arange(2), desc="sorting")) == [0, 1]
    assert lines(capsys) == ["sorting: 50%", "sorting: 100%"]


def test_what_has_no_length_is_told_by_its_total(capsys):
    list(StageProgress(iter("ab"), desc="sorting", total=2, leave=False, ncols=66))
    assert lines(capsys) == ["sorting: 50%", "sorting: 100%"]


def test_steps_are_counted_without_anything_to_go_through(capsys):
    stage = StageProgress(desc="sorting (no parallelization)", total=4)
    stage.update()
    stage.update(2)
    # SpikeInterface raises it when it finds more to do.
    stage.total = 8
    stage.update(5)
    stage.close()
    assert lines(capsys) == ["sorting: 20%", "sorting: 70%", "sorting: 100%"]


def test_a_total_that_was_too_small_ends_at_a_hundred(capsys):
    list(StageProgress(range(3), desc="sorting", total=1))
    assert lines(capsys) == ["sorting: 100%"]
