"""Tasks on recordings."""

from __future__ import annotations

from invoke.context import Context  # noqa: TC002
from invoke.tasks import task

from spikecrate.cli.main import reported


@task(
    name="info",
    help={
        "recording": "a folder or file in any format of docs/recordings.md",
        "no-hash": "leave out the hash of the samples (it reads the whole recording once)",
        "json": "print one JSON object",
    },
    auto_shortflags=False,
)
@reported
def recording_info(
    context: Context,  # noqa: ARG001
    recording: str,
    no_hash: bool = False,
    json: bool = False,
) -> None:
    """Describe a recording: format, channels, duration, probe, hash of its samples."""
    from spikecrate.cli import request_recordings as request
    from spikecrate.cli.text import fields

    fields(request.info(recording, with_hash=not no_hash, in_full=json), to_json=json)


@task(
    name="import",
    help={
        "source": "a file or folder in any format that SpikeInterface reads",
        "destination": "the folder to make; its samples are then read in place",
        "reader": "SpikeInterface's name of the format: intan, nwb, …; by default told by the file's name",
        "stream": "id or name of one of several streams",
        "segment": "number of one of several segments, from 0",
        "json": "print one JSON object",
    },
    auto_shortflags=False,
)
@reported
def recording_import(
    context: Context,  # noqa: ARG001
    source: str,
    destination: str,
    reader: str = "",
    stream: str = "",
    segment: str = "",
    json: bool = False,
) -> None:
    """Convert another format through SpikeInterface (the extra spikecrate[import])."""
    from spikecrate.cli import request_recordings as request
    from spikecrate.cli.text import fields

    done = request.import_(source, destination, reader=reader, stream=stream, segment=segment, in_full=json)
    fields(done, to_json=json)


@task(
    name="toy",
    help={
        "destination": "the folder to make",
        "seed": "equal seeds give equal bytes",
        "duration": "seconds",
        "channels": "number of channels",
        "units": "number of units",
        "difficulty": "easy, medium or hard",
    },
    auto_shortflags=False,
)
@reported
def recording_toy(
    context: Context,  # noqa: ARG001
    destination: str,
    seed: int = 0,
    duration: float = 60.0,
    channels: int = 4,
    units: int = 6,
    difficulty: str = "easy",
) -> None:
    """Write a synthetic recording with ground truth, in MountainSort's format."""
    from spikecrate._util.progress import Terminal
    from spikecrate.cli.text import say
    from spikecrate.recordings.toy import write_toy

    folder = write_toy(
        destination,
        seed=seed,
        duration_s=duration,
        num_channels=channels,
        num_units=units,
        difficulty=difficulty,
        progress=Terminal(),
    )
    say(str(folder))
