"""Running a command: its lines, its exit code, its end."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from spikecrate._util.process import capture, run
from spikecrate.errors import CommandError


def python(code):
    return [sys.executable, "-c", code]


def is_alive(pid):
    """Whether a process still runs a moment later; one that ended and waits for its parent to ask does not."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except (FileNotFoundError, ProcessLookupError):
            return False
        time.sleep(0.02)
    return True


def test_lines_come_as_they_are_printed_errors_included():
    lines = []
    run(python("import sys; print('one'); print('two', file=sys.stderr)"), on_line=lines.append)
    assert sorted(lines) == ["one", "two"]


def test_a_failing_command_raises_with_its_code_and_last_lines():
    with pytest.raises(CommandError, match="went wrong") as caught:
        run(python("print('went wrong'); raise SystemExit(7)"))
    assert caught.value.code == 7


def test_a_command_that_does_not_exist_is_127():
    with pytest.raises(CommandError, match="no-such-command: command not found") as caught:
        run(["no-such-command"])
    assert caught.value.code == 127


def test_words_are_data_never_shell_text(tmp_path):
    word = f"$(touch {tmp_path}/made); `touch {tmp_path}/made` \"'"
    assert run([*python("import sys; print(sys.argv[1])"), word]).output == word
    assert not (tmp_path / "made").exists()


def test_a_time_out_ends_the_command_and_its_children():
    sleeper = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid, flush=True); input()"
    lines = []
    started = time.monotonic()
    with pytest.raises(CommandError):
        run(
            python(f"import time; exec({sleeper.replace('input()', 'time.sleep(60)')!r})"),
            on_line=lines.append,
            timeout=1,
        )
    assert time.monotonic() - started < 20
    assert not is_alive(int(lines[0]))


def test_an_interrupt_ends_the_command():
    pids = []

    def interrupt(line):
        pids.append(line)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(python("import os, time; print(os.getpid(), flush=True); time.sleep(60)"), on_line=interrupt)
    assert not is_alive(int(pids[0]))


def test_capture_gives_standard_output_alone():
    assert capture(python("import sys; print('out'); print('err', file=sys.stderr)")) == "out"
