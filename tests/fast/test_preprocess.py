"""A recording that is preprocessed: the chain of operations, what goes to the tool, and what the user gets and sees."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ci import docs_tables
from layouts import layout_of
from probeinterface import Probe, write_probeinterface
from probeinterface.neuropixels_tools import _annotate_probe_with_adc_sampling_info
from recording_files import samples, write_flat, write_mountainsort, write_spikeglx

import spikecrate
from spikecrate._util.data import data_path
from spikecrate._util.files import remove_tree
from spikecrate._util.progress import Silent
from spikecrate.catalogue.parameters import complete, operations, parse_operation, validate
from spikecrate.catalogue.tools import check, find
from spikecrate.cli import main
from spikecrate.cli.show_record import show_record
from spikecrate.errors import (
    JobNotFoundError,
    ParameterUnknownError,
    ParameterValueError,
    RecordingNotFoundError,
    UsageError,
)
from spikecrate.recordings import open_recording
from spikecrate.recordings.formats import neuropixels
from spikecrate.steps.listing import list_jobs
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate_harness.layout import Layout
from spikecrate_harness.resources import Resources
from spikecrate_harness.traces import open_traces

BAND = {"operation": "bandpass_filter"}
REFERENCE = {"operation": "common_reference"}
COPIES = """
import json
def run(inputs, parameters, out, resources):
    recording, names = inputs["recording"], parameters["channel_ids"]
    recording.traces().astype("<i2").tofile(out / "traces.raw")
    described = {"file": "traces.raw", "dtype": "<i2", "num_channels": recording.num_channels, "channel_ids": names,
        "sampling_frequency": recording.sampling_frequency, "gain_uv": 2.0, "offset_uv": 0.0, "probe": "column"}
    (out / "recording.json").write_text(json.dumps(described))
    told = [{"channel": name, "label": "good", "action": "kept"} for name in names]
    (out / "channels.json").write_text(json.dumps(told))
    resources.warn("bad channel interpolated: 2 (dead)")
"""
"""A tool that copies, in the place of the one that has SpikeInterface."""
ANSWER = "import numpy as np\ndef sort(recording, parameters, resources):\n    return np.array([10.0]), np.array([1])\n"
TOOL = docs_tables.tool("preprocess")


@pytest.fixture
def tool(sorter, monkeypatch, here):  # noqa: ARG001
    """Put a tool of the test's own in the place of `preprocess`; its parameters are those of the true one."""
    described = json.loads((data_path("tools") / "preprocess" / "tool.json").read_text())
    fields = {name: described[name] for name in ("kind", "inputs", "parameters")}
    monkeypatch.setattr(
        import_module("spikecrate.api.preprocess"), "TOOL", sorter(COPIES, name="copies", **fields)
    )


@pytest.fixture
def flat(tmp_path):
    """Write a recording of four channels on two shanks with a gap."""
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts([[0, 0], [0, 20], [300, 0], [300, 20]], shapes="circle", shape_params={"radius": 5})
    probe.set_shank_ids(["a", "a", "b", "b"])
    probe.set_device_channel_indices(np.arange(4))
    names, gaps = ["n1", "n2", "n3", "n4"], [[100, 7]]
    facts = {"channel_ids": names, "gaps": gaps, "spike_sign": -1, "gain_uv": 0.5}
    folder = write_flat(tmp_path / "flat", samples(), probe="probe.json", **facts)
    write_probeinterface(folder / "probe.json", probe)
    return folder


def chain(*steps):
    """Return the operations with all of their parameters."""
    return complete(find("preprocess"), {"steps": list(steps)})["steps"]


