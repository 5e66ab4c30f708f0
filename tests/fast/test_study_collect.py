"""The outcome of a study: counts against the truth, computed once for each result."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from lab import Notes

from spikecrate import api
from spikecrate._util.progress import Silent
from spikecrate.cli import main
from spikecrate.recordings import open_recording
from spikecrate.recordings.toy import write_toy
from spikecrate.sortings import classify, compare, unit_quality
from spikecrate.studies import collect as collect_module
from spikecrate.studies.collect import collect
from spikecrate.studies.definition import read_study
from spikecrate.studies.outcome import OutcomeDocument
from spikecrate.studies.plan import freeze
from spikecrate.studies.planning import make_plan
from spikecrate.studies.quality import truth_of
from spikecrate_harness.traces import open_traces

HALF = """
import numpy as np
def sort(recording, parameters, resources):
    times, labels = np.load({path!r})
    kept = np.arange(len(times)) % 2 < parameters["value"]
    return times[kept], labels[kept]
"""
"""A sorter that finds every true spike, or with value 1 every other one."""


@pytest.fixture
def study(tmp_path, sorter):
    """Two variants of a sorter on a recording with truth and one without."""
    known = write_toy(tmp_path / "set" / "known", duration_s=2, num_units=3)
    unknown = shutil.copytree(known, tmp_path / "set" / "unknown")
    (unknown / "firings_true.mda").unlink()
    # Another content, so that its jobs are others.
    samples = (unknown / "raw.mda").read_bytes()
    (unknown / "raw.mda").write_bytes(samples[:-2] + b"\x01\x00")
    truth = truth_of(open_recording(known))
    np.save(tmp_path / "truth.npy", [truth.times, truth.labels])
    sorter(HALF.format(path=str(tmp_path / "truth.npy")))
    text = (
        "recordings: [{path: set/known, exhaustive: true, tags: [a]}, set/unknown]\n"
        "sorters: [{sorter: lab, name: all, params: {value: 2}}, {sorter: lab, name: half}, ms4]\n"
    )
    (tmp_path / "study.yaml").write_text(text)
    return read_study(tmp_path / "study.yaml")


def sort_all(study, store):
    for recording in study.recordings:
        for value in (2, 1):
            api.sort(recording.path, sorter="lab", params={"value": value}, cores=1, store=store.root)


@pytest.mark.usefixtures("here")
def test_the_scores_are_those_of_compare_and_classify(study, store):
    sort_all(study, store)
    plan = make_plan(study, store, Silent())
    found = collect(plan, study.folder, store, Silent())
    assert OutcomeDocument.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    recording = open_recording(study.recordings[0].path)
    truth = truth_of(recording)
    assert [job.status for job in found.jobs] == ["finished", "finished", "waiting"] * 2
    for job, value in zip(found.jobs[:2], (2, 1), strict=True):
        done = api.sort(recording, sorter="lab", params={"value": value}, cores=1, store=store.root)
        comparison = compare(truth, done.sorting)
        for score, assigned, best in zip(job.scores, comparison.assigned, comparison.best, strict=True):
            assert (score.unit, score.found, score.best) == (assigned.unit, assigned.found, best.found)
            assert (score.matched, score.missed, score.extra) == (
                assigned.matches,
                assigned.misses,
                assigned.false_positives,
            )
            assert score.accuracy == pytest.approx(assigned.accuracy, abs=1e-6)
            assert score.best_recall == pytest.approx(best.recall, abs=1e-6)
        classes = classify(comparison, exhaustive=True)
        assert [unit.unit for unit in job.found if "well_detected" in unit.classes] == list(
            classes.well_detected
        )
        assert [unit.unit for unit in job.found if "bad" in unit.classes] == list(classes.bad)
        assert (job.wall_s, job.cores, job.runtime) == (done.record["wall_s"], 1, "host")
    assert [score.accuracy for score in found.jobs[0].scores] == [1.0] * 3
    assert max(score.recall for score in found.jobs[1].scores) < 0.7
    quality = unit_quality(open_traces(recording.layout, recording.files), truth)
    assert [unit.snr for unit in found.recordings[0].true_units] == [round(one.snr, 6) for one in quality]
    assert (found.recordings[0].tags, found.recordings[0].study_set) == (("a",), "set")


@pytest.mark.usefixtures("here")
def test_without_truth_jobs_are_compared_with_each_other(study, store):
    sort_all(study, store)
    found = collect(make_plan(study, store, Silent()), study.folder, store, Silent())
    assert found.recordings[1].true_units is None
    assert [job.scores for job in found.jobs[3:5]] == [None, None]
    (pair,) = found.agreements
    assert (pair.first, pair.second) == (3, 4)
    assert 0.4 < pair.overall < 0.6


@pytest.mark.usefixtures("here")
def test_a_second_outcome_reads_nothing_and_a_changed_truth_or_option_is_compared_anew(
    study, store, monkeypatch
):
    sort_all(study, store)
    plan = make_plan(study, store, Silent())
    first = collect(plan, study.folder, store, Silent())

    def refuse(*_args, **_options):
        raise AssertionError

    with monkeypatch.context() as patch:
        for name in ("read_firings", "read_truth", "compare", "agree", "open_planned"):
            patch.setattr(collect_module, name, refuse)
        again = collect(plan, study.folder, store, Silent())
    assert (again.jobs, again.recordings, again.agreements) == (
        first.jobs,
        first.recordings,
        first.agreements,
    )
    path = study.path.parent / "set" / "known" / "firings_true.mda"
    shutil.copyfile(store.result(first.jobs[1].key) / "firings.mda", path)
    changed = collect(plan, study.folder, store, Silent())
    assert [score.accuracy for score in changed.jobs[1].scores] == [1.0] * 3
    study.path.write_text(study.path.read_text() + "comparison: {truth_offset_ms: 5}\n")
    shifted = collect(make_plan(read_study(study.path), store, Silent()), study.folder, store, Silent())
    assert max(score.accuracy for score in shifted.jobs[1].scores) < 0.5


@pytest.mark.usefixtures("here")
def test_a_recording_that_is_gone_keeps_its_counts_and_a_broken_truth_is_told(study, store):
    sort_all(study, store)
    plan = make_plan(study, store, Silent())
    folder = study.path.parent / "set" / "known"
    (folder / "raw.mda").unlink()
    notes = Notes()
    found = collect(plan, study.folder, store, notes)
    assert [unit.snr for unit in found.recordings[0].true_units] == [None] * 3
    assert [score.accuracy for score in found.jobs[0].scores] == [1.0] * 3
    assert any("has no SNR" in note for note in notes.notes)
    (folder / "firings_true.mda").write_bytes(b"no")
    notes = Notes()
    found = collect(plan, study.folder, store, notes)
    assert found.recordings[0].true_units is None
    assert found.jobs[0].scores is None
    assert len(found.jobs[0].found) == 3
    assert any("is compared with no truth" in note for note in notes.notes)


@pytest.mark.usefixtures("here")
def test_the_truth_of_a_group_is_that_of_the_units_on_its_channels(tmp_path, store, sorter):
    folder = write_toy(tmp_path / "rec", duration_s=2, num_units=4, num_channels=8)
    truth = truth_of(open_recording(folder))
    places = [[0, 20 * channel] if channel < 4 else [5000, 20 * channel] for channel in range(8)]
    (folder / "geom.csv").write_text("".join(f"{x},{y}\n" for x, y in places))
    np.save(tmp_path / "truth.npy", [truth.times, truth.labels])
    sorter(HALF.format(path=str(tmp_path / "truth.npy")))
    text = "recordings: [{path: rec, by_group: true}]\nsorters: [{sorter: lab, params: {value: 2}}]\n"
    (tmp_path / "study.yaml").write_text(text)
    study = read_study(tmp_path / "study.yaml")
    found = collect(make_plan(study, store, Silent()), study.folder, store, Silent())
    channel = {unit: int(truth.channels[truth.labels == unit][0]) for unit in truth.unit_ids.tolist()}
    for recording, first in zip(found.recordings, (0, 4), strict=True):
        units = [unit for unit, place in channel.items() if first <= place < first + 4]
        assert [unit.unit for unit in recording.true_units] == units
        assert [unit.channel for unit in recording.true_units] == [channel[unit] - first for unit in units]


@pytest.mark.usefixtures("here")
def test_the_command_prints_a_table_and_the_document(study, store, capsys):
    sort_all(study, store)
    freeze(make_plan(study, store, Silent()), study.folder)
    assert main.run(["study.outcome", str(study.path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["set", "all", "2", "2", "0", "3", "1.00", "3"]
    assert main.run(["study.outcome", str(study.path), "--json"]) == 0
    assert OutcomeDocument.from_dict(json.loads(capsys.readouterr().out)).name == "study"
