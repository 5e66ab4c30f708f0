"""The step `compare`: its tables against brute force, what it takes and refuses, and what the user sees of it."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from dataclasses import fields
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from ci import docs_tables
from hypothesis import given, settings
from hypothesis import strategies as st
from lab import ANSWER, TWO_EVENTS, Notes
from scipy.optimize import linear_sum_assignment
from trains import TRAIN, largest_matching

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import check, find
from spikecrate.cli import main
from spikecrate.errors import (
    JobFailedError,
    JobNotFoundError,
    RecordingChangedError,
    ResultInvalidError,
    UsageError,
)
from spikecrate.recordings.toy import write_toy
from spikecrate.sortings.comparison.folder import read_comparison
from spikecrate.sortings.comparison.several import Settings
from spikecrate.sortings.comparison.tables import EVENTS, LABELS, SUMMARY, TABLES
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate_harness import mda

RATE = 1000.0
TRAINS = st.lists(TRAIN, max_size=3)
TRUE = ANSWER + "    return np.array([100.0, 200.0, 300.0, 900.0]), np.array([1, 1, 1, 2])\n"
LATE = ANSWER + "    return np.array([102.0, 203.0, 400.0, 930.0]), np.array([7, 7, 7, 9])\n"
LENGTH = 30_000
TOOL = docs_tables.tool("compare")


def write(path, *trains, offset=1):
    """Write a sorting; an empty train makes no unit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = [time for train in trains for time in train]
    labels = [label for label, train in enumerate(trains, start=offset) for _ in train]
    order = np.lexsort((labels, times)).astype(int)
    table = np.array([np.zeros(len(times)), times, labels], dtype=np.float64)[:, order]
    mda.write(path, table)
    return path


def compared(folder, sortings, truth=None, **chosen):
    """Run the tool's own code on lists of trains; return its tables."""
    names = [f"s{number}" for number in range(len(sortings))]
    inputs = {"sortings": [folder / name for name in names]}
    for name, trains in zip(names, sortings, strict=True):
        write(folder / name / "firings.mda", *trains)
    if truth is not None:
        inputs["truth"] = write(folder / "truth" / "firings_true.mda", *truth).parent
    parameters = find("compare").defaults | {
        "sampling_frequency": RATE,
        "names": names,
        "files": ["firings.mda"] * len(names),
        **chosen,
    }
    out = folder / "out"
    out.mkdir()
    TOOL.run(inputs, parameters, out, None)
    return read_comparison(out, names)


def assigned_one_by_one(agreement, least):
    gain = np.where(agreement >= least, agreement, 0)
    pairs = zip(*linear_sum_assignment(-gain), strict=True)
    return sum(gain[pair] for pair in pairs)


def units_of(trains):
    return {label: np.sort(train).astype(float) for label, train in enumerate(trains, start=1) if train}


