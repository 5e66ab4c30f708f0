"""One recording in five formats is one recording, wherever it lies and however it is named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lab import ANSWER, TWO_EVENTS
from recording_files import (
    DATA,
    RATE,
    WRITERS,
    as_nobody,
    places,
    samples,
    write_flat,
    write_mountainsort,
    write_openephys,
    write_spikeglx,
    write_spikeinterface,
)

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.errors import (
    RecordingAmbiguousError,
    RecordingEmptyError,
    RecordingFormatError,
    RecordingLinkError,
    RecordingNotFoundError,
    RecordingPermissionError,
    RecordingTruncatedError,
    SpikecrateError,
    UsageError,
)
from spikecrate.recordings import open_recording
from spikecrate.recordings.identity import hash_samples, identity

EVERY_FORMAT = pytest.mark.parametrize("form", sorted(WRITERS))


@EVERY_FORMAT
def test_a_recording_is_read_in_place(tmp_path, form):
    traces = samples()
    recording = open_recording(WRITERS[form](tmp_path / "rec", traces))
    assert recording.format == form
    assert np.array_equal(recording.traces(), traces)
    assert np.array_equal(recording.traces(10, 12), traces[10:12])
    assert recording.layout.sampling_frequency == RATE
    assert recording.duration_s == 500 / RATE
    assert [list(row) for row in recording.layout.locations] == places(4)
    assert recording.files[0].is_file()


@EVERY_FORMAT
def test_nothing_is_written_into_a_recording(tmp_path, form):
    path = WRITERS[form](tmp_path / "rec", samples())

    def state():
        return {file: (file.stat().st_mtime_ns, file.stat().st_size) for file in tmp_path.rglob("*")}

    before = state()
    recording = open_recording(path)
    recording.traces()
    hash_samples(recording, Silent())
    assert state() == before


def test_the_same_samples_are_the_same_recording_in_every_format(tmp_path):
    found = {}
    for form, write in WRITERS.items():
        recording = open_recording(write(tmp_path / form, samples()))
        found[form] = identity(recording, hash_samples(recording, Silent()))
    assert all(facts == found["mountainsort"] for facts in found.values())


@EVERY_FORMAT
def test_one_channel_is_a_recording(tmp_path, form):
    traces = samples(num_channels=1)
    recording = open_recording(WRITERS[form](tmp_path / "rec", traces))
    assert recording.layout.num_channels == 1
    assert np.array_equal(recording.traces(), traces)


@EVERY_FORMAT
def test_no_samples_is_an_error_of_its_own(tmp_path, form):
    path = WRITERS[form](tmp_path / "rec", samples(num_samples=0))
    with pytest.raises(RecordingEmptyError, match="no samples"):
        open_recording(path)


NAMES = [
    "with space",
    "quo'te\"s",
    "col:on",
    "com,ma",
    "new\nline",
    "déjà vu 神経 µV",
    "$HOME `id` ;&|<>*?[a]{b}!#%~",
    "-rf",
    "back\\slash",
    "tab\there",
    "a=b",
    "trailing ",
]


@EVERY_FORMAT
@pytest.mark.parametrize("name", NAMES)
def test_any_name_of_a_folder_will_do(tmp_path, form, name):
    path = WRITERS[form](tmp_path / name / name, samples(num_samples=20))
    recording = open_recording(path)
    assert np.array_equal(recording.traces(), samples(num_samples=20))
    assert hash_samples(recording, Silent())


@given(
    name=st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
)
def test_any_text_is_a_folder_or_an_error_of_ours(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp("any")
    if name in (".", ".."):
        return
    write_mountainsort(folder / name, samples(num_samples=5))
    assert open_recording(folder / name).layout.num_samples == 5


def test_a_name_that_is_not_text_will_do(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    recording = open_recording(write_mountainsort(folder, samples(num_samples=5)))
    assert len(hash_samples(recording, Silent())) == 64


@pytest.mark.parametrize("path", ["", "\0", "a\0b"])
def test_what_is_no_path_is_not_found(path):
    with pytest.raises(RecordingNotFoundError, match="is not a path"):
        open_recording(path)


@pytest.mark.parametrize("path", ["nowhere", "nowhere/in/here", "x" * 300, "rec/raw.mda/inside"])
def test_what_is_not_there_is_not_found(tmp_path, path):
    write_mountainsort(tmp_path / "rec", samples())
    with pytest.raises(RecordingNotFoundError) as caught:
        open_recording(tmp_path / path)
    assert caught.value.next_step


@pytest.mark.parametrize("name", ["empty", "notes.txt"])
def test_what_is_not_a_recording_says_what_was_looked_for(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(
        RecordingNotFoundError, match=r"raw\.mda.*binary\.json.*\.meta.*structure\.oebin.*recording\.json"
    ):
        open_recording(tmp_path / name)


def test_a_relative_path_is_read_from_where_one_is(tmp_path, monkeypatch):
    write_mountainsort(tmp_path / "rec", samples())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    recording = open_recording("../rec")
    assert recording.files[0].parent == tmp_path / "rec"
    assert recording.path.is_absolute()


def test_dots_after_a_link_mean_the_folder_above_its_target(tmp_path):
    write_mountainsort(tmp_path / "disk" / "rec", samples())
    (tmp_path / "disk" / "inner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "inner")
    assert open_recording(tmp_path / "link" / ".." / "rec").files[0].parent == tmp_path / "disk" / "rec"


def test_the_files_of_a_recording_name_it_too(tmp_path):
    write_mountainsort(tmp_path / "m", samples())
    write_spikeinterface(tmp_path / "s", samples())
    write_flat(tmp_path / "f", samples())
    binary = write_spikeglx(tmp_path / "g", samples())
    write_openephys(tmp_path / "o", samples())
    recording = tmp_path / "o" / "Record Node 101" / "experiment1" / "recording1"
    for path in (
        tmp_path / "m" / "raw.mda",
        tmp_path / "s" / "binary.json",
        tmp_path / "s" / "traces_cached_seg0.raw",
        tmp_path / "f" / "recording.json",
        binary,
        binary.with_suffix(".meta"),
        tmp_path / "g",
        tmp_path / "o" / "Record Node 101",
        recording.parent,
        recording,
        recording / "structure.oebin",
        recording / "continuous",
        recording / "continuous" / "Probe-100.0",
        recording / "continuous" / "Probe-100.0" / "continuous.dat",
    ):
        found = open_recording(path)
        assert found.path == path
        assert np.array_equal(found.traces(), samples())


def test_two_formats_in_one_folder_must_be_told_apart(tmp_path):
    write_mountainsort(tmp_path, samples())
    write_spikeinterface(tmp_path, samples())
    with pytest.raises(RecordingAmbiguousError) as caught:
        open_recording(tmp_path)
    assert [open_recording(path).format for path in caught.value.details["choices"]] == [
        "mountainsort",
        "spikeinterface",
    ]


def test_a_recording_json_goes_before_what_a_program_left(tmp_path):
    write_mountainsort(tmp_path, samples())
    write_flat(tmp_path, samples())
    assert open_recording(tmp_path).format == "flat"


# Links ----------------------------------------------------------------------------------------------


@EVERY_FORMAT
def test_samples_that_are_a_link_to_another_disk_are_read(tmp_path, form):
    path = WRITERS[form](tmp_path / "rec", samples())
    file = open_recording(path).files[0]
    (tmp_path / "nas").mkdir()
    shutil.move(file, tmp_path / "nas" / "data")
    file.symlink_to(tmp_path / "nas" / "data")
    recording = open_recording(path)
    assert np.array_equal(recording.traces(), samples())
    assert recording.files[0] == file


@EVERY_FORMAT
def test_a_link_that_leads_nowhere_is_named(tmp_path, form):
    path = WRITERS[form](tmp_path / "rec", samples())
    file = open_recording(path).files[0]
    file.unlink()
    file.symlink_to("/nas is not/mounted.dat")
    with pytest.raises(RecordingLinkError, match=r"/nas is not/mounted\.dat") as caught:
        open_recording(path)
    assert str(file) in str(caught.value)


@EVERY_FORMAT
def test_a_link_to_what_is_not_a_file_is_named(tmp_path, form):
    path = WRITERS[form](tmp_path / "rec", samples())
    file = open_recording(path).files[0]
    file.unlink()
    file.symlink_to(tmp_path)
    named = path.with_suffix(".meta") if form == "spikeglx" else path
    with pytest.raises(RecordingLinkError, match="which is not a file"):
        open_recording(named)


@EVERY_FORMAT
def test_a_link_to_itself_is_named(tmp_path, form):
    path = WRITERS[form](tmp_path / "rec", samples())
    file = open_recording(path).files[0]
    file.unlink()
    file.symlink_to(file.name)
    with pytest.raises(RecordingLinkError):
        open_recording(path)


def test_a_link_to_itself_beside_a_recording_is_passed_over(tmp_path):
    write_spikeglx(tmp_path, samples())
    (tmp_path / "latest").symlink_to("latest")
    assert open_recording(tmp_path).format == "spikeglx"


def test_a_linked_folder_that_is_not_mounted_is_named(tmp_path):
    (tmp_path / "rec").symlink_to("/nas is not/rec")
    with pytest.raises(RecordingLinkError, match="/nas is not/rec"):
        open_recording(tmp_path / "rec")
    with pytest.raises(RecordingLinkError, match="/nas is not/rec"):
        open_recording(tmp_path / "rec" / "raw.mda")


def test_a_pipe_is_not_waited_for(tmp_path):
    write_mountainsort(tmp_path, samples())
    (tmp_path / "raw.mda").unlink()
    os.mkfifo(tmp_path / "raw.mda")
    with pytest.raises(RecordingFormatError, match="a pipe or a device"):
        open_recording(tmp_path / "raw.mda")


# Permissions and truncation -------------------------------------------------------------------------


@pytest.fixture
def open_folder():
    """Give a folder that anybody may enter (pytest's own is closed)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        path.chmod(0o755)
    shutil.rmtree(folder)


@EVERY_FORMAT
def test_samples_that_may_not_be_read_are_named(open_folder, form):
    path = WRITERS[form](open_folder / "rec", samples())
    file = open_recording(path).files[0]
    file.chmod(0)
    with as_nobody(), pytest.raises(RecordingPermissionError, match="permission denied") as caught:
        open_recording(path)
    assert str(file) in str(caught.value)


def test_a_folder_that_may_not_be_entered_is_named(open_folder):
    path = write_mountainsort(open_folder / "rec", samples())
    path.chmod(0)
    with as_nobody(), pytest.raises(RecordingPermissionError, match="permission denied"):
        open_recording(path)


@EVERY_FORMAT
def test_a_file_cut_short_is_noticed(tmp_path, form):
    changes = {"num_samples": 500} if form == "flat" else {}
    path = WRITERS[form](tmp_path / "rec", samples(), **changes)
    whole = open_recording(path)
    file = whole.files[0]
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    if form in ("spikeinterface", "openephys"):  # which do not say how long the file must be
        assert open_recording(path).layout.num_samples == 250
        return
    with pytest.raises(RecordingTruncatedError) as caught:
        open_recording(path)
    assert caught.value.details["needed_bytes"] == len(data)
    assert caught.value.details["found_bytes"] == len(data) // 2
    with pytest.raises(RecordingTruncatedError):
        whole.traces()


@EVERY_FORMAT
def test_bytes_after_the_last_sample_are_left_out_and_noted(tmp_path, form):
    path = WRITERS[form](tmp_path / "rec", samples())
    with open_recording(path).files[0].open("ab") as file:
        file.write(b"x")
    recording = open_recording(path)
    assert np.array_equal(recording.traces(), samples())
    assert any("byte" in note for note in recording.notes)


# Speed ----------------------------------------------------------------------------------------------


@EVERY_FORMAT
def test_opening_a_recording_imports_no_numpy(tmp_path, form):
    path = WRITERS[form](tmp_path / "rec", samples())
    code = (
        "import sys; from spikecrate.recordings import open_recording; open_recording(sys.argv[1]); "
        "print([name for name in ('numpy', 'jsonschema', 'blake3', 'docker', 'rich') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    # recording.json is checked by its schema.
    assert done.stdout.strip() == ("['jsonschema']" if form == "flat" else "[]")


# Damage ---------------------------------------------------------------------------------------------

DESCRIPTIONS = {
    "mountainsort": ["raw.mda", "params.json", "geom.csv"],
    "spikeinterface": ["binary.json", "probegroup.json"],
    "spikeglx": ["run_g0_t0.imec0.ap.meta"],
    "openephys": ["structure.oebin", "geom.csv"],
    "flat": ["recording.json", "geom.csv"],
}


@pytest.fixture(
    scope="module",
    params=[(form, name) for form, names in DESCRIPTIONS.items() for name in names],
    ids="-".join,
)
def described(request, tmp_path_factory):
    """A recording, one of the files that describe it, and what that has in it."""
    form, name = request.param
    path = WRITERS[form](tmp_path_factory.mktemp("damage") / "rec", samples(num_samples=8, num_channels=2))
    file = next(path.parent.rglob(name))
    return path, file, file.read_bytes()


@given(data=st.data())
def test_a_damaged_file_gives_an_error_of_ours_or_a_recording(described, data):
    path, file, whole = described
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.integers(0, 12))
        content[start : start + length] = data.draw(
            st.binary(max_size=8)
            | st.sampled_from([b"null", b"-1", b"1e400", b"NaN", b"[]", b"{}", b'""', b"9" * 30])
        )
    # A new file: where one is emptied and written anew, some file systems go to the disk at once.
    file.unlink()
    file.write_bytes(content)
    try:
        recording = open_recording(path)
    except SpikecrateError as error:
        assert 10 <= error.exit_code < 20  # noqa: PT017
        assert str(path.parent) in str(error)  # noqa: PT017
        assert error.next_step  # noqa: PT017
        return
    assert recording.traces().shape == (recording.layout.num_samples, recording.layout.num_channels)


@EVERY_FORMAT
@given(content=st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes_for_a_description_give_an_error_of_ours(tmp_path_factory, form, content):
    folder = tmp_path_factory.mktemp("bytes")
    path = WRITERS[form](folder / "rec", samples(num_samples=8, num_channels=2))
    next(folder.rglob(DESCRIPTIONS[form][0])).write_bytes(content)
    with pytest.raises(SpikecrateError) as caught:
        open_recording(path)
    assert 10 <= caught.value.exit_code < 20


def test_the_projects_own_recordings_open():
    neuron = open_recording(DATA / "spikerbox_neuron")
    assert (neuron.layout.num_channels, neuron.layout.num_samples) == (1, 471308)
    with pytest.raises(RecordingAmbiguousError) as caught:
        open_recording(DATA / "openephys_binary" / "test" / "DelayedRecording")
    for path in caught.value.details["choices"]:
        recording = open_recording(path)
        assert (recording.layout.num_channels, recording.layout.num_samples) == (16, 16000)
        assert recording.layout.sampling_frequency == 40000


NOT_UTF8 = os.fsdecode(b"caf\xe9")


def not_utf8_folder(folder):
    return write_mountainsort(folder / NOT_UTF8, samples())


def not_utf8_raw_in_it(folder):
    return not_utf8_folder(folder) / "raw.mda"


def link_to_a_not_utf8_folder(folder):
    (folder / "link").symlink_to(not_utf8_folder(folder))
    return folder / "link"


def sample_file_that_is_a_link_to_a_not_utf8_file(folder):
    path = write_mountainsort(folder / "rec", samples())
    (path / "raw.mda").rename(folder / NOT_UTF8)
    (path / "raw.mda").symlink_to(folder / NOT_UTF8)
    return path


def sample_file_that_is_not_utf8(folder):
    path = write_flat(folder / "rec", samples(), file=NOT_UTF8)
    (path / "data.raw").rename(path / NOT_UTF8)
    return path


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "write",
    [
        not_utf8_folder,
        not_utf8_raw_in_it,
        link_to_a_not_utf8_folder,
        sample_file_that_is_a_link_to_a_not_utf8_file,
        sample_file_that_is_not_utf8,
    ],
)
def test_a_path_that_is_not_utf_8_is_refused_before_anything_runs(tmp_path, sorter, store, write):
    with pytest.raises(UsageError, match=r"caf\\xe9.* is not a path in UTF-8") as caught:
        spikecrate.sort(write(tmp_path), sorter=sorter(ANSWER + TWO_EVENTS), store=store.root)
    assert str(caught.value).isascii()
    assert not store.results.exists() or list(store.results.iterdir()) == []


@pytest.mark.usefixtures("here")
def test_a_current_folder_that_is_not_utf_8_is_refused_before_anything_runs(
    tmp_path, monkeypatch, sorter, store
):
    monkeypatch.chdir(not_utf8_folder(tmp_path))
    with pytest.raises(UsageError, match="is not a path in UTF-8"):
        spikecrate.sort("raw.mda", sorter=sorter(ANSWER + TWO_EVENTS), store=store.root)
