"""Commands on recordings."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Final

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import format_bytes
from spikecrate.cli.command import command
from spikecrate.cli.option import about
from spikecrate.cli.text import fields, say

RECORDINGS: Final = "recordings"
NEW: Final = about("the folder to make", "DESTINATION", example="toy/")


def show_info(found: dict[str, Any]) -> None:
    """Print a recording in short: the channels are summed up; --json lists each."""
    channels = found["channels"]
    stated = {
        name: found[name]
        for name in ("format", "path", "sample_file", "num_channels", "num_samples", "sampling_frequency")
    }
    fields(
        {
            **stated,
            "duration": f"{found['duration_s']:.1f} s",
            "samples": f"{found['dtype']}, {found['byte_order']}-endian, {format_bytes(found['size_bytes'])}",
            **channel_summary(
                [channel["location_um"] for channel in channels], [channel["gain_uv"] for channel in channels]
            ),
            "groups": _groups(channels),
            "samples_hash": found["samples_hash"] or "not computed (--no-hash)",
        }
    )
    for note in found["notes"]:
        say(f"note: {note}")


def channel_summary(
    locations: Sequence[Sequence[float]], gains: Sequence[float | None] | None
) -> dict[str, str]:
    """Return count, span, pitch and gain of channels, a line each.

    Parameters
    ----------
    locations : sequence of sequence of float
        A channel's place on the probe, in µm.
    gains : sequence of float or None
        µV of a count, for each channel.

    Returns
    -------
    dict of str
    """
    number = len(locations)
    spans = [max(axis) - min(axis) for axis in zip(*locations, strict=True)] if number else []
    known = sorted({gain for gain in gains or [] if gain is not None})
    if not known:
        gain = "unknown"
    elif len(known) == 1:
        gain = f"{known[0]:g} µV"
    else:
        gain = f"{known[0]:g} to {known[-1]:g} µV, {len(known)} different"
    pitch = _pitch(locations)
    probe = f"{number} channels, {' × '.join(f'{span:g}' for span in spans)} µm"
    return {"channels": probe + ("" if pitch is None else f", pitch {pitch:g} µm"), "gain": gain}


@command(
    "recording.info",
    RECORDINGS,
    "spikecrate recording.info rec/",
    "spikecrate recording.info rec/ --json",
    show=show_info,
)
def recording_info(
    recording: Annotated[
        str, about("folder or file in any format of docs/recordings.md", "RECORDING", example="rec/")
    ],
    no_hash: Annotated[
        bool, about("leave out the hash of the samples (it reads the whole recording once)")
    ] = False,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Describe a recording: format, channels, duration, probe, hash of its samples; --json lists every channel."""
    return info(recording, progress, with_hash=not no_hash)


@command("recording.import", RECORDINGS, "spikecrate recording.import day3.nwb day3/", show=show_info)
def recording_import(
    source: Annotated[
        str, about("file or folder in any format that SpikeInterface reads", "SOURCE", example="day3.nwb")
    ],
    destination: Annotated[str, NEW],
    reader: Annotated[
        str,
        about(
            "SpikeInterface's name of the format; by default from the file's name", "NAME", example="intan"
        ),
    ] = "",
    stream: Annotated[str, about("id or name of one of several streams", "NAME", example="imec0.ap")] = "",
    segment: Annotated[int | None, about("one of several segments, from 0", example="0")] = None,
    *,
    progress: Progress,
) -> dict[str, Any]:
    """Convert another format through SpikeInterface (needs the extra spikecrate[import])."""
    from spikecrate.recordings.imports import import_recording

    import_recording(
        source, destination, progress, reader=reader or None, stream=stream or None, segment=segment
    )
    return info(destination, progress, with_hash=True)


@command("recording.toy", RECORDINGS, "spikecrate recording.toy toy/ --channels 32", with_json=False)
def recording_toy(
    destination: Annotated[str, NEW],
    seed: Annotated[int, about("equal seeds give equal bytes", example="1")] = 0,
    duration: Annotated[float, about("length in seconds", "SECONDS", example="10")] = 60.0,
    channels: Annotated[int, about("number of channels", example="32")] = 4,
    units: Annotated[int, about("number of units", example="20")] = 6,
    difficulty: Annotated[
        str, about("how well units stand out", one_of=("easy", "medium", "hard"), example="hard")
    ] = "easy",
    *,
    progress: Progress,
) -> None:
    """Write a synthetic recording with ground truth, in MountainSort's format."""
    from spikecrate.recordings.toy import write_toy

    folder = write_toy(
        destination,
        seed=seed,
        duration_s=duration,
        num_channels=channels,
        num_units=units,
        difficulty=difficulty,
        progress=progress,
    )
    say(str(folder))


def info(path: str, progress: Progress, *, with_hash: bool) -> dict[str, Any]:
    """Describe a recording.

    Parameters
    ----------
    path : str
        Where it is.
    progress : Progress
        Shows how far the hash is.
    with_hash : bool
        Whether its samples are read and hashed.

    Returns
    -------
    dict
        As `spikecrate.recordings.describe.describe`.
    """
    from spikecrate.recordings import open_recording
    from spikecrate.recordings.describe import describe
    from spikecrate.steps.job import samples_hash
    from spikecrate.store import open_store
    from spikecrate.store.file_hashes import FileHashCache, FileState

    recording = open_recording(path)
    samples = None
    if with_hash:
        state = FileState.of(recording.sample_file)
        samples = samples_hash(recording, state, FileHashCache(open_store().memo), progress)
    return describe(recording, samples)


def _pitch(locations: Sequence[Sequence[float]]) -> float | None:
    """Return the middle distance from a channel to its nearest neighbour; None for one channel."""
    from statistics import median

    if len(locations) < 2:
        return None
    nearest = [
        min(math.dist(here, there) for at, there in enumerate(locations) if at != number)
        for number, here in enumerate(locations)
    ]
    return round(median(nearest), 1)


def _groups(channels: Sequence[dict[str, Any]]) -> str:
    groups = {str(channel["group"]) for channel in channels if channel.get("group") is not None}
    return f"{len(groups)}: {', '.join(sorted(groups))}" if groups else "1"
