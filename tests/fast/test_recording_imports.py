"""Importing through SpikeInterface, which is played here by a few lines with its interface."""

from __future__ import annotations

import errno
import sys
from types import ModuleType

import numpy as np
import pytest
from recording_files import places, samples, write_mountainsort

from spikecrate._util.progress import Silent
from spikecrate.errors import (
    DiskFullError,
    ExtraMissingError,
    OutputError,
    RecordingAmbiguousError,
    RecordingEmptyError,
    RecordingFormatError,
    RecordingNotFoundError,
    UsageError,
)
from spikecrate.recordings import imports
from spikecrate.recordings.imports import guess_reader, import_recording


class Extractor:
    """What SpikeInterface's recordings offer, as far as an import uses it."""

    def __init__(self, *segments, located=True):
        self.segments = segments
        self.located = located

    def get_num_segments(self):
        return len(self.segments)

    def get_num_channels(self):
        return self.segments[0].shape[1]

    def get_num_samples(self, segment_index):
        return len(self.segments[segment_index])

    def get_dtype(self):
        return self.segments[0].dtype

    def get_sampling_frequency(self):
        return 32000.0

    def get_channel_ids(self):
        return np.array(["ch/é", "b", "c", "d"])[: self.get_num_channels()]

    def has_scaleable_traces(self):
        return True

    def get_channel_gains(self):
        return np.full(self.get_num_channels(), 0.25, "float32")

    def get_channel_offsets(self):
        return np.full(self.get_num_channels(), -3.0)

    def has_channel_location(self):
        return self.located

    def get_channel_locations(self):
        return np.array(places(self.get_num_channels()))

    def get_traces(self, segment_index, start_frame, end_frame):
        return self.segments[segment_index][start_frame:end_frame]


@pytest.fixture
def readers(monkeypatch):
    """Put a SpikeInterface in place that has the readers a test adds to this dict."""
    found = {}
    module = ModuleType("spikeinterface.extractors")
    module.recording_extractor_full_dict = found
    monkeypatch.setitem(sys.modules, "spikeinterface", ModuleType("spikeinterface"))
    monkeypatch.setitem(sys.modules, "spikeinterface.extractors", module)
    return found


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in" / "data file.nwb"
    path.parent.mkdir()
    path.write_bytes(b"whatever")
    return path


@pytest.mark.parametrize("dtype", ["int16", ">i2", "uint16", "float32"])
def test_an_import_is_a_recording_with_all_that_was_known(tmp_path, monkeypatch, readers, source, dtype):
    monkeypatch.setattr(imports, "PIECE_BYTES", 100)
    traces = samples(dtype=dtype)
    readers["nwb"] = lambda path: Extractor(traces) if path == source else None
    recording = import_recording(source, tmp_path / "new" / "rec", Silent())
    assert recording.folders == (tmp_path / "new" / "rec",)
    assert np.array_equal(recording.traces(), traces)
    assert recording.layout.sampling_frequency == 32000
    assert recording.layout.gains == (0.25,) * 4
    assert recording.layout.offsets == (-3.0,) * 4
    assert [list(row) for row in recording.layout.locations] == places(4)
    assert recording.channel_ids == ("ch/é", "b", "c", "d")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["rec"]


def test_unknown_places_are_noted(tmp_path, readers, source):
    readers["nwb"] = lambda _path: Extractor(samples(), located=False)
    assert any("20 um" in note for note in import_recording(source, tmp_path / "rec").notes)


def test_one_of_several_segments_must_be_named(tmp_path, readers, source):
    readers["nwb"] = lambda _path: Extractor(samples(), samples(7, seed=1))
    with pytest.raises(RecordingAmbiguousError, match="2 segments"):
        import_recording(source, tmp_path / "rec", Silent())
    recording = import_recording(source, tmp_path / "rec", Silent(), segment=1)
    assert np.array_equal(recording.traces(), samples(7, seed=1))
    with pytest.raises(UsageError, match="no segment 2"):
        import_recording(source, tmp_path / "other", Silent(), segment=2)


def test_one_of_several_streams_must_be_named(tmp_path, readers, source):
    def read(_path, stream_name=None, stream_id=None):
        if stream_name == "raw" or stream_id == "0":
            return Extractor(samples())
        message = "This reader have several streams: \n`stream_names`: ['raw', 'lfp']"
        raise ValueError(message)

    readers["nwb"] = read
    with pytest.raises(RecordingAmbiguousError, match="'raw', 'lfp'"):
        import_recording(source, tmp_path / "rec", Silent())
    assert import_recording(source, tmp_path / "a", Silent(), stream="raw").layout.num_samples == 500
    assert import_recording(source, tmp_path / "b", Silent(), stream="0").layout.num_samples == 500


