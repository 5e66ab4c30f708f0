"""Amounts as people write them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate._util.quantities import format_bytes, parse_bytes, parse_seconds
from spikecrate.errors import UsageError


@pytest.mark.parametrize(
    ("text", "number"),
    [("8G", 8 * 2**30), ("512M", 2**29), ("1.5GiB", 3 * 2**29), ("100", 100), ("2 kb", 2048), ("1T", 2**40)],
)
def test_memory_is_read_in_binary_units(text, number):
    assert parse_bytes(text) == number


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90m", 5400), ("45s", 45), ("1.5d", 129600), ("10", 10)]
)
def test_time_is_read_with_its_unit(text, seconds):
    assert parse_seconds(text) == seconds


@given(st.text().filter(lambda text: not text.strip()[:1].isdecimal()))
def test_any_other_text_is_refused_by_name(text):
    for parse in (parse_bytes, parse_seconds):
        with pytest.raises(UsageError, match=re.escape(repr(text))):
            parse(text)


@pytest.mark.parametrize("text", ["8X", "8 8", "1e3", "-8G", "8Gh", "٣G"])
def test_an_unknown_unit_is_refused(text):
    with pytest.raises(UsageError):
        parse_bytes(text)


def test_sizes_are_written_with_one_unit():
    assert [format_bytes(size) for size in (999, 2048, 3 * 2**30)] == ["999 B", "2.0 KiB", "3.0 GiB"]