@settings(max_examples=60)
@given(TRAINS, TRAINS, st.integers(0, 6), st.sampled_from([0.2, 0.5]), st.integers(-2, 2))
def test_every_count_of_the_tables_is_that_of_trying_everything(true, found, tolerance, least, offset):
    with tempfile.TemporaryDirectory() as place:
        tables = compared(
            Path(place),
            [found],
            true,
            tolerance_ms=tolerance,
            match_score=least,
            truth_offset_ms=offset,
            max_lag_ms=3,
        )
        with np.load(Path(place) / "out" / LABELS) as arrays:
            labels = dict(arrays)
    trues, founds = units_of(true), units_of(found)
    matches = {
        (one, other): largest_matching(trues[one] + offset, founds[other], tolerance)
        for one in trues
        for other in founds
    }
    agreement = {
        pair: count / (len(trues[pair[0]]) + len(founds[pair[1]]) - count) for pair, count in matches.items()
    }
    listed = {(pair.first_unit, pair.second_unit): pair for pair in tables.agreement}
    assert listed.keys() == {pair for pair, count in matches.items() if count}
    for pair, row in listed.items():
        assert (row.first, row.second, row.matched, row.agreement) == (
            "truth",
            "s0",
            matches[pair],
            agreement[pair],
        )
    assert [unit.unit for unit in tables.truth] == [*trues]
    for unit in tables.truth:
        count = matches.get((unit.unit, unit.found), 0)
        assert (unit.events, unit.found_events) == (len(trues[unit.unit]), len(founds.get(unit.found, ())))
        assert (unit.matched, unit.missed, unit.extra) == (
            count,
            unit.events - count,
            unit.found_events - count,
        )
        assert unit.accuracy == (count / (unit.events + unit.found_events - count))
        assert unit.recall == count / unit.events
        assert unit.precision == (count / unit.found_events if unit.found_events else 0)
        best = max((agreement[unit.unit, other] for other in founds), default=0)
        assert unit.best_accuracy == best == agreement.get((unit.unit, unit.best), 0)
        assert unit.best_matched == matches.get((unit.unit, unit.best), 0)
    pairs = {(unit.unit, unit.found) for unit in tables.truth if unit.found is not None}
    assert len({other for _, other in pairs}) == len(pairs)
    assert pairs == {pair for pair, row in listed.items() if row.assigned}
    assert all(agreement[pair] >= least for pair in pairs)
    if trues and founds:
        whole = np.array([[agreement[one, other] for other in founds] for one in trues])
        total = sum(agreement[pair] for pair in pairs)
        assert total == pytest.approx(assigned_one_by_one(whole, least))
    assert [unit.unit for unit in tables.units] == [*founds]
    for unit in tables.units:
        partner = next((one for one, other in pairs if other == unit.unit), None)
        count = matches.get((partner, unit.unit), 0)
        assert (unit.true_unit, unit.matched, unit.extra) == (partner, count, unit.events - count)
        assert unit.best_accuracy == max((agreement[one, unit.unit] for one in trues), default=0)
    assert labels["truth_1"].sum() == labels["found_1"].sum() == sum(matches[pair] for pair in pairs)
    assert (len(labels["truth_1"]), len(labels["found_1"])) == (
        sum(map(len, trues.values())),
        sum(map(len, founds.values())),
    )
    assert labels["truth_1"][labels["true_event_1"]].all()


@settings(max_examples=40)
@given(st.lists(TRAINS, min_size=2, max_size=3), st.integers(0, 4))
def test_every_count_between_sortings_is_that_of_trying_everything(sortings, tolerance):
    with tempfile.TemporaryDirectory() as place:
        tables = compared(Path(place), sortings, tolerance_ms=tolerance)
        events = mda.read(Path(place) / "out" / EVENTS)
        with np.load(Path(place) / "out" / LABELS) as arrays:
            votes = arrays["consensus_votes"]
    units = [units_of(trains) for trains in sortings]
    expected = {
        (f"s{first}", one, f"s{second}", other): count
        for first, second in combinations(range(len(units)), 2)
        for one, train in units[first].items()
        for other, theirs in units[second].items()
        if (count := largest_matching(train, theirs, tolerance))
    }
    assert {
        (pair.first, pair.first_unit, pair.second, pair.second_unit): pair.matched
        for pair in tables.agreement
    } == expected
    assert tables.truth == ()
    assert {(unit.sorting, unit.unit): unit.events for unit in tables.units} == {
        (f"s{number}", label): len(train) for number, one in enumerate(units) for label, train in one.items()
    }
    members = {(name, label): unit.unit for unit in tables.consensus for name, label in unit.members.items()}
    assert {(unit.sorting, unit.unit): unit.consensus for unit in tables.units if unit.consensus} == members
    least = len(sortings) // 2 + 1
    assert len(votes) == events.shape[1]
    for time, label, count in zip(events[1], events[2], votes, strict=True):
        (unit,) = [unit for unit in tables.consensus if unit.unit == label]
        near = [
            name
            for name, own in unit.members.items()
            if (np.abs(units[int(name[1:])][own] - time) <= tolerance).any()
        ]
        assert least <= count <= len(near)


