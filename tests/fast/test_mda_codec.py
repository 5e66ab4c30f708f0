"""The MDA codec reads every file of MountainLab's and writes what it reads; a lying header costs nothing."""

from __future__ import annotations

import struct
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from recording_files import MDA_CODES, mda_bytes, samples

from spikecrate_harness import mda

TYPES = [*MDA_CODES]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("mda") / "array.mda"


@pytest.mark.parametrize("wide", [False, True], ids=["int32 dimensions", "int64 dimensions"])
@pytest.mark.parametrize("dtype", MDA_CODES)
def test_every_type_code_is_read_in_both_forms_of_the_header(file, dtype, wide):
    traces = samples(7, 3, dtype)
    file.write_bytes(mda_bytes(traces, wide=wide))
    header = mda.read_header(file)
    assert (header.shape, header.offset) == ((3, 7), 28 if wide else 20)
    assert header.file_size == file.stat().st_size
    found = mda.read(file)
    assert found.dtype == np.dtype(dtype)
    assert np.array_equal(found, traces.T)
    assert np.array_equal(mda.open_array(file), traces.T)


def test_complex_entries_are_read_with_a_type_code_and_in_the_oldest_form_without(file):
    values = np.array([1 + 2j, 3 - 4j], "<c8")
    for header in (struct.pack("<5i", -1, 8, 2, 1, 2), struct.pack("<3i", 2, 1, 2)):
        file.write_bytes(header + values.tobytes())
        assert np.array_equal(mda.read(file), values.reshape(1, 2))


@given(
    array=st.sampled_from(TYPES).flatmap(
        lambda dtype: arrays.arrays(
            np.dtype(dtype), arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
        )
    ),
    order=st.sampled_from("CF"),
    swapped=st.booleans(),
)
def test_what_is_written_is_read_again(file, array, order, swapped):
    given_array = np.asarray(array, order=order)
    if swapped:
        given_array = given_array.astype(given_array.dtype.newbyteorder(">"))
    mda.write(file, given_array)
    found = mda.read(file)
    assert found.shape == array.shape
    assert found.dtype == array.dtype
    assert found.tobytes() == array.tobytes()


def test_a_large_array_is_written_in_blocks_that_join(file, monkeypatch):
    monkeypatch.setattr(mda, "BLOCK_BYTES", 64)
    traces = samples(1000, 4)
    mda.write(file, traces.T)
    assert file.read_bytes() == mda_bytes(traces)


@pytest.mark.parametrize(
    "array", [np.zeros(2, "float16"), np.zeros(2, "int64"), np.zeros(()), np.zeros(2, "O")]
)
def test_an_array_that_mda_cannot_hold_is_refused(file, array):
    with pytest.raises(mda.MdaError, match="MDA cannot hold"):
        mda.write(file, array)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "ends inside the header"),
        (b"\xfc\xff\xff", "ends inside the header"),
        (struct.pack("<3i", -99, 2, 2), "-99 is not a type code"),
        (struct.pack("<3i", 0, 2, 2), "0 is not a type code"),
        (struct.pack("<3i", -4, 4, 2), "4 bytes per entry"),
        (struct.pack("<3i", -4, 2, 0), "0 dimensions"),
        (struct.pack("<3i", -4, 2, 51), "51 dimensions"),
        (struct.pack("<3i", -4, 2, -(2**31)), "dimensions"),
        (struct.pack("<4i", -4, 2, 2, 4), "ends inside the header"),
        (struct.pack("<5i", -4, 2, 2, 4, -1), "negative"),
        (struct.pack("<3i2q", -4, 2, -2, -(2**63), 4), "negative"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "dimensions"),
    ],
)
def test_what_is_not_mda_is_refused_with_the_reason(file, data, words):
    file.write_bytes(data)
    with pytest.raises(mda.MdaError, match=words):
        mda.read_header(file)


@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<5i", -7, 8, 2, 2**31 - 1, 2**31 - 1),
        struct.pack("<3i2q", -7, 8, -2, 2**63 - 1, 2**63 - 1),
        struct.pack("<3i50q", -7, 8, -50, *[2**63 - 1] * 50),
        struct.pack("<3i", 2, 2**31 - 1, 2**31 - 1),
    ],
)
def test_a_header_that_promises_more_than_there_is_takes_no_memory(file, header):
    file.write_bytes(header + bytes(16))
    tracemalloc.start()
    with pytest.raises(mda.MdaTruncatedError) as caught:
        mda.read(file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**20
    assert caught.value.found == len(header) + 16
    assert caught.value.needed == mda.read_header(file).file_size > 2**60


@given(data=st.binary(max_size=120))
def test_random_bytes_are_an_array_or_an_mda_error(file, data):
    file.write_bytes(data)
    try:
        header = mda.read_header(file)
        found = mda.read(file)
    except mda.MdaError:
        return
    assert found.shape == header.shape