def test_without_spikeinterface_the_command_that_installs_it_is_named(tmp_path, monkeypatch, source):
    monkeypatch.setitem(sys.modules, "spikeinterface.extractors", None)
    with pytest.raises(ExtraMissingError, match="SpikeInterface is needed") as caught:
        import_recording(source, tmp_path / "rec", Silent())
    assert caught.value.next_step == 'pip install "spikecrate[import]"'


def test_a_reader_may_be_named_and_must_exist(tmp_path, readers, source):
    odd = source.with_name("data.xyz")
    odd.write_bytes(b"")
    readers["odd"] = lambda _path: Extractor(samples())
    with pytest.raises(UsageError, match="its name does not tell its format") as caught:
        import_recording(odd, tmp_path / "rec", Silent())
    assert "odd" in caught.value.next_step
    with pytest.raises(UsageError, match="no reader named 'other'"):
        import_recording(odd, tmp_path / "rec", Silent(), reader="other")
    assert import_recording(odd, tmp_path / "rec", Silent(), reader="odd").layout.num_samples == 500


def test_what_a_reader_says_is_passed_on(tmp_path, readers, source):
    def read(_path):
        message = "block 7 is corrupt"
        raise RuntimeError(message)

    readers["nwb"] = read
    with pytest.raises(
        RecordingFormatError, match=r"SpikeInterface \(nwb\) cannot read .*block 7 is corrupt"
    ):
        import_recording(source, tmp_path / "rec", Silent())


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (OSError(errno.EIO, "bad sector"), RecordingFormatError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (MemoryError(), RecordingFormatError),
    ],
)
def test_an_import_that_fails_half_way_leaves_nothing(tmp_path, monkeypatch, readers, source, failure, error):
    monkeypatch.setattr(imports, "PIECE_BYTES", 100)

    class Failing(Extractor):
        def get_traces(self, segment_index, start_frame, end_frame):
            if start_frame > 200:
                raise failure
            return super().get_traces(segment_index, start_frame, end_frame)

    readers["nwb"] = lambda _path: Failing(samples())
    with pytest.raises(error):
        import_recording(source, tmp_path / "rec", Silent())
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == ["in"]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch, readers, source):
    readers["nwb"] = lambda _path: Extractor(samples())

    def full(_number):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(imports.os, "fsync", full)
    with pytest.raises(DiskFullError, match="no space left"):
        import_recording(source, tmp_path / "rec", Silent())
    assert [path.name for path in tmp_path.iterdir() if path.name != "store"] == ["in"]


def test_a_destination_that_exists_is_not_touched(tmp_path, readers, source):
    readers["nwb"] = lambda _path: Extractor(samples())
    (tmp_path / "rec").symlink_to("nowhere")
    with pytest.raises(OutputError, match="exists already"):
        import_recording(source, tmp_path / "rec", Silent())
    assert (tmp_path / "rec").is_symlink()


def test_a_destination_below_a_file_cannot_be_written(readers, source):
    readers["nwb"] = lambda _path: Extractor(samples())
    with pytest.raises(OutputError, match="cannot be written"):
        import_recording(source, source / "rec", Silent())


@pytest.mark.parametrize(
    ("traces", "error"),
    [(samples(0), RecordingEmptyError), (samples(dtype="complex64"), RecordingFormatError)],
)
def test_what_cannot_be_sorted_is_refused(tmp_path, readers, source, traces, error):
    readers["nwb"] = lambda _path: Extractor(traces)
    with pytest.raises(error):
        import_recording(source, tmp_path / "rec", Silent())


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(RecordingNotFoundError):
        import_recording(tmp_path / "nowhere.nwb", tmp_path / "rec", Silent())


@pytest.mark.parametrize(
    ("names", "reader"),
    [
        (["a.ncs", "b.ncs"], "neuralynx"),
        (["sub/deep/x.rhd"], "intan"),
        (["structure.oebin", "a.ncs"], None),
        (["notes.txt"], None),
        ([], None),
        (["binary.json"], "binaryfolder"),
    ],
)
def test_the_format_of_a_folder_is_guessed_from_what_lies_there(tmp_path, names, reader):
    folder = tmp_path / "some folder"
    folder.mkdir()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    assert guess_reader(folder) == reader


def test_the_format_of_a_file_is_guessed_from_its_suffix(tmp_path):
    assert guess_reader(tmp_path / "A.NS6") == "blackrock"
    assert guess_reader(tmp_path / "x.zarr") == "zarr"
    assert guess_reader(write_mountainsort(tmp_path / "m", samples())) == "mda"