def test_a_recording_is_preprocessed_and_the_second_time_a_cache_hit(recording, tool, store):  # noqa: ARG001
    done = spikecrate.preprocess(recording, [BAND, REFERENCE])
    assert done.result.status == "ran"
    assert (done.steps[0]["operation"], done.steps[0]["freq_max"]) == ("bandpass_filter", 6000.0)
    assert done.folder == done.result.folder / "recording"
    raw = open_recording(recording)
    assert done.recording.channel_ids == raw.channel_ids
    assert np.array_equal(done.recording.traces(), raw.traces())
    assert {channel["action"] for channel in done.channels} == {"kept"}
    record = done.result.record
    assert (record["channels"], record["samples"]) == (4, 30000)
    assert done.result.warnings == ["bad channel interpolated: 2 (dead)"]
    full = chain(BAND, REFERENCE)
    again = spikecrate.preprocess(open_recording(recording), full)
    assert (again.result.status, again.result.key) == ("cached", done.result.key)
    options = {"runtime": "", "recording": None, "cores": None, "keep": False}
    assert rerun(find_job(done.result.key, store, Silent()), **options, store=store, progress=Silent()).equal


def test_the_order_and_every_value_of_the_chain_make_another_job(recording, tool):  # noqa: ARG001
    chains = ([BAND, REFERENCE], [REFERENCE, BAND], [BAND], [BAND | {"order": 3}, REFERENCE])
    keys = {spikecrate.preprocess(recording, steps).result.key for steps in chains}
    keys.add(spikecrate.preprocess(recording, [BAND], params={"dtype": "float32"}).result.key)
    keys.add(spikecrate.preprocess(recording, [BAND], seed=1).result.key)
    keys.add(spikecrate.preprocess(open_recording(recording).view(end=0.5), [BAND]).result.key)
    assert len(keys) == 7


def test_the_new_recording_is_sorted_by_its_key_its_folder_or_a_copy_as_one_job(
    recording,
    tool,  # noqa: ARG001
    sorter,
    tmp_path,
):
    done = spikecrate.preprocess(recording, [BAND], output=tmp_path / "clean")
    assert done.folder == tmp_path / "clean" / "recording"
    name = sorter(ANSWER)
    words = [done.recording, done.result.key[:12], done.result.folder, tmp_path / "clean", done.folder]
    words.append(shutil.copytree(done.folder, tmp_path / "elsewhere"))
    results = [spikecrate.sort(word, sorter=name, force=True) for word in words]
    assert len({result.key for result in results}) == 1
    made = [result.record["inputs"]["recording"]["made_by"] for result in results]
    assert all(one == made[0] for one in made[:5])
    assert made[5] is None
    assert (made[0]["tool"], made[0]["key"]) == ("copies", done.result.key)
    assert made[0]["inputs"] == {"recording": str(recording)}
    assert made[0]["parameters"]["steps"] == done.steps


def test_a_list_and_a_record_name_the_jobs_that_made_an_input(
    recording,
    tool,  # noqa: ARG001
    sorter,
    store,
    tmp_path,
    capsys,
):
    done = spikecrate.preprocess(recording, [BAND], output=tmp_path / "clean")
    name, made = sorter(ANSWER), f"copies {done.result.key[:12]} of {recording}"
    by_key = spikecrate.sort(done.result.key, sorter=name)
    copied = spikecrate.sort(done.folder, sorter=name, seed=1)
    both = by_key.compare(copied)
    told = {row["key"]: row["recording"] for row in list_jobs(store)}
    assert told[by_key.key] == made
    assert told[copied.key] == str(done.folder)
    assert told[both.result.key] == f"lab {by_key.key[:12]}, lab {copied.key[:12]} of {made}"
    for result in (by_key, copied):
        show_record(result.record)
        assert f"made by     {made}\n" in capsys.readouterr().out
    show_record(both.result.record)
    shown = capsys.readouterr().out
    assert f"sortings    lab {by_key.key[:12]}, lab {copied.key[:12]}\n" in shown
    assert "exhaustive=false" in shown
    assert "least_votes" not in shown


def test_the_default_folder_has_the_name_of_the_recording_that_was_preprocessed(
    recording,
    tool,  # noqa: ARG001
    sorter,
    tmp_path,
    monkeypatch,
):
    monkeypatch.chdir(tmp_path)
    view = spikecrate.preprocess(open_recording(recording).view(end=0.5), [BAND])
    twice = spikecrate.preprocess(view.result.key, [REFERENCE])
    sorter(ANSWER)
    for seed, done in enumerate((view, twice)):
        assert main.run(["sort", done.result.key[:12], "--sorter", "lab", "--seed", str(seed)]) == 0
    found = [path.name[:4] for path in (tmp_path / "sortings" / recording.name).iterdir()]
    assert found == ["lab-", "lab-"]


