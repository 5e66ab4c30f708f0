"""Which recordings need an import, what the step is given, and what it must write: decided from names alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
from recording_files import samples, write_mountainsort

from spikecrate._util.data import data_path
from spikecrate._util.progress import Silent
from spikecrate.api import find_or_run
from spikecrate.catalogue.tools import catalogue, check, find
from spikecrate.errors import (
    JobFailedError,
    OutputError,
    RecordingAmbiguousError,
    RecordingEmptyError,
    RecordingFormatError,
    RecordingNotFoundError,
    ResultInvalidError,
    SorterNotFoundError,
    UsageError,
)
from spikecrate.recordings import open_recording
from spikecrate.steps import imports
from spikecrate.steps.imports import import_request, imported, needs_import
from spikecrate.steps.opening import import_recording
from spikecrate.steps.request import StepRequest
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job


def make(folder, *names):
    """Make empty files, and folders where a name ends with a slash."""
    for name in names:
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("names", "named", "reader"),
    [
        (["day.nwb"], "day.nwb", "nwb"),
        (["day.NWB"], "day.NWB", "nwb"),
        (["day.nwb.zarr/.zgroup"], "day.nwb.zarr", "nwb"),
        (["day.zarr/.zattrs"], "day.zarr", "zarr"),
        (["day.rhd", "settings.xml"], "", "intan"),
        (["info.rhd", "amplifier.dat"], "", "intan"),
        (["a.ap.cbin", "a.ap.ch", "a.ap.meta"], "", "compressedbinaryibl"),
        (["a.ap.cbin", "a.ap.ch", "a.ap.meta"], "a.ap.cbin", "compressedbinaryibl"),
        (["CSC1.ncs", "CSC2.ncs", "Events.nev"], "", "neuralynx"),
        (["day.ns5", "day.ns2", "day.nev"], "day.ns5", "blackrock"),
        (["day.plx"], "day.plx", "plexon"),
        (["sub/deep/day.rhd"], "", "intan"),
        (["1/2/3/4/5/day.rhd"], "", None),
        # A folder of that suffix is no file of it.
        (["day.rec/day.rec"], "day.rec", "spikegadgets"),
        (["day.rec/notes.txt"], "day.rec", None),
        (["day.nwb", "._day.nwb", ".hidden/day.plx"], "", "nwb"),
        (["a.ncs", "b.plx"], "", None),
        (["notes.txt"], "", None),
        (["notes.txt"], "notes.txt", None),
        ([], "", None),
        ([], "nowhere.nwb", None),
    ],
)
def test_a_format_that_is_not_read_in_place_is_known_by_the_names_of_its_files(
    tmp_path, names, named, reader
):
    folder = make(tmp_path / "in", *names, ".keep")
    assert needs_import(folder / named) == reader
    assert needs_import(str(folder / named)) == reader


def test_a_format_that_is_read_in_place_wins(tmp_path):
    folder = write_mountainsort(tmp_path / "rec", samples())
    make(folder, "day.nwb")
    assert needs_import(folder) is None
    assert needs_import(folder / "day.nwb") == "nwb"
    described = make(tmp_path / "flat", "recording.json", "day.ns5")
    assert needs_import(described) is None
    spikeglx = make(tmp_path / "run", "a.ap.bin", "a.ap.meta", "a.ap.cbin", "a.ap.ch")
    assert needs_import(spikeglx) is None


@pytest.mark.parametrize("path", ["", "a\0b", "no/where", "\udcff"])
def test_the_decision_raises_nothing_whatever_the_path(path):
    assert needs_import(path) is None


def test_a_folder_that_may_not_be_entered_needs_no_import(tmp_path, monkeypatch):
    folder = make(tmp_path / "in", "day.nwb")

    def refuse(_path):
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert needs_import(folder) is None


def test_the_decision_loads_nothing_heavy(tmp_path):
    make(tmp_path, "day.nwb")
    code = (
        "import sys; from spikecrate.steps.imports import needs_import; "
        f"assert needs_import({str(tmp_path)!r}) == 'nwb'; "
        "assert not {'numpy', 'docker', 'jsonschema'} & sys.modules.keys(), sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("names", "named", "source", "file"),
    [
        (["day.nwb", "._day.nwb", "other.txt"], "", "day.nwb", "day.nwb"),
        (["day.zarr/.zattrs"], "", "day.zarr", ""),
        (["info.rhd", "amplifier.dat"], "info.rhd", "", "info.rhd"),
        (["day.rhd"], "day.rhd", "day.rhd", "day.rhd"),
        (["a.ncs", "b.ncs"], "b.ncs", "", ""),
        (["deep/a.ncs", "deep/b.ncs"], "", "deep", ""),
    ],
)
def test_the_step_gets_the_file_alone_or_the_folder_of_a_file_that_needs_others(
    tmp_path, names, named, source, file
):
    folder = make(tmp_path / "in", *names)
    request = import_request(folder / named)
    assert request.inputs == {"source": folder / source}
    assert request.params["file"] == file
    # A file alone lies in the folder that is mounted for it, by its name.
    assert not file or (folder / source if (folder / source).is_dir() else folder).joinpath(file).exists()


@pytest.mark.parametrize(
    ("named", "files"),
    [
        ("day1.ns5", ["day1.nev", "day1.ns2", "day1.ns5"]),
        ("a.ap.cbin", ["a.ap.cbin", "a.ap.ch", "a.ap.meta"]),
        ("rat.set", ["rat.bin", "rat.set"]),
    ],
)
def test_of_a_folder_of_many_recordings_the_step_gets_the_files_of_one(tmp_path, named, files):
    others = ["day2.ns5", "day2.nev", "a.lf.cbin", "a.lf.ch", "day1.ns5.txt", "rat2.set", "day1.d/x"]
    folder = make(tmp_path / "in", *files, *others)
    request = import_request(folder / named)
    assert request.inputs == {"source": tuple(folder / name for name in files)}
    assert request.params["file"] == named


def test_a_file_that_is_a_link_is_known_by_its_own_name_and_read_by_that_of_its_target(tmp_path):
    folder = make(tmp_path / "in", "objects/SHA256E--0123.dat")
    (folder / "day.nwb").symlink_to("objects/SHA256E--0123.dat")
    request = import_request(folder / "day.nwb")
    assert (request.params["reader"], request.params["file"]) == ("nwb", "SHA256E--0123.dat")
    assert request.inputs == {"source": folder / "day.nwb"}


def test_the_stream_of_a_compressed_recording_is_one_of_its_files(tmp_path):
    folder = make(tmp_path / "in", "run.imec0.ap.cbin", "run.imec0.lf.cbin", "run.imec1.lf.cbin")
    assert import_request(folder).params["file"] == "run.imec0.ap.cbin"
    assert import_request(folder, stream="imec0.lf").params["file"] == "run.imec0.lf.cbin"
    with pytest.raises(RecordingAmbiguousError, match=r"imec0\.lf\.cbin, .*imec1\.lf\.cbin"):
        import_request(folder, stream="lf")


def test_one_of_several_recordings_must_be_named(tmp_path):
    folder = make(tmp_path / "in", "a.rhd", "b.rhd")
    with pytest.raises(RecordingAmbiguousError, match=r"a\.rhd, .*b\.rhd"):
        import_request(folder)
    assert import_request(folder / "b.rhd").params["file"] == "b.rhd"


def test_a_reader_may_be_named_where_the_names_do_not_tell(tmp_path):
    folder = make(tmp_path / "in", "day.raw", "a.ncs", "b.plx")
    with pytest.raises(UsageError, match="do not tell its format") as caught:
        import_request(folder)
    assert "--reader" in caught.value.next_step
    assert import_request(folder, reader="plexon").params["file"] == "b.plx"
    assert import_request(folder / "day.raw", reader="mcsraw").inputs == {"source": folder / "day.raw"}
    assert import_request(folder, reader="neuroscope").inputs == {"source": folder}
    with pytest.raises(RecordingNotFoundError):
        import_request(folder / "nowhere.nwb")


def test_the_defaults_of_the_import_are_those_of_the_tool(tmp_path):
    request = import_request(make(tmp_path / "in", "day.nwb"))
    assert request.params == {**find(imports.TOOL).defaults, "reader": "nwb", "file": "day.nwb"}


def test_the_catalogue_has_tools_beside_the_sorters():
    tool = find(imports.TOOL)
    assert tool.folder == data_path("tools") / imports.TOOL
    check(tool.folder)
    assert imports.TOOL not in catalogue()
    assert catalogue(kind="").keys() > catalogue().keys()
    assert imports.TOOL in catalogue(kind="preprocess")
    with pytest.raises(SorterNotFoundError, match="import is a preprocess tool, not a sorter"):
        find(imports.TOOL, kind="sorter")
    with pytest.raises(SorterNotFoundError, match="no tool is named 'improt'; did you mean 'import'"):
        StepRequest(tool="improt", inputs={}).job(None, Silent())


FLAT = """
import json
BINARY = json.dumps({"class": "spikeinterface.core.BinaryRecordingExtractor", "kwargs": {
    "file_paths": ["/etc/passwd"], "dtype": "uint8", "num_channels": 1, "sampling_frequency": 30000.0}})
