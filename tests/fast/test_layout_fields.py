"""A layout goes through JSON unchanged, and one that cannot be is refused by the name of its field."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate_harness.layout import Layout

PART = {
    "file": "raw.mda",
    "dtype": "<i2",
    "offset": 20,
    "time_axis": 0,
    "file_channels": 3,
    "file_samples": 15,
    "channels": [2, 0],
    "start": 4,
    "num_samples": 10,
}
OTHER = PART | {
    "file": "2/raw.mda",
    "dtype": ">i2",
    "time_axis": 1,
    "channels": [0, 1],
    "start": 15 - 7,
    "num_samples": 7,
}
GOOD = {
    "parts": [PART, OTHER],
    "sampling_frequency": 30000.0,
    "gains": [0.195, 0.2],
    "offsets": [0.0, -1.5],
    "locations": [[0.0, 0.0], [0.0, 20.0]],
}


def with_field(field, value):
    """Return the good layout with one field changed, its own or that of its second part."""
    return GOOD | ({"parts": [PART, OTHER | {field: value}]} if field in PART else {field: value})


def test_a_layout_is_the_same_after_json():
    layout = Layout.from_dict(GOOD)
    assert layout.as_dict() == GOOD
    assert Layout.from_dict(json.loads(json.dumps(layout.as_dict()))) == layout
    assert (layout.num_channels, layout.num_samples, layout.itemsize) == (2, 17, 2)
    assert (layout.num_bytes, layout.parts[0].num_bytes, layout.parts[0].file_bytes) == (102, 60, 110)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("parts", value) for value in ([], {}, None, "raw.mda")),
        *(("file", value) for value in ("", "/raw.mda", "../raw.mda", "a/../../raw.mda", "a\0b", 3, None)),
        *(("dtype", value) for value in ("int16", "<c8", "<i3", "<O", "i2", "", 2)),
        *(("offset", value) for value in (-1, 0.5, "0", True, None)),
        *(("time_axis", value) for value in (2, -1, "0")),
        *(("file_channels", value) for value in (0, -3, 2.0, "3")),
        *(("file_samples", value) for value in (0, -3, 2.0, "3", None)),
        *(("channels", value) for value in ([], [3, 0], [-1, 0], [0, 0], ["0", "1"], 2)),
        *(("start", value) for value in (-1, 0.5, "0", True)),
        *(("num_samples", value) for value in (0, -10, 1.5, 8)),
        *(("sampling_frequency", value) for value in (0, -1.0, math.nan, math.inf, "30000", True, 10**400)),
        *(("gains", value) for value in ([1.0], [1.0, math.nan], 1.0, [1.0, None])),
        *(("offsets", value) for value in ([0.0], [0.0, -math.inf])),
        *(
            ("locations", value)
            for value in ([[0, 0]], [[0], [1]], [[0, 0], [0, 0, 0]], [[0, 0], [0, math.nan]])
        ),
    ],
)
def test_a_field_out_of_its_range_is_named(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: "):
        Layout.from_dict(with_field(field, value))


@pytest.mark.parametrize(
    ("change", "difference"),
    [({"channels": [0]}, "number of channels"), ({"dtype": "<u2"}, "type"), ({"dtype": "<i4"}, "type")],
)
def test_parts_that_are_no_one_recording_are_refused(change, difference):
    with pytest.raises(ValueError, match=rf"^parts: they differ in the .*{difference}"):
        Layout.from_dict(GOOD | {"parts": [PART, OTHER | change]})


@pytest.mark.parametrize("field", [*PART, *GOOD])
def test_a_missing_field_is_named(field):
    def without(fields):
        return {name: value for name, value in fields.items() if name != field}

    with pytest.raises(ValueError, match=f"^{field}: missing"):
        Layout.from_dict(without(GOOD | {"parts": [PART, without(OTHER)]}))


@pytest.mark.parametrize("layout", [GOOD | {"gian": 1}, GOOD | {"parts": [PART | {"gian": 1}]}])
def test_an_unknown_field_is_named(layout):
    with pytest.raises(ValueError, match=r"^gian: unknown field"):
        Layout.from_dict(layout)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@given(st.sampled_from(sorted({*GOOD, *PART})), JSON)
def test_whatever_a_field_holds_is_taken_or_refused_by_a_value_error(field, value):
    try:
        layout = Layout.from_dict(with_field(field, value))
    except ValueError as error:
        named = str(error).partition(":")[0]
        inner = field == "parts" and str(error).endswith(": unknown field")
    else:
        assert Layout.from_dict(layout.as_dict()) == layout
        named, inner = field, False
    assert inner or named in {*GOOD, *PART}


@given(JSON)
def test_whatever_is_not_an_object_is_refused_by_a_value_error(value):
    with pytest.raises(ValueError, match=": "):
        Layout.from_dict(value)
