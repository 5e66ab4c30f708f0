"""The job key: equal for what cannot change a result, different for everything that can."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate._util.canonical import canonical, digest
from spikecrate.steps.key import KeyParts, differences

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)

PARTS = KeyParts(
    tool="ms4",
    recipe="ab" * 32,
    parameters={"detect_threshold": 3.0, "filter": True},
    seed=0,
    inputs={"recording": {"samples": "cd" * 32, "sampling_frequency": 30000.0}},
    cores=None,
)


@given(st.dictionaries(st.text(), JSON, max_size=6))
def test_the_order_of_fields_does_not_change_a_hash(value):
    """A dictionary filled in another order is the same value."""
    assert digest(value) == digest(dict(reversed(value.items())))


@given(JSON)
def test_canonical_bytes_read_back_as_the_same_value(value):
    assert json.loads(canonical(value).decode("utf-8", errors="surrogatepass")) == value


@given(JSON, JSON)
def test_values_that_differ_have_hashes_that_differ(left, right):
    """1 and 1.0 and true are told apart: compared as text, not as Python values."""
    assert (digest(left) == digest(right)) == (
        json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_nan_and_infinity_cannot_be_hashed(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest({"x": value})


@pytest.mark.parametrize(
    "change",
    [
        {"tool": "ms5"},
        {"recipe": "00" * 32},
        {"parameters": {"detect_threshold": 3.5, "filter": True}},
        {"parameters": {"detect_threshold": 3.0, "filter": False}},
        {"seed": 1},
        {"inputs": {"recording": {"samples": "cd" * 32, "sampling_frequency": 30001.0}}},
        {"cores": 2},
        {"gpu": True},
        {"gpu": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_changes_the_key(change):
    assert dataclasses.replace(PARTS, **change).key != PARTS.key


def test_the_key_of_a_known_job_never_changes():
    """Results of earlier versions stay findable: a change here must raise the schema number."""
    assert PARTS.key == "860b65e41190878608ca4fa6b3efc78ef802c118c79e4a8ad6db8d25ceb91180"


def test_differences_name_each_part_that_is_new():
    changed = dataclasses.replace(PARTS, seed=7, parameters={"detect_threshold": 4.0, "filter": True})
    assert differences(changed.as_dict(), PARTS.as_dict()) == [
        "seed: 7 (was 0)",
        "parameters.detect_threshold: 4.0 (was 3.0)",
    ]
