"""A sorter's output: live, kept, bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate.steps import log as log_module
from spikecrate.steps.log import Log, exception_in


@pytest.fixture
def lines():
    return []


def test_lines_arrive_whole_however_the_bytes_come(tmp_path, lines):
    with Log(tmp_path / "log", lines.append) as log:
        for piece in (b"fir", b"st\nsec", b"ond\nlast"):
            log.write(piece)
    assert lines == ["first", "second", "last"]
    assert (tmp_path / "log").read_bytes() == b"first\nsecond\nlast"


def test_a_progress_bars_carriage_returns_end_lines(tmp_path, lines):
    with Log(tmp_path / "log", lines.append) as log:
        log.write(b"10%\r20%\r\ndone\n")
    assert lines == ["10%", "20%", "done"]


def test_the_file_is_bounded_and_says_so(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(log_module, "KEPT_BYTES", 1000)
    with Log(tmp_path / "log", lines.append) as log:
        for _ in range(100):
            log.write(b"x" * 99 + b"\n")
    kept = (tmp_path / "log").read_bytes()
    assert len(kept) < 1100
    assert b"the log is full" in kept
    # Someone who watches is told, and spared the rest; the end is remembered all the same.
    assert 10 <= len(lines) <= 13
    assert "the log is full" in lines[-1]


def test_a_line_without_end_is_bounded(tmp_path, lines):
    with Log(tmp_path / "log", lines.append) as log:
        for _ in range(40):
            log.write(b"x" * 10_000)
    assert max(map(len, lines)) <= log_module.LINE_BYTES


@given(st.binary(max_size=300))
def test_no_output_can_control_the_terminal(tmp_path_factory, data):
    lines = []
    with Log(tmp_path_factory.mktemp("log") / "log", lines.append) as log:
        log.write(data)
    assert all(sign.isprintable() or sign == "\t" for line in lines for sign in line)


def test_the_tail_is_the_last_lines_that_say_something(tmp_path, lines):
    with Log(tmp_path / "log", lines.append) as log:
        log.write(b"".join(b"line %d\n\n" % number for number in range(100)))
    assert log.tail.splitlines()[0] == "line 70"
    assert log.tail.splitlines()[-1] == "line 99"


def failure(code):
    """What Python prints of a failure, as the tail of a log has it: without empty lines, the first ones cut off."""
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return "\n".join(line for line in done.stderr.split("\n") if line.strip())


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ValueError('day.nwb has a table units already')", "day.nwb has a table units already"),
        ("raise KeyError('unit')", "KeyError: 'unit'"),
        ("raise ValueError('two\\nlines')", "two\nlines"),
        ("try:\n 1 / 0\nexcept Exception as e:\n raise ValueError('why') from e", "why"),
        ("print('ms: no units', file=__import__('sys').stderr); raise SystemExit(3)", ""),
    ],
)
def test_a_traceback_is_told_by_what_its_exception_says(code, told):
    tail = failure(code)
    assert exception_in(tail) == told
    if told:
        assert exception_in(tail.partition("\n")[2]) == told
