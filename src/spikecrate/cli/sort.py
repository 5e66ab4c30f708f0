"""The command that sorts."""

import json as json_module
import os
import shlex
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Progress, Terminal
from spikecrate._util.quantities import format_bytes
from spikecrate.catalogue.parameters import parse_assignments
from spikecrate.catalogue.tools import find
from spikecrate.cli.choices import Memory, Runtime, SorterName, Switch, Time
from spikecrate.cli.command import Shown, command
from spikecrate.cli.main import report
from spikecrate.cli.text import as_json, say, table
from spikecrate.errors import ParameterValueError, SpikecrateError, StoppedError, UsageError
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.api import Result
    from spikecrate.steps.forecast import Forecast
    from spikecrate.steps.job import Job
    from spikecrate.steps.repeat import Repeated
    from spikecrate.steps.request import SortRequest

SORTING: Final = "sort and look at results"
REASONS: Final = 3
"""Number of reasons in a forecast; --verbose shows all."""


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """Options of `sort` and `job.explain`: the sorter, its parameters and its limits.

    Attributes
    ----------
    sorter : NAME
        name or alias of a sorter; example: kilosort4
    param : NAME=VALUE
        one parameter of the sorter; example: detect_threshold=4
    params : FILE
        a JSON file of parameters; --param wins over it; example: mine.json
    runtime : RUNTIME
        where to run; auto takes the first that this machine has; example: docker
    cores : N
        processors for the sorter; by default all that this process may use; example: 4
    gpu : GPU
        whether the sorter gets a GPU; auto: if it uses one and the machine has one; example: off
    memory : SIZE
        memory limit; by default none; example: 8G
    timeout : TIME
        time limit of the sorter; by default none; example: 2h
    seed : N
        seed for the sorter; part of the job key; example: 1
    force : flag
        run the job despite a cache hit, and replace the result
    """

    sorter: SorterName = "ms4"
    param: list[str] | None = None
    params: str = ""
    runtime: Runtime = "auto"
    cores: int | None = None
    gpu: Switch = "auto"
    memory: Memory | None = None
    timeout: Time | None = None
    seed: int = 0
    force: bool = False

    def request(self, recording: str) -> "SortRequest":
        """Return the request to sort one recording.

        Parameters
        ----------
        recording : str
            Its path.

        Returns
        -------
        SortRequest

        Raises
        ------
        ParameterValueError, SorterNotFoundError
            An option is not valid; the message names it.
        """
        from spikecrate.steps.request import SortRequest

        params = {**read_parameters(self.params), **parse_assignments(find(self.sorter), self.param or [])}
        same = {name: getattr(self, name) for name in ("sorter", "runtime", "cores", "gpu", "seed", "force")}
        return SortRequest(
            recording=recording, params=params, memory_bytes=self.memory, timeout_s=self.timeout, **same
        )


@command("sort", SORTING, "sorting")
def sort(
    recording: list[str],
    options: JobOptions,
    output: str = "",
    repeat: int | None = None,
    dry_run: bool = False,
    json: bool = False,
    *,
    progress: Progress,
) -> Any:
    """Sort recordings in the sorter's pinned image, or return the results made before.

    The same command again is a cache hit and takes milliseconds. Several recordings are sorted in order; the exit code
    is that of the first failure.

    Parameters
    ----------
    recording : RECORDING
        folder or file in any format of docs/recordings.md, or a glob; read in place
    output : DIR
        folder for a copy of the result, - for none; by default sortings/RECORDING/SORTER-KEY; example: sorted/
    repeat : N
        run N times without the store, and compare the results; example: 5
    dry_run : flag
        show cache hit or miss, why, memory and time; run nothing

    Examples
    --------
    spikecrate sort rec/
    spikecrate sort rec/ --sorter ms4 --param detect_threshold=4
    spikecrate sort rec/ --dry-run
    spikecrate sort day1/ day2/ 'more/*/rec' --output sorted/
    """
    recordings = [path for word in recording for path in expanded(word)]
    if len(recordings) > 1:
        if dry_run or repeat is not None:
            message = f"--dry-run and --repeat take one recording, here are {len(recordings)}"
            raise UsageError(message, next_step="name one recording")
        return _sort_all(recordings, options, output, progress, json=json)
    request = options.request(recordings[0])
    if dry_run:
        from spikecrate.steps.forecast import forecast

        verbose = isinstance(progress, Terminal) and progress.verbose
        return Shown(forecast(request, open_store(), progress), partial(show_forecast, verbose=verbose))
    if repeat is not None:
        return Shown(measure_repeats(request, repeat, progress), show_repeats)
    return Shown(sort_one(request, output, progress), show_result)