def test_a_job_whose_input_is_gone_names_the_job_that_made_it_and_the_command(
    recording,
    tool,  # noqa: ARG001
    sorter,
    store,
    tmp_path,
    monkeypatch,
):
    monkeypatch.chdir(tmp_path)
    done = spikecrate.preprocess(open_recording(recording).view(end=0.5), [BAND], seed=3)
    sorted_ = spikecrate.sort(done.recording, sorter=sorter(ANSWER), params={"value": 2})
    compared = sorted_.compare(spikecrate.sort(done.recording, sorter="lab", seed=1))
    asked = {"runtime": "", "recording": None, "cores": None, "keep": False}
    jobs = [find_job(key, store, Silent()) for key in (sorted_.key, compared.result.key)]
    remove_tree(done.result.folder)
    with pytest.raises(RecordingNotFoundError, match=f"the job copies {done.result.key[:12]} made it") as one:
        rerun(jobs[0], **asked, store=store, progress=Silent())
    again, place = one.value.next_step.removeprefix("make it again: ").split(", or ")
    assert place == "name where it is now: --recording DIR"
    with pytest.raises(RecordingNotFoundError, match="made it"):
        spikecrate.load(sorted_.folder).analyze()
    remove_tree(sorted_.folder)
    with pytest.raises(JobNotFoundError, match=f"the result of the job lab {sorted_.key[:12]}") as other:
        rerun(jobs[1], **asked, store=store, progress=Silent())
    again_sorted = other.value.next_step.removeprefix("make it again: ")
    for command in (again, again_sorted):
        assert main.run(shlex.split(command)[1:]) == 0
    assert rerun(jobs[1], **asked, store=store, progress=Silent()).equal


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"tool": 3}', '{"tool": {"kind": "preprocess"}}'])
def test_a_run_json_of_another_program_made_nothing(recording, sorter, here, content):  # noqa: ARG001
    inner = shutil.copytree(recording, recording / "inner")
    (recording / "run.json").write_text(content)
    result = spikecrate.sort(inner, sorter=sorter(ANSWER))
    assert result.record["inputs"]["recording"]["made_by"] is None


def test_a_key_that_names_no_recording_is_a_path_that_does_not_exist(recording, sorter, here):  # noqa: ARG001
    result = spikecrate.sort(recording, sorter=sorter(ANSWER))
    for word in (result.key[:12], "0123abcd", "abc"):
        with pytest.raises(RecordingNotFoundError):
            spikecrate.sort(word, sorter="lab")


def test_names_shanks_gaps_and_sign_go_to_the_tool_and_what_was_assumed(flat, tool, tmp_path):  # noqa: ARG001
    told = spikecrate.preprocess(flat, [BAND]).result.parameters
    assert told["channel_ids"] == ["n1", "n2", "n3", "n4"]
    assert (told["groups"], told["gaps"]) == (["a", "a", "b", "b"], [[100, 7]])
    assert (told["spike_sign"], told["assumed"]) == (-1, [])
    view = open_recording(flat).view(start="50samples", exclude_channels=["n2"])
    told = spikecrate.preprocess(view, [BAND]).result.parameters
    assert (told["channel_ids"], told["groups"]) == (["n1", "n3", "n4"], ["a", "b", "b"])
    assert told["gaps"] == [[50, 7]]
    bare = write_flat(tmp_path / "bare", samples(), probe=False)
    described = json.loads((bare / "recording.json").read_text())
    del described["gain_uv"]
    (bare / "recording.json").write_text(json.dumps(described))
    told = spikecrate.preprocess(bare, [BAND]).result.parameters
    assert (told["groups"], told["assumed"]) == ([], ["gain_uv", "probe"])
    far = write_mountainsort(tmp_path / "far", samples())
    (far / "geom.csv").write_text("0,0\n0,20\n500,0\n500,20\n")
    told = spikecrate.preprocess(far, [REFERENCE | {"reference": "group"}]).result.parameters
    assert told["groups"][0] == told["groups"][1] != told["groups"][2] == told["groups"][3]