def test_a_few_common_events_do_not_displace_a_good_match(tmp_path):
    """SCALE: found 1 agrees .8008 with truth 1 and shares 4 spikes with truth 2; its near-duplicate agrees .799."""
    one = [20 * event for event in range(1000)]
    two = [20 * event + 10 for event in range(1000, 2000)]
    first = [*one[:893], *[20 * event + 5 for event in range(5000, 5111)], *two[:4]]
    second = [*one[:892], *[20 * event + 5 for event in range(6000, 6116)]]
    tables = compared(tmp_path, [[first, second]], [one, two], tolerance_ms=0.4)
    good, bad = tables.truth
    assert (good.found, good.best, bad.found, bad.accuracy, bad.best) == (1, 1, None, 0, 1)
    assert good.accuracy == 893 / (1000 + 1008 - 893)
    duplicate = next(pair.agreement for pair in tables.agreement if pair.second_unit == 2)
    # The largest sum of raw agreements is that of the wrong pairs.
    assert duplicate < 0.8 < good.accuracy < duplicate + bad.best_accuracy


@pytest.mark.parametrize(
    ("true", "found", "units"),
    [
        ([], [], []),
        ([], [[5, 9]], []),
        ([[5, 9]], [], [(None, 0, 2, 0)]),
        ([[5]], [[5]], [(1, 1, 0, 0)]),
        ([[5]], [[50]], [(None, 0, 1, 0)]),
        ([[5, 9]], [[5, 9, 40]], [(1, 2, 0, 1)]),
    ],
)
def test_empty_sortings_one_unit_and_one_spike_have_right_answers(tmp_path, true, found, units):
    tables = compared(tmp_path, [found], true, exhaustive=True)
    assert [(unit.found, unit.matched, unit.missed, unit.extra) for unit in tables.truth] == units
    (score,) = tables.summary["with_truth"]
    assert (score["mean_accuracy"] is None) == (not true)


def test_all_sortings_empty_is_a_consensus_of_nothing(tmp_path):
    tables = compared(tmp_path, [[], []])
    assert (tables.units, tables.agreement, tables.consensus) == ((), (), ())
    (pair,) = tables.summary["pairs"]
    assert (pair["overall_agreement"], pair["mean_agreement"]) == (1.0, None)


def test_classes_beyond_well_detected_need_a_truth_that_is_exhaustive(tmp_path):
    one, two = list(range(0, 900, 9)), list(range(4, 900, 9))
    found = [one, one[:60], [903, 906]]
    known = compared(tmp_path / "known", [found], [one, two])
    assert [unit.classes for unit in known.units] == [("well_detected",), (), ()]
    whole = compared(tmp_path / "whole", [found], [one, two], exhaustive=True)
    assert [unit.classes for unit in whole.units] == [
        ("well_detected",),
        ("redundant", "bad"),
        ("false_positive", "bad"),
    ]
    assert known.summary["with_truth"][0]["classes"]["bad"] is None
    assert whole.summary["with_truth"][0]["classes"]["bad"] == 2


def test_a_lag_is_told_and_the_offset_takes_it_out(tmp_path):
    true = list(range(20, 900, 40))
    late = [time + 3 for time in true]
    (unit,) = compared(tmp_path / "late", [[late]], [true]).truth
    assert (unit.lag_ms, unit.lag_accuracy, unit.accuracy) == (3.0, 1.0, 0.0)
    (unit,) = compared(tmp_path / "shifted", [[late]], [true], truth_offset_ms=3).truth
    assert (unit.lag_ms, unit.accuracy) == (3.0, 1.0)
    (unit,) = compared(tmp_path / "none", [[late]], [true], max_lag_ms=0).truth
    assert (unit.lag_ms, unit.lag_unit) == (None, None)


