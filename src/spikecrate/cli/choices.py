"""Types of options, with the values that the shell completes, and the options of every command."""

from pathlib import Path
from typing import Annotated

from spikecrate._util.progress import Terminal
from spikecrate._util.quantities import parse_bytes, parse_seconds
from spikecrate.catalogue.tools import catalogue
from spikecrate.cli.option import Words
from spikecrate.steps.listing import list_jobs
from spikecrate.store import open_store


def sorters() -> list[str]:
    """Return the names and aliases of the catalogue."""
    found = catalogue().values()
    return [*(sorter.name for sorter in found), *(alias for sorter in found for alias in sorter.aliases)]


def keys() -> list[str]:
    """Return the first digits of the keys in the store."""
    return [row["key"][:12] for row in list_jobs(open_store())]


def checks() -> list[str]:
    """Return the doctor's checks and groups."""
    from spikecrate.cli.doctor import every_check

    names = [check.name for check in every_check()]
    return [*names, *{name.partition(".")[0] for name in names}]


SorterName = Annotated[str, Words(choices=sorters)]
JobKey = Annotated[str, Words(choices=keys)]
JobKeys = Annotated[list[str], Words(choices=keys)]
CheckName = Annotated[str, Words(choices=checks)]
Runtime = Annotated[str, Words(one_of=("auto", "docker", "apptainer", "host"))]
FilePath = Annotated[Path, Words(read=lambda word: Path(word).absolute())]
Switch = Annotated[str, Words(one_of=("auto", "on", "off"))]
Memory = Annotated[int, Words(read=parse_bytes)]
Time = Annotated[float, Words(read=parse_seconds)]


def progress_of(quiet: bool = False, verbose: bool = False, log: str = "") -> Terminal:
    """Return the progress of a command.

    Parameters
    ----------
    quiet : flag
        show no notes and no progress; also -q
    verbose : flag
        show the log of tools and builds; also -v
    log : FILE
        a file that notes and logs are appended to; example: run.log
    """
    return Terminal(quiet=quiet, verbose=verbose, log=Path(log) if log else None)
