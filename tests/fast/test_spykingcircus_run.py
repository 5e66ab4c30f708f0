"""sorters/spykingcircus/run.py: what SpyKING CIRCUS is told, and which file it is given."""

from __future__ import annotations

import configparser
import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from layouts import layout_of

from spikecrate_harness.layout import Layout
from spikecrate_harness.resources import Resources
from spikecrate_harness.traces import open_traces

FOLDER = Path(__file__).parents[2] / "sorters" / "spykingcircus"
SCHEMAS = json.loads((FOLDER / "sorter.json").read_text())["parameters"]["properties"]
DEFAULTS = {name: schema["default"] for name, schema in SCHEMAS.items()}
SAMPLES = np.random.default_rng(0).normal(0, 100, (500, 3)).astype("<i2")

specification = importlib.util.spec_from_file_location("spykingcircus_run_py", FOLDER / "run.py")
assert specification is not None
assert specification.loader is not None
run = importlib.util.module_from_spec(specification)
sys.modules[specification.name] = run
specification.loader.exec_module(run)


def other(schema):
    """Give a value that is not the default."""
    if "examples" in schema:
        return schema["examples"][0]
    if "enum" in schema:
        return next(value for value in schema["enum"] if value != schema["default"])
    if schema["type"] == "boolean":
        return not schema["default"]
    return schema["default"] + 1 if "maximum" not in schema else schema["default"] / 2 or 1


def recorded(folder, content=None, **fields):
    """Write bytes as a sample file; give the recording. By default it is SAMPLES and nothing else."""
    folder.mkdir(exist_ok=True)
    (folder / "raw.dat").write_bytes(SAMPLES.tobytes() if content is None else content)
    layout = Layout.from_dict(layout_of(3, 500, **{"gains": [0.5] * 3, **fields}))
    return open_traces(layout, [folder / "raw.dat"])


def told(recording, scratch, cores=1, seed=0, **changes):
    """Give the settings with some parameters changed."""
    return run.settings(recording, DEFAULTS | changes, Resources(scratch, cores, None, seed))


def test_a_parameter_has_the_name_that_sorter_json_gives(tmp_path):
    settings = told(recorded(tmp_path), tmp_path)
    for name, schema in SCHEMAS.items():
        section, option = schema["upstream"].split(".")
        if name != "dead_channels":
            assert option in settings[section], name


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_parameter_reaches_the_tool(tmp_path, name):
    recording = recorded(tmp_path)
    assert told(recording, tmp_path, **{name: other(SCHEMAS[name])}) != told(recording, tmp_path)


def test_cores_and_seed_reach_the_tool(tmp_path):
    recording = recorded(tmp_path)
    assert told(recording, tmp_path, cores=2)["run"]["processes"] == 2
    assert told(recording, tmp_path, seed=7)["run"]["seed"] == 7


def test_the_parameter_file_says_what_was_told(tmp_path):
    settings = told(recorded(tmp_path), tmp_path, dispersion=[4, 6], merging_param=None)
    parser = configparser.ConfigParser()
    parser.read_string(run._params_text(settings, 20))
    assert parser.get("clustering", "dispersion") == "(4, 6)"
    assert parser.get("clustering", "merging_param") == "default"
    assert parser.get("data", "data_offset") == "20"
    assert parser.getfloat("data", "gain") == 0.5
    probe = {}
    exec(run._probe_text(settings["probe"]), probe)  # noqa: S102  (as the tool does)
    assert probe["channel_groups"][1]["geometry"][2] == [0.0, 40.0]


def test_a_plain_file_is_read_in_place_behind_a_header_too(tmp_path):
    recording = recorded(tmp_path, b"head" + SAMPLES.tobytes(), offset=4)
    assert run._in_place(recording, told(recording, tmp_path))


COPIED = {
    "another byte order": {"content": SAMPLES.astype(">i2").tobytes(), "dtype": ">i2"},
    "channel after channel": {"content": SAMPLES.T.tobytes(), "time_axis": 1},
    "more samples behind": {"content": SAMPLES.tobytes() + bytes(600)},
}


@pytest.mark.parametrize("case", COPIED)
def test_the_same_samples_in_another_file_are_the_same_to_the_tool(tmp_path, case):
    recording = recorded(tmp_path, **COPIED[case])
    settings = told(recording, tmp_path)
    assert settings == told(recorded(tmp_path / "plain"), tmp_path)
    assert not run._in_place(recording, settings)
    run._copy(recording, settings, tmp_path / "copy.dat")
    assert (tmp_path / "copy.dat").read_bytes() == SAMPLES.tobytes()


def test_channels_that_are_not_asked_for_are_not_copied(tmp_path):
    fields = {"gains": [0.5], "offsets": [0.0], "locations": [[0.0, 0.0]]}
    recording = recorded(tmp_path, channels=[1], **fields)
    run._copy(recording, told(recording, tmp_path), tmp_path / "copy.dat")
    assert (tmp_path / "copy.dat").read_bytes() == SAMPLES[:, 1].tobytes()


def test_gains_that_differ_are_applied(tmp_path):
    recording = recorded(tmp_path, gains=[1.0, 2.0, 3.0], offsets=[5.0] * 3)
    settings = told(recording, tmp_path)
    assert not run._in_place(recording, settings)
    run._copy(recording, settings, tmp_path / "copy.dat")
    copied = np.fromfile(tmp_path / "copy.dat", settings["data"]["data_dtype"]).reshape(-1, 3)
    assert np.allclose(copied, SAMPLES * [1.0, 2.0, 3.0] + 5)


def test_an_offset_in_whole_counts_is_told_to_the_tool(tmp_path):
    settings = told(recorded(tmp_path, offsets=[-16.0] * 3), tmp_path)
    assert settings["data"]["dtype_offset"] == 32


@pytest.mark.parametrize("changes", [{}, {"remove_median": True}, {"common_ground": 1}])
def test_the_users_file_is_never_the_one_that_is_filtered(tmp_path, changes):
    recording = recorded(tmp_path)
    for kept in (True, False):
        settings = told(recording, tmp_path, filter=kept, **changes)
        written = "filtering" in settings["run"]["steps"] and settings["data"]["overwrite"]
        assert not (written and run._in_place(recording, settings))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"freq_min": 500, "freq_max": 400}, "below freq_max"),
        ({"freq_min": 14900}, "half the sampling frequency"),
        ({"dead_channels": [4]}, "4 is not a channel"),
        ({"dead_channels": [1, 2, 3]}, "every channel"),
        ({"dead_channels": [2], "common_ground": 2}, "one of dead_channels"),
        ({"dead_channels": [1, 2], "remove_median": True}, "single channel"),
        ({"matched_filter": True, "weird_thresh": 100}, "matched_filter"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(tmp_path, changes, said):
    with pytest.raises(ValueError, match=said):
        told(recorded(tmp_path), tmp_path, **changes)


def test_a_scratch_folder_that_is_too_small_is_noticed_before_the_work(tmp_path):
    with pytest.raises(OSError, match=r"File too large|No space left on device"):
        run._reserve(tmp_path / "reserved", 2**60)
    assert list(tmp_path.iterdir()) == []


def test_colours_and_frames_of_the_tools_messages_are_taken_off():
    lines = ["\x1b[33m-------------  Informations  -------------\r\n", "\x1b[33m| Found 3\r\n", "40%\n"]
    assert [run.FRAME.sub("", run.COLOUR.sub("", line).rstrip()) for line in lines] == ["", "Found 3", "40%"]
