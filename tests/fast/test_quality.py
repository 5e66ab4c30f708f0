"""The table of how good each sorter is: its figures, its failures, and the page that it is put into."""

from __future__ import annotations

import shutil
from dataclasses import asdict

import pytest

from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import catalogue
from spikecrate.cli import quality as report
from spikecrate.errors import OutputError, UsageError
from spikecrate.studies import quality
from spikecrate.studies.quality import Score

TRUE = """
from spikecrate_harness import mda
def sort(recording, parameters, resources):
    channels, times, labels = mda.read(recording.files[0].parent / "firings_true.mda")
    return {answer}
"""
"""A sorter that knows what is to be found."""
HALF = "times[labels == 1], labels[labels == 1]"
SCORE = Score(sorter="lab", version="1", recording="rec", channels=4, duration_s=60.0, true_units=3)
DONE = {
    "found_units": 5,
    "mean_accuracy": 0.91,
    "units_above": 3,
    "wall_s": 12.34,
    "peak_memory_bytes": 2**28,
    "runtime": "docker",
    "cores": 2,
}


def scores(recording, *names):
    known = catalogue()
    return list(
        quality.measure(
            [known[name] for name in names],
            {"rec": recording},
            runtime="host",
            progress=Silent(),
        )
    )


@pytest.mark.usefixtures("here")
def test_a_sorter_that_finds_everything_has_every_unit(recording, sorter):
    (score,) = scores(recording, sorter(TRUE.format(answer="times, labels")))
    assert (score.true_units, score.found_units, score.units_above) == (2, 2, 2)
    assert (score.mean_accuracy, score.failure) == (1.0, "")
    assert (score.runtime, score.channels, score.duration_s) == ("host", 4, 1.0)
    assert score.wall_s > 0


@pytest.mark.usefixtures("here")
def test_a_unit_that_is_not_found_counts_as_nothing(recording, sorter):
    (score,) = scores(recording, sorter(TRUE.format(answer=HALF)))
    assert (score.found_units, score.units_above, score.mean_accuracy) == (1, 1, 0.5)


@pytest.mark.usefixtures("here")
def test_a_sorter_that_fails_has_its_reason_and_the_next_is_measured(recording, sorter):
    sorter("def sort(recording, parameters, resources):\n    raise RuntimeError('no')\n", name="broken")
    sorter(TRUE.format(answer="times, labels"), name="picky", requires={"channels": 16})
    sorter(TRUE.format(answer="times, labels"), name="sound")
    failed, refused, sound = scores(recording, "broken", "picky", "sound")
    assert failed.failure.startswith("the sorter failed with exit code 1")
    assert "at least 16 channels" in refused.failure
    assert (failed.units_above, refused.units_above, sound.units_above) == (None, None, 2)


def test_a_recording_without_the_truth_is_refused_before_anything_runs(recording, sorter):
    (recording / "firings_true.mda").unlink()
    with pytest.raises(UsageError, match=r"firings_true\.mda"):
        scores(recording, sorter("raise RuntimeError"))


def test_two_recordings_of_one_name_are_refused(recording, sorter, tmp_path):
    """The table could not tell them apart."""
    named = [str(recording), str(shutil.copytree(recording, tmp_path / "other" / recording.name))]
    with pytest.raises(UsageError, match="the same name"):
        report.measure(sorter("raise RuntimeError"), named, "host", Silent(), toys=False)


@pytest.mark.usefixtures("here")
def test_the_toys_are_measured_besides_the_recordings_named_where_wanted(recording, sorter, monkeypatch):
    monkeypatch.setattr(quality, "toys", lambda *_: {"toy_easy": recording})
    name = sorter(TRUE.format(answer="times, labels"))
    for toys, expected in ((False, ["rec"]), (True, ["toy_easy", "rec"])):
        scores = report.measure(name, [str(recording)], "host", Silent(), toys=toys)
        assert [score.recording for score in scores] == expected


def test_the_tables_replace_what_stood_between_the_markers(tmp_path):
    page = tmp_path / "quality.md"
    page.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    worse = Score(**{**asdict(SCORE), **DONE, "sorter": "worse", "units_above": 1})
    failed = Score(**{**asdict(SCORE), "sorter": "failed", "failure": "needs | 16"})
    report.write_page([failed, worse, Score(**{**asdict(SCORE), **DONE})], str(page))
    text = page.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\n\n### rec: 4 channels, 60 s\n\n| sorter |")
    assert text.endswith(f"|\n\n{report.END}\nafter\n")
    assert "old" not in text
    rows = [line for line in text.splitlines() if line.startswith("| ")][2:]
    assert rows[0] == "| lab 1 | 3 | 5 | 0.91 | 3 | 12.3 s (docker, 2 cores) | 256.0 MiB |"
    assert [row.split()[1] for row in rows] == ["lab", "worse", "failed"]
    assert r"needs \| 16 |" in rows[2]


def test_a_page_without_the_markers_is_left_alone(tmp_path):
    page = tmp_path / "quality.md"
    page.write_text(f"{report.END} {report.BEGIN}")
    with pytest.raises(OutputError, match="has no line"):
        report.write_page([SCORE], str(page))
    assert page.read_text() == f"{report.END} {report.BEGIN}"
    with pytest.raises(OutputError, match="No such file"):
        report.write_page([SCORE], str(tmp_path / "nowhere.md"))


def test_every_recording_has_its_table(capsys):
    report.show_quality([Score(**{**asdict(SCORE), **DONE, "recording": name}) for name in ("one", "two")])
    shown = capsys.readouterr().out
    assert shown.index("one: 4 channels") < shown.index("two: 4 channels")
    assert shown.count("units above 0.8") == 2
