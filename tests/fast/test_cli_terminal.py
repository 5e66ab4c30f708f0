"""What the command line promises of terminals, pipes, locales and signals; whole processes, as a user starts them."""

from __future__ import annotations

import functools
import inspect
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import is_dataclass
from types import SimpleNamespace

import pytest
from lab import ANSWER, TWO_EVENTS

from spikecrate._util import progress as progress_module
from spikecrate._util.progress import Silent, Stage, Terminal, default_progress
from spikecrate._util.terminal import printable, shorten
from spikecrate.cli import load
from spikecrate.cli.command import COMMANDS
from spikecrate.cli.complete import candidates
from spikecrate.cli.show_sort import show_forecast
from spikecrate.cli.text import table

PROGRAM = [sys.executable, "-m", "spikecrate"]
HOSTILE = "rec\x1b]0;title\x07\x9b2J"


def run(*words, shell="", **options):
    environ = {**os.environ, **options.pop("environ", {})}
    argv = ["bash", "-c", shell, "bash", *PROGRAM] if shell else PROGRAM
    return subprocess.run(
        [*argv, *map(str, words)], capture_output=True, text=True, check=False, env=environ, **options
    )


def on_terminal(*words, columns=80, **environ):
    """Run with standard output and standard error on a terminal; return what it got."""
    outer, inner = pty.openpty()
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), "LINES": "24", **environ}
    child = subprocess.Popen([*PROGRAM, *map(str, words)], stdout=inner, stderr=inner, env=variables)
    os.close(inner)
    got = b""
    while select.select([outer], [], [], 60)[0]:
        try:
            piece = os.read(outer, 65536)
        except OSError:
            break
        if not piece:
            break
        got += piece
    child.wait()
    os.close(outer)
    return got.decode()


# Control characters -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words", [["recording.info"], ["sort"], ["sort", "--json"], ["recording.info", "--json"]]
)
def test_no_control_character_of_a_name_reaches_the_terminal(words, recording, tmp_path):
    hostile = tmp_path / HOSTILE
    recording.rename(hostile)
    (hostile / "params.json").write_text("{")
    for path in (hostile, tmp_path / f"{HOSTILE}-missing"):
        done = run(*words, path)
        assert not {"\x1b", "\x07", "\x9b"} & set(done.stdout + done.stderr)
        assert r"\x1b]0;title" in done.stdout + done.stderr or r"\u001b" in done.stdout


def test_json_keeps_the_name_although_the_terminal_gets_no_control_character(recording, tmp_path):
    recording.rename(tmp_path / HOSTILE)
    described = json.loads(run("recording.info", "--no-hash", "--json", tmp_path / HOSTILE).stdout)
    assert described["path"] == str(tmp_path / HOSTILE)


def test_no_control_character_of_a_table_or_a_log_reaches_the_terminal(capsys):
    table(("recording",), [[HOSTILE], ["two\nlines"]])
    Terminal(verbose=True).line(HOSTILE)
    Terminal().note(HOSTILE)
    printed = "".join(capsys.readouterr())
    assert not {"\x1b", "\x07", "\x9b"} & set(printed)
    assert r"two\nlines" in printed


def test_ordinary_text_is_printed_as_it_is():
    assert printable("µV × 3 – é\n\tü 漢字") == "µV × 3 – é\n\tü 漢字"


# Closed, full, removed ----------------------------------------------------------------------------


@pytest.mark.parametrize("to", [">/dev/full", ">&-"])
@pytest.mark.parametrize("words", [["sorters"], ["sorters", "--json"], ["--help"]])
def test_a_standard_output_that_cannot_be_written_is_an_error_without_a_traceback(to, words):
    done = run(*words, shell=f'"$@" {to}')
    assert done.returncode == 52
    assert "standard output cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("to", ["2>/dev/full", "2>&-"])
def test_a_standard_error_that_cannot_be_written_changes_no_exit_code(to):
    assert run("sort", "/no/such", shell=f'"$@" {to}').returncode == 10


def test_a_store_of_a_user_that_does_not_exist_is_refused_by_name():
    done = run("job.list", environ={"SPIKECRATE_STORE": "~nobody9"})
    assert (done.returncode, "~nobody9" in done.stderr, "Traceback" in done.stderr) == (50, True, False)


