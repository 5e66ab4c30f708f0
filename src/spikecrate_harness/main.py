"""A job from the inside: read job.json, open the inputs, run the tool, check and write its output.

Nothing is imported here that costs time before the environment is pinned, for that starts the interpreter anew.
"""

from __future__ import annotations

import argparse
import errno
import faulthandler
import json
import os
import platform
import signal
import sys
import time
import traceback
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from spikecrate_harness import pinning
from spikecrate_harness.answer import NothingFoundError, SortingError, as_firings
from spikecrate_harness.job import CONTRACT, JobError, read_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate_harness.job import Job
    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

SORTER: Final = "sorter"
"""The kind of tool whose `run.py` has `sort`; that of any other has `run`."""
INPUTS: Final = Path("/inputs")
FAILED: Final = 1
INVALID_JOB: Final = 3
INVALID_SORTING: Final = 4
OUT_OF_MEMORY: Final = 5
DISK_FULL: Final = 28


def main() -> int:
    """Run the job that the command line names; return the exit code."""
    options = _parse(sys.argv[1:])
    try:
        return _run(options)
    except MemoryError:
        traceback.print_exc()
        return OUT_OF_MEMORY
    except OSError as error:
        traceback.print_exc()
        return DISK_FULL if _is_disk_full(error) else FAILED


def _parse(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="spikecrate_harness", allow_abbrev=False)
    parser.add_argument("--job", type=Path, default=Path("/job/job.json"))
    parser.add_argument("--input", action="append", default=[], metavar="PLACE=PATH")
    parser.add_argument("--out", type=Path, default=Path("/out"))
    parser.add_argument("--scratch", type=Path, default=Path("/tmp"))
    return parser.parse_args(words)


def _run(options: argparse.Namespace) -> int:
    """Do the job, step by step; each failure has its exit code."""
    started = time.monotonic()
    scratch: Path = options.scratch.resolve()
    try:
        environment = pinning.pin(scratch)
    except pinning.ProcessorError as error:
        return _fail(FAILED, error)
    _obey_signals()
    # A log is read while it is written; worker processes share it, so that it must go line by line.
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        job = read_job(options.job)
        inputs, opened = _open(job, [_given(word) for word in options.input])
    except JobError as error:
        return _fail(INVALID_JOB, error)

    import random

    import numpy as np

    from spikecrate_harness import processor, usage
    from spikecrate_harness.resources import Resources

    random.seed(job.seed)
    np.random.seed(job.seed % 2**32)
    group = usage.own_group()
    kills_before = usage.oom_kills(group) or 0
    resources = Resources(scratch, job.cores, job.memory_bytes, job.seed, job.gpu)
    try:
        facts = (_sort if job.kind == SORTER else _run_tool)(job, inputs, options.out, resources)
    except SortingError as error:
        return _fail(INVALID_SORTING, error)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a tool that exits has not answered)
        traceback.print_exc()
        if isinstance(error, MemoryError) or (usage.oom_kills(group) or 0) > kills_before:
            return OUT_OF_MEMORY
        return DISK_FULL if _is_disk_full(error) else FAILED

    peak, counted_by = usage.peak_memory(group)
    report = {
        "contract": CONTRACT,
        "key": job.key,
        "tool": job.tool,
        **facts,
        "warnings": resources.warnings,
        "opened": opened,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "packages": _packages(),
        "environment": environment,
        "pinned": processor.in_use(),
        "not_pinned": processor.around(),
        "wall_s": round(time.monotonic() - started, 3),
        "cpu_s": round(usage.cpu_seconds(), 3),
        "peak_memory_bytes": peak,
        "peak_memory_counted_by": counted_by,
        "oom_kills": usage.oom_kills(group),
    }
    _write(options.out / "run.json", lambda path: path.write_text(json.dumps(report, indent=2) + "\n"))
    found = "".join(f"{facts[name]} {name}, " for name in ("units", "events") if name in facts)
    print(f"{found}{report['wall_s']:.1f} s")
    for warning in resources.warnings:
        print(f"warning: {warning}")
    return 0


def _given(word: str) -> tuple[PurePosixPath, Path]:
    """Return a place below /inputs, and the path on the host that stands in for it."""
    place, _, path = word.partition("=")
    return PurePosixPath(place), Path(path)


