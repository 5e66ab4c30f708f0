"""The doctor itself: every line in its order, whatever one of them does; names that errors and pages point to."""

from __future__ import annotations

import ast
import json
import threading
from pathlib import Path

import pytest
from test_docs_true import DOCS, table

from spikecrate import errors
from spikecrate.cli import doctor as report
from spikecrate.cli.doctor import every_check
from spikecrate.doctor import doctor
from spikecrate.doctor.check import Check, fail, ok, warn

SOURCE = Path(__file__).parents[2] / "src" / "spikecrate"
ALL = every_check()
NAMES = [check.name for check in ALL]
OF_THE_MACHINE = {
    errors.EngineMissingError,
    errors.EngineDownError,
    errors.EnginePermissionError,
    errors.EngineError,
    errors.BaseImageMissingError,
    errors.ImageMissingError,
    errors.EnvironmentBuildError,
    errors.GpuMissingError,
    errors.StoreError,
    errors.DiskFullError,
    errors.DevContainerError,
    errors.HostPathError,
}


def check(name, verdict=None, look=lambda _: None, **rest):
    return Check(
        name=name,
        about="anything",
        look=look,
        judge=lambda _: ok("seen") if verdict is None else verdict,
        **rest,
    )


def told(*checks):
    return {
        line.name: line.verdict.state if line.verdict else f"needs {line.lacks}"
        for line in doctor.examine(checks)
    }


def test_every_name_is_there_once():
    assert len(set(NAMES)) == len(NAMES)


def test_a_check_stands_after_those_that_it_waits_for():
    seen = set()
    for one in ALL:
        assert {*one.needs, *one.after} <= seen, one.name
        seen.add(one.name)


def test_a_group_stands_together():
    groups = [name.partition(".")[0] for name in NAMES]
    assert len({*groups}) == sum(
        first != second for first, second in zip(["", *groups], groups, strict=False)
    )


def test_every_check_is_in_the_page_s_table_and_in_its_order():
    assert [(row[0], row[1]) for row in table(DOCS / "doctor.md", "## Checks")] == [
        (one.name, one.about) for one in ALL
    ]


def test_every_error_of_the_machine_names_a_check():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    naming = {kind for kind in kinds if getattr(kind, "doctor", "")}
    assert naming == OF_THE_MACHINE
    assert {kind.doctor for kind in naming} <= set(NAMES)


def test_every_error_that_names_another_check_names_one_that_exists():
    named = {
        keyword.value.value
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "doctor" and isinstance(keyword.value, ast.Constant)
    }
    assert len(named) > 5
    assert named <= {*NAMES, ""}


def test_an_error_says_which_check_explains_it():
    error = errors.EngineDownError("it is down")
    assert error.as_dict()["doctor"] == "spikecrate doctor --check docker.daemon"
    assert errors.EngineError("no", doctor="apptainer.runs").doctor == "apptainer.runs"
    assert "doctor" not in errors.UsageError("no").as_dict()
    assert errors.CommandError(["git"], 127, "").doctor == "machine.programs"


def test_lines_come_in_their_order_however_long_each_takes():
    later = threading.Event()
    checks = (check("a.slow", look=lambda _: later.wait()), check("a.fast", look=lambda _: later.set()))
    assert list(told(*checks)) == ["a.slow", "a.fast"]


def test_a_check_that_hangs_is_given_up_and_hides_nothing():
    never = threading.Event()
    hangs = check("a.hangs", look=lambda _: never.wait(), limit_s=0.05, stuck="kick it")
    lines = list(doctor.examine([hangs, check("a.needs", needs=("a.hangs",)), check("b.other")]))
    assert (lines[0].verdict.state, lines[0].verdict.fix) == ("fail", "kick it")
    assert (lines[1].verdict, lines[1].lacks) == (None, "a.hangs")
    assert lines[2].verdict.state == "ok"
    never.set()


def test_a_check_that_breaks_is_a_line_and_hides_nothing():
    def broken(_):
        message = "no such thing"
        raise KeyError(message)

    lines = list(doctor.examine([check("a.broken", look=broken), check("b.other")]))
    assert lines[0].verdict.state == "warn"
    assert "KeyError" in lines[0].verdict.message
    assert lines[1].verdict.state == "ok"