def test_channels_are_named_as_in_a_view(flat, tool):  # noqa: ARG001
    removed = {"operation": "remove_channels", "channels": ["n3-n4", "n1"]}
    assert spikecrate.preprocess(flat, [removed]).steps == [removed | {"channels": ["n1", "n3", "n4"]}]
    with pytest.raises(UsageError, match="no channel 'n9'; did you mean") as caught:
        spikecrate.preprocess(flat, [BAND, {"operation": "interpolate_channels", "channels": ["n9"]}])
    assert caught.value.next_step.startswith("steps[1]: interpolate_channels")


@pytest.mark.parametrize(
    ("steps", "error", "message"),
    [
        ([], UsageError, "no operation is named"),
        ({}, ParameterValueError, "steps: {} is not of type 'array'"),
        ("bandpass_filter", ParameterValueError, "is not of type 'array'"),
        (["bandpass_filter"], ParameterValueError, r"steps\[0\]: 'bandpass_filter' is not of type 'object'"),
        ([{"freq_min": 3}], ParameterValueError, r"steps\[0\]: no operation is named: it has 'freq_min'"),
        ([{"operation": 3}], ParameterValueError, r"steps\[0\].operation: 3 is not one of"),
        (
            [BAND, {"operation": "bandpas_filter"}],
            ParameterUnknownError,
            r"steps\[1\]: .* did you mean 'band",
        ),
        ([BAND | {"freqmin": 3}], ParameterUnknownError, "no parameter 'freqmin'; did you mean 'freq_min'"),
        ([BAND | {"freq_min": "300"}], ParameterValueError, r"steps\[0\].freq_min: '300' is not of type"),
        ([BAND | {"freq_min": 0.5}], ParameterValueError, "0.5 is less than the minimum of 1"),
        ([BAND | {"freq_min": float("nan")}], ParameterValueError, "nan is not a finite number"),
        ([BAND | {"order": 2.5}], ParameterValueError, r"steps\[0\].order: 2.5 is not of type 'integer'"),
        (
            [BAND | {"freq_min": 6000}],
            ParameterValueError,
            r"freq_min \(6000 Hz\) must be below freq_max \(6000",
        ),
        ([BAND | {"freq_max": 15000}], ParameterValueError, r"half the sampling frequency \(15000 Hz\)"),
        ([{"operation": "highpass_filter", "freq_min": 2e4}], ParameterValueError, r"freq_min \(20000 Hz\)"),
        (
            [{"operation": "notch_filter", "freq": 15000}],
            ParameterValueError,
            r"freq \(15000 Hz\) must be below",
        ),
        ([REFERENCE | {"operator": "mode"}], ParameterValueError, "'mode' is not one of"),
        (
            [REFERENCE | {"radius_min": 60}],
            ParameterValueError,
            r"radius_min \(60 um\) must be below radius_max",
        ),
        ([{"operation": "remove_channels"}], ParameterValueError, r"channels: \[\] should be non-empty"),
        ([{"operation": "phase_shift"}], ParameterValueError, "does not say when each of its channels"),
        (
            [{"operation": "phase_shift", "probe": "NP100"}],
            ParameterValueError,
            "no Neuropixels probe 'NP100'",
        ),
        ([{"operation": "phase_shift", "shifts": [0, 0.5]}], ParameterValueError, "2 shifts for 4 channels"),
        (
            [{"operation": "phase_shift", "shifts": [0, 1]}],
            ParameterValueError,
            "1.0 is greater than or equal",
        ),
    ],
)
def test_a_chain_that_is_wrong_is_refused_before_anything_runs(recording, tool, steps, error, message):  # noqa: ARG001
    with pytest.raises(error, match=message):
        spikecrate.preprocess(recording, steps)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["remove_channels:channels=1-4"], r"steps\[0\]: remove_channels: all 4 channels are named"),
        (
            ["remove_channels:channels=1,2", "interpolate_channels:channels=3,4"],
            r"steps\[1\]: interpolate_channels: all 2 channels are named",
        ),
        (
            ["remove_channels:channels=2", "remove_channels:channels=1-2"],
            r"steps\[1\]: remove_channels: channel 2 has been removed",
        ),
    ],
)
def test_a_chain_that_leaves_no_channel_is_refused_before_anything_runs(
    tmp_path,
    tool,  # noqa: ARG001
    capsys,
    monkeypatch,
    words,
    message,
):
    monkeypatch.setattr("spikecrate.steps.run.run", lambda *_, **__: pytest.fail("it ran"))
    plain = write_mountainsort(tmp_path / "plain", samples())
    options = [part for word in words for part in ("--step", word)]
    assert main.run(["preprocess", str(plain), *options]) == UsageError.exit_code
    assert re.search(message, capsys.readouterr().err)


