"""What an NWB file says beyond the sorting: its options are checked before any job, and no path gets into it."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from importlib import import_module
from pathlib import Path

import pytest
from lab import ANSWER, TWO_EVENTS
from recording_files import RATE, samples, write_flat, write_mountainsort, write_openephys, write_spikeglx

import spikecrate
from spikecrate._util.data import data_path
from spikecrate.cli import main
from spikecrate.errors import ParameterUnknownError, ParameterValueError, UsageError
from spikecrate.exports.nwb import HDF5, read_metadata, session_start, whole_recording
from spikecrate.recordings import open_recording
from spikecrate.recordings.started import local_start
from spikecrate.recordings.views import concatenate

EXPORT = import_module("spikecrate.api.export")
"""The module; the package has the function of this name."""
START = "2024-05-01T14:30:00+02:00"
SUBJECT = {"subject_id": "locust 7", "species": "Schistocerca americana", "sex": "U", "age": "P30D"}
WRITE_GIVEN = """
import json
def run(inputs, parameters, out, resources):
    (out / "given.json").write_text(json.dumps(parameters["nwb"]))
    if "nwb" in inputs:
        (out / "copied").write_bytes((inputs["nwb"] / parameters["nwb"]["file"]).read_bytes())
"""
"""Writes what it is given, in the place of the tool that has pynwb."""
CURATE = """
import shutil
def run(inputs, parameters, out, resources):
    shutil.copyfile(inputs["sorting"] / "firings.mda", out / "firings.mda")
