"""A curated sorting: what the tool writes, what the user sees of it, and that it is a sorting like any other."""

from __future__ import annotations

import csv
import json
from importlib import import_module

import numpy as np
import pytest
from lab import ANSWER, Notes
from test_analyze import TABLES

import spikecrate
from spikecrate._util.data import data_path
from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import catalogue, check, find
from spikecrate.cli import main
from spikecrate.errors import CurationError, JobFailedError, ParameterUnknownError, UsageError
from spikecrate.steps.diff import difference
from spikecrate.steps.paths import UNITS
from spikecrate.steps.request import StepRequest
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate_harness import mda

UNIT_COLUMNS = ("unit", "events", "rate", "channel", "snr", "isi_violations", "amplitude")
EVENTS = """    times = [10.0, 20.5, 30.0, 40.0, 50.0, 60.0, 15000.0, 20000.0]
    return np.array(times), np.array([1, 2, 1, 3, 2, 5, 1, 5]), np.array([1, 2, 1, 4, 3, 3, 1, 3])
"""
TIMES = {1: [10, 30, 15000], 2: [20.5, 50], 3: [40], 5: [60, 20000]}


@pytest.fixture
def result(recording, sorter, here):  # noqa: ARG001
    """A sorting of four units, and the tools that curate it and measure it, on this interpreter."""
    folder = data_path("tools")
    described = {
        name: json.loads((folder / name / "tool.json").read_text()) for name in ("analyze", "curate")
    }
    for name, body in (("analyze", TABLES), ("curate", (folder / "curate" / "run.py").read_text())):
        fields = {field: described[name][field] for field in ("kind", "inputs", "parameters")}
        sorter(body, name=f"lab-{name}", **fields)
    return spikecrate.sort(recording, sorter=sorter(ANSWER + EVENTS))


@pytest.fixture(autouse=True)
def own_tools(monkeypatch):
    for verb in ("analyze", "curate"):
        monkeypatch.setattr(import_module(f"spikecrate.api.{verb}"), "TOOL", f"lab-{verb}")


def trains(result):
    return {unit: train.tolist() for unit, train in result.sorting.trains().items()}


def rows(path):
    with path.open(newline="") as file:
        return [*csv.DictReader(file)]


CURATION = {
    "format_version": "2",
    "unit_ids": [1, 2, 3, 5],
    "label_definitions": {
        "quality": {"label_options": ["good", "noise"], "exclusive": True},
        "tags": {"label_options": ["a", "b"], "exclusive": False},
    },
    "manual_labels": [{"unit_id": 1, "labels": {"quality": ["good"], "tags": ["a", "b"]}}],
    "merges": [{"unit_ids": [2, 3]}],
    "splits": [{"unit_id": 1, "mode": "indices", "indices": [[0, 2]]}],
    "removed": [5],
}


def test_a_file_is_applied_and_the_second_time_a_cache_hit(result, tmp_path, store):
    path = tmp_path / "my curation.json"
    path.write_text(json.dumps(CURATION))
    done = result.curate(path)
    assert done.status == "ran"
    assert trains(done) == {6: [20.5, 40, 50], 7: [10, 15000], 8: [30]}
    assert done.sorting.channels.tolist() == [0, 1, 0, 3, 2, 0]
    assert (done.record["units"], done.record["events"]) == (3, 6)
    assert done.record["inputs"]["sorting"]["key"] == result.key
    # The table of the sorting is mounted too: a container sees nothing beside the files that it is given.
    assert str(result.folder / UNITS) in {mount["source"] for mount in done.record["mounts"]}
    changes = [
        (row["unit_before"], row["unit_after"], row["how"], row["events"])
        for row in rows(done.folder / "curation" / "changes.csv")
    ]
    assert changes == [
        ("1", "7", "split", "2"),
        ("1", "8", "split", "1"),
        ("2", "6", "merged", "2"),
        ("3", "6", "merged", "1"),
        ("5", "", "removed", "2"),
    ]
    (first, second, third) = rows(done.folder / UNITS)
    assert tuple(first) == (*UNIT_COLUMNS, "quality", "tags")
    seconds = result.recording.duration_s
    assert (first["events"], float(first["rate"]), first["channel"], first["quality"]) == (
        "3",
        3 / seconds,
        "1",
        "",
    )
    assert (second["quality"], second["tags"], third["quality"], third["tags"]) == (
        "good",
        "a;b",
        "good",
        "a;b",
    )
    # Two intervals of 10 and 19.5 samples, of three events.
    assert float(first["isi_violations"]) == pytest.approx(2 * seconds / (2 * 9 * 0.0015))
    assert {first[name] for name in ("snr", "amplitude")} == {""}
    document = json.loads((done.folder / "curation" / "curation.json").read_text())
    assert document["merges"] == [{"unit_ids": [2, 3], "new_unit_id": 6}]
    path.unlink()
    for word in (result.key[:12], result.folder, spikecrate.load(result.folder)):
        again = spikecrate.curate(word, CURATION)
        assert (again.status, again.key) == ("cached", done.key)
    # The complete curation is the store's: the user's file is not needed again.
    options = {"runtime": "", "recording": None, "cores": None, "keep": False}
    assert rerun(find_job(done.key, store, Silent()), **options, store=store, progress=Silent()).equal


