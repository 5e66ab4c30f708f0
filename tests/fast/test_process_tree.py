"""Jobs without a daemon: nothing that they start outlives them, and nothing holds them past their limits."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from spikecrate.errors import CommandError
from spikecrate.runtimes import process_tree
from spikecrate.runtimes.contract import Limits

DAEMON = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    signal.signal(signal.SIGTERM, signal.SIG_{signal})
    print(os.getpid(), flush=True)
    if {closes}:
        os.close(0), os.close(1), os.close(2)
    time.sleep(60)
    os._exit(0)
os.wait()
time.sleep(0.3)
"""


@pytest.fixture
def run(tmp_path):
    """Run Python code as a job; give how it ended, its output, and the seconds that it took."""

    def job(code, on_output=None, **limits):
        output = []
        started = time.monotonic()
        ended = process_tree.run(
            [sys.executable, "-c", code],
            cwd=tmp_path,
            env={},
            limits=Limits(cores=1, **limits),
            attempt=tmp_path,
            on_output=on_output or output.append,
        )
        return ended, b"".join(output).decode(), time.monotonic() - started

    return job


def is_gone(pid):
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("closes", [True, False], ids=["closes its output", "holds the output open"])
def test_a_daemon_ends_with_the_job_that_started_it(run, closes):
    ended, output, seconds = run(DAEMON.format(signal="DFL", closes=closes) + "raise SystemExit(7)\n")
    assert ended.code == 7
    assert seconds < 4
    assert is_gone(int(output))


def test_a_daemon_that_is_deaf_to_sigterm_is_killed(run):
    ended, output, seconds = run(DAEMON.format(signal="IGN", closes=False))
    assert ended.code == 0
    assert seconds < 15
    assert is_gone(int(output))


def test_a_daemon_does_not_hold_a_job_past_its_time_limit(run):
    ended, output, seconds = run(DAEMON.format(signal="DFL", closes=False) + "time.sleep(60)\n", timeout_s=1)
    assert ended.timed_out
    assert seconds < 10
    assert is_gone(int(output))


@pytest.mark.parametrize("error", [BrokenPipeError(32, "Broken pipe"), KeyboardInterrupt()])
def test_a_reader_of_the_output_that_fails_ends_the_job(run, error):
    pids = []

    def on_output(data):
        pids.append(int(data))
        raise error

    with pytest.raises(type(error)) as raised:
        run(DAEMON.format(signal="DFL", closes=False) + "time.sleep(60)\n", on_output)
    assert raised.value is error
    assert is_gone(pids[0])


def test_the_exit_code_and_the_signal_of_the_command_are_obeyed(run):
    assert run("raise SystemExit(255)")[0].code == 255
    assert run("import os; os.kill(os.getpid(), 11)")[0].code == 139
    assert run("import signal; raise SystemExit(signal.getsignal(15) is not signal.SIG_DFL)")[0].code == 0


def test_a_program_that_is_missing_is_named_before_anything_runs(tmp_path):
    with pytest.raises(CommandError, match="missing") as raised:
        process_tree.run(
            [str(tmp_path / "python")],
            cwd=tmp_path,
            env={},
            limits=Limits(cores=1),
            attempt=tmp_path,
            on_output=print,
        )
    assert raised.value.code == 127


def test_a_job_whose_owner_is_killed_ends(tmp_path):
    code = f"""
import os, sys
from pathlib import Path
from spikecrate.runtimes import process_tree
from spikecrate.runtimes.contract import Limits
def on_output(data):
    Path("pid").write_bytes(data)
    os.kill(os.getpid(), 9)
process_tree.run(
    [sys.executable, "-c", {DAEMON.format(signal="DFL", closes=False) + "time.sleep(60)"!r}],
    cwd=Path("."), env={{}}, limits=Limits(cores=1), attempt=Path("."), on_output=on_output,
)
"""
    child = os.posix_spawn(
        sys.executable, [sys.executable, "-c", f"import os; os.chdir({str(tmp_path)!r})\n{code}"], os.environ
    )
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -9
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 10
    while not is_gone(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_gone(pid)
