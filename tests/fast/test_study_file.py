"""The file of a study: what it means, and every error with its line and the nearest name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from spikecrate.errors import OutputError, StudyInvalidError, UsageError
from spikecrate.studies.definition import SCHEMA, ComparisonOptions, Resources, parse_study, read_study
from spikecrate.studies.expand import expand
from spikecrate.studies.template import write_study

FILE = Path("/data/mine.yaml")


def study(text, path=FILE):
    return parse_study(text, path)


def errors(text):
    with pytest.raises(StudyInvalidError) as raised:
        study(text)
    return raised.value.details["errors"]


def test_the_shortest_study_has_every_default():
    found = study("recordings: [rec]\nsorters: [ms4]\n")
    assert (found.name, found.seeds, found.folder) == ("mine", (0,), Path("/data/mine-run"))
    assert (found.comparison, found.resources) == (ComparisonOptions(), Resources())
    (recording,), (variant,) = found.recordings, found.variants
    assert (recording.path, recording.line, recording.exhaustive) == ("/data/rec", 1, False)
    assert (variant.name, variant.sorter, variant.params) == ("ms4", "ms4", {})


def test_every_field_is_read():
    found = study(
        "name: n\n"
        "recordings: [{path: r, name: a, set: s, tags: [x], truth: t.mda, exhaustive: true, by_group: true, probe: tetrode}]\n"
        "sorters: [{sorter: ms4, name: v, params: {detect_threshold: 4}}]\n"
        "repeats: 3\n"
        "comparison: {tolerance_ms: 1, match_score: 0.2, truth_offset_ms: -3}\n"
        "resources: {cores: 2, memory: 4G, time: 2h, time_factor: 10, gpu: off, runtime: host}\n"
    )
    (recording,) = found.recordings
    assert vars(recording) == {
        "path": "/data/r",
        "name": "a",
        "study_set": "s",
        "probe": "tetrode",
        "tags": ("x",),
        "truth": "/data/t.mda",
        "exhaustive": True,
        "by_group": True,
        "line": 2,
    }
    assert found.seeds == (0, 1, 2)
    assert vars(found.comparison) == {"tolerance_ms": 1, "match_score": 0.2, "truth_offset_ms": -3}
    assert found.resources.memory_bytes == 4 * 2**30
    assert (found.resources.gpu, found.resources.cores, found.resources.runtime) == ("off", 2, "host")


@pytest.mark.parametrize(
    ("fields", "duration_s", "limit"),
    [
        ({}, 100, None),
        ({"time_s": 50}, 100, 50),
        ({"time_factor": 2}, 100, 200),
        ({"time_factor": 2}, 1, 60),
        ({"time_factor": 2, "time_s": 30}, 100, 30),
    ],
)
def test_the_time_limit_grows_with_the_recording_and_the_smaller_one_counts(fields, duration_s, limit):
    assert Resources(**fields).timeout_s(duration_s) == limit


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "recordings: [a]\nsorters: [ms4]\nrecording: 1\n",
            "line 3: there is no field 'recording'; did you mean 'recordings'?",
        ),
        (
            "recordings:\n  - path: a\n    exhaustiv: true\nsorters: [ms4]\n",
            "line 3: there is no field 'exhaustiv' in recordings[1]; did you mean 'exhaustive'?",
        ),
        (
            "recordings: [a]\nsorters:\n  - ms4\n  - ms44\n",
            "line 4: no sorter is named 'ms44'; did you mean 'ms4'?",
        ),
        (
            "recordings: [a]\nsorters:\n  - sorter: ms4\n    params: {detect_treshold: 4}\n",
            "line 3: ms4 has no parameter 'detect_treshold'; did you mean 'detect_threshold'?",
        ),
        (
            "recordings: [a]\nsorters: [{sorter: ms4, params: {detect_threshold: x}}]\n",
            "line 2: ms4: parameter detect_threshold",
        ),
        ("recordings: [a]\nsorters: [ms4, ms4]\n", "line 2: the sorter 'ms4' is on line 2 too"),
        (
            "recordings: [a]\nsorters: [ms4]\nseeds: [-1]\n",
            "line 3: seeds[1]: -1 is less than the minimum of 0",
        ),
        ("recordings: [a]\nsorters: [ms4]\nseeds: [1]\nrepeats: 2\n", "line 4: repeats is short for seeds"),
        (
            "recordings: [a]\nsorters: [ms4]\nresources:\n  memory: lots\n",
            "line 4: resources.memory: 'lots' is not",
        ),
        (
            "recordings: [a]\nsorters: [ms4]\nresources: {runtime: dockr}\n",
            "line 3: resources.runtime: 'dockr' is not one of auto, docker, apptainer, host; did you mean 'docker'?",
        ),
        ("recordings: [5]\nsorters: [ms4]\n", "line 1: recordings[1]: 5 is not of type object"),
        ("sorters: [ms4]\n", "line 1: no recordings"),
        ("recordings: []\nsorters: [ms4]\n", "line 1: recordings: [] should be non-empty"),
        ("", "line 1: null is not of type object"),
        ("a: 1\na: 2\n", "line 2: the key 'a' occurs twice"),
        ("recordings: [a]\nsorters: [ms4]\nengine: slurm\n", "line 3: there is no field 'engine'"),
    ],
)
def test_an_error_has_its_line_and_the_nearest_name(text, line):
    (error,) = errors(text)
    assert error.startswith(line)


def test_all_errors_are_told_at_once_in_order_of_their_lines():
    found = errors("recordings:\n  - {path: a, tags: 3}\nsorters: [ms4]\nfoo: 1\nresources: {cores: 0}\n")
    assert [error.partition(":")[0] for error in found] == ["line 2", "line 4", "line 5"]


@pytest.mark.parametrize("content", [b"\xff\xfe", None])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "study.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(StudyInvalidError, match=str(path)):
        read_study(path)


def test_the_content_is_that_of_the_values_not_of_the_text():
    first = study("recordings: [rec]\nsorters: [ms4]\n")
    assert study("# a comment\nsorters: ['ms4']\nrecordings:\n  - rec\n").content == first.content
    assert study("recordings: [rec]\nsorters: [ms5]\n").content != first.content


def test_globs_are_expanded_and_names_are_as_long_as_it_takes(tmp_path):
    for name in ("a/rec1", "b/rec1", "b/rec2", "c/x"):
        (tmp_path / name).mkdir(parents=True)
    text = "recordings: ['*/rec*', {path: c/x, name: mine, set: special}, b/rec2]\nsorters: [ms4]\n"
    found = expand(study(text, tmp_path / "study.yaml"))
    assert [(one.name, one.study_set) for one in found] == [
        ("a/rec1", "a"),
        ("b/rec1", "b"),
        ("rec2", "b"),
        ("mine", "special"),
    ]


def test_a_glob_leaves_the_study_itself_out(tmp_path):
    for name in ("rec", "study-run"):
        (tmp_path / name).mkdir()
    (tmp_path / "study.yaml").touch()
    found = expand(study("recordings: ['*']\nsorters: [ms4]\n", tmp_path / "study.yaml"))
    assert [one.name for one in found] == ["rec"]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("gone", "line 3: .*gone does not exist"),
        ("'none*'", "line 3: .*none\\* matches nothing"),
        ("{path: 're*', name: x}", "line 3: 2 recordings have the name 'x'"),
        ("{path: rec, truth: no.mda}", "line 3: the truth .*no.mda is not a file"),
    ],
)
def test_a_path_that_does_not_exist_is_told_with_its_line(tmp_path, entry, words):
    (tmp_path / "rec").mkdir()
    (tmp_path / "rec2").mkdir()
    with pytest.raises(StudyInvalidError, match=words):
        expand(study(f"recordings:\n  - rec\n  - {entry}\nsorters: [ms4]\n", tmp_path / "study.yaml"))


def test_study_new_writes_a_study_that_is_read_back(toy, tmp_path):
    for name in ("a: b", "deep/er/rec", "empty"):
        (tmp_path / "data" / name).mkdir(parents=True)
    shutil.copytree(toy, tmp_path / "data" / "a: b", dirs_exist_ok=True)
    shutil.copytree(toy, tmp_path / "data" / "deep/er/rec", dirs_exist_ok=True)
    written = write_study(tmp_path / "data", tmp_path / "study.yaml")
    found = read_study(tmp_path / "study.yaml")
    paths = [tmp_path / "data" / "a: b", tmp_path / "data" / "deep/er/rec"]
    assert [one.path for one in written] == [one.path.resolve() for one in expand(found)] == paths
    assert (found.name, found.variants[0].sorter, found.resources.time_factor) == ("data", "ms4", 100)
    assert (tmp_path / "study.yaml").read_text().count("the truth is known") == 2
    with pytest.raises(OutputError, match="exists"):
        write_study(tmp_path / "data", tmp_path / "study.yaml")
    with pytest.raises(OutputError, match="inside the recording"):
        write_study(toy, toy / "study.yaml")
    with pytest.raises(UsageError, match="no recording"):
        write_study(tmp_path / "data" / "empty", tmp_path / "other.yaml")


def test_the_page_describes_every_field_of_the_schema():
    page = (Path(__file__).parents[2] / "docs" / "studies.md").read_text(encoding="utf-8")

    def names(schema):
        for name, inner in schema.get("properties", {}).items():
            yield name
            yield from names(inner)

    schema = json.loads(SCHEMA.read_bytes())
    known = {*names(schema), *names(schema["$defs"]["recording"]), *names(schema["$defs"]["variant"])}
    assert [name for name in sorted(known) if f"`{name}`" not in page] == []