def expanded(word: str) -> list[str]:
    """Return the recordings that a word names; a glob names its matches, in alphabetical order.

    Parameters
    ----------
    word : str
        A path or a glob.

    Returns
    -------
    list of str
    """
    # Not Path.glob, which takes no absolute pattern.
    matches = sorted(glob(word)) if has_magic(word) and not Path(word).exists() else []  # noqa: PTH207
    return matches or [word]


def read_parameters(path: str) -> dict[str, Any]:
    """Read a file of parameters, a JSON object.

    Parameters
    ----------
    path : str
        The file; empty for no parameters.

    Returns
    -------
    dict

    Raises
    ------
    ParameterValueError
        The file cannot be read; the message names it.
    """
    if not path:
        return {}
    try:
        found = json_module.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        message = f"--params {path}: {error}"
        raise ParameterValueError(message, next_step="give a JSON file with one object") from None
    if not isinstance(found, dict):
        message = f"--params {path} holds a {type(found).__name__}, not an object"
        raise ParameterValueError(message, next_step='write it as {"detect_threshold": 4}')
    return found


def sort_one(request: "SortRequest", folder: str, progress: Progress) -> "Result":
    """Sort a recording, and copy the result to the folder where the user keeps results.

    Parameters
    ----------
    request : SortRequest
        The recording, the sorter and its parameters.
    folder : str
        The value of `--output`: empty for the default folder, `-` for no copy.
    progress : Progress
        Shows how far the job is.

    Returns
    -------
    Result
    """
    from spikecrate import api
    from spikecrate.steps.output import default_output, is_inside

    def default(job: "Job") -> Path | None:
        place = default_output(job.recording, job.tool.name, job.key)
        existing = next(parent for parent in place.parents if parent.exists())
        if is_inside(place, job.recording):
            reason = "is inside the recording"
        elif not os.access(existing, os.W_OK | os.X_OK):
            reason = "cannot be written"
        else:
            return place
        progress.note(f"the current folder {Path.cwd()} {reason}; the result stays in the store only")
        return None

    return api.find_or_run(request, open_store(), progress, output=folder or default)


def measure_repeats(request: "SortRequest", times: int, progress: Progress) -> "Repeated":
    """Run a job several times and compare the results.

    Parameters
    ----------
    request : SortRequest
        The job.
    times : int
        The number of runs.
    progress : Progress
        Shows how far the runs are.

    Returns
    -------
    Repeated

    Raises
    ------
    UsageError
        The number is below 2.
    """
    from spikecrate.steps.repeat import repeat

    if times < 2:
        message = f"--repeat {times}: a comparison needs at least two runs"
        raise UsageError(message, next_step="--repeat 5")
    with progress.bar(f"running {request.sorter} {times} times", 0):
        return repeat(request, times, open_store(), progress)


def _sort_all(
    recordings: list[str], options: JobOptions, output: str, progress: Progress, *, json: bool
) -> None:
    """Sort recordings in order, print a summary, and end with the exit code of the first failure."""
    names = [Path(recording).resolve().name for recording in recordings]
    if output not in ("", "-") and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        message = (
            f"--output {output}: two of the recordings are named {twice}, so their copies would be one folder"
        )
        raise UsageError(message, next_step="sort them one by one, or leave --output out")
    ended: list[tuple[str, Result | SpikecrateError]] = []
    for number, recording in enumerate(recordings, start=1):
        progress.note(f"recording {number} of {len(recordings)}: {recording}")
        folder = output if output in ("", "-") else str(Path(output) / names[number - 1])
        try:
            ended.append((recording, sort_one(options.request(recording), folder, progress)))
        except StoppedError:
            raise
        except SpikecrateError as error:
            report(error, to_json=False, debug=False)
            ended.append((recording, error))
    if json:
        as_json([{"recording": recording, **outcome.as_dict()} for recording, outcome in ended])
    else:
        show_all(ended)
    for _, outcome in ended:
        if isinstance(outcome, SpikecrateError):
            raise SystemExit(outcome.exit_code)


