"""A tool that gives up says why: in the record, in Python, on the command line, and at every cache hit."""

from __future__ import annotations

import json
import shutil

import pytest
from lab import ANSWER, TWO_EVENTS

import spikecrate
from spikecrate.cli.main import run
from spikecrate.errors import ResultInvalidError
from spikecrate.steps.report import read_report
from spikecrate.store import open_store

GIVES_UP = (
    "from spikecrate_harness.answer import NothingFoundError\n"
    + ANSWER
    + "    raise NothingFoundError('3 events, 10 are needed')\n"
)
WARNS = ANSWER + "    resources.warn('channel 2 is silent')\n" + TWO_EVENTS
EMPTY = ANSWER + "    return np.empty(0), np.empty(0)\n"

pytestmark = pytest.mark.usefixtures("here")


@pytest.mark.parametrize(
    ("body", "units", "warnings"),
    [
        (GIVES_UP, 0, ["no units found: 3 events, 10 are needed"]),
        (WARNS, 2, ["channel 2 is silent"]),
        (EMPTY, 0, ["no units found"]),
        (ANSWER + TWO_EVENTS, 2, []),
    ],
)
def test_a_result_carries_its_warnings_and_so_does_every_cache_hit(
    recording, sorter, tmp_path, body, units, warnings
):
    name = sorter(body)
    first = spikecrate.sort(recording, sorter=name, output=tmp_path / "copy")
    again = spikecrate.sort(recording, sorter=name)
    loaded = spikecrate.load(tmp_path / "copy")
    assert [result.status for result in (first, again, loaded)] == ["ran", "cached", "loaded"]
    for result in (first, again, loaded):
        assert result.record["units"] == units
        assert result.warnings == result.record["warnings"] == result.as_dict()["warnings"] == warnings


def test_the_log_ends_with_the_reason(recording, sorter):
    result = spikecrate.sort(recording, sorter=sorter(GIVES_UP))
    last = (result.folder / "log.txt").read_text().splitlines()[-1]
    assert last == "warning: no units found: 3 events, 10 are needed"


def test_the_command_line_prints_warnings_last_and_again_at_a_cache_hit(recording, sorter, capsys):
    words = ["sort", str(recording), "--sorter", sorter(GIVES_UP), "--output", "-"]
    for _ in range(2):
        assert run(words) == 0
        assert capsys.readouterr().out.splitlines()[-1] == "warning: no units found: 3 events, 10 are needed"
    assert run([*words, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["status"], found["warnings"]) == ("cached", ["no units found: 3 events, 10 are needed"])
    assert run(["job.show", found["key"]]) == 0
    assert "no units found: 3 events, 10 are needed" in capsys.readouterr().out


def test_of_several_recordings_each_warning_names_its_own(recording, sorter, tmp_path, capsys):
    other = shutil.copytree(recording, tmp_path / "other")
    assert run(["sort", str(recording), str(other), "--sorter", sorter(EMPTY), "--output", "-"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for path in (recording, other):
        assert f"warning: {path}: no units found" in lines


def test_a_note_of_an_import_and_of_the_job_after_it_is_shown_once(recording, sorter, monkeypatch, capsys):
    def import_and_open(path, *, progress, **_options):
        progress.note("the store is small")
        return spikecrate.open_recording(path)

    monkeypatch.setattr("spikecrate.steps.opening.open_any", import_and_open)
    monkeypatch.setattr("spikecrate.steps.run.concerns", lambda _store: ["the store is small"])
    assert run(["sort", str(recording), "--sorter", sorter(ANSWER + TWO_EVENTS), "--output", "-"]) == 0
    assert capsys.readouterr().err.count("the store is small") == 1


def test_a_result_of_before_there_were_warnings_has_none(recording, sorter):
    result = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    del result.record["warnings"]
    assert result.warnings == result.as_dict()["warnings"] == []


def test_warnings_do_not_make_two_jobs_differ(recording, sorter):
    from spikecrate.steps.diff import difference
    from spikecrate.store import results

    keys = [spikecrate.sort(recording, sorter=sorter(body)).key for body in (WARNS, ANSWER + TWO_EVENTS)]
    store = open_store()
    found = difference(*(results.find(store, key, pytest.fail) for key in keys), store)
    assert found.equal
    assert not [line for line in found.environment if "warning" in line]


@pytest.mark.parametrize("warnings", ["text", [1], {"a": "b"}, None, [["text"]]])
def test_warnings_of_a_tool_that_are_no_list_of_texts_are_refused(tmp_path, warnings):
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"warnings": warnings}))
    with pytest.raises(ResultInvalidError, match="warnings that are not a list of texts"):
        read_report(path)
