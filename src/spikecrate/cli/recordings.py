"""Commands on recordings."""

from typing import TYPE_CHECKING, Annotated, Any, Final

from spikecrate._util.progress import Progress
from spikecrate.cli.choices import Runtime
from spikecrate.cli.command import Shown, command
from spikecrate.cli.option import Words
from spikecrate.cli.recording_options import RecordingOptions
from spikecrate.cli.text import fields, say
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.recordings import Recording

RECORDINGS: Final = "recordings"
Difficulty = Annotated[str, Words(one_of=("easy", "medium", "hard"))]


def show_info(facts: dict[str, Any]) -> None:
    """Print a recording with its channels summarized, and the assumptions about it.

    Parameters
    ----------
    facts : dict
        The result of `overview`.
    """
    notes = facts.pop("notes")
    fields({**facts, "samples_hash": facts["samples_hash"] or "not computed (--no-hash)"})
    for note in notes:
        say(f"note: {note}")


@command("recording.info", RECORDINGS, "reading {recording}")
def recording_info(
    recording: list[str], chosen: RecordingOptions, no_hash: bool = False, *, progress: Progress
) -> Shown:
    """Describe a recording: format, channels, duration, probe, hash of its samples; --json lists every channel.

    Parameters
    ----------
    recording : RECORDING
        folder or file in any format of docs/recordings.md, or several to join; example: rec/
    no_hash : flag
        leave out the hash of the samples (it reads the whole recording once)

    Examples
    --------
    spikecrate recording.info rec/
    spikecrate recording.info rec/ --json
    """
    return info(chosen.open(recording, progress), progress, with_hash=not no_hash)


@command("recording.import", RECORDINGS, "importing {source}")
def recording_import(
    source: str,
    destination: str,
    chosen: RecordingOptions,
    reader: str = "",
    runtime: Runtime = "auto",
    *,
    progress: Progress,
) -> Shown:
    """Write a recording as a flat file; another format is read by SpikeInterface, in an image or environment of its own.

    Parameters
    ----------
    source : SOURCE
        file or folder in any format of docs/recordings.md, or that SpikeInterface reads; example: day3.nwb
    destination : DESTINATION
        the folder to make; example: day3/
    reader : NAME
        SpikeInterface's name of the format; by default from the file's name; example: intan
    runtime : RUNTIME
        where to run; auto takes the first that this machine has; example: docker

    Examples
    --------
    spikecrate recording.import day3.nwb day3/
    """
    from spikecrate.recordings.copying import write_copy

    opened = chosen.open([source], progress, runtime, reader=reader)
    return info(write_copy(opened, destination, progress), progress, with_hash=True)


@command("recording.toy", RECORDINGS, "writing {destination}")
def recording_toy(
    destination: str,
    seed: int = 0,
    duration: float = 60.0,
    channels: int = 4,
    units: int = 6,
    difficulty: Difficulty = "easy",
    *,
    progress: Progress,
) -> None:
    """Write a synthetic recording with ground truth, in MountainSort's format.

    Parameters
    ----------
    destination : DESTINATION
        the folder to make; example: toy/
    seed : N
        equal seeds give equal bytes; example: 1
    duration : SECONDS
        length in seconds; example: 10
    channels : N
        number of channels; example: 32
    units : N
        number of units; example: 20
    difficulty : DIFFICULTY
        how well units stand out; example: hard

    Examples
    --------
    spikecrate recording.toy toy/ --channels 32
    """
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


def info(recording: "Recording", progress: Progress, *, with_hash: bool) -> Shown:
    """Describe a recording, and hash its samples where wanted.

    Parameters
    ----------
    recording : Recording
        The recording.
    progress : Progress
        Shows how far the hash is.
    with_hash : bool
        Whether to read and hash the samples.

    Returns
    -------
    Shown
        Every channel for `--json`, a summary of them for people.
    """
    from spikecrate.recordings.describe import describe, overview
    from spikecrate.steps.recording_input import hash_recordings

    samples = None
    if with_hash:
        samples = hash_recordings("recording", [recording], open_store(), progress)[0].identity["samples"]
    return Shown(describe(recording, samples), lambda _: show_info(overview(recording, samples)))