def run(inputs, parameters, out, resources):
    def describe(file, num_samples, **more):
        fields = {"file": file, "dtype": "int16", "num_channels": 2, "sampling_frequency": 30000, **more}
        (out / "recording.json").write_text(json.dumps({**fields, "num_samples": num_samples}))
    def fail(code, reason):
        print(reason, flush=True)
        __import__("os")._exit(code)
    samples = out / "traces.raw"
"""
GOOD = FLAT + "    samples.write_bytes(bytes(range(40)))\n    describe('traces.raw', 10)\n"


@pytest.fixture
def tool(sorter, monkeypatch):
    """Put a tool of the test's own in the place of `import`; its parameters are those of the true one."""
    described = json.loads((data_path("tools") / "import" / "tool.json").read_text())

    def put(body):
        fields = {name: described[name] for name in ("kind", "inputs", "parameters")}
        monkeypatch.setattr(imports, "TOOL", sorter(body, **fields))

    return put


@pytest.fixture
def source(tmp_path):
    return make(tmp_path / "in", "day.nwb") / "day.nwb"


def test_an_imported_recording_is_in_the_store_and_found_there_again(tool, here, store, source):  # noqa: ARG001
    tool(GOOD)
    folder = imported(source, store=store, progress=Silent())
    recording = open_recording(folder)
    assert recording.traces().tobytes() == bytes(range(40))
    result = find_or_run(import_request(source), store, Silent())
    assert (result.status, result.folder) == ("cached", folder.parent)
    assert (result.record["channels"], result.record["samples"]) == (2, 10)
    assert sorted(result.record["files"]) == ["log.txt", "recording/recording.json", "recording/traces.raw"]
    stored = find_job(result.key, store, Silent())
    assert stored.record["inputs"]["source"]["path"] == str(source)


