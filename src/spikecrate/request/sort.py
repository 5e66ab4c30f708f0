"""From the words of `sort` to the library's arguments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate import api, output
from spikecrate.errors import ParameterValueError
from spikecrate.progress import Terminal
from spikecrate.quantities import parse_bytes, parse_seconds
from spikecrate.request.words import whole_number
from spikecrate.sorters import find, parse_assignments

if TYPE_CHECKING:
    from spikecrate.api import Forecast, Result
    from spikecrate.jobs.job import Job


def read(
    recording: str,
    *,
    sorter: str,
    param: list[str],
    params: str,
    runtime: str,
    cores: str,
    gpu: str,
    memory: str,
    timeout: str,
    seed: int,
    force: bool,
) -> dict[str, Any]:
    """Read the words of `sort` into the arguments of `spikecrate.sort`.

    Raises
    ------
    UsageError, ParameterValueError, SorterNotFoundError
        Naming the word that cannot be read.
    """
    return {
        "recording": recording,
        "sorter": sorter,
        "params": {**read_parameters(params), **parse_assignments(find(sorter), param)},
        "runtime": runtime,
        "cores": whole_number("--cores", cores),
        "gpu": gpu,
        "memory_bytes": parse_bytes(memory) if memory else None,
        "timeout_s": parse_seconds(timeout) if timeout else None,
        "seed": seed,
        "force": force,
        "progress": Terminal(),
    }


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
    except (OSError, ValueError) as error:
        message = f"--params {path}: {error}"
        raise ParameterValueError(message, next_step="give a JSON file with one object") from None
    if not isinstance(found, dict):
        message = f"--params {path} holds a {type(found).__name__}, not an object"
        raise ParameterValueError(message, next_step='write it as {"detect_threshold": 4}')
    return found


def sort(asked: dict[str, Any], folder: str) -> Result:
    """Sort, and put a copy of the result where the user keeps things.

    Parameters
    ----------
    asked : dict
        As `read` gives it.
    folder : str
        The word of `--output`; empty for the default place, `-` for no copy.
    """
    progress = asked["progress"]

    def default(job: Job) -> Path | None:
        place = output.default_output(job.recording, job.sorter.name, job.key)
        if output.is_inside(place, job.recording):
            progress.note("the current folder is the recording's own: the result stays in the store alone")
            return None
        return place

    if folder == output.STORE_ONLY:
        return api.sort(**asked)
    return api.sort(**asked, output=Path(folder) if folder else default)


def forecast(asked: dict[str, Any]) -> Forecast:
    """Say what `sort` would do."""
    return api.forecast(**asked)