def test_a_current_folder_that_was_removed_is_named(tmp_path):
    done = run("job.list", shell=f'mkdir "{tmp_path}/gone" && cd "{tmp_path}/gone" && rmdir ../gone && "$@"')
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "the current folder no longer exists" in done.stderr


def test_a_home_that_is_a_file_gives_no_traceback(tmp_path):
    (tmp_path / "home").touch()
    for words in (["job.list"], ["completion", "install", "--shell", "bash"], ["sorters"]):
        done = run(*words, environ={"HOME": str(tmp_path / "home")})
        assert "Traceback" not in done.stderr
        assert "fault in spikecrate" not in done.stderr


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_tables_and_json_are_printed_in_any_locale(encoding, recording, tmp_path):
    recording.rename(tmp_path / "Röhre漢")
    environ = {"PYTHONIOENCODING": encoding}
    assert run("job.list", environ=environ).returncode == 0
    assert run("sorters.show", "ms4", environ=environ).returncode == 0
    done = subprocess.run(
        [*PROGRAM, "recording.info", "--no-hash", "--json", tmp_path / "Röhre漢"],
        capture_output=True,
        check=True,
        env={**os.environ, **environ},
    )
    assert json.loads(done.stdout.decode(encoding))["path"].endswith("Röhre漢")