def show_result(done: "Result") -> None:
    """Print units, events, time, key and folder of a result.

    Parameters
    ----------
    done : Result
        The result.
    """
    record = done.record
    took = f"sorted in {record['wall_s']:.1f} s"
    hit = f"cache hit in {done.elapsed_s * 1000:.0f} ms ({took})"
    how = f"{took} ({record['runtime']})" if done.status == "ran" else hit
    sorter = record["tool"]
    say(f"{sorter['name']} {sorter['version']}: {record['units']} units, {record['events']} events; {how}")
    say(f"key     {done.key}")
    say(f"result  {done.output or done.folder}")
    for warning in done.warnings:
        say(f"warning: {warning}")


def show_all(ended: "list[tuple[str, Result | SpikecrateError]]") -> None:
    """Print a row for each of several recordings, and how many were sorted.

    Parameters
    ----------
    ended : list of (str, Result or SpikecrateError)
        Path and outcome of each.
    """
    rows: list[tuple[Any, ...]] = []
    failed = 0
    for recording, outcome in ended:
        if isinstance(outcome, SpikecrateError):
            failed += 1
            rows.append((recording, "failed", None, None, None, str(outcome).partition("\n")[0]))
        else:
            status = "cache hit" if outcome.status == "cached" else outcome.status
            counts = outcome.record["units"], outcome.record["events"]
            rows.append((recording, status, *counts, outcome.key[:12], outcome.output or outcome.folder))
    table(("recording", "status", "units", "events", "key", "result"), rows)
    for recording, outcome in ended:
        for warning in [] if isinstance(outcome, SpikecrateError) else outcome.warnings:
            say(f"warning: {recording}: {warning}")
    say(f"{len(ended) - failed} of {len(ended)} recordings sorted" + (f", {failed} failed" if failed else ""))


def show_forecast(found: "Forecast", *, verbose: bool) -> None:
    """Print cache hit or miss, the reasons, memory and time.

    Parameters
    ----------
    found : Forecast
        The forecast.
    verbose : bool
        Whether to print all reasons and the command line.
    """
    words = {
        "hit": "cache hit: the result is in the store",
        "wait": "another process runs this job; sort would wait for its result",
        "run": f"cache miss: sort would run it with {found.runtime}",
    }
    plan, estimate = found.plan, found.estimate
    say(words[plan.action])
    say(f"key     {found.job.key}")
    if plan.action == "run":
        if plan.nearest is not None:
            say(f"new against the nearest earlier result, {plan.nearest[:12]}:")
        shown = plan.reasons if verbose else plan.reasons[:REASONS]
        for reason in shown:
            say(f"  {reason}")
        if len(shown) < len(plan.reasons):
            say(f"  and {len(plan.reasons) - len(shown)} more; --verbose shows all")
        if estimate is None:
            say("memory and time are not known: this sorter has not been measured")
        else:
            needs = f"{format_bytes(estimate.memory_bytes)} of memory and {estimate.wall_s:.0f} s"
            runs = f"{estimate.runs} run{'s' if estimate.runs > 1 else ''}"
            say(f"takes about {needs}, estimated from {runs}")
    if verbose:
        say(shlex.join(found.argv))


def show_repeats(done: "Repeated") -> None:
    """Print every run of a job, and its agreement with every other.

    Parameters
    ----------
    done : Repeated
        The runs.
    """
    numbers = [str(number) for number in range(1, len(done.runs) + 1)]
    rows = [
        (number, run["blake3"][:12], run["units"], run["events"], run["wall_s"], *map("{:.4f}".format, row))
        for number, run, row in zip(numbers, done.runs, done.agreement, strict=True)
    ]
    table(("run", "BLAKE3", "units", "events", "wall_s", *(f"as {number}" for number in numbers)), rows)
    distinct = len({run["blake3"] for run in done.runs})
    outcome = "the same bytes every time" if done.equal else f"{distinct} different results"
    wall = f"{done.wall_s['least']:.1f} to {done.wall_s['most']:.1f} s ({done.runtime})"
    say(f"{outcome}; agreement at least {min(map(min, done.agreement)):.4f}; {wall}")