def test_a_curated_sorting_is_analyzed_curated_again_listed_and_shown(result, capsys):
    first = result.curate(merge=[[2, 3]], labels={"good": "events > 2"})
    analyzed = spikecrate.analyze(first.key)
    assert [unit.unit for unit in analyzed.units] == [1, 5, 6]
    second = first.curate(merge=[[1, 5]], remove=[6])
    assert trains(second) == {7: [10, 30, 60, 15000, 20000]}
    assert [row["quality"] for row in rows(second.folder / UNITS)] == [""]
    third = first.curate(remove=[5])
    assert [row["quality"] for row in rows(third.folder / UNITS)] == ["good", ""]
    assert main.run(["job.list", "--json"]) == 0
    listed = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed[second.key]["units"] == 1
    assert main.run(["job.show", second.key[:12]]) == 0
    assert first.key[:12] in capsys.readouterr().out
    assert second.sorting.num_samples == result.sorting.num_samples
    assert second.times_s.tolist() == (second.sorting.times / 30000).tolist()
    assert main.run(["job.compare", result.key[:12], second.key[:12], "--json"]) in (0, 2)


def test_a_rule_takes_the_metrics_of_an_analysis_and_the_key_is_of_its_content(result, store):
    rules = {"keep": "waveforms > 1", "labels": {"good": "rate >= 3", "mua": "rate > 0"}}
    done = result.curate(**rules)
    assert trains(done) == {unit: TIMES[unit] for unit in (1, 2, 5)}
    assert [unit.labels["quality"] for unit in done.units] == ["good", "mua", "mua"]
    # Taken from the analysis, which the run record names.
    assert [unit.snr for unit in done.units] == [5.5] * 3
    made = done.record["inputs"]["analysis"]["key"]
    analyzed = result.analyze()
    assert analyzed.result.key == made
    for named in (made, spikecrate.load(find_job(made, store, Silent()).folder), analyzed):
        assert result.curate(**rules, analysis=named).status == "cached"


def test_the_table_of_the_sorting_itself_is_enough_where_it_has_the_metric(result):
    first = result.curate(remove=[5])
    done = first.curate(keep="rate > 1.5")
    assert trains(done) == {unit: TIMES[unit] for unit in (1, 2)}
    assert "analysis" not in done.record["inputs"]


def test_units_without_a_metric_are_told(result):
    notes = Notes()
    result.curate(keep="not rate < 1.5", progress=notes)
    assert not [note for note in notes.notes if note.startswith("rule")]
    # The sorting's own table lacks the SNR of units at the border; so does the analysis that is made then, of all.
    assert trains(result.curate(keep="not snr > 5", progress=notes)) == TIMES
    assert "rule 'not snr > 5': 4 units without snr: comparisons with it are false" in notes.notes


def test_a_metric_that_new_units_lack_is_measured_first(result):
    merged = result.curate(merge=[[2, 3]])
    assert [unit.unit for unit in merged.units if unit.amplitude is None][-1] == 6
    done = merged.curate(keep="amplitude < 0")
    assert trains(done).keys() == {1, 5, 6}
    assert done.record["inputs"]["analysis"]["key"] == merged.analyze().result.key


def test_a_folder_of_phy_is_read_and_its_noise_left_out_where_asked(result, tmp_path):
    folder = tmp_path / "phy"
    folder.mkdir()
    labels = result.sorting.labels
    np.save(folder / "spike_times.npy", np.round(result.sorting.times).astype(np.uint64))
    np.save(folder / "spike_templates.npy", labels)
    np.save(folder / "spike_clusters.npy", np.where(np.isin(labels, [1, 3]), 6, labels))
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n2\tnoise\n6\tgood\n")
    done = result.curate(folder)
    assert trains(done) == {2: TIMES[2], 5: TIMES[5], 6: [10, 30, 40, 15000]}
    assert [row["quality"] for row in rows(done.folder / UNITS)] == ["noise", "", "good"]
    assert trains(result.curate(folder, leave_out=["noise"])).keys() == {5, 6}