def test_equal_sortings_give_equal_bytes(tmp_path):
    sortings = [[[5, 9, 40], [7, 80]], [[6, 9, 40], [80]]]
    for name in ("one", "two"):
        compared(tmp_path / name, sortings, [[5, 9], [80]])
    files = {path.name for path in (tmp_path / "one" / "out").iterdir()}
    assert files == {*TABLES, EVENTS, LABELS, SUMMARY}
    for name in files:
        first, second = (tmp_path / one / "out" / name for one in ("one", "two"))
        assert first.read_bytes() == second.read_bytes()


def test_every_column_says_what_it_is(tmp_path):
    compared(tmp_path, [[[5]], [[5]]], [[5]])
    told = json.loads((tmp_path / "out" / SUMMARY).read_text())["tables"]
    for name in TABLES:
        with (tmp_path / "out" / name).open(newline="") as file:
            head = next(csv.reader(file))
        assert [*told[name]] == head[: len(told[name])]
        assert all(column["formula"] for column in told[name].values())


def test_the_settings_are_parameters_of_the_tool_with_the_defaults_of_the_library():
    described = find("compare", kind="compare")
    check(described.folder)
    assert {one.name: described.defaults[one.name] for one in fields(Settings)} == vars(Settings())


# As a step ----------------------------------------------------------------------------------------


@pytest.fixture
def results(recording, sorter, here):  # noqa: ARG001
    """Two sortings of one recording, 2 and 3 samples apart where they agree."""
    sorter(TRUE, name="early")
    sorter(LATE, name="late")
    return [spikecrate.sort(recording, sorter=name) for name in ("early", "late")]


def test_two_results_are_compared_and_the_second_time_is_a_cache_hit(results, store):
    first, second = results
    done = first.compare(second)
    assert (done.result.status, done.names) == ("ran", ["early", "late"])
    (pair,) = [pair for pair in done.agreement if pair.assigned]
    assert (pair.first_unit, pair.second_unit, pair.matched, pair.agreement) == (1, 7, 2, 0.5)
    (unit,) = done.consensus
    assert (unit.members, unit.events) == ({"early": 1, "late": 7}, 2)
    assert done.consensus_sorting.times.tolist() == [101, 201.5]
    record = done.result.record
    assert (record["sortings"], record["true_units"], record["consensus_units"]) == (2, 0, 1)
    keys = [folder["key"] for folder in record["inputs"]["sortings"]["folders"]]
    assert keys == [first.key, second.key]
    for words in ((first.key[:12], second.folder), (str(first.folder), spikecrate.load(second.folder))):
        again = spikecrate.compare(*words)
        assert (again.result.status, again.result.key) == ("cached", done.result.key)
    options = {"runtime": "", "recording": None, "cores": None, "keep": False}
    earlier = find_job(done.result.key, store, Silent())
    assert rerun(earlier, **options, store=store, progress=Silent()).equal


def test_the_truth_is_a_result_a_file_a_folder_or_the_one_beside_the_recording(results, recording, tmp_path):
    first, second = results
    by_result = second.compare(truth=first)
    assert [unit.matched for unit in by_result.truth] == [2, 0]
    file = shutil.copyfile(first.folder / "firings.mda", tmp_path / "mine.mda")
    write(tmp_path / "folder" / "firings_true.mda", [100, 200, 300])
    write(tmp_path / "folder" / "firings.mda", [1])
    (recording / "firings_true.mda").unlink()
    write(recording / "firings_true.mda", [103, 203], [400])
    counts = {
        name: [(unit.unit, unit.matched) for unit in second.compare(truth=truth).truth]
        for name, truth in {"file": file, "folder": str(tmp_path / "folder"), "auto": "auto"}.items()
    }
    assert counts == {"file": [(1, 2), (2, 0)], "folder": [(1, 2)], "auto": [(1, 2), (2, 0)]}


