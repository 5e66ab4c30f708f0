"""When a recording began, by the clock of the machine that made it; no format that is read in place has a time zone."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.recordings.formats.files import is_file, read_text

if TYPE_CHECKING:
    from spikecrate.recordings.model import Recording

SPIKEGLX: Final = re.compile(r"^fileCreateTime=(\S+)\s*$", re.MULTILINE)
OPENEPHYS: Final = re.compile(r"<DATE>\s*(\d{1,2} [A-Z][a-z]{2} \d{4} [\d:]+)\s*</DATE>")
FIRST: Final = re.compile(r"(.*)/experiment(\d+)/recording1/.*")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def local_start(recording: Recording) -> tuple[datetime, Path] | None:
    """Return when the files of a recording were begun, and the file that says so.

    Parameters
    ----------
    recording : Recording
        The recording, not a view; of a joined one the first.

    Returns
    -------
    (datetime, Path) or None
        Without a time zone: `fileCreateTime` of SpikeGLX, `DATE` of Open Ephys for the first recording of an
        experiment; None where the files do not say.
    """
    first = recording.files[0]
    match recording.format:
        case "spikeglx":
            source, pattern = first.with_suffix(".meta"), SPIKEGLX
        case "openephys" if place := FIRST.fullmatch(first.as_posix()):
            number = "" if place[2] == "1" else f"_{place[2]}"
            source, pattern = Path(place[1]) / f"settings{number}.xml", OPENEPHYS
        case _:
            return None
    found = pattern.search(read_text(source)) if is_file(source) else None
    try:
        return (_time(found[1]), source) if found else None
    except ValueError:
        return None


def _time(text: str) -> datetime:
    """Return a time as SpikeGLX writes it, `2020-03-19T22:16:27`, or Open Ephys, `19 Mar 2020 22:16:27`."""
    if " " in text:
        # strptime would read the month in the user's language.
        day, month, year, clock = text.split()
        hour, minute, second = map(int, clock.split(":"))
        return datetime(int(year), MONTHS.index(month) + 1, int(day), hour, minute, second)  # noqa: DTZ001
    return datetime.fromisoformat(text).replace(tzinfo=None)
