"""A job from the inside: read job.json, open the recording, run the sorter, check and write what it found.

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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate_harness import pinning
from spikecrate_harness.answer import SortingError, as_firings
from spikecrate_harness.job import CONTRACT, JobError, read_job

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from spikecrate_harness.layout import Layout

FAILED: Final = 1
INVALID_JOB: Final = 3
INVALID_SORTING: Final = 4
OUT_OF_MEMORY: Final = 5
DISK_FULL: Final = 28


def main() -> int:
    """Run the job that the command line names; give the exit code."""
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
    parser.add_argument("--recording", type=Path, default=Path("/recording"))
    parser.add_argument("--out", type=Path, default=Path("/out"))
    parser.add_argument("--scratch", type=Path, default=Path("/tmp"))
    return parser.parse_args(words)


def _run(options: argparse.Namespace) -> int:
    """Do the job, step by step; whatever fails on the way has its exit code."""
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
        recording = _open(job.layout, options.recording)
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
        answer = _load_sort()(recording, job.parameters, resources)
    except (Exception, SystemExit) as error:  # noqa: BLE001  (a sorter that exits has not answered)
        traceback.print_exc()
        if isinstance(error, MemoryError) or (usage.oom_kills(group) or 0) > kills_before:
            return OUT_OF_MEMORY
        return DISK_FULL if _is_disk_full(error) else FAILED
    try:
        firings = as_firings(answer, job.layout.num_samples, job.layout.num_channels)
    except SortingError as error:
        return _fail(INVALID_SORTING, error)

    peak, counted_by = usage.peak_memory(group)
    _write_firings(options.out / "firings.mda", firings)
    report = {
        "contract": CONTRACT,
        "key": job.key,
        "sorter": job.sorter,
        "units": len(np.unique(firings[2])),
        "events": firings.shape[1],
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
    print(f"{report['units']} units, {report['events']} events, {report['wall_s']:.1f} s")
    return 0


def _open(layout: Layout, folder: Path) -> Any:
    from spikecrate_harness.recording import open_recording

    try:
        return open_recording(layout, folder)
    except (OSError, ValueError) as error:
        message = f"recording: {error}"
        raise JobError(message) from None


def _load_sort() -> Callable[..., Any]:
    """Import the sorter's run.py, which lies beside `__main__.py`: the first folder on the path."""
    import importlib

    sort: Callable[..., Any] = importlib.import_module("run").sort
    return sort


def _write_firings(path: Path, firings: np.ndarray) -> None:
    from spikecrate_harness import mda

    _write(path, lambda beside: mda.write(beside, firings))


def _write(path: Path, fill: Callable[[Path], Any]) -> None:
    """Write a file beside, flush it to disk, rename it into place; where that fails nothing is left."""
    beside = path.with_name(f".{path.name}.new")
    try:
        fill(beside)
        _flush(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _flush(path.parent)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _packages() -> dict[str, str]:
    """Give the version of every installed package."""
    from importlib.metadata import distributions

    found = {entry.metadata["Name"]: entry.version for entry in distributions()}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _is_disk_full(error: BaseException | None) -> bool:
    """Tell whether an error, or one that it comes from, is a full disk; HDF5 tells only in its text."""
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