def test_how_far_the_import_is_moves_a_bar(tool, here, store, source):  # noqa: ARG001
    tool(GOOD + "    for share in (10, 60, 100):\n        print(f'importing: {share}%')\n")
    moved = []

    class Bar(Silent):
        @contextmanager
        def bar(self, title, total, *, expected_s=None):
            assert expected_s is None
            yield lambda units: moved.append((title, total, units))

    imported(source, store=store, progress=Bar())
    ours = [(total, units) for title, total, units in moved if title == "importing day.nwb (host)"]
    assert ours == [(100, 10), (100, 50), (100, 40)]


def test_a_changed_source_is_imported_again(tool, here, store, source):  # noqa: ARG001
    tool(GOOD)
    first = imported(source, store=store, progress=Silent())
    source.write_bytes(b"other")
    assert imported(source, store=store, progress=Silent()) != first
    assert imported(source, store=store, progress=Silent(), stream="b") != first


def test_a_copy_is_complete_and_may_be_changed_without_the_store(tool, here, store, source, tmp_path):  # noqa: ARG001
    tool(GOOD)
    recording = import_recording(source, tmp_path / "new" / "flat", store=store)
    recording.files[0].write_bytes(bytes(40))
    assert open_recording(imported(source, store=store, progress=Silent())).traces().any()
    with pytest.raises(OutputError, match="exists already"):
        import_recording(source, tmp_path / "new" / "flat", store=store)
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(OutputError, match="exists already"):
        import_recording(source, tmp_path / "broken", store=store)
    with pytest.raises(OutputError, match="where nothing is written"):
        import_recording(source.parent, source.parent / "flat", store=store)
    with pytest.raises(OutputError, match="cannot be written"):
        import_recording(source, tmp_path / "new" / "flat" / "traces.raw" / "flat", store=store)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (2, UsageError),
        (11, RecordingFormatError),
        (15, RecordingEmptyError),
        (16, RecordingAmbiguousError),
        (1, JobFailedError),
    ],
)
def test_the_exit_code_of_the_tool_is_that_of_the_error(tool, here, store, source, code, error):  # noqa: ARG001
    tool(FLAT + f"    print('reading')\n    fail({code}, 'two streams: a, b')\n")
    with pytest.raises(error) as caught:
        imported(source, store=store, progress=Silent())
    if error is not JobFailedError:
        assert str(caught.value) == f"{source}: two streams: a, b"
        assert caught.value.next_step


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "samples.write_bytes(bytes(8))",
            "/out is not a recording: /out is not a recording; looked for raw.mda",
        ),
        (
            "(out / 'recording.json').symlink_to('/etc/passwd')",
            "/out is not a recording: /out/recording.json",
        ),
        ("(out / 'binary.json').write_text(BINARY)", "the sample file passwd is a link or lies outside /out"),
        ("(out / 'recording.json').write_text('{}')", "'file' is a required property"),
        ("describe('/etc/passwd', 1)", "file: '/etc/passwd' is a link or lies outside /out"),
        ("describe('../job/job.json', 1)", "is a link or lies outside /out"),
        ("describe('a' + chr(0), 1)", "is a link or lies outside /out"),
        (
            "samples.write_bytes(bytes(4)); describe('traces.raw', 1, probe='../x.csv')",
            "probe: .* outside /out",
        ),
        ("samples.symlink_to('/etc/passwd'); describe('traces.raw', 1)", "'traces.raw' is a link"),
        ("samples.write_bytes(bytes(8)); describe('traces.raw', 3)", "cut short: 12 bytes"),
        (
            "samples.write_bytes(bytes(8)); describe('traces.raw', 1)",
            "has 8 bytes, its description needs 4",
        ),
        ("describe('traces.raw', 1)", "does not exist"),
    ],
)
def test_an_output_that_is_no_recording_is_refused(tool, here, store, source, body, reason):  # noqa: ARG001
    tool(FLAT + f"    {body}\n")
    with pytest.raises(ResultInvalidError, match=reason) as caught:
        imported(source, store=store, progress=Silent())
    assert str(store.root) not in str(caught.value)


