"""From the words of `sort` to the library's arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate import api
from spikecrate._util.progress import Terminal
from spikecrate._util.quantities import parse_bytes, parse_seconds
from spikecrate.catalogue.tools import find, parse_assignments
from spikecrate.cli.request_words import whole_number
from spikecrate.errors import ParameterValueError, UsageError
from spikecrate.steps import output
from spikecrate.steps.request import SortRequest
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.api import Forecast, Result
    from spikecrate.steps.job import Job
    from spikecrate.steps.repeat import Repeated


def read(
    recording: str,
    *,
    sorter: str,
    param: list[str],
    params: str,
    cores: str,
    gpu: str,
    seed: int,
    force: bool,
    runtime: str = "auto",
    memory: str = "",
    timeout: str = "",
) -> SortRequest:
    """Read the words of `sort`.

    Raises
    ------
    UsageError, ParameterValueError, SorterNotFoundError
        Naming the word that cannot be read.
    """
    return SortRequest(
        recording=recording,
        sorter=sorter,
        params={**read_parameters(params), **parse_assignments(find(sorter), param)},
        runtime=runtime,
        cores=whole_number("--cores", cores),
        gpu=gpu,
        memory_bytes=parse_bytes(memory) if memory else None,
        timeout_s=parse_seconds(timeout) if timeout else None,
        seed=seed,
        force=force,
    )


def read_parameters(path: str) -> dict[str, Any]:
    """Read a file of parameters, a JSON object; none for no path.

    Raises
    ------
    ParameterValueError
        Naming the file, and where in it.
    """
    if not path:
        return {}
    try:
        found = json.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        message = f"--params {path}: {error}"
        raise ParameterValueError(message, next_step="give a JSON file with one object") from None
    if not isinstance(found, dict):
        message = f"--params {path} holds a {type(found).__name__}, not an object"
        raise ParameterValueError(message, next_step='write it as {"detect_threshold": 4}')
    return found


def sort(asked: SortRequest, folder: str) -> Result:
    """Sort, and put a copy of the result where the user keeps things.

    Parameters
    ----------
    asked : SortRequest
        As `read` gives it.
    folder : str
        The word of `--output`; empty for the default place, `-` for no copy.
    """
    progress = Terminal()

    def default(job: Job) -> Path | None:
        place = output.default_output(job.recording, job.sorter.name, job.key)
        if output.is_inside(place, job.recording):
            progress.note("the current folder is the recording's own: the result stays in the store alone")
            return None
        return place

    return api.find_or_run(asked, open_store(), progress, output=folder or default)


def forecast(asked: SortRequest) -> Forecast:
    """Say what `sort` would do."""
    return api.forecast(asked, open_store(), Terminal())


def repeat(asked: SortRequest, times: str) -> Repeated:
    """Run a job several times and hold the results to each other.

    Raises
    ------
    UsageError
        For a number below 2.
    """
    from spikecrate.steps.repeat import repeat as measure

    count = whole_number("--repeat", times) or 0
    if count < 2:
        message = f"--repeat {times}: a sorter is compared with itself, so it must run twice at least"
        raise UsageError(message, next_step="--repeat 5")
    return measure(asked, count, open_store(), Terminal())
