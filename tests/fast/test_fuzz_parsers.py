"""Whatever the bytes, a parser answers with an error of ours, in little memory and without delay.

The same targets are given a million inputs each by `nox -s fuzz`; here, a few hundred of every kind of harm.
"""

from __future__ import annotations

import json
import random
import struct
import tracemalloc

import pytest
from fuzz.mutate import HOSTILE, mutate
from fuzz.targets import PARSERS, RECORD
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spikecrate.steps.resolve import read_record

MEMORY_BYTES = 24 * 2**20
JSON = sorted(name for name, parser in PARSERS.items() if parser.seeds[0].lstrip()[:1] == b"{")


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    return {name: parser.make(tmp_path_factory.mktemp("fuzz")) for name, parser in PARSERS.items()}


def test_the_run_record_that_is_harmed_is_itself_read():
    """A seed that is refused at once reaches nothing behind the refusal."""
    assert read_record(RECORD)["tool"]["name"] == "ms4"


@st.composite
def harmed(draw, seeds):
    """A valid file with bytes changed, cut, doubled or put in; or with its JSON tree harmed; or any bytes."""
    data = draw(st.sampled_from(seeds))
    match draw(st.integers(0, 5)):
        case 0:
            changed = bytearray(data)
            for at in draw(st.lists(st.integers(0, max(0, len(data) - 1)), max_size=6)):
                changed[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
            return bytes(changed)
        case 1:
            return data[: draw(st.integers(0, len(data)))]
        case 2:
            at = draw(st.integers(0, len(data)))
            junk = draw(
                st.sampled_from((b"\0", b"\xff\xfe", b"NaN", b"-1e999", b"9" * 5000, b"[" * 2000, b"=", b"("))
            )
            return data[:at] + junk + data[at:]
        case 3:
            return draw(st.binary(max_size=200))
        case _:
            return mutate(data, random.Random(draw(st.integers(0, 2**32))))


@pytest.mark.parametrize("name", PARSERS)
def test_what_is_valid_is_read_and_what_is_harmed_gives_an_error_of_ours(name, targets):
    for seed in PARSERS[name].seeds:
        targets[name](seed)

    @settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(harmed(PARSERS[name].seeds))
    def check(data):
        targets[name](data)

    check()


@pytest.mark.parametrize("name", JSON)
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 900 + b"]" * 900,
        b'{"num_channels": ' + b"9" * 1_000_000 + b"}",
        b"NaN",
        b"\xff\xfe{}",
        b'{"a": "\0"}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\ud800"}',
    ],
    ids=range(11),
)
def test_json_that_trips_parsers_is_an_error_of_ours(name, data, targets):
    targets[name](data)


@pytest.mark.parametrize("name", JSON)
def test_every_field_may_hold_anything(name, targets):
    """Each field of each valid file, replaced by each hostile value."""
    for seed in PARSERS[name].seeds:
        tree = json.loads(seed)
        for field in list(tree) if len(tree) < 40 else []:
            for value in HOSTILE:
                targets[name](json.dumps({**tree, field: value}).encode())


@pytest.mark.parametrize("name", ["mda", "raw.mda"])
@pytest.mark.parametrize(
    "header",
    [
        struct.pack("<3i2q", -7, 8, -2, 3, 10**18),
        struct.pack("<3i2q", -7, 8, -2, 0, 10**18),
        struct.pack("<3i3q", -7, 8, -3, 2**62, 2**62, 0),
        struct.pack("<3i50q", -7, 8, -50, *[2**60] * 50),
        struct.pack("<3i50i", -7, 8, 50, *[0] * 50),
        struct.pack("<3i2i", -7, 8, 2, 2**31 - 1, 2**31 - 1),
        struct.pack("<3i", -7, 8, -(2**31)),
    ],
)
def test_a_header_that_claims_more_than_there_is_takes_no_memory(name, header, targets):
    tracemalloc.start()
    try:
        targets[name](header + bytes(64))
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("spikeglx.meta", b"nSavedChans=999999999999999999\nsnsApLfSy=999999999,0,0\nfileSizeBytes=9\n"),
        ("spikeglx.meta", b"~snsChanMap=" + b"(" * 10**6),
        ("spikeglx.meta", b"nSavedChans=" + b"9" * 10**6),
        ("geom.csv", b"1," * 10**5),
        ("geom.csv", b"1,2\n" * 10**4),
        (
            "recording.json",
            b'{"file":"day3.dat","dtype":"<i2","num_channels":1000000000,"sampling_frequency":1}',
        ),
        ("params.json", b'{"samplerate": 1e308, "scale_factor": 1e-320}'),
    ],
    ids=range(7),
)
def test_a_description_that_claims_much_takes_little_memory(name, text, targets):
    tracemalloc.start()
    try:
        targets[name](text)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES + 50 * len(text)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("manifest.json", ("files", "run.json"), {}),
        ("run.json", ("engine",), []),
        ("run.json", ("mounts", 3, "source"), '"'),
        ("run.json", ("key_parts", "recipe"), "a" * 5000),
        ("run.json", ("key_parts", "recipe"), "../../.."),
        ("run.json", ("key_parts", "tool"), "../ms4"),
        ("run.json", ("key_parts", "inputs", "recording"), [{}]),
        ("sorter.json", ("parameters", "properties", "freq_min", "default"), 10**400),
        ("recording.json", ("file",), "\ud800"),
    ],
)
def test_what_the_fuzzer_found_stays_mended(name, place, value, targets):
    tree = json.loads(PARSERS[name].seeds[0])
    inner = tree
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    targets[name](json.dumps(tree).encode())