# Stopped ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_program_with_its_code_and_blames_nobody(number, tmp_path):
    # Whoever starts the tests may ignore these signals, as nohup does; a child inherits that, and the program keeps it.
    script = (
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "from spikecrate.cli.main import guarded\n"
        "def body():\n"
        "    print('begun', flush=True)\n"
        "    time.sleep(60)\n"
        "sys.exit(guarded(body, to_json=False, debug=False))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as child:
        child.stdout.readline()
        child.send_signal(number)
        _, said = child.communicate(timeout=30)
    assert (child.returncode, said) == (128 + number, "spikecrate: stopped\n")


HASHING = """
import sys
from pathlib import Path
from spikecrate.cli.main import guarded
from spikecrate.store.result_manifest import hash_file
def body():
    print("begun", flush=True)
    hash_file(Path(sys.argv[1]))
sys.exit(guarded(body, to_json=False, debug=False))
"""


def test_ctrl_c_is_obeyed_while_a_result_is_hashed(tmp_path):
    """A file of a terabyte without a block on disk: its hash would take minutes."""
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    child = subprocess.Popen(
        [sys.executable, "-c", HASHING, tmp_path / "large"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child.stdout.readline()
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=20)
    assert (child.returncode, said) == (130, "spikecrate: stopped\n")


CLOSED = """
import sys, time
from spikecrate._util.progress import Terminal
from spikecrate.cli.main import guarded
def body():
    terminal = Terminal(verbose={verbose})
    with terminal.bar("sorting", 0):
        for number in range(600):
            terminal.line("line")
            time.sleep(0.1)
code = guarded(body, to_json=False, debug=False)
open({file!r}, "w").write(str(code))
"""


@pytest.mark.parametrize("verbose", [True, False])
def test_a_closed_pipe_ends_a_job_as_ctrl_c_does(verbose, tmp_path):
    """The reader goes while log lines are printed; or while only the progress line is, by another thread."""
    code = CLOSED.format(verbose=verbose, file=str(tmp_path / "code"))
    code = code.replace("def body", "import spikecrate._util.progress as p; p.REPORT_S = 0.1\ndef body", 1)
    started_at = time.monotonic()
    subprocess.run(
        ["bash", "-c", '"$@" 2>&1 | true', "bash", sys.executable, "-c", code], check=False, timeout=60
    )
    assert (tmp_path / "code").read_text() == "141"
    assert time.monotonic() - started_at < 30


# Progress -----------------------------------------------------------------------------------------


def test_progress_is_one_line_that_fits_the_terminal_and_is_erased():
    code = (
        "import time, spikecrate._util.progress as p; p.QUIET_S = 0\n"
        "with p.Terminal().bar('hashing ' + 'x' * 100, 10) as advance:\n"
        "    [(time.sleep(0.15), advance(1)) for _ in range(8)]\n"
    )
    outer, inner = pty.openpty()
    environ = {**os.environ, "TERM": "xterm", "COLUMNS": "40", "LINES": "24"}
    subprocess.run([sys.executable, "-c", code], stderr=inner, env=environ, check=True)
    shown = os.read(outer, 65536).decode()
    assert "\n" not in shown
    drawn = shown.split("\r\x1b[K")[1:]
    assert len(drawn) > 3
    assert all(len(line) < 40 for line in drawn)
    assert drawn[-1] == ""


def test_what_a_command_prints_while_it_works_stands_on_a_line_of_its_own():
    code = (
        "import time, spikecrate._util.progress as p; p.QUIET_S = 0\n"
        "from spikecrate.cli.main import report\n"
        "from spikecrate.cli.text import say\n"
        "from spikecrate.errors import UsageError\n"
        "with p.Terminal().bar('sorting', 0):\n"
        "    time.sleep(0.5); say('a result'); time.sleep(0.5)\n"
        "    report(UsageError('an error'), to_json=False, debug=False)\n"
    )
    outer, inner = pty.openpty()
    environ = {**os.environ, "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", code], stdout=inner, stderr=inner, env=environ, check=True)
    shown = os.read(outer, 65536).decode()
    assert "\r\x1b[Ka result\r\n" in shown
    assert "\r\x1b[Kspikecrate: an error\r\n" in shown


def test_progress_says_stage_share_elapsed_and_remaining_time():
    stage = Stage("hashing raw.dat", total=100, done=25, started=100)
    assert stage.describe(160) == "hashing raw.dat: 25%, 1:00 elapsed, about 3:00 left"
    stage = Stage("ms4 (docker)", expected_s=3600, started=100)
    assert stage.describe(160) == "ms4 (docker): 1:00 elapsed, about 59:00 left"
    assert stage.describe(4000) == "ms4 (docker): 1:05:00 elapsed, longer than earlier runs"


def test_every_command_that_may_take_a_while_shows_what_it_does():
    load()
    working = {
        command.name: command
        for command in COMMANDS.values()
        if "quiet" in {option.name for option in command.options}
    }
    assert {name for name, command in working.items() if not command.doing} == {"dev.open"}
    for command in working.values():
        command.doing.format(**{option.name: "" for option in command.options})


def test_a_command_shows_its_stage_and_the_elapsed_time(capsys, monkeypatch):
    monkeypatch.setattr(progress_module, "QUIET_S", 0)
    monkeypatch.setattr(progress_module, "REPORT_S", 0.1)

    def slow(sorter, *, progress):  # noqa: ARG001 (the signature decides the options)
        time.sleep(0.5)
        return sorter

    load()
    build = COMMANDS["build"]
    monkeypatch.setattr(build, "function", functools.wraps(build.function)(slow))
    assert build.call({"sorter": "ms5"}) == "ms5"
    assert "building ms5: 0:00 elapsed\n" in capsys.readouterr().err


def test_progress_on_a_full_disk_stops_no_work():
    code = (
        "import time, spikecrate._util.progress as p; p.QUIET_S = p.REPORT_S = 0.1\n"
        "with p.Terminal().bar('sorting', 0):\n"
        "    time.sleep(1)\n"
        "print('done')\n"
    )
    words = ["bash", "-c", '"$@" 2>/dev/full', "bash", sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "done\n")


def test_a_pipe_and_a_dumb_terminal_get_lines_without_control_characters(recording):
    piped = run("sort", recording, "--runtime", "apptainer", "--dry-run", environ={"TERM": "xterm"})
    assert "\x1b" not in piped.stdout + piped.stderr
    assert "\x1b" not in on_terminal("doctor", "--check", "machine", TERM="dumb")
    assert "\x1b" not in on_terminal("doctor", "--check", "machine", NO_COLOR="1")
    assert "\x1b[3" in on_terminal("doctor", "--check", "machine")


def test_log_lines_go_to_the_file_and_are_shown_only_on_request(tmp_path, capsys):
    log = tmp_path / "run.log"
    Terminal(log=log).line("line 1")
    assert capsys.readouterr().err == ""
    Terminal(verbose=True, log=log).line("line 2")
    assert capsys.readouterr().err == "line 2\n"
    Terminal(quiet=True, log=log).note("a note")
    assert capsys.readouterr().err == ""
    assert log.read_text() == "line 1\nline 2\na note\n"


def test_a_log_that_cannot_be_written_is_refused(tmp_path):
    done = run("job.list", "--log", tmp_path / "no" / "run.log")
    assert done.returncode == 52
    assert "--log" in done.stderr


# Help, tables, completion -------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [30, 60, 80, 200])
def test_help_is_complete_at_any_width(columns):
    for words in (["--help"], ["sort", "--help"], ["dev", "--help"]):
        shown = on_terminal(*words, columns=columns).replace("\r\n", "\n")
        assert all(len(line) <= columns for line in shown.splitlines())
    shown = " ".join(on_terminal("sort", "--help", columns=columns).split())
    assert "usage: spikecrate sort [OPTIONS] RECORDING" in shown
    for meaning in ("time limit; by default none", "default: ms4", "--memory 8G", "example: --timeout 2h"):
        assert meaning in shown


def test_every_command_has_usage_description_meanings_and_an_example():
    load()
    for command in COMMANDS.values():
        assert command.summary
        assert command.examples
        assert all(option.text for option in command.options)
        parameters = set()
        for name, parameter in inspect.signature(command.function).parameters.items():
            kind = parameter.annotation
            parameters |= set(inspect.signature(kind).parameters) if is_dataclass(kind) else {name}
        known = {option.name for option in command.options}
        assert parameters - {"progress", "json"} <= known, command.name
        assert all(
            option.example or option.words.one_of or option.kind is bool or option.is_positional
            for option in command.options
        ), command.name


def test_an_interpreter_without_docstrings_is_refused_by_name():
    for words in (["--help"], ["sort", "rec"]):
        done = run(*words, environ={"PYTHONOPTIMIZE": "2"})
        assert (done.returncode, "unset PYTHONOPTIMIZE" in done.stderr) == (2, True)


def test_the_first_screen_groups_commands_by_what_a_user_does():
    shown = run().stdout
    assert shown == run("--help").stdout
    assert shown.index("sort and look at results") < shown.index("\n  sort ") < shown.index("\nstore\n")
    assert "core" not in shown.lower()


def test_a_table_fits_the_terminal():
    shown = on_terminal("sorters", columns=80).splitlines()
    assert max(map(len, shown)) <= 80
    assert shorten("abcdefghij", 5) == "ab…ij"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["so"], {"sort", "sorters"}),
        (["sort", "rec", "--runt"], {"--runtime"}),
        (["sort", "rec", "--runtime", ""], {"auto", "docker", "apptainer", "host"}),
        (["sort", "--sorter", "ms"], {"ms4", "ms5"}),
        (["job.list", "--status", "f"], {"failed"}),
        (["doctor", "--check", "docker.d"], {"docker.daemon"}),
        (["dev", "--no-"], {"--no-x11", "--no-docker"}),
        (["job.show", ""], set()),
    ],
)
def test_values_are_completed(words, expected):
    load()
    assert set(candidates(words)) >= expected