def _place(inner: PurePosixPath, given: list[tuple[PurePosixPath, Path]]) -> Path:
    """Return where a path below /inputs lies: there, or on the host below the path that stands in for it."""
    for place, path in given:
        if inner.is_relative_to(place):
            return path / inner.relative_to(place)
    return INPUTS / inner


def _open(
    job: Job, given: list[tuple[PurePosixPath, Path]]
) -> tuple[dict[str, TraceReader | Path | list[Path]], dict[str, list[dict[str, int]]]]:
    """Open every input of a job; return them, and the identity of each file or folder that was opened.

    Parameters
    ----------
    job : Job
        The job.
    given : list
        Paths that stand in for places below `/inputs`.

    Raises
    ------
    JobError
        If an input is missing, or shorter than its layout.
    """
    from spikecrate_harness.traces import file_identity, open_traces

    inputs: dict[str, TraceReader | Path | list[Path]] = {}
    opened = {}
    for name, layout in job.inputs.items():
        folder = PurePosixPath(name)
        match layout:
            case None:
                inside = [folder]
            case int():
                inside = [folder / str(number) for number in range(1, layout + 1)]
            case _:
                inside = [folder / part.file for part in layout.parts]
        files = [_place(inner, given) for inner in inside]
        try:
            if layout is None or isinstance(layout, int):
                inputs[name] = files[0] if layout is None else files
            else:
                inputs[name] = open_traces(layout, files)
            opened[name] = list(map(file_identity, files))
        except (OSError, ValueError) as error:
            message = f"{name}: {error}"
            raise JobError(message) from None
    return inputs, opened


def _sort(job: Job, inputs: dict[str, Any], out: Path, resources: Resources) -> dict[str, Any]:
    """Sort the recording, write firings.mda and units.csv; return the numbers of units and events, and the table's time.

    Raises
    ------
    SortingError
        If the sorter's answer is not a sorting.
    """
    import numpy as np

    from spikecrate_harness import mda, unit_table

    recording = inputs["recording"]
    try:
        answer = _entry("sort")(recording, job.parameters, resources)
    except NothingFoundError as error:
        resources.warn(f"no units found: {error}")
        answer = (), ()
    firings = as_firings(answer, recording.num_samples, recording.num_channels)
    _write(out / "firings.mda", lambda path: mda.write(path, firings))
    units, started = len(np.unique(firings[2])), time.monotonic()
    print(f"measuring {units} units")
    _write(out / unit_table.NAME, lambda path: unit_table.write_unit_table(path, recording, firings))
    took = round(time.monotonic() - started, 3)
    return {"units": units, "events": firings.shape[1], "unit_table_s": took}


def _run_tool(job: Job, inputs: dict[str, Any], out: Path, resources: Resources) -> dict[str, int]:
    """Run a tool that is no sorter: it writes its files to `out` itself."""
    _entry("run")(inputs, job.parameters, out, resources)
    return {}


def _entry(name: str) -> Callable[..., Any]:
    """Return a function of the tool's run.py, which lies beside `__main__.py`: the first folder on the path."""
    import importlib

    function: Callable[..., Any] = getattr(importlib.import_module("run"), name)
    return function


def _write(path: Path, fill: Callable[[Path], Any]) -> None:
    """Write a staging file, flush it to disk and rename it; where that fails nothing is left."""
    staging = path.with_name(f".{path.name}.new")
    try:
        fill(staging)
        _flush(staging)
        staging.replace(path)
    finally:
        staging.unlink(missing_ok=True)
    _flush(path.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _packages() -> dict[str, str]:
    """Return the version of every installed package."""
    from importlib.metadata import distributions

    found = {entry.metadata["Name"]: entry.version for entry in distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _is_disk_full(error: BaseException | None) -> bool:
    """Return whether an error, or one of its causes, is a full disk; HDF5 shows it only in its text."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return True
        if os.strerror(errno.ENOSPC) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def _obey_signals() -> None:
    """End at once on SIGTERM and SIGINT; the first process of a container is deaf to them by default."""
    faulthandler.enable()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: os._exit(128 + received))


def _fail(code: int, error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code
