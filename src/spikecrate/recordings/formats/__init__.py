"""Find the format of a recording by the names of its files, and open it."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.errors import RecordingAmbiguousError, RecordingNotFoundError
from spikecrate.recordings.formats.files import is_file, reading

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate.recordings.model import Recording

LOOKED_FOR: Final = (
    "raw.mda (MountainSort), binary.json (SpikeInterface), *.bin with *.meta (SpikeGLX), structure.oebin "
    "(Open Ephys binary), recording.json (any flat file)"
)
STREAMS: Final = (".ap.bin", ".lf.bin", ".nidq.bin", ".obx.bin")
SPIKEGLX_DEPTH: Final = 2
"""From the folder of a run down: the folders of its probes."""


def open_recording(path: str | Path) -> Recording:
    """Open a recording where it lies: nothing is copied, and no sample is read.

    Parameters
    ----------
    path : str or Path
        A recording's folder, or the file that describes it or holds its samples.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingNotFoundError
        If there is no recording; the message lists the files it looked for.
    RecordingAmbiguousError
        If the folder holds several recordings; the message lists their paths.
    SpikecrateError
        Another recording error, naming the file, the field and the next step.
    """
    named = absolute(path)
    with reading(named):
        is_folder = stat.S_ISDIR(named.stat().st_mode)
    found = _in_folder(named) if is_folder else _of_file(named)
    return found()


def absolute(path: str | Path) -> Path:
    """Return the absolute path; links are kept as named.

    Parameters
    ----------
    path : str or Path
        A path that a user named.

    Returns
    -------
    Path

    Raises
    ------
    RecordingNotFoundError
        If it is empty or has a null character.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        message = f"{text!r} is not a path"
        raise RecordingNotFoundError(message, next_step="pass the path of a recording")
    named = Path(text).absolute()
    # After a link, ".." means the folder above its target; only the file system resolves that.
    return Path(os.path.realpath(named)) if ".." in named.parts else named


def _of_file(path: Path) -> Callable[[], Recording]:
    """Return the function that opens the recording of a file."""
    folder, name = path.parent, path.name
    if name == "raw.mda":
        return lambda: _mountainsort(path, folder)
    if name in ("binary.json", "si_folder.json", "cached.json"):
        return lambda: _spikeinterface(path, folder)
    if path.suffix == ".raw" and is_file(folder / "binary.json"):
        return lambda: _spikeinterface(path, folder)
    if path.suffix == ".meta" or _is_binary(path):
        return lambda: _spikeglx(path, path)
    if name in ("structure.oebin", "continuous.dat"):
        return lambda: _openephys_file(path)
    if path.suffix == ".json":
        return lambda: _flat(path, path)
    message = f"{path} is not a recording; looked for {LOOKED_FOR}"
    raise RecordingNotFoundError(
        message, next_step=f"describe a flat file by a recording.json, or convert it: {_import(path)}"
    )


def _in_folder(folder: Path) -> Callable[[], Recording]:
    """Return the function that opens the recording in a folder."""
    from spikecrate.recordings.formats.openephys import structures_at

    # A user's own description takes precedence over a program's.
    if is_file(folder / "recording.json"):
        return lambda: _flat(folder, folder / "recording.json")
    found: dict[str, Callable[[], Recording]] = {}
    if is_file(folder / "raw.mda"):
        found["raw.mda"] = lambda: _mountainsort(folder, folder)
    if any(is_file(folder / name) for name in ("binary.json", "si_folder.json", "cached.json")):
        found["binary.json"] = lambda: _spikeinterface(folder, folder)
    if next(structures_at(folder), None) is not None:
        found["structure.oebin"] = lambda: _openephys(folder, folder)
    binary = None if found else _spikeglx_stream(folder)
    if binary is not None:
        found[binary.name] = lambda: _spikeglx(folder, binary)
    if not found:
        message = f"{folder} is not a recording; looked for {LOOKED_FOR}"
        raise RecordingNotFoundError(
            message, next_step=f"check the path, or convert another format: {_import(folder)}"
        )
    if len(found) > 1:
        choices = [str(folder / name) for name in found]
        message = f"{folder} holds recordings of {len(found)} formats:\n" + "\n".join(
            f"  {name}" for name in choices
        )
        raise RecordingAmbiguousError(
            message, next_step="name one of these files", details={"choices": choices}
        )
    return next(iter(found.values()))


def _spikeglx_stream(folder: Path) -> Path | None:
    """Return the SpikeGLX stream of a folder: the only one, or the only .ap.bin."""
    binaries = sorted(_binaries(folder, SPIKEGLX_DEPTH))
    if not binaries:
        return None
    # One probe has an ap and an lf file, and often a nidq file beside them: the spikes are in the ap file.
    spiking = [binary for binary in binaries if binary.name.endswith(".ap.bin")]
    chosen = spiking if len(spiking) == 1 else binaries
    if len(chosen) > 1:
        message = f"{folder} holds {len(chosen)} streams:\n" + "\n".join(f"  {file}" for file in chosen)
        raise RecordingAmbiguousError(
            message,
            next_step="name one of these files",
            details={"choices": [str(file) for file in chosen]},
        )
    return chosen[0]


def _binaries(folder: Path, depth: int) -> list[Path]:
    """Return the .bin files of SpikeGLX, also where only the .meta file exists."""
    with reading(folder), os.scandir(folder) as entries:
        found = [(Path(entry.path), entry.is_dir()) for entry in entries]
    halves = [path for path, is_dir in found if not is_dir and (path.suffix == ".meta" or _is_binary(path))]
    binaries = list(dict.fromkeys(path.with_suffix(".bin") for path in halves))
    if depth > 1:
        # Folders of a run's probes are named RUN_g0_imec0.
        for path, is_dir in found:
            if is_dir and "_imec" in path.name:
                binaries += _binaries(path, depth - 1)
    return binaries


def _is_binary(path: Path) -> bool:
    """Return whether a file has samples of SpikeGLX by its name, also without its .meta file."""
    return path.name.endswith(STREAMS) or (path.suffix == ".bin" and is_file(path.with_suffix(".meta")))


def _import(path: Path) -> str:
    import shlex

    return f"spikecrate recording.import {shlex.quote(str(path))} DESTINATION"


def _mountainsort(path: Path, folder: Path) -> Recording:
    from spikecrate.recordings.formats.mountainsort import open_mountainsort

    return open_mountainsort(path, folder)


def _spikeinterface(path: Path, folder: Path) -> Recording:
    from spikecrate.recordings.formats.spikeinterface import open_spikeinterface

    return open_spikeinterface(path, folder)


def _spikeglx(path: Path, stream: Path) -> Recording:
    from spikecrate.recordings.formats.spikeglx import binary_of, open_spikeglx

    return open_spikeglx(path, binary_of(stream))


def _openephys(path: Path, folder: Path) -> Recording:
    from spikecrate.recordings.formats.openephys import open_openephys

    return open_openephys(path, folder)


def _openephys_file(path: Path) -> Recording:
    from spikecrate.recordings.formats.openephys import folder_of

    return _openephys(path, folder_of(path))


def _flat(path: Path, description: Path) -> Recording:
    from spikecrate.recordings.formats.flat import open_flat

    return open_flat(path, description)