def test_what_the_tool_finds_unfit_is_told_in_its_last_line(recording, sorter, monkeypatch, here):  # noqa: ARG001
    described = json.loads((data_path("tools") / "preprocess" / "tool.json").read_text())
    fields = {name: described[name] for name in ("kind", "inputs", "parameters")}
    body = (data_path("tools") / "preprocess" / "run.py").read_text()
    # SpikeInterface is not here: the chain finds what it would with it.
    body += "\n\ndef preprocess(*_):\n    raise UnfitError('all 4 channels are bad')\n"
    monkeypatch.setattr(
        import_module("spikecrate.api.preprocess"), "TOOL", sorter(body, name="unfit", **fields)
    )
    with pytest.raises(UsageError) as caught:
        spikecrate.preprocess(recording, [{"operation": "detect_bad_channels"}])
    assert str(caught.value) == f"{recording}: all 4 channels are bad"


def test_one_channel_has_no_common_reference(tmp_path, flat, tool):  # noqa: ARG001
    lone = write_mountainsort(tmp_path / "lone", samples(num_channels=1))
    with pytest.raises(
        ParameterValueError, match="lone has one channel, whose common reference is the channel"
    ):
        spikecrate.preprocess(lone, [REFERENCE])
    view = open_recording(flat).view(exclude_channels=["n4"])
    with pytest.raises(ParameterValueError, match="group b has one channel"):
        spikecrate.preprocess(view, [REFERENCE | {"reference": "group"}])


@pytest.mark.parametrize(
    "part", [part for part in neuropixels.part_numbers() if not part.startswith("NP301")]
)
def test_the_delays_of_a_neuropixels_probe_are_those_of_probeinterface(part):
    features = neuropixels._table()["neuropixels_probes"][part]
    count = int(features["num_readout_channels"])
    probe = Probe(ndim=2, si_units="um")
    probe.set_contacts(np.c_[np.zeros(count), np.arange(count)], shapes="circle", shape_params={"radius": 5})
    probe.annotate(num_readout_channels=count)
    table = neuropixels._table()["z_mux_tables"][features["mux_table_format_type"]]
    _annotate_probe_with_adc_sampling_info(probe, table)
    cycles = 13 if float(features["lf_sample_frequency_hz"]) else 16
    expected = probe.contact_annotations["adc_sample_order"] / cycles
    found = neuropixels.probe_shifts(part)
    assert [found[channel] for channel in range(count)] == expected.tolist()
    assert 0 <= min(found.values()) <= max(found.values()) < 1


