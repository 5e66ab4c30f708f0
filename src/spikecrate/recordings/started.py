"""When a recording began, by the clock of the machine that made it; no format that is read in place has a time zone."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Final

from spikecrate.recordings.formats.files import is_file, read_text

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate.recordings.model import Recording

SPIKEGLX: Final = re.compile(r"^fileCreateTime=(\S+)\s*$", re.MULTILINE)
OPENEPHYS: Final = re.compile(
    r"<DATE>\s*(\d{1,2}) ([A-Z][a-z]{2}) (\d{4}) (\d{1,2}):(\d{2}):(\d{2})\s*</DATE>"
)
SETTINGS: Final = "settings.xml"
MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()  # noqa: SIM905 (easier to read)


def local_start(recording: Recording) -> tuple[datetime, Path] | None:
    """Return when the files of a recording were begun, and the file that says so.

    Parameters
    ----------
    recording : Recording
        The recording; of a view the whole, of a joined one the first.

    Returns
    -------
    (datetime, Path) or None
        Without a time zone: `fileCreateTime` of SpikeGLX, `DATE` of Open Ephys; None for other formats.
    """
    first = recording.files[0]
    match recording.format:
        case "spikeglx":
            source = first.with_suffix(".meta")
            found = SPIKEGLX.search(read_text(source)) if is_file(source) else None
            words = found[1] if found else ""
        case "openephys":
            # Record Node/experiment/recording/continuous/stream/continuous.dat
            source = next((path / SETTINGS for path in first.parents if is_file(path / SETTINGS)), first)
            found = OPENEPHYS.search(read_text(source)) if source != first else None
            words = ""
            if found and found[2] in MONTHS:
                day, month, year, *time = found.groups()
                clock = ":".join(part.zfill(2) for part in time)
                words = f"{year}-{MONTHS.index(month) + 1:02}-{day.zfill(2)}T{clock}"
        case _:
            return None
    try:
        return datetime.fromisoformat(words).replace(tzinfo=None), source
    except ValueError:
        return None