def test_that_a_recording_has_a_truth_is_said(results, capsys):
    first, second = results
    assert main.run(["compare", first.key[:12], second.key[:12]]) == 0
    assert "--truth auto compares with it" in capsys.readouterr().err


def test_files_of_a_user_are_compared_where_the_sampling_frequency_is_given(here, tmp_path):  # noqa: ARG001
    one = write(tmp_path / "one" / "firings.mda", [100, 200], [500])
    two = write(tmp_path / "two.mda", [101, 200], [700], offset=5)
    done = spikecrate.compare(one.parent, str(two), sampling_frequency=30000)
    assert done.names == ["one", "two"]
    assert [(pair.first_unit, pair.second_unit) for pair in done.agreement] == [(1, 5)]
    assert spikecrate.compare(one, two, sampling_frequency=30000).result.status == "cached"
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "firings.mda").symlink_to(two)
    linked = spikecrate.compare(one, tmp_path / "linked", sampling_frequency=30000)
    assert (linked.names, linked.agreement) == (
        ["one", "linked"],
        spikecrate.compare(one, two, names=["one", "linked"], sampling_frequency=30000).agreement,
    )
    with pytest.raises(UsageError, match="its sampling frequency is not known") as caught:
        spikecrate.compare(one, two)
    assert "--sampling-frequency" in caught.value.next_step
    with pytest.raises(UsageError, match="sampling_frequency is -1"):
        spikecrate.compare(one, two, sampling_frequency=-1)


def test_sortings_of_different_recordings_are_refused_with_what_differs(results, sorter, tmp_path):
    first, _ = results
    longer = write_toy(tmp_path / "longer", duration_s=2, num_units=2)
    with pytest.raises(RecordingChangedError, match="samples 30000 and 60000") as caught:
        first.compare(spikecrate.sort(longer, sorter="late"))
    assert "--different-recordings" in caught.value.next_step
    other = write_toy(tmp_path / "other", duration_s=1, num_units=2, seed=5)
    others = spikecrate.sort(other, sorter="late")
    with pytest.raises(RecordingChangedError, match="equal size, but other samples"):
        first.compare(others)
    assert first.compare(others, different_recordings=True).summary["pairs"][0]["matched"] == 2
    slower = Path(shutil.copytree(other, tmp_path / "slower"))
    told = json.loads((slower / "params.json").read_text()) | {"samplerate": 10000}
    (slower / "params.json").write_text(json.dumps(told))
    with pytest.raises(RecordingChangedError, match="sampling frequency 30000 Hz and 10000 Hz") as caught:
        first.compare(spikecrate.sort(slower, sorter="late"), different_recordings=True)
    assert "--different-recordings" not in caught.value.next_step
    with pytest.raises(UsageError, match="has 30000 Hz, --sampling-frequency is 10000"):
        first.compare(others, sampling_frequency=10000, different_recordings=True)
    sorter(ANSWER + TWO_EVENTS, name="lab")


def test_what_is_no_sorting_of_the_recording_is_refused_before_anything_runs(results, tmp_path):
    first, second = results
    done = first.compare(second)
    with pytest.raises(UsageError, match="one sorting, and no truth"):
        spikecrate.compare(first)
    with pytest.raises(UsageError, match="is a result of compare, not a sorting"):
        first.compare(done.result.key)
    with pytest.raises(JobNotFoundError):
        first.compare("0123abcd")
    with pytest.raises(UsageError, match="neither a job key nor a result"):
        first.compare(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"empty has no firings\.mda"):
        first.compare(tmp_path / "empty")
    past = write(tmp_path / "past.mda", [10, LENGTH])
    with pytest.raises(ResultInvalidError, match="event 1 has the time 30000") as caught:
        first.compare(past)
    assert "correct the file" in caught.value.next_step
    (tmp_path / "torn.mda").write_bytes(past.read_bytes()[:-9])
    with pytest.raises(ResultInvalidError, match=r"torn\.mda"):
        first.compare(truth=tmp_path / "torn.mda")