def test_the_delays_are_those_of_the_channels_of_the_file(tmp_path, tool):  # noqa: ARG001
    shift = [{"operation": "phase_shift"}]
    saved = {"snsSaveChanSubset": "0,1,24,47,384", "acqApLfSy": "384,0,1", "imDatPrb_pn": "NP2013"}
    binary = write_spikeglx(tmp_path / "run", samples(), **saved)
    delays = neuropixels.probe_shifts("NP2013")
    done = spikecrate.preprocess(binary, shift)
    assert done.steps[0]["shifts"] == [delays[channel] for channel in (0, 1, 24, 47)]
    assert len(set(done.steps[0]["shifts"])) > 1
    raw = open_recording(binary)
    view = raw.view(exclude_channels=[raw.channel_ids[1]])
    assert spikecrate.preprocess(view, shift).steps[0]["shifts"] == [delays[one] for one in (0, 24, 47)]
    named = spikecrate.preprocess(
        write_flat(tmp_path / "f", samples()), [{"operation": "phase_shift", "probe": "NP1000"}]
    )
    delays = neuropixels.probe_shifts("NP1000")
    assert named.steps[0]["shifts"] == [delays[channel] for channel in range(4)]
    given = [{"operation": "phase_shift", "shifts": [0.1, 0.2, 0.3, 0.4]}]
    assert spikecrate.preprocess(binary, given).steps[0]["shifts"] == [0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(
    ("word", "parsed"),
    [
        ("common_reference", {}),
        ("bandpass_filter:freq_min=300,freq_max=6e3", {"freq_min": 300, "freq_max": 6000.0}),
        ("common_reference:reference=local", {"reference": "local"}),
        ("remove_channels:channels=7", {"channels": ["7"]}),
        ("remove_channels:channels=7,AP-3,b", {"channels": ["7", "AP-3", "b"]}),
        ('remove_channels:channels=["a,b","c=d"]', {"channels": ["a,b", "c=d"]}),
        ("phase_shift:shifts=0,0.5,margin_ms=20", {"shifts": [0, 0.5], "margin_ms": 20}),
        ("interpolate_channels:channels=1,2,sigma_um=null", {"channels": ["1", "2"], "sigma_um": None}),
    ],
)
def test_an_operation_is_one_word_of_the_command_line(word, parsed):
    assert (
        parse_operation(find("preprocess"), "steps", word) == {"operation": word.partition(":")[0]} | parsed
    )


def test_the_command_keeps_the_order_and_names_the_next_one(recording, tool, capsys, tmp_path):  # noqa: ARG001
    path = tmp_path / "chain.json"
    path.write_text(json.dumps([{"operation": "notch_filter", "freq": 60}]))
    words = ["preprocess", str(recording), "--steps", str(path), "--step", "highpass_filter:freq_min=500"]
    words += ["--step", "common_reference", "--end", "0.5", "--exclude-channels", "2"]
    assert main.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    names = [step["operation"] for step in told["steps"]]
    assert names == ["notch_filter", "highpass_filter", "common_reference"]
    assert (told["steps"][0]["freq"], told["steps"][1]["freq_min"]) == (60.0, 500.0)
    assert (told["num_channels"], told["num_samples"], told["status"]) == (3, 15000, "ran")
    assert main.run(words) == 0
    head, shape, key, place, warning, following = capsys.readouterr().out.splitlines()
    assert head.startswith("notch_filter, highpass_filter, common_reference; cache hit")
    assert shape == "3 channels, 0.5 s, <i2"
    assert (key.split()[1], place.split()[1]) == (told["key"], told["folder"])
    assert warning == "warning: bad channel interpolated: 2 (dead)"
    assert following == f"next    spikecrate sort {told['key'][:12]}"
    assert main.run([*words, "--output", str(tmp_path / "clean")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split()[-1] == str(tmp_path / "clean" / "recording")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "neither --steps nor --step names an operation"),
        (["--steps", "none.json"], "--steps none.json: .*No such file"),
        (["--steps", "bad.json"], "--steps bad.json: Expecting"),
        (["--steps", "object.json"], "--steps object.json does not hold a list"),
        (["--step", "bandpass_filter:freq_min"], "'freq_min' is not of the form name=value"),
        (
            ["--step", "bandpas_filter:freq_min=3"],
            "no operation 'bandpas_filter'; did you mean 'bandpass_filter'",
        ),
    ],
)
def test_a_command_without_a_chain_says_what_is_wrong(recording, tool, capsys, monkeypatch, words, message):  # noqa: ARG001
    monkeypatch.chdir(recording.parent)
    Path("bad.json").write_text("[")
    Path("object.json").write_text("{}")
    assert main.run(["preprocess", str(recording), *words]) != 0
    assert re.search(message, capsys.readouterr().err)


def test_the_operations_are_listed_with_their_parameters(capsys):
    assert main.run(["sorters.show", "preprocess"]) == 0
    shown = capsys.readouterr().out
    for name, operation in operations(find("preprocess").parameters["properties"]["steps"]).items():
        assert f"\n{name}: {operation['description']}\n" in shown
        assert all(field in shown for field in operation["properties"])