@pytest.mark.parametrize("name", [b"day\xff.rhd", b"day\xff/info.rhd", b"\xff.dat"])
def test_a_source_whose_path_is_not_utf8_is_refused_before_anything_runs(store, tmp_path, name):
    folder = make(tmp_path / "in", os.fsdecode(name), "info.rhd")
    path = folder / "info.rhd" if name.endswith(b".dat") else folder / os.fsdecode(name)
    with pytest.raises(UsageError, match=r"xff.* is not a path in UTF-8"):
        imported(path, store=store, progress=Silent(), runtime="host")


def test_the_files_of_one_recording_are_the_source_and_another_one_beside_changes_nothing(
    tool,
    here,  # noqa: ARG001
    store,
    tmp_path,
):
    tool(GOOD)
    folder = make(tmp_path / "in", "day1.ns5", "day1.nev")
    first = imported(folder / "day1.ns5", store=store, progress=Silent())
    (folder / "day2.ns5").write_bytes(b"other")
    assert imported(folder / "day1.ns5", store=store, progress=Silent()) == first
    (folder / "day1.nev").write_bytes(b"other")
    assert imported(folder / "day1.ns5", store=store, progress=Silent()) != first
    (folder / "day1.nev").write_bytes(b"")
    result = find_or_run(import_request(folder / "day1.ns5"), store, Silent())
    facts = result.record["inputs"]["source"]
    assert (result.status, facts["path"], facts["names"]) == ("cached", str(folder), ["day1.nev", "day1.ns5"])
    again = {"runtime": "", "recording": None, "cores": None, "keep": False}
    assert rerun(find_job(result.key, store, Silent()), **again, store=store, progress=Silent()).equal
    (folder / "day1.nev").unlink()
    (folder / "day1.nev").symlink_to("day2.ns5")
    with pytest.raises(UsageError, match="link or a special file"):
        imported(folder / "day1.ns5", store=store, progress=Silent())


def test_the_source_may_be_moved(tool, here, store, source, tmp_path):  # noqa: ARG001
    tool(GOOD)
    first = imported(source, store=store, progress=Silent())
    moved = Path(shutil.move(source.parent, tmp_path / "moved")) / source.name
    assert imported(moved, store=store, progress=Silent()) == first