def test_a_truth_whose_times_do_not_fit_a_part_of_the_recording_is_not_taken_by_itself(
    recording,
    sorter,
    here,  # noqa: ARG001
):
    sorter(TRUE, name="early")
    part = spikecrate.sort(spikecrate.open_recording(recording).view(start=0.5), sorter="early")
    with pytest.raises(UsageError, match=r"times of .* are not those of a recording"):
        part.compare(truth="auto")
    channels = spikecrate.sort(spikecrate.open_recording(recording).view(channels=["1"]), sorter="early")
    assert channels.compare(truth="auto").truth
    (recording / "firings_true.mda").unlink()
    with pytest.raises(UsageError, match="has no ground truth"):
        channels.compare(truth="auto")


def test_names_are_the_sorters_or_the_users_and_never_the_same(results):
    first, second = results
    assert first.compare(second, names=["a", "b"]).names == ["a", "b"]
    assert first.compare(first).names == [f"early-{first.key[:8]}", f"early-{first.key[:8]}-2"]
    for names in (["a"], ["a", "a"], ["a", "truth"], ["unit", "b"], ["a", ""]):
        with pytest.raises(UsageError, match="are not 2 different ones"):
            first.compare(second, names=names)


@pytest.mark.parametrize("name", ["x\ny", "\x1b[31mred", "tab\t"])
def test_a_name_that_would_break_a_table_is_refused(results, name):
    first, second = results
    with pytest.raises(UsageError, match="has a control character"):
        first.compare(second, names=["a", name])


def test_that_a_sorting_is_compared_with_itself_is_said(results):
    first, second = results
    told = Notes()
    first.compare(second, progress=told)
    assert not any("itself" in note for note in told.notes)
    for asked in ({"others": [first.folder]}, {"others": [], "truth": first}):
        told = Notes()
        first.compare(*asked.pop("others"), **asked, progress=told)
        assert f"the sorting {first.key[:12]} is compared with itself" in told.notes


def test_a_curated_sorting_has_the_name_of_its_sorter(results):
    first, second = results
    once, other = first.curate(remove=[1]), second.curate(remove=[7])
    assert once.compare(other).names == ["early curated", "late curated"]
    twice = once.curate(remove=[2])
    names = first.compare(once, twice).names
    assert names == ["early", *(f"early curated-{one.key[:8]}" for one in (once, twice))]


def test_a_tool_whose_tables_do_not_agree_broke_the_contract(results, sorter, monkeypatch):
    from spikecrate.steps import request as requests

    described = json.loads((find("compare").folder / "tool.json").read_text())
    body = (find("compare").folder / "run.py").read_text()
    chosen = {name: described[name] for name in ("kind", "inputs", "parameters")}
    changes = {
        r"/out/truth\.csv: true unit 1 of late: its counts differ": ("truth.csv", ",2,1,1,", ",3,1,1,"),
        r"/out/truth\.csv: true unit 1 of late: found": ("truth.csv", "late,1,3,7,", "late,1,3,8,"),
        r"/out/units\.csv: line 1: the columns are": ("units.csv", "sorting,unit", "unit,sorting"),
        r"/out/agreement\.csv: .*no such units": ("agreement.csv", "truth,1,late,7", "truth,1,late,8"),
        r"/out/comparison\.json": ("comparison.json", "{", "["),
    }
    find_tool = requests.find
    first, second = results
    for number, (message, (name, old, new)) in enumerate(changes.items()):
        spoilt = f"\n    text = (out / {name!r}).read_text()\n    assert {old!r} in text, text\n"
        spoilt += f"    (out / {name!r}).write_text(text.replace({old!r}, {new!r}, 1))\n"
        made = sorter(body + spoilt, name=f"spoilt{number}", **chosen)
        monkeypatch.setattr(requests, "find", lambda _name, made=made, **_others: find_tool(made))
        with pytest.raises(ResultInvalidError, match=message) as caught:
            second.compare(truth=first)
        assert "contract.md" in caught.value.next_step


