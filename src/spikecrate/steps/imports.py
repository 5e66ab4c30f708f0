"""Import a recording of another format: a step of the tool `import`, whose environment has SpikeInterface.

The store keeps the imported recording under the content of its source, so that the second import is a cache hit.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.errors import (
    JobFailedError,
    RecordingAmbiguousError,
    RecordingEmptyError,
    RecordingFormatError,
    SpikecrateError,
    UsageError,
)
from spikecrate.recordings.formats import absolute, formats_at
from spikecrate.recordings.formats.files import reading
from spikecrate.steps.kinds import KINDS, PREPROCESS
from spikecrate.steps.request import StepRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from spikecrate._util.progress import Advance, Progress
    from spikecrate.steps.inputs import Word
    from spikecrate.store import Store

TOOL: Final = "import"
ALONE: Final = {
    ".abf": "axon",
    ".brw": "biocam",
    ".edf": "edf",
    ".nex": "neuroexplorer",
    ".nwb": "nwb",
    ".nwb.zarr": "nwb",
    ".plx": "plexon",
    ".rec": "spikegadgets",
    ".rhd": "intan",
    ".rhs": "intan",
    ".smr": "spike2",
    ".zarr": "zarr",
}
"""SpikeInterface's reader by suffix, where one file (or folder of that name) is the recording."""
CBIN: Final = ".cbin"
BESIDE: Final = {
    CBIN: "compressedbinaryibl",
    ".set": "axona",
    **{f".ns{number}": "blackrock" for number in range(1, 7)},
}
"""The readers of one file that look for others of the same stem beside it: .ch and .meta, .bin, .nev."""
TOGETHER: Final = {
    ".continuous": "openephyslegacy",
    ".mpx": "alphaomega",
    ".ncs": "neuralynx",
    ".tev": "tdt",
}
"""The readers of a folder, by the suffix of its files."""
FOLDERS: Final = (".nwb.zarr", ".zarr")
"""Suffixes of recordings that are a folder; a folder with any other suffix is searched."""
INTAN_HEADERS: Final = ("info.rhd", "info.rhs")
"""Headers of a recording of Intan whose samples are in files beside it, one a channel or one a signal."""
READERS: Final = {**ALONE, **BESIDE, **TOGETHER}
DEPTH: Final = 4
"""Levels of folders that are searched for a file of a known suffix."""
SHARE: Final = re.compile(r"importing: (\d+)%")
"""The line of the tool's log at every tenth, see `spikecrate_harness.stage_progress`."""
ERRORS: Final = {
    error.exit_code: error
    for error in (UsageError, RecordingFormatError, RecordingEmptyError, RecordingAmbiguousError)
}
"""The errors that the tool ends with: their exit code is its own, their message its last line."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What the tool mounts of a recording, and reads.

    Attributes
    ----------
    reader : str
        SpikeInterface's name of the format.
    path : Path or tuple of Path
        The file, the files or the folder to mount.
    file : str
        The file to read, relative to the mounted folder; empty for the folder itself.
    """

    reader: str
    path: Word
    file: str


class _Shares:
    """Passes everything on, and moves a bar by the shares that lines of the tool's log name.

    Parameters
    ----------
    progress : Progress
        Gets notes, lines and bars.
    advance : callable
        Moves the bar, which is 100 long.
    """

    def __init__(self, progress: Progress, advance: Advance) -> None:
        self.note, self.bar, self._line, self._advance = progress.note, progress.bar, progress.line, advance
        self._done = 0

    def line(self, text: str) -> None:
        """Pass the line on, and move the bar."""
        self._line(text)
        if found := SHARE.fullmatch(text.strip()):
            self._advance(int(found[1]) - self._done)
            self._done = int(found[1])


def needs_import(path: str | Path) -> str | None:
    """Return SpikeInterface's reader of a recording that cannot be read in place, from the names of its files.

    Parameters
    ----------
    path : str or Path
        A folder or file.

    Returns
    -------
    str or None
        None where the path is of a format that is read in place, or of none that is known.

    Examples
    --------
    >>> needs_import("missing.nwb") is None
    True
    """
    try:
        named = absolute(path)
        # A .meta without its .bin is of SpikeGLX too; what lies beside it is the compressed .bin.
        compressed = _candidates(named, {CBIN: READERS[CBIN]}, "")
        if compressed and not any(file.with_suffix(".bin").exists() for file in compressed):
            return READERS[CBIN]
        return None if formats_at(named) else _reader(_candidates(named, READERS, ""))
    except (OSError, SpikecrateError):
        return None


def import_request(
    path: str | Path,
    *,
    reader: str | None = None,
    stream: str | None = None,
    segment: int | None = None,
    concatenate: bool = False,
    runtime: str = "auto",
) -> StepRequest:
    """Return the request for the step that imports a recording.

    Parameters
    ----------
    path : str or Path
        A file or folder in any format of SpikeInterface.
    reader : str, optional
        SpikeInterface's name of the format ("intan", "nwb"); by default from the file names.
    stream : str, optional
        Name or id of the stream, in NWB the path of the ElectricalSeries, where there are several.
    segment : int, optional
        Number of the segment, from 0, where there are several.
    concatenate : bool
        Whether to join all segments end to end.
    runtime : str
        Where the step runs.

    Returns
    -------
    StepRequest

    Raises
    ------
    UsageError
        If the names fit no reader, or several.
    RecordingAmbiguousError
        If the folder holds several recordings; the message lists them.
    RecordingNotFoundError
        If the path does not exist.
    """
    found = _source(absolute(path), reader or "", stream or "")
    params = {
        "reader": found.reader,
        "file": found.file,
        "stream": stream or "",
        "segment": segment,
        "concatenate": concatenate,
    }
    return StepRequest(tool=TOOL, inputs={"source": found.path}, params=params, runtime=runtime)