def test_a_unit_that_is_unsorted_in_phy_has_no_label_any_more(result, tmp_path):
    first = result.curate(labels={"good": "events > 0"})
    assert {row["quality"] for row in rows(first.folder / UNITS)} == {"good"}
    labels = first.sorting.labels
    np.save(tmp_path / "spike_times.npy", np.round(first.sorting.times).astype(np.uint64))
    for name in ("spike_templates", "spike_clusters"):
        np.save(tmp_path / f"{name}.npy", labels)
    (tmp_path / "cluster_group.tsv").write_text("cluster_id\tgroup\n1\tgood\n2\tunsorted\n3\tmua\n")
    second = first.curate(tmp_path)
    assert [row["quality"] for row in rows(second.folder / UNITS)] == ["good", "", "mua", "good"]
    # A rule labels what has no label.
    third = first.curate(tmp_path, labels={"mine": "events > 0"})
    assert [row["quality"] for row in rows(third.folder / UNITS)] == ["good", "mine", "mua", "good"]


def test_a_curation_that_leaves_nothing_is_an_empty_sorting_with_a_warning(result):
    done = result.curate(remove=[1, 2, 3, 5])
    assert (len(done.sorting), done.record["units"]) == (0, 0)
    assert done.warnings == ["the curation leaves no unit"]
    assert rows(done.folder / UNITS) == []


WRONG = [
    ({}, UsageError, "nothing is asked for"),
    ({"remove": [9]}, CurationError, "^--remove 9: the sorting has no unit 9"),
    ({"remove": [-3]}, CurationError, "^--remove -3: the sorting has no unit -3"),
    ({"remove": ["1-9"]}, CurationError, "^--remove 1-9: the sorting has no unit 9"),
    ({"merge": [[1, 99]]}, CurationError, "^--merge 1,99: the sorting has no unit 99"),
    ({"merge": [[3]]}, CurationError, "^--merge 3: one unit alone is not merged"),
    ({"merge": [[1, 1]]}, CurationError, "^--merge 1,1: unit 1 is here twice"),
    ({"merge": [[1, 2]], "remove": [2]}, CurationError, "^--remove 2: unit 2 is here and in --merge 1,2"),
    ({"curation": CURATION, "remove": [5]}, CurationError, "^--remove 5: unit 5 is here and in the curation"),
    ({"labels": {"a;b": "rate > 0"}}, CurationError, "^--label a;b: 'a;b' is not a label"),
    ({"leave_out": ["nosuch"]}, CurationError, "^--remove-label nosuch: there is no such label"),
    (
        {"curation": CURATION, "leave_out": ["nois"]},
        CurationError,
        "^--remove-label nois: there is no such label; did you mean 'noise'",
    ),
    ({"merge": [1, 2]}, UsageError, r"merge=\[1, 2\] has not the form merge=\[\[3, 7\], \[4, 5\]\]"),
    ({"merge": 3}, UsageError, "merge=3 has not the form"),
    ({"remove": 5}, UsageError, "remove=5 has not the form"),
    ({"remove": ["x"]}, UsageError, "remove=.'x'. has not the form"),
    ({"labels": {"a": 5}}, UsageError, "labels={'a': 5} has not the form labels={'good': 'snr > 8'}"),
    ({"labels": ["good"]}, UsageError, "labels=.'good'. has not the form"),
    ({"keep": 5}, UsageError, "keep=5 has not the form"),
    ({"leave_out": "noise"}, UsageError, "leave_out='noise' has not the form"),
    ({"keep": "snr >"}, CurationError, "rule 'snr >': invalid syntax"),
    ({"keep": "sn > 5"}, CurationError, "rule 'sn > 5': no metric 'sn'"),
    ({"curation": {**CURATION, "unit_ids": [1, 2]}}, CurationError, "unit_ids: the curation is of another"),
    ({"curation": "nowhere.json"}, CurationError, "nowhere.json: No such file"),
    ({"remove": [1], "params": {"speed": 3}}, ParameterUnknownError, "speed"),
]


def test_what_is_wrong_is_refused_before_anything_runs(result, monkeypatch):
    result.analyze()
    monkeypatch.setattr("spikecrate.steps.run.run", lambda *_, **__: pytest.fail("it ran"))
    for options, error, message in WRONG:
        with pytest.raises(error, match=message):
            result.curate(**options)


def test_the_metrics_must_be_of_the_sorting(result):
    fewer = result.curate(remove=[5])
    with pytest.raises(CurationError, match=r"units\.csv: no unit 5: the metrics are of another sorting"):
        result.curate(keep="rate > 1", analysis=fewer.analyze())
    with pytest.raises(UsageError, match="is a result of lab-curate, not an analysis"):
        result.curate(keep="rate > 1", analysis=fewer.key)
    with pytest.raises(UsageError, match="is a result of lab-analyze, not a sorting"):
        spikecrate.curate(fewer.analyze().result.key, remove=[1])


NOT_COMPLETE = [
    (CURATION, "merges: new_unit_id: is not complete"),
    ({**CURATION, "merges": []}, "splits: is not complete"),
    ({**CURATION, "unit_ids": [1]}, "unit_ids: the curation is of another sorting"),
]