def test_the_shell_gets_a_candidate_a_line_and_nothing_where_it_completes_files():
    assert run("--complete", "sort", "--runt").stdout == "--runtime\n"
    assert run("--complete", "sort", "").stdout == ""


def test_completion_is_installed_where_the_shell_looks(tmp_path):
    environ = {"HOME": str(tmp_path)}
    assert run("completion", "install", "--shell", "bash", environ=environ).returncode == 0
    script = tmp_path / ".local/share/bash-completion/completions/spikecrate"
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    assert run("completion", "install", "--shell", "tcsh").returncode == 2


# Usage --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (["srot", "rec"], "sort"),
        (["job.lst"], "job.list"),
        (["sort", "rec", "--sortr", "ms4"], "--sorter"),
        (["sort", "rec", "--runtime", "dockr"], "docker"),
        (["job.list", "--status", "faild"], "failed"),
        (["recording.toy", "t", "--difficulty", "hrd"], "hard"),
        (["convert", "--compression", "zst"], "zstd"),
        (["--hlep"], "--help"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_name_and_exit_code_2(words, near):
    done = run(*words)
    assert (done.returncode, f"did you mean {near!r}" in done.stderr) == (2, True)
    done = run(*words, "--json")
    error = json.loads(done.stdout)
    assert (done.returncode, error["exit_code"], error["error"]) == (2, 2, "UsageError")


@pytest.mark.parametrize(
    "words", [["sort"], ["job.show", "a", "b"], ["sort", "rec", "--cores"], ["sort", "r", "--force=1"]]
)
def test_a_command_line_that_makes_no_sense_exits_2_and_names_the_help(words):
    done = run(*words)
    assert done.returncode == 2
    assert "next: " in done.stderr


def test_a_new_sorter_is_written_only_where_it_was_asked_to_be(tmp_path):
    environ = {"SPIKECRATE_SORTERS": ""}
    done = run("sorters.new", "mine", cwd=tmp_path, environ=environ)
    assert done.returncode == 2
    assert "--into DIR" in done.stderr
    done = run("sorters.new", "mine", "--into", ".", cwd=tmp_path, environ=environ)
    assert done.returncode == 0
    assert f"export SPIKECRATE_SORTERS={tmp_path}" in done.stdout
    assert (tmp_path / "mine" / "sorter.json").exists()


# Several recordings, failures, forecasts ----------------------------------------------------------

TRUE = ANSWER + TWO_EVENTS


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run a command in this process, with the host runtime of the fast tests."""
    from spikecrate.cli.main import run as run_here

    def call(*words):
        code = run_here([str(word) for word in words])
        printed = capsys.readouterr()
        return SimpleNamespace(code=code, out=printed.out, err=printed.err)

    # Handlers belong to a process of its own.
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return call


@pytest.mark.usefixtures("here")
def test_several_recordings_and_globs_are_sorted_in_order_and_summed_up(cli, recording, sorter, tmp_path):
    shutil.copytree(recording, tmp_path / "many" / "b")
    shutil.copytree(recording, tmp_path / "many" / "a")
    (tmp_path / "many" / "c").mkdir()
    name, output = sorter(TRUE), tmp_path / "out"
    done = cli("sort", f"{tmp_path}/many/*", "--sorter", name, "--runtime", "host", "--output", output)
    assert done.code == 10, done.err
    lines = done.out.splitlines()
    assert [line.split()[1:3] for line in lines[1:3]] == [["ran", "2"], ["cache", "hit"]]
    assert "failed" in lines[3]
    assert lines[-2] == "2 of 3 recordings sorted, 1 failed"
    assert lines[-1].startswith("units   spikecrate job.show ")
    assert cli(*lines[-1].split()[2:]).code == 0
    assert sorted(path.name for path in output.iterdir()) == ["a", "b"]
    rows = json.loads(cli("sort", f"{tmp_path}/many/*", "--sorter", name, "--output", "-", "--json").out)
    assert [row.get("status", row.get("error")) for row in rows[:2]] == ["cached", "cached"]
    assert rows[2]["exit_code"] == 10


@pytest.mark.usefixtures("here")
def test_an_output_folder_that_cannot_be_written_is_refused_before_the_run(cli, recording, sorter, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    name = sorter("raise RuntimeError")
    for output in (tmp_path / "file" / "copy", tmp_path / "mine"):
        done = cli("sort", recording, "--sorter", name, "--runtime", "host", "--output", output)
        assert done.code == 52, done.err
    assert json.loads(cli("job.list", "--json").out) == []


@pytest.mark.usefixtures("here")
def test_on_failure_the_cause_stands_below_the_log(cli, recording, sorter):
    name = sorter(f"{ANSWER}    print('many lines')\n    raise ValueError('the threshold is odd')")
    done = cli("sort", recording, "--sorter", name, "--runtime", "host", "--output", "-")
    assert done.code == 40
    *_, failed, cause, following, log = done.err.splitlines()
    assert failed == "spikecrate: the sorter failed with exit code 1"
    assert cause == "cause: ValueError: the threshold is odd"
    assert log.startswith("log:  ")
    assert following.startswith("next: spikecrate job.logs ")
    row = cli("job.list").out.splitlines()[1]
    assert str(recording) in row
    assert "(JobFailedError)" in row


def forecast(action, reasons=()):
    return SimpleNamespace(
        job=SimpleNamespace(key="ab" * 32),
        plan=SimpleNamespace(action=action, reasons=reasons, nearest="cd" * 32),
        runtime="host",
        argv=["python", "run.py"],
        estimate=SimpleNamespace(memory_bytes=2**30, wall_s=12.0, runs=2),
    )


def test_a_forecast_says_hit_or_miss_why_and_shows_the_command_line_on_request(capsys):
    show_forecast(forecast("hit"), verbose=False)
    assert capsys.readouterr().out.splitlines()[0] == "cache hit: the result is in the store"
    reasons = tuple(f"parameter p{number}: 1 -> 2" for number in range(9))
    show_forecast(forecast("run", reasons), verbose=False)
    miss = capsys.readouterr().out
    assert miss.startswith("cache miss: sort would run it with host\n")
    assert "and 6 more; --verbose shows all" in miss
    assert "takes about 1.0 GiB of memory and 12 s, estimated from 2 runs" in miss
    assert "run.py" not in miss
    show_forecast(forecast("run", reasons), verbose=True)
    shown = capsys.readouterr().out
    assert all(reason in shown for reason in reasons)
    assert shown.endswith("python run.py\n")


def test_two_recordings_of_one_name_do_not_share_a_copy(cli, recording, sorter, tmp_path):
    for day in ("day1", "day2"):
        shutil.copytree(recording, tmp_path / day / "rec")
    days = (tmp_path / "day1" / "rec", tmp_path / "day2" / "rec")
    done = cli("sort", *days, "--sorter", sorter(TRUE), "--output", tmp_path / "sorted")
    assert done.code == 2
    assert "two of the recordings are named rec" in done.err
    assert not (tmp_path / "sorted").exists()


@pytest.mark.usefixtures("here")
def test_job_show_sums_a_record_up(cli, recording, sorter):
    assert cli("sort", recording, "--sorter", sorter(TRUE), "--output", "-").code == 0
    shown = cli("job.show", json.loads(cli("job.list", "--json").out)[0]["key"][:8]).out
    assert all(text in shown for text in ("4 (1 to 4)", "25 × 25 µm", "0.195 µV per count"))
    record, units = shown.split("\nunit  ")
    assert len(record.splitlines()) < 25
    assert len(units.splitlines()) == 3


def test_384_channels_are_summed_up(cli, tmp_path):
    (tmp_path / "rec.dat").write_bytes(bytes(2 * 384 * 10))
    geometry = [f"{16 * (channel % 2)},{20 * (channel // 2)}\n" for channel in range(384)]
    (tmp_path / "geom.csv").write_text("".join(geometry))
    document = {"file": "rec.dat", "sampling_frequency": 30000, "num_channels": 384, "dtype": "int16"}
    (tmp_path / "recording.json").write_text(json.dumps({**document, "probe": "geom.csv"}))
    shown = cli("recording.info", tmp_path).out
    assert len(shown.splitlines()) < 25
    assert all(text in shown for text in ("384 (", "16 × 3820 µm", "pitch"))
    assert len(json.loads(cli("recording.info", tmp_path, "--json").out)["channels"]) == 384


# Python -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("here")
def test_a_result_is_one_line_in_a_notebook(recording, sorter):
    import spikecrate

    result = spikecrate.sort(recording, sorter=sorter(TRUE), runtime="host")
    assert repr(result) == f"Result(lab 1: 2 units, 2 events; ran; {str(result.folder)!r})"


def test_errors_are_there_after_importing_the_package():
    code = "import spikecrate; spikecrate.errors.SpikecrateError; assert 'errors' in dir(spikecrate)"
    subprocess.run([sys.executable, "-c", code], check=True)


class FakeShell:
    """What IPython has in a notebook."""


def test_a_notebook_gets_a_bar_without_asking(monkeypatch, capsys):
    shown = []
    handle = SimpleNamespace(update=shown.append)
    shell = type("ZMQInteractiveShell", (FakeShell,), {})()
    display = SimpleNamespace(display=lambda first, **_: shown.append(first) or handle, HTML=str)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    progress = default_progress()
    with progress.bar("hashing <b>raw</b>", 10) as advance:
        time.sleep(0.3)
        advance(5)
    assert "hashing &lt;b&gt;raw&lt;/b&gt;: 50%" in shown[1]
    assert shown[-1] == ""
    progress.note(HOSTILE)
    assert "\x1b" not in capsys.readouterr().err


def test_a_script_gets_no_progress_by_default():
    assert isinstance(default_progress(), Silent)
