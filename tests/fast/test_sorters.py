"""The catalogue: what stands in sorter.json is what is checked, filled in and shown."""

from __future__ import annotations

import json

import pytest

from spikecrate.catalogue.parameters import complete, parse_assignments, validate
from spikecrate.catalogue.tools import catalogue, check, find, require
from spikecrate.errors import (
    ParameterUnknownError,
    ParameterValueError,
    ProbeError,
    RecordingTooSmallError,
    SorterInvalidError,
    SorterNotFoundError,
)

SORTER = {
    "name": "lab",
    "title": "The lab's own",
    "version": "1.0",
    "license": "MIT",
    "reference": {"doi": "10.1000/xyz"},
    "url": "https://example.org",
    "description": "A sorter for the tests.",
    "gpu": "none",
    "deterministic": True,
    "cores_change_result": False,
    "python": ">=3.11",
    "parameters": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "threshold": {
                "type": "number",
                "default": 3,
                "minimum": 0,
                "description": "How high a peak must be.",
            },
            "sign": {"type": "integer", "default": -1, "enum": [-1, 0, 1], "description": "Which peaks."},
            "mode": {"type": "string", "default": "1", "description": "A text that looks like a number."},
        },
    },
}


@pytest.fixture
def lab(tmp_path, monkeypatch):
    folder = tmp_path / "own" / "lab"
    folder.mkdir(parents=True)
    (folder / "sorter.json").write_text(json.dumps(SORTER))
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(folder.parent))
    return find("lab")


def rewrite(lab, **fields):
    (lab.folder / "sorter.json").write_text(json.dumps({**SORTER, **fields}))


def test_every_sorter_of_the_catalogue_keeps_the_schema():
    sorters = catalogue()
    assert "ms4" in sorters
    for sorter in sorters.values():
        check(sorter.folder)


def test_a_sorter_is_found_by_its_alias():
    assert find("mountainsort4") == find("ms4")


def test_an_unknown_sorter_is_answered_with_the_nearest_name():
    with pytest.raises(SorterNotFoundError, match=r"'ms44'.*did you mean 'ms4'"):
        find("ms44")


def test_a_labs_own_folder_of_sorters_comes_first(lab):
    assert catalogue()["lab"].title == lab.title == "The lab's own"
    (lab.folder.parent / "ms4").mkdir()
    (lab.folder.parent / "ms4" / "sorter.json").write_text(json.dumps({**SORTER, "name": "ms4"}))
    assert catalogue()["ms4"].title == find("ms4").title == "The lab's own"


def test_a_folder_of_sorters_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(tmp_path / "gone"))
    with pytest.raises(SorterInvalidError, match="gone"):
        catalogue()


def test_defaults_are_filled_in(lab):
    assert complete(lab, {}) == {"threshold": 3.0, "sign": -1, "mode": "1"}


def test_numbers_take_the_type_of_their_parameter(lab):
    """4 and 4.0 are one threshold, and give one key."""
    whole, broken = complete(lab, {"threshold": 4, "sign": 1.0}), complete(lab, {"threshold": 4.0, "sign": 1})
    assert json.dumps(whole) == json.dumps(broken)


def test_an_unknown_parameter_is_refused_with_the_nearest_name(lab):
    with pytest.raises(ParameterUnknownError, match=r"'treshold'.*did you mean 'threshold'"):
        complete(lab, {"treshold": 4})


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"threshold": -1}, "threshold: -1.0 is less than the minimum of 0"),
        ({"threshold": "high"}, "threshold: 'high' is not of type 'number'"),
        ({"threshold": True}, "threshold: True is not of type 'number'"),
        ({"sign": 2}, r"sign: 2 is not one of \[-1, 0, 1\]"),
        ({"sign": 0.5}, r"sign: 0.5 is not"),
    ],
)
def test_a_value_out_of_range_or_of_the_wrong_type_is_refused_by_name(lab, given, named):
    with pytest.raises(ParameterValueError, match=named):
        validate(lab, complete(lab, given))


def test_words_of_the_command_line_are_read_by_the_parameters_type(lab):
    assert parse_assignments(lab, ["threshold=4", "mode=4", "sign=-1"]) == {
        "threshold": 4,
        "mode": "4",
        "sign": -1,
    }


@pytest.mark.parametrize("word", ["threshold", "=4", ""])
def test_a_word_without_a_name_or_a_value_is_refused(lab, word):
    with pytest.raises(ParameterValueError, match="name=value"):
        parse_assignments(lab, [word])


@pytest.mark.parametrize("field", ["version", "gpu", "parameters", "deterministic"])
def test_a_missing_field_is_named_with_its_file(lab, field):
    rest = {name: value for name, value in SORTER.items() if name != field}
    (lab.folder / "sorter.json").write_text(json.dumps(rest))
    with pytest.raises(SorterInvalidError, match=rf"sorter\.json.*{field}"):
        find("lab")


def test_a_field_that_nobody_knows_is_refused(lab):
    rewrite(lab, colour="red")
    with pytest.raises(SorterInvalidError, match="colour"):
        check(lab.folder)


def test_a_default_outside_its_own_range_is_refused(lab):
    rewrite(
        lab,
        parameters={
            **SORTER["parameters"],
            "properties": {"threshold": {**SORTER["parameters"]["properties"]["threshold"], "default": -5}},
        },
    )
    with pytest.raises(SorterInvalidError, match="-5"):
        check(lab.folder)


def test_a_name_that_is_not_the_folders_is_refused(lab):
    rewrite(lab, name="other")
    with pytest.raises(SorterInvalidError, match=r"'other'.*'lab'"):
        find("lab")


def test_text_that_is_not_json_is_refused_with_its_place(lab):
    (lab.folder / "sorter.json").write_text("{")
    with pytest.raises(SorterInvalidError, match="line 1"):
        find("lab")


@pytest.mark.parametrize(
    ("recording", "needed"),
    [({"channels": 3, "duration_s": 60}, "4 channels"), ({"channels": 4, "duration_s": 9.9}, "10 s")],
)
def test_a_recording_that_the_sorter_cannot_sort_is_refused_with_what_it_needs(lab, recording, needed):
    rewrite(lab, requires={"channels": 4, "duration_s": 10})
    with pytest.raises(RecordingTooSmallError, match=f"lab needs at least {needed}"):
        require(find("lab"), **recording)


def test_channels_at_one_place_are_refused_with_the_ways_on_where_the_sorter_needs_distinct_ones(lab):
    require(find("lab"), channels=4, duration_s=10, same_place=["b", "c"])
    rewrite(lab, requires={"distinct_places": True})
    require(find("lab"), channels=4, duration_s=10)
    with pytest.raises(
        ProbeError, match="2 of the recording's 4 channels are at the place of another: b,c"
    ) as caught:
        require(find("lab"), channels=4, duration_s=10, same_place=["b", "c"])
    assert "--probe tetrode, --probe column" in caught.value.next_step
    assert "--exclude-channels b,c" in caught.value.next_step


def test_a_recording_just_large_enough_is_taken(lab):
    require(find("lab"), channels=1, duration_s=1e-3)
    rewrite(lab, requires={"channels": 4, "duration_s": 10})
    require(find("lab"), channels=4, duration_s=10)