def test_the_tool_alone_takes_a_complete_curation_only(result, tmp_path):
    path = tmp_path / "curation.json"
    for document, message in NOT_COMPLETE:
        path.write_text(json.dumps(document))
        with pytest.raises(JobFailedError, match=message):
            spikecrate.run(StepRequest(tool="lab-curate", inputs={"sorting": result.key, "curation": path}))


def test_the_command_prints_what_changed_and_the_units(result, capsys, tmp_path):
    words = [
        "curate",
        result.key[:12],
        "--merge",
        "2,3",
        "--remove",
        "5",
        "--output",
        str(tmp_path / "curated"),
    ]
    assert main.run(words) == 0
    *changes, head, first, _second, counts, key, place = capsys.readouterr().out.splitlines()
    assert changes == [
        "unit 2 merged to 6: 2 events",
        "unit 3 merged to 6: 1 event",
        "unit 5 removed: 2 events",
    ]
    assert head.split()[:2] == ["unit", "events"]
    assert first.split()[:2] == ["1", "3"]
    assert counts.startswith("2 units, 6 events; curated in ")
    assert place.split()[1] == str(tmp_path / "curated")
    assert len(mda.read(tmp_path / "curated" / "firings.mda")[0]) == 6
    assert main.run([*words[:6], "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["key"] == key.split()[1]
    assert told["changes"][-1] == {"unit_before": 5, "unit_after": None, "how": "removed", "events": 2}
    assert [unit["unit"] for unit in told["units_table"]] == [1, 6]
    assert told["units_table"][1]["snr"] is None
    assert main.run(["curate", result.key[:12], "--label", "good=events > 2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [unit["labels"] for unit in told["units_table"]] == [{"quality": "good"}, {}, {}, {}]


def test_units_are_named_by_ranges_too(result, capsys):
    assert main.run(["curate", result.key[:12], "--remove", "1-2,5", "--json"]) == 0
    key = json.loads(capsys.readouterr().out)["key"]
    assert key == result.curate(remove=[1, 2, 5]).key == result.curate(remove=["2-1", 5]).key
    # There is no unit 4.
    merged = result.curate(merge=[["2-5"]])
    assert merged.key == result.curate(merge=[[2, 3, 5]]).key


def test_a_dry_run_prints_the_curation_that_would_be_applied(result, capsys, store, tmp_path):
    words = ["curate", result.key[:12], "--keep", "waveforms > 1.5", "--label", "good = rate > 2"]
    before = {row.name for row in store.results.glob("*/*")}
    assert main.run([*words, "--dry-run"]) == 0
    text = capsys.readouterr().out
    document = json.loads(text)
    assert document["removed"] == [3]
    assert document["rules"][1] == {"label": "good", "rule": "rate > 2", "units": [1], "missing": {}}
    made = {row.name for row in store.results.glob("*/*")} - before
    assert made == {result.analyze().result.key}
    # It is a curation like any other.
    (tmp_path / "c.json").write_text(text)
    assert main.run(["curate", result.key[:12], str(tmp_path / "c.json"), "--json"]) == 0
    assert [unit["unit"] for unit in json.loads(capsys.readouterr().out)["units_table"]] == [1, 2, 5]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--label", "good"], "--label 'good' is not NAME=RULE"),
        (["--label", "=snr > 5"], "is not NAME=RULE"),
        (["--label", "good=snr > 5", "--label", "good=rate > 5"], "--label good has two rules"),
        (["--merge", "3;7"], "--merge '3;7' is not units or ranges with commas between"),
        (["--remove", "five"], "--remove 'five' is not units"),
        (["--remove", "1-"], "--remove '1-' is not units"),
        (["--remove", "-3"], "--remove '-3' is not units"),
        ([], "nothing is asked for"),
        (["a.json", "b.json"], "curate takes no further argument: 'b.json'"),
    ],
)
def test_a_command_line_that_is_not_valid_is_refused(words, message, capsys):
    assert main.run(["curate", "0123abcd", *words]) == 2
    assert message in capsys.readouterr().err


def test_the_curation_may_be_named_or_left_out_and_help_says_so(capsys):
    assert main.run(["curate", "--help"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "usage: spikecrate curate [OPTIONS] RESULT [CURATION]"


def test_two_curations_of_a_sorting_are_told_apart(result, store):
    first, second = (result.curate(remove=[unit]) for unit in (5, 3))
    told = difference(*(find_job(done.key, store, Silent()) for done in (first, second)), store)
    assert any("curation" in line for line in told.key)


def test_the_catalogue_has_the_tool(monkeypatch):
    monkeypatch.undo()
    check(find("curate", kind="curate").folder)
    assert [*catalogue(kind="curate")] == ["curate"]
