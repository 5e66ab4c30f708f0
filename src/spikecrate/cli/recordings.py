"""Commands on recordings."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

from spikecrate._util.progress import Progress
from spikecrate.cli.command import command
from spikecrate.cli.option import about
from spikecrate.cli.text import fields, say

if TYPE_CHECKING:
    from spikecrate.recordings import Recording

RECORDINGS: Final = "recordings"
NEW: Final = about("the folder to make", "DESTINATION", example="toy/")


@dataclass(frozen=True)
class Described:
    """A recording and the hash of its samples, if that was computed."""

    recording: "Recording"
    samples_hash: str | None

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints: every channel."""
        from spikecrate.recordings.describe import describe

        return describe(self.recording, self.samples_hash)


def show_info(found: Described) -> None:
    """Print a recording with its channels summarized, and what was assumed of it."""
    from spikecrate.recordings.describe import overview

    facts = overview(found.recording, found.samples_hash)
    notes = facts.pop("notes")
    fields({**facts, "samples_hash": found.samples_hash or "not computed (--no-hash)"})
    for note in notes:
        say(f"note: {note}")


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
) -> Described:
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
) -> Described:
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


def info(path: str, progress: Progress, *, with_hash: bool) -> Described:
    """Open a recording, and hash its samples if asked to.

    Parameters
    ----------
    path : str
        Path of the recording.
    progress : Progress
        Shows the progress of hashing.
    with_hash : bool
        Whether to read and hash its samples.

    Returns
    -------
    Described
    """
    from spikecrate.recordings import open_recording
    from spikecrate.steps.inputs import samples_hash
    from spikecrate.store import open_store
    from spikecrate.store.file_hashes import FileHashCache, FileState

    recording = open_recording(path)
    samples = None
    if with_hash:
        state = FileState.of(recording.sample_file)
        samples = samples_hash(recording, state, FileHashCache(open_store().memo), progress)
    return Described(recording, samples)