def test_the_schema_names_the_operations_that_the_tool_has():
    check(find("preprocess").folder)
    schema = find("preprocess").parameters["properties"]["steps"]
    known = operations(schema)
    assert schema["items"]["properties"]["operation"]["enum"] == list(known) == list(TOOL.OPERATIONS)
    required = {"channels": ["1"]}
    for name, operation in known.items():
        given = {field: value for field, value in required.items() if field in operation["properties"]}
        validate(find("preprocess"), complete(find("preprocess"), {"steps": [{"operation": name, **given}]}))
        for entry in operation["properties"].values():
            assert entry["description"].endswith(".")


@pytest.mark.parametrize("time_axis", [0, 1])
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", "|u1"])
def test_a_recording_in_pieces_has_the_same_samples(tmp_path, monkeypatch, time_axis, dtype):
    monkeypatch.setattr(TOOL, "PIECE_BYTES", 1000)
    count = 5
    stored = np.arange(1000 * count).reshape(1000, count).astype(dtype)
    path = tmp_path / "raw.dat"
    path.write_bytes(bytes(16) + (stored if time_axis == 0 else stored.T).tobytes())
    fields = layout_of(count, 1000, dtype=dtype, time_axis=time_axis, offset=16)
    fields["parts"] = [{**fields["parts"][0], "channels": [3, 1], "start": 37, "num_samples": 900}] * 2
    fields |= {
        name: values[:2] for name, values in fields.items() if isinstance(values, list) and len(values) == 5
    }
    whole = open_traces(Layout.from_dict(fields), [path, path])
    pieces = TOOL.in_pieces(whole)
    assert np.array_equal(pieces.traces(), whole.traces())
    for start, stop in pairwise([0, 1, 99, 100, 101, 899, 901, 1700, 1800]):
        assert np.array_equal(pieces.traces(start, stop), whole.traces(start, stop))
    if time_axis == 0:
        assert max(part.num_bytes for part in pieces.layout.parts) <= 1000
        assert all(part.file_samples == part.num_samples for part in pieces.layout.parts)


def test_the_tool_refuses_what_leaves_no_channel(tmp_path):
    traces = SimpleNamespace(channel_ids=np.array(["a", "b"]), remove_channels=lambda names: names)
    made = TOOL.Chain(traces, {}, Resources(tmp_path, 1, None, 0), {})
    with pytest.raises(
        ValueError, match="all 2 channels are bad, and none would be left: report them by action"
    ):
        made.treat(["a", "b"], "remove")
    assert made.treat(["a", "b"], "report") is traces
    with pytest.raises(ValueError, match="remove_channels: all 2 channels are named"):
        TOOL.remove_channels(made, {"operation": "remove_channels", "channels": ["b", "a", "b"]})
    with pytest.raises(ValueError, match="remove_channels: c is none of the 2 channels"):
        TOOL.remove_channels(made, {"operation": "remove_channels", "channels": ["c"]})
    assert TOOL.remove_channels(made, {"operation": "remove_channels", "channels": ["b"]}) == ["b"]
    assert made.channels["b"] == {"label": "named", "action": "removed"}


@pytest.mark.parametrize(
    ("dtype", "asked", "written"),
    [
        ("<i2", "auto", "int16"),
        ("|u1", "auto", "int16"),
        (">i4", "auto", "float32"),
        ("<f8", "auto", "float32"),
        ("<f4", "int16", "int16"),
        ("<i2", "float32", "float32"),
    ],
)
def test_small_integers_stay_integers_with_their_gains(tmp_path, dtype, asked, written):
    (tmp_path / "raw.dat").write_bytes(bytes(100 * 2 * 8))
    layout = Layout.from_dict(layout_of(dtype=dtype, gains=[0.5, 2.0]))
    gains = TOOL.gains_of(open_traces(layout, [tmp_path / "raw.dat"]), asked)
    assert (gains is None) == (written == "float32")
    assert gains is None or gains.tolist() == [0.5, 2.0]
    flat = Layout.from_dict(layout_of(gains=[1.0, 0.0]))
    with pytest.raises(ValueError, match="the gain of channel 2 is 0"):
        TOOL.gains_of(open_traces(flat, [tmp_path / "raw.dat"]), "int16")