def test_parameters_that_do_not_fit_end_with_the_reason(results):
    first, second = results
    with pytest.raises(UsageError, match="the parameter names follows from the sortings"):
        first.compare(second, params={"names": ["a", "b"]})
    with pytest.raises(JobFailedError, match="least_votes is 5 with 2 sortings"):
        first.compare(second, params={"least_votes": 5})


def test_the_command_prints_each_true_unit_and_how_to_take_out_a_lag(results, capsys, tmp_path):
    first, second = results
    words = ["compare", second.key[:12], "--truth", first.key[:12], "--exhaustive"]
    assert main.run([*words, "--tolerance", "0.05", "--output", str(tmp_path / "copy")]) == 0
    title, head, one, two, means, *lines = capsys.readouterr().out.splitlines()
    assert title == "late, compared with the truth"
    assert head.split()[:8] == [
        "unit",
        "events",
        "best",
        "assigned",
        "matched",
        "missed",
        "extra",
        "accuracy",
    ]
    assert one.split() == [*("1", "3", "–", "–", "0", "3", "0", "0.000"), "0.08", "–"]
    assert two.split()[0] == "2"
    assert means.startswith("0 of 2 units have accuracy 0.8 or more; mean accuracy 0.000 assigned")
    assert "false positive, not assigned: 7, 9" in lines
    gain = "2 true units would agree better without a lag; unit 2, which unit 9 follows by 1.00 ms: 1.000 in place of 0.000"
    assert gain in lines
    assert "their lags differ, from 0.08 to 1.00 ms, so no shift of the truth fits all" in lines
    assert (tmp_path / "copy" / "comparison" / "truth.csv").is_file()
    assert main.run([*words, "--truth-offset", "1", "--tolerance", "0.05", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [unit["matched"] for unit in told["truth"]] == [0, 1]
    assert told["settings"]["truth_offset_ms"] == 1


def test_a_lag_that_all_units_have_is_told_as_an_offset(here, capsys, tmp_path):  # noqa: ARG001
    true, found = (
        write(tmp_path / name, [time + shift for time in (1000, 2000, 4000)], [3000 + shift, 6000 + shift])
        for name, shift in (("true.mda", 0), ("found.mda", -90))
    )
    words = ["compare", str(found), "--truth", str(true), "--sampling-frequency", "30000"]
    assert main.run(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "to shift the truth: --truth-offset -3.00" in lines
    assert main.run([*words, "--truth-offset", "-3", "--json"]) == 0
    assert [unit["accuracy"] for unit in json.loads(capsys.readouterr().out)["truth"]] == [1.0, 1.0]


def test_the_command_prints_what_sortings_have_in_common(results, recording, sorter, capsys):
    first, second = results
    assert main.run(["compare", first.key[:12], second.key[:12], "--name", "a", "--name", "b"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "a and b"
    assert lines[2].split() == ["1", "3", "7", "3", "2", "0.500"]
    assert lines[3] == "1 pair of 2 and 2 units; overall agreement 0.333"
    assert lines[4] == "consensus: 1 unit and 2 events that at least 2 of 2 sortings have"
    sorter(TRUE.replace("900.0", "800.0"), name="third")
    third = spikecrate.sort(recording, sorter="third")
    assert main.run(["compare", *(one.key[:12] for one in (first, second, third))]) == 0
    title, head, *rows = capsys.readouterr().out.splitlines()
    assert (title, head.split()) == ("overall agreement", ["early", "late", "third"])
    assert rows[0].split() == ["early", "1.00", "0.33", "0.60"]
    assert rows[4].split() == ["unit", "early", "late", "third", "events", "agreement"]
    assert rows[5].split() == ["1", "1", "7", "1", "3", "0.667"]
    assert main.run(["compare", first.key[:12], "--json"]) == 2