def imported(
    path: str | Path,
    *,
    store: Store,
    progress: Progress,
    reader: str | None = None,
    stream: str | None = None,
    segment: int | None = None,
    concatenate: bool = False,
    runtime: str = "auto",
) -> Path:
    """Import a recording into the store, or find it there (a cache hit).

    Parameters
    ----------
    path, reader, stream, segment, concatenate, runtime
        As for `import_request`.
    store : Store
        Keeps the recording, under the content of the source.
    progress : Progress
        Shows the samples written.

    Returns
    -------
    Path
        The recording's folder in the store, with a recording.json.

    Raises
    ------
    RecordingAmbiguousError
        If there are several streams or segments and none is named; the message lists them.
    RecordingFormatError, RecordingEmptyError
        If SpikeInterface cannot read the source, or the samples cannot be sorted.
    spikecrate.errors.SpikecrateError
        Any error of `import_request` and of a run.
    """
    from spikecrate.runtimes import choose
    from spikecrate.steps.run import run
    from spikecrate.store import results

    request = import_request(
        path, reader=reader, stream=stream, segment=segment, concatenate=concatenate, runtime=runtime
    )
    job = request.job(store, progress)
    stored = results.find(store, job.key, progress.note)
    if stored is None:
        job.check()
        reads = f"SpikeInterface ({request.params['reader']}) reads {absolute(path)}"
        progress.note(f"{reads} once; the store keeps the samples")
        engine = choose(runtime, store, progress, request=job.build)
        try:
            with progress.bar(f"importing {absolute(path).name} ({engine.name})", 100) as advance:
                told = _Shares(progress, advance)
                stored, _ = run(
                    job, runtime=engine, limits=request.limits, store=store, progress=told, force=False
                )
        except JobFailedError as failure:
            error = ERRORS.get(failure.details.get("exit_code", 0))
            if error is None:
                raise
            reason = str(failure).rpartition("\n")[2]
            message = f"{absolute(path)}: {reason}"
            raise error(message, next_step=_next_step(error, absolute(path))) from None
    return stored.folder / KINDS[PREPROCESS].folder


def _source(named: Path, reader: str, stream: str) -> Source:
    """Return what to mount and what to read."""
    with reading(named):
        named.stat()
        candidates = _candidates(named, READERS, reader)
    found = reader or _reader(candidates)
    if found is None:
        names = ", ".join(sorted(set(READERS.values())))
        message = f"{named}: the names of its files do not tell its format"
        step = f"name the reader: --reader, one of {names}, or another of SpikeInterface"
        raise UsageError(message, next_step=step)
    if not candidates:
        # The reader searches a folder by itself, or only the user knows what the file is.
        return Source(reader=found, path=named, file=_name(named))
    if _suffix(candidates[0]) in TOGETHER:
        return Source(reader=found, path=_one(named, {file.parent for file in candidates}), file="")
    file = _one(named, _of_stream(candidates, stream))
    if file.name in INTAN_HEADERS:
        return Source(reader=found, path=file.parent, file=file.name)
    if _suffix(file) in BESIDE:
        # A folder may hold the recordings of a year.
        files = [path for path in sorted(file.parent.iterdir()) if path.stem == file.stem and path.is_file()]
        return Source(reader=found, path=tuple(files), file=file.name)
    return Source(reader=found, path=file, file=_name(file))


def _name(path: Path) -> str:
    """Return the name by which a file alone is mounted: that of what a link leads to; empty of a folder."""
    return "" if path.is_dir() else path.resolve().name


def _candidates(named: Path, readers: Mapping[str, str], reader: str) -> list[Path]:
    """Return the files of known suffixes (or of one reader) on the first level of folders that has any."""
    suffixes = {suffix for suffix, name in readers.items() if reader in ("", name)}
    level = [named]
    for _ in range(DEPTH + 1):
        found = [
            path
            for path in level
            if (suffix := _suffix(path)) in suffixes and path.is_dir() == (suffix in FOLDERS)
        ]
        if found:
            return found
        inside = (inner for path in level if path.is_dir() for inner in sorted(path.iterdir()))
        # macOS puts a ._day.nwb beside a day.nwb on the disks of others.
        level = [path for path in inside if not path.name.startswith(".")]
    return []


def _reader(candidates: Iterable[Path]) -> str | None:
    """Return the one reader of some files; None where there are none, or files of several formats."""
    found = {READERS[_suffix(path)] for path in candidates}
    return found.pop() if len(found) == 1 else None


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return ".nwb.zarr" if name.endswith(".nwb.zarr") else path.suffix.lower()


def _of_stream(files: list[Path], stream: str) -> list[Path]:
    """Return the files of a stream of SpikeGLX (.ap.cbin, .lf.cbin); by default AP, which has the spikes."""
    chosen = [file for file in files if file.name.endswith(f".{stream or 'ap'}{CBIN}")]
    return chosen or files


def _one(named: Path, found: Iterable[Path]) -> Path:
    paths = sorted(found)
    if len(paths) > 1:
        message = f"{named} holds several recordings: {', '.join(map(str, paths))}"
        raise RecordingAmbiguousError(message, next_step="name one of them")
    return paths[0]


def _next_step(error: type[SpikecrateError], path: Path) -> str:
    if error is RecordingFormatError:
        command = f"spikecrate recording.import {shlex.quote(str(path))} DESTINATION --reader NAME"
        return f"check the files, or name another reader: {command}"
    return "name one of those listed: --stream NAME or --segment N, or join the segments with --concatenate"
