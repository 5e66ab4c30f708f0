"""Opening a recording is quick; a .npy file of a SpikeInterface folder is read as numbers or refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from recording_files import samples, write_openephys, write_spikeglx

from spikecrate.errors import RecordingFormatError
from spikecrate.recordings.formats.files import read_numbers


def test_the_table_of_probes_is_read_without_importing_probeinterface(tmp_path):
    maps = {"~snsGeomMap": None, "~snsShankMap": "(1,2,480)(0:0:0:1)(0:1:0:1)(0:0:1:1)(0:1:1:1)"}
    binary = write_spikeglx(tmp_path, samples(), imDatPrb_pn="NP2013", **maps)
    code = (
        "import sys; from spikecrate.recordings import open_recording; "
        "print(open_recording(sys.argv[1]).layout.locations[1]); "
        "print([name for name in ('numpy', 'probeinterface') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, binary],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.splitlines() == ["(59.0, 0.0)", "[]"]


def test_gaps_and_joins_are_found_without_importing_numpy(tmp_path):
    root = write_openephys(tmp_path, samples())
    recording = root / "Record Node 101" / "experiment1" / "recording1"
    for name in ("recording1", "recording2"):
        if name == "recording2":
            shutil.copytree(recording, recording.with_name(name))
        numbers = np.arange(500) + 1000 * int(name[-1])
        numbers[100:] += 7
        np.save(recording.with_name(name) / "continuous" / "Probe-100.0" / "sample_numbers.npy", numbers)
    code = (
        "import sys; from spikecrate.recordings import open_recording; "
        "found = open_recording(sys.argv[1], concatenate=True); "
        "print([gap.sample for gap in found.gaps], 'numpy' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, root],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == "[100, 500, 600] False\n"


# .npy files ----------------------------------------------------------------------------------------


@given(
    array=st.sampled_from(
        ["<f8", "<f4", ">f8", "<f2", "<i8", ">i4", "<i2", "|i1", "|u1", "<u4", ">u8"]
    ).flatmap(
        lambda dtype: arrays.arrays(
            np.dtype(dtype), arrays.array_shapes(min_dims=1, max_dims=2, min_side=0, max_side=5)
        )
    ),
    version=st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_arrays_are_read_as_numpy_reads_them(tmp_path_factory, array, version):
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    with path.open("wb") as file:
        np.lib.format.write_array(file, array, version=version)
    found = read_numbers(path)
    assert np.array_equal(np.array(found, array.dtype).reshape(array.shape), array, equal_nan=True)


@pytest.mark.parametrize(
    "array",
    [
        np.array([{"a": 1}], dtype=object),
        np.array(["a"]),
        np.array([1 + 2j]),
        np.zeros((2, 2, 2)),
        np.zeros(()),
        np.zeros(2, dtype=[("x", "f8")]),
    ],
)
def test_arrays_that_are_no_table_of_numbers_are_refused(tmp_path, array):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(RecordingFormatError, match=r"a\.npy: not an array of numbers"):
        read_numbers(tmp_path / "a.npy")


@given(st.data())
def test_a_damaged_array_is_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("npy") / "a.npy"
    np.save(path, np.arange(6.0).reshape(3, 2))
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, 90))
    content[start : start + data.draw(st.integers(0, 9))] = data.draw(
        st.binary(max_size=9) | st.sampled_from([b"9" * 30, b"-1", b"(" * 9, b"{}", b"None"])
    )
    path.write_bytes(content)
    try:
        found = read_numbers(path)
    except RecordingFormatError:
        return
    assert isinstance(found, list)


def test_an_array_in_column_order_is_read_in_its_shape(tmp_path):
    np.save(tmp_path / "a.npy", np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]))
    assert read_numbers(tmp_path / "a.npy") == [[1, 2], [3, 4]]
