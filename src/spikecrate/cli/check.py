"""The command that checks a recording's channels, and its table."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.progress import Progress
from spikecrate.cli.command import Shown, command
from spikecrate.cli.recording_options import RecordingOptions
from spikecrate.cli.recordings import RECORDINGS
from spikecrate.cli.text import say, table
from spikecrate.errors import OutputError, UsageError

if TYPE_CHECKING:
    from spikecrate.recordings.check import ChannelCheck, RecordingCheck

LISTED: Final = 32
"""Channels up to which the good ones are listed too."""
HEAD: Final = ("channel", "noise µV", "offset µV", "% at limit", "hum µV", "verdict")


def show_check(check: "RecordingCheck") -> None:
    """Print a check: a table of channels, what concerns the recording, and the option that leaves bad ones out.

    Parameters
    ----------
    check : RecordingCheck
        The check.
    """
    count = len(check.channels)
    listed = [channel for channel in check.channels if count <= LISTED or channel.verdict != "good"]
    if listed:
        table(HEAD, map(_cells, listed))
    if len(listed) < count:
        say(f"{count - len(listed)} {'other ' if listed else ''}channels are good")
    for finding in check.findings:
        say(finding)
    say(
        f"{len(check.bad)} of {count} channels are bad, median noise {check.noise_uv:.3g} µV, "
        f"{check.checked_s:.4g} of {check.duration_s:.4g} s checked"
    )
    if check.exclude:
        say(f"leave the bad channels out: spikecrate sort … {check.exclude}")


@command("recording.check", RECORDINGS, "checking {recording}")
def recording_check(
    recording: list[str],
    chosen: RecordingOptions,
    picture: str = "",
    all: bool = False,
    *,
    progress: Progress,
) -> Shown:
    """Find dead, noisy and saturated channels, drop-outs, offset and mains hum; print the option that leaves bad ones out.

    Parameters
    ----------
    recording : RECORDING
        folder or file in any format of docs/recordings.md, or several to join; example: rec/
    picture : FILE
        draw the probe and the noise of each channel into this SVG file; example: check.svg
    all : flag
        look for drop-outs, saturation and NaN in all samples, not in 30 seconds of them

    Examples
    --------
    spikecrate recording.check rec/
    spikecrate recording.check rec/ --picture check.svg --all
    """
    from spikecrate.recordings.check import check_recording

    if picture and Path(picture).suffix.lower() != ".svg":
        message = f"--picture {picture} is not the name of an SVG file"
        raise UsageError(message, next_step="name a file that ends in .svg")
    found = chosen.open(recording, progress)
    check = check_recording(found, everything=all, progress=progress)
    if picture:
        _draw(check, found.path.name, Path(picture))
        progress.note(f"the picture is {picture}")
    return Shown(asdict(check), lambda _: show_check(check))


def _draw(check: "RecordingCheck", title: str, path: Path) -> None:
    """Write the picture."""
    from spikecrate._util.files import write_atomically
    from spikecrate.recordings.check_picture import picture

    try:
        write_atomically(path, picture(check, title).encode())
    except OSError as error:
        message = f"--picture {path}: {error.strerror}"
        raise OutputError(message, next_step="name a file that can be written") from None


def _cells(channel: "ChannelCheck") -> tuple[str, ...]:
    hum = f"{channel.hum_uv:.3g} ({channel.hum_hz} Hz)" if channel.hum_hz else ""
    numbers = f"{channel.noise_uv:.3g}", f"{channel.offset_uv:.4g}", f"{100 * channel.clipped:.3g}"
    return (channel.id, *numbers, hum, channel.verdict)
