"""Opening is quick because numpy and jsonschema stay out of it; what stands in for them agrees with them."""

from __future__ import annotations

import os
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from recording_files import DATA, samples, write_spikeglx

from spikecrate.errors import RecordingFormatError
from spikecrate.recordings.formats.flat import plainly_fits, schema
from spikecrate.recordings.formats.npy import read_numbers

VERSIONS = sorted(path.name for path in (DATA / "spikeinterface").iterdir() if path.is_dir())


@pytest.mark.parametrize("version", VERSIONS)
def test_no_version_of_spikeinterface_needs_numpy_to_be_opened(version):
    code = (
        "import sys; from spikecrate.recordings import open_recording; open_recording(sys.argv[1]); "
        "print([name for name in ('numpy', 'jsonschema', 'blake3') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, DATA / "spikeinterface" / version],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "[]"


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


# recording.json without jsonschema ------------------------------------------------------------------

PLAIN = {
    "$schema": "x",
    "title": "x",
    "file": "a.raw",
    "dtype": "int16",
    "num_channels": 4,
    "sampling_frequency": 30000,
    "offset": 0,
    "time_axis": 1,
    "num_samples": 10,
    "channels": [0, 2],
    "channel_ids": ["a", "b"],
    "gain_uv": [0.1, 0.2],
    "offset_uv": 0.0,
    "probe": "geom.csv",
    "spike_sign": -1,
}
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([10**400, 1e300, 2.0, 2.5, "", "a"])
    | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=5,
)


def test_every_field_of_the_schema_has_its_plain_form():
    assert PLAIN.keys() == schema()["properties"].keys()
    assert plainly_fits(PLAIN)


@pytest.mark.parametrize("name", ["file", "dtype", "num_channels", "sampling_frequency"])
def test_a_description_without_a_required_field_is_left_to_the_schema(name):
    assert not plainly_fits({field: value for field, value in PLAIN.items() if field != name})


@given(st.sampled_from(sorted(PLAIN)) | st.just("other"), VALUES)
def test_what_plainly_fits_is_valid_by_the_schema(name, value):
    data = PLAIN | {name: value}
    if plainly_fits(data):
        jsonschema.Draft202012Validator(schema()).validate(data)


@given(VALUES)
def test_what_is_no_description_does_not_plainly_fit(value):
    assert not plainly_fits(value)


# .npy without numpy ---------------------------------------------------------------------------------


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
        np.asfortranarray(np.zeros((2, 3))),
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