def test_a_disk_that_refuses_a_check_is_not_reported_as_a_fault_of_ours():
    def full(_):
        message = "No space left on device"
        raise OSError(message)

    (line,) = doctor.examine([check("a.full", look=full)])
    assert line.verdict.state == "warn"
    assert "No space left" in line.verdict.message
    assert "report" not in line.verdict.fix


def test_an_engine_that_refuses_a_check_is_told_with_its_own_next_step():
    def refused(_):
        message = "docker: no"
        raise errors.EngineError(message, next_step="docker info")

    (line,) = doctor.examine([check("a.refused", look=refused)])
    assert (line.verdict.state, line.verdict.fix) == ("fail", "docker info")


def test_a_check_without_what_it_needs_is_not_made():
    ends = check("a.ends", warn("nothing there", "make it", ends=True))
    assert told(ends, check("a.needs", needs=("a.ends",)))["a.needs"] == "needs a.ends"
    assert (
        told(check("a.warns", warn("less", "more")), check("a.needs", needs=("a.warns",)))["a.needs"] == "ok"
    )
    assert told(check("a.fails", fail("no", "yes")), check("b.after", after=("a.fails",)))["b.after"] == "ok"


def test_a_check_gets_what_those_before_it_saw_and_only_of_the_good():
    seen = {}
    told(
        check("a.good", look=lambda _: "something"),
        check("a.bad", fail("no", "yes"), look=lambda _: "nothing"),
        check("b.both", look=seen.update, needs=("a.good",), after=("a.bad",)),
    )
    assert seen == {"a.good": "something"}


def test_one_check_is_made_with_those_that_it_needs_and_no_other():
    assert [one.name for one in doctor.choose("docker.version")] == [
        "docker.installed",
        "docker.permission",
        "docker.daemon",
        "docker.version",
    ]
    assert {one.name for one in doctor.choose("display", ALL)} == {
        name for name in NAMES if name[:8] == "display."
    }
    assert doctor.choose("") == doctor.CHECKS


@pytest.mark.parametrize("word", ["docker.deamon", "dock", "."])
def test_a_check_that_does_not_exist_is_refused(word):
    with pytest.raises(errors.UsageError, match="there is no check"):
        doctor.choose(word)


def test_the_nearest_name_is_told():
    with pytest.raises(errors.UsageError, match=r"did you mean docker\.daemon"):
        doctor.choose("docker.deamon")


@pytest.fixture
def some():
    return [
        check("a.one"),
        check("a.two", warn("less", "do this")),
        check("b.three", fail("broken", "do that")),
        check("b.four", needs=("b.three",)),
    ]


def test_lines_are_printed_by_group_with_the_fix_below(some, capsys):
    assert report.lines(doctor.examine(some), to_json=False) == "fail"
    printed = capsys.readouterr().out
    assert [line.split() for line in printed.splitlines() if line] == [
        ["a"],
        ["ok", "a.one", "seen"],
        ["warn", "a.two", "less"],
        ["fix:", "do", "this"],
        ["b"],
        ["fail", "b.three", "broken"],
        ["fix:", "do", "that"],
        ["1", "ok,", "1", "warn,", "1", "fail"],
        ["skipped", "(needs", "b.three):", "b.four"],
    ]


def test_the_object_has_every_line_and_the_worst(some, capsys):
    report.lines(doctor.examine(some), to_json=True)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "state": "fail",
        "ok": 1,
        "warn": 1,
        "fail": 1,
        "checks": [
            {"name": "a.one", "state": "ok", "message": "seen", "fix": None},
            {"name": "a.two", "state": "warn", "message": "less", "fix": "do this"},
            {"name": "b.three", "state": "fail", "message": "broken", "fix": "do that"},
        ],
        "skipped": [{"name": "b.four", "needs": "b.three"}],
    }


def test_only_a_fail_is_a_fail():
    assert report.lines(doctor.examine([check("a.one")]), to_json=True) == "ok"
    assert report.lines(doctor.examine([check("a.two", warn("less", "more"))]), to_json=True) == "warn"
