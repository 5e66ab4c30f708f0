"""YAML as JSON values with lines: what is read, and what is refused and where."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate._util.yaml_text import YamlError, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("0x10", "0x10"),
        ("true", True),
        ("~", None),
        ("12", 12),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        (".nan", ".nan"),
        ('"12"', "12"),
        ("'true'", "true"),
        ("", None),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text, value):
    found = read_yaml(text).value
    assert found == value
    assert type(found) is type(value)


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
def test_every_json_value_is_read_back(value):
    assert read_yaml(json.dumps(value, ensure_ascii=False)).value == value


def test_every_value_has_its_line():
    document = read_yaml("a: 1\nb:\n  - x\n  - c: 2\n    d: [3]\n")
    assert document.lines == {
        (): 1,
        ("a",): 1,
        ("b",): 2,
        ("b", 0): 3,
        ("b", 1): 4,
        ("b", 1, "c"): 4,
        ("b", 1, "d"): 5,
        ("b", 1, "d", 0): 5,
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' occurs twice; it is on line 1 too"),
        ("a: &x [1]\nb: *x\n", 2, "the alias *x"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]\n", 2, "the tag"),
        ("a: 1\nb: !mine 2\n", 2, "the tag !mine"),
        ("a: 1\n---\nb: 2\n", 2, "another document"),
        ("? [1]\n: 2\n", 1, "a key is a list"),
        ("a: [1\nb: 2\n", 2, "expected ',' or ']'"),
        ("a: 1\nb: \x01\n", 2, "is not allowed"),
        ("a:\n\t- 1\n", 2, "cannot start any token"),
        ("[" * 100_000, 1, "nested too deep"),
        ("a:\n" + "".join(" " * level + "a:\n" for level in range(1, 200)), 101, "nested too deep"),
    ],
)
def test_what_is_refused_is_told_with_its_line(text, line, words):
    with pytest.raises(YamlError, match="line") as raised:
        read_yaml(text)
    assert raised.value.line == line
    assert words in raised.value.problem


@given(st.text(alphabet="ab:-[]{}&*!'\"\n ?|>#%@,0", max_size=40))
def test_any_text_is_read_or_refused_with_a_line(text):
    with suppress(YamlError):
        read_yaml(text)
        return
    with pytest.raises(YamlError) as raised:
        read_yaml(text)
    assert 1 <= raised.value.line <= text.count("\n") + 1