"""


@pytest.fixture
def result(recording, sorter, here):  # noqa: ARG001
    return spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))


@pytest.fixture
def nwb(sorter, monkeypatch):
    """Export to NWB with a tool that writes what it is given; return that."""
    described = json.loads((data_path("tools") / "export" / "tool.json").read_text())
    fields = {name: described[name] for name in ("kind", "inputs", "parameters")}
    monkeypatch.setattr(EXPORT, "TOOL", sorter(WRITE_GIVEN, name="given", **fields))

    def export(result, **options):
        done = spikecrate.export(result, to="nwb", **options)
        return json.loads((done.folder / "given.json").read_text())

    return export


@pytest.fixture
def metadata(tmp_path):
    """Write a file of metadata; give its path."""

    def write(content):
        path = tmp_path / "session.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_metadata_of_a_group_wins_over_that_of_all(metadata):
    groups = [{"location": "CA1", "description": "probe"}, {"name": "b", "location": "CA3"}]
    path = metadata({"Subject": SUBJECT, "ElectrodeGroup": groups})
    assert read_metadata(path, ("a", "a", "b")) == {
        "Subject": SUBJECT,
        "ElectrodeGroup": {
            "a": {"location": "CA1", "description": "probe"},
            "b": {"location": "CA3", "description": "probe"},
        },
    }


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"NWBfile": {}}, "did you mean 'NWBFile'"),
        ({"NWBFile": {"institute": "x"}}, "NWBFile has no 'institute'; did you mean 'institution'"),
        ({"Subject": {**SUBJECT, "weigth": "2 g"}}, "did you mean 'weight'"),
        ({"ElectrodeGroup": [{"locaton": "CA1"}]}, "did you mean 'location'"),
        ({"ElectrodeGroup": [{"name": "shank2"}]}, "the recording has no 'shank2'; did you mean 'shank1'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(metadata, content, told):
    with pytest.raises(ParameterUnknownError, match=told):
        read_metadata(metadata(content), ("shank0", "shank1"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "session.json: "),
        ("[]", "the file: .* is not of type 'object'"),
        ({"Subject": {**SUBJECT, "sex": "male"}}, "Subject.sex: 'male'"),
        ({"Subject": {**SUBJECT, "species": "mouse"}}, "Subject.species: 'mouse'"),
        ({"Subject": {**SUBJECT, "age": "30 days"}}, "Subject.age: '30 days'"),
        ({"Subject": {**SUBJECT, "weight": "20"}}, "Subject.weight: '20'"),
        ({"Subject": {"subject_id": "7"}}, "Subject: "),
        ({"NWBFile": {"experimenter": "Doe, Jane"}}, "NWBFile.experimenter: "),
        ({"NWBFile": {"session_id": "a/b"}}, "NWBFile.session_id: 'a/b'"),
        ({"NWBFile": []}, "NWBFile: "),
        ({"ElectrodeGroup": {"location": "CA1"}}, "ElectrodeGroup: "),
    ],
)
def test_a_wrong_value_is_refused_with_its_field(metadata, content, told):
    with pytest.raises(ParameterValueError, match=told):
        read_metadata(metadata(content), ("0",))


@pytest.mark.parametrize("birth", ["2024-01-31T00:00:00", "yesterday+01:00"])
def test_a_date_of_birth_without_a_zone_is_refused(metadata, birth):
    with pytest.raises((UsageError, ParameterValueError), match=r"date_of_birth"):
        read_metadata(metadata({"Subject": {**SUBJECT, "date_of_birth": birth}}), ("0",))


def test_a_missing_file_of_metadata_is_refused(tmp_path):
    with pytest.raises(ParameterValueError, match="No such file"):
        read_metadata(tmp_path / "none.json", ("0",))


@pytest.fixture
def openephys(tmp_path):
    """A recording of Open Ephys whose settings.xml is that of a real one."""
    folder = write_openephys(tmp_path / "oe", samples())
    real = Path(__file__).parents[1] / "data" / "openephys_settings" / "OE_Neuropix-PXI-subset"
    shutil.copyfile(real / "settings.xml", folder / "Record Node 101" / "settings.xml")
    return open_recording(folder)


def test_the_local_start_is_that_of_spikeglx_and_openephys(tmp_path, openephys):
    glx = open_recording(write_spikeglx(tmp_path / "glx", samples(), fileCreateTime="2022-09-29T11:43:49"))
    assert local_start(glx) == (datetime(2022, 9, 29, 11, 43, 49), glx.files[0].with_suffix(".meta"))  # noqa: DTZ001
    settings = openephys.path / "Record Node 101" / "settings.xml"
    assert local_start(openephys) == (datetime(2023, 3, 30, 17, 13, 30), settings)  # noqa: DTZ001
    settings.write_text(settings.read_text().replace("30 Mar 2023", "30 Mrz 2023"))
    assert local_start(openephys) is None
    settings.unlink()
    assert local_start(openephys) is None
    assert local_start(open_recording(write_mountainsort(tmp_path / "mda", samples()))) is None


def test_the_start_needs_a_zone_and_a_zone_alone_suffices_where_the_files_have_the_time(tmp_path, openephys):
    assert session_start("+01:00", openephys) == "2023-03-30T17:13:30+01:00"
    assert session_start("Z", openephys) == "2023-03-30T17:13:30+00:00"
    assert session_start(START, openephys) == START
    with pytest.raises(UsageError, match=r"settings.xml says that .* 2023-03-30T17:13:30") as raised:
        session_start(None, openephys)
    assert "--session-start +01:00" in raised.value.next_step
    other = open_recording(write_mountainsort(tmp_path / "mda", samples()))
    for word, told in (
        (None, "does not have it"),
        ("2024-05-01T14:30:00", "no time zone"),
        ("+01:00", "not a time"),
        ("noon", "not a time"),
    ):
        with pytest.raises(UsageError, match=told):
            session_start(word, other)


def test_a_view_begins_as_long_after_the_session_as_its_first_sample(tmp_path):
    folder = write_flat(tmp_path / "flat", samples(), gaps=[[10, 500]])
    whole = open_recording(folder)
    view = whole.view(start="4 samples").view(start="20 samples")
    found, before = whole_recording(view, open_recording)
    assert (found.origin, before) == (whole.origin, pytest.approx((24 + 500) / RATE))
    assert whole_recording(whole, open_recording) == (whole, 0.0)
    joined = concatenate([view, whole])
    assert whole_recording(joined, open_recording)[1] == before


def test_the_file_says_which_jobs_made_the_units_and_names_no_path(result, nwb, sorter, recording, metadata):
    given = nwb(result, session_start=START, metadata=metadata({"Subject": SUBJECT}))
    told = given["provenance"]
    job = told["jobs"]["sorting"]
    assert (job["key"], job["recipe"]) == (result.key, result.record["recipe"])
    assert (job["tool"]["name"], job["parameters"]) == ("lab", result.record["parameters"])
    assert (
        job["inputs"]["recording"]["samples"] == result.record["inputs"]["recording"]["identity"]["samples"]
    )
    assert result.key in told["description"]
    assert ["A sorter of the test's", "1"] in told["software"]
    assert (given["session_start_time"], given["start_s"], given["metadata"]) == (
        START,
        0.0,
        {"Subject": SUBJECT},
    )
    assert str(recording.parent) not in json.dumps(given)
    name = sorter(CURATE, name="curated", kind="curate", inputs={"sorting": "folder"})
    curated = spikecrate.run(spikecrate.StepRequest(tool=name, inputs={"sorting": str(result.folder)}))
    jobs = nwb(curated.key, session_start=START)["provenance"]["jobs"]
    assert [jobs[job]["key"] for job in jobs] == [curated.key, result.key]


def test_the_second_export_is_a_cache_hit_and_one_of_another_start_is_not(result, nwb):
    nwb(result, session_start=START)
    for start, status in ((START, "cached"), ("2024-05-01T14:30:00Z", "ran")):
        assert spikecrate.export(result, to="nwb", session_start=start).result.status == status


def test_an_existing_file_is_an_input_by_its_content_and_left_as_it_is(result, nwb, tmp_path):
    existing = tmp_path / "elsewhere" / "day 1.nwb"
    existing.parent.mkdir()
    existing.write_bytes(HDF5 + b"the rest")
    existing.chmod(0o444)
    link = tmp_path / "link.nwb"
    link.symlink_to(existing)
    given = nwb(result, append_to=link, units_name="units_lab")
    assert (given["file"], given["units_name"]) == ("day 1.nwb", "units_lab")
    assert "session_start_time" not in given
    done = spikecrate.export(result, to="nwb", append_to=existing, units_name="units_lab")
    assert (done.result.status, (done.folder / "copied").read_bytes()) == ("cached", existing.read_bytes())
    existing.chmod(0o644)
    existing.write_bytes(HDF5 + b"another rest")
    assert spikecrate.export(result, to="nwb", append_to=existing).result.status == "ran"


def test_options_that_do_not_fit_are_refused_before_a_job(result, nwb, tmp_path, metadata):
    existing = tmp_path / "day.nwb"
    existing.write_bytes(HDF5)
    text = metadata("no HDF5")
    for options, told in (
        ({"append_to": text}, "not an NWB file in HDF5"),
        ({"append_to": tmp_path}, "is a folder"),
        ({"append_to": tmp_path / "none.nwb"}, "does not exist"),
        ({"append_to": existing, "session_start": START}, "--session-start cannot be given"),
        ({"append_to": existing, "units_name": "a/b"}, "no slash"),
        ({"session_start": START, "units_name": "units_lab"}, "for a file that has units"),
    ):
        with pytest.raises(UsageError, match=told):
            nwb(result, **options)
    with pytest.raises(UsageError, match="Subject cannot be given"):
        nwb(result, append_to=existing, metadata=metadata({"Subject": SUBJECT}))
    for options in ({"session_start": START}, {"append_to": existing}, {"units_name": "units_lab"}):
        with pytest.raises(UsageError, match="are for NWB"):
            spikecrate.export(result, to="csv", **options)


def test_the_command_takes_the_options(result, nwb, metadata, capsys, tmp_path):  # noqa: ARG001
    words = ["export", result.key, "--to", "nwb", "--output", str(tmp_path / "out"), "--json"]
    assert main.run(words) == 2
    assert "--session-start 2024-05-01T14:30:00+02:00" in capsys.readouterr().err
    path = metadata({"Device": {"name": "tetrode"}})
    assert main.run([*words, "--session-start", START, "--metadata", str(path)]) == 0
    told = json.loads(capsys.readouterr().out)
    given = json.loads((Path(told["folder"]) / "given.json").read_text())
    assert (given["session_start_time"], given["metadata"]) == (START, {"Device": {"name": "tetrode"}})
