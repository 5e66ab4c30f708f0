"""Write a commented study.yaml for the recordings of a folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.errors import (
    OutputError,
    RecordingAmbiguousError,
    RecordingError,
    RecordingFormatError,
    RecordingNotFoundError,
    UsageError,
)
from spikecrate.recordings import open_recording
from spikecrate.steps.output import is_inside
from spikecrate.steps.paths import TRUTH

if TYPE_CHECKING:
    from spikecrate.recordings import Recording

DEPTH: Final = 6
"""Levels of folders that are searched."""
HEAD: Final = """\
# A study: every recording with every sorter. Relative paths start at this file's folder.
#
#   spikecrate study.plan {file}      every job: cache hit or to run, why, and a forecast
#   spikecrate study.run {file}       run them; the same command again goes on
#   spikecrate study.status {file}    how far it is, and why a job failed
#
# docs/studies.md describes each field.

name: {name}

# A path or a glob such as data/*; or an object with path and, where needed:
#   name, set (the study set), tags, probe, by_group: true (sort each shank or tetrode by itself),
#   truth (file with the true spikes; by default firings_true.mda in the recording),
#   exhaustive: true (the truth holds every unit, so that a unit without a partner is wrong).
recordings:
"""
TAIL: Final = """
# A name of `spikecrate sorters`, or an object with sorter, name and params.
sorters:
  - ms4
#  - sorter: ms4
#    name: ms4 strict
#    params: {detect_threshold: 4}
#  - ms5

# Each job runs once with each seed; `repeats: 3` is short for [0, 1, 2].
seeds: [0]

# How found units are compared with true ones.
comparison:
  tolerance_ms: 0.4    # largest distance of two events that match
  match_score: 0.5     # least agreement of two units that are assigned to each other
  truth_offset_ms: 0   # added to the true times, where they lag behind the extracellular peak

# What each job gets. More limits: memory: 8G, time: 2h.
resources:
  cores: 1
  time_factor: 100     # a job is stopped after 100 times the recording's duration, at least a minute
"""


def write_study(folder: Path | str, output: Path | str) -> list[Recording]:
    """Write a study of the recordings in a folder.

    Parameters
    ----------
    folder : Path or str
        A recording, or a folder of recordings; folders up to six levels below it are searched.
    output : Path or str
        The file, which must not exist.

    Returns
    -------
    list of Recording
        The recordings, in order of their paths.

    Raises
    ------
    UsageError
        There is no recording.
    OutputError
        The file exists, lies inside a recording, or cannot be written.
    """
    root, path = Path(folder).absolute(), Path(output).absolute()
    found = find_recordings(root)
    if not found:
        message = f"there is no recording in {root}"
        raise UsageError(
            message, next_step="name a folder that holds recordings; docs/recordings.md lists the formats"
        )
    inside = next((one for one in found if is_inside(path, one)), None)
    if inside is not None:
        message = f"{path} is inside the recording {inside.path}, where nothing is written"
        raise OutputError(message, next_step="name another file: --output ../study.yaml")
    entries = "".join(_entry(recording, path.parent) for recording in found)
    head = HEAD.format(file=path.name, name=json.dumps(root.name or "study"))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(f"{head}{entries}{TAIL}")
    except FileExistsError:
        message = f"{path} exists"
        raise OutputError(message, next_step="name another file: --output FILE") from None
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise OutputError(message, next_step="name a file that can be written: --output FILE") from None
    return found


def find_recordings(folder: Path, depth: int = DEPTH) -> list[Recording]:
    """Find the recordings in a folder; what lies inside a recording is part of it.

    Parameters
    ----------
    folder : Path
        Where to look.
    depth : int
        Levels of folders below it that are searched.

    Returns
    -------
    list of Recording
        In order of their paths. One with a faulty file is left out.
    """
    if not folder.is_dir():
        return []
    try:
        return [open_recording(folder)]
    except (RecordingNotFoundError, RecordingFormatError, RecordingAmbiguousError):
        pass
    except RecordingError:
        return []
    try:
        inner = sorted(
            entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")
        )
    except OSError:
        return []
    return [one for entry in inner for one in find_recordings(entry, depth - 1)] if depth else []


def _entry(recording: Recording, base: Path) -> str:
    # JSON is YAML: a name with a colon or a quote stays one word.
    told = json.dumps(os.path.relpath(recording.path, base), ensure_ascii=False)
    layout = recording.layout
    rate = f"{layout.sampling_frequency:g} Hz"
    channels = f"{layout.num_channels} channel{'s' if layout.num_channels > 1 else ''}"
    facts = f"{channels}, {recording.duration_s:g} s at {rate}"
    truth = (recording.path if recording.path.is_dir() else recording.path.parent) / TRUTH
    known = "; the truth is known" if truth.is_file() else ""
    return f"  - path: {told}    # {facts}{known}\n"
