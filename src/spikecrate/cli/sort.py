"""The command that sorts."""

import json as json_module
import os
import shlex
from dataclasses import dataclass, field
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import format_bytes, parse_bytes, parse_seconds
from spikecrate.cli.choices import sorters
from spikecrate.cli.command import Shown, command
from spikecrate.cli.option import About, about
from spikecrate.cli.text import as_json, say, table
from spikecrate.errors import ParameterValueError, SpikecrateError, StoppedError, UsageError

if TYPE_CHECKING:
    from spikecrate.api import Forecast, Result
    from spikecrate.steps.job import Job
    from spikecrate.steps.repeat import Repeated
    from spikecrate.steps.request import SortRequest

SORTING: Final = "sort and look at results"
RUNTIMES: Final = ("auto", "docker", "apptainer", "host")
REASONS: Final = 3
"""How many reasons a forecast gives; --verbose gives all."""


def runtime_about(default: str) -> About:
    """Describe an option that names a runtime."""
    return about(f"where to run; {default}", one_of=RUNTIMES, example="docker")


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """What names a job beside its recording, and what it may use: the options of `sort` and `job.explain`."""

    sorter: Annotated[
        str, about("name or alias of a sorter", "NAME", example="kilosort4", choices=sorters)
    ] = "ms4"
    param: Annotated[
        list[str], about("one parameter of the sorter", "NAME=VALUE", example="detect_threshold=4")
    ] = field(default_factory=list)
    params: Annotated[
        str, about("a JSON file of parameters; --param wins over it", "FILE", example="mine.json")
    ] = ""
    runtime: Annotated[str, runtime_about("auto takes the first that this machine has")] = "auto"
    cores: Annotated[
        int | None, about("processors for the sorter; by default all that this process may use", example="4")
    ] = None
    gpu: Annotated[
        str,
        about(
            "whether the sorter gets a GPU; auto: if it uses one and the machine has one",
            one_of=("auto", "on", "off"),
            example="off",
        ),
    ] = "auto"
    memory: Annotated[
        int | None, about("memory limit; by default none", "SIZE", example="8G", read=parse_bytes)
    ] = None
    timeout: Annotated[
        float | None,
        about("time limit of the sorter; by default none", "TIME", example="2h", read=parse_seconds),
    ] = None
    seed: Annotated[int, about("seed for the sorter; part of the job key", example="1")] = 0
    force: Annotated[bool, about("run the job despite a cache hit, and replace the result")] = False

    def request(self, recording: str) -> "SortRequest":
        """Return what is asked of one recording.

        Raises
        ------
        ParameterValueError, SorterNotFoundError
            Naming the word that cannot be read.
        """
        from spikecrate.catalogue.tools import find, parse_assignments
        from spikecrate.steps.request import SortRequest

        return SortRequest(
            recording=recording,
            sorter=self.sorter,
            params={**read_parameters(self.params), **parse_assignments(find(self.sorter), self.param)},
            runtime=self.runtime,
            cores=self.cores,
            gpu=self.gpu,
            memory_bytes=self.memory,
            timeout_s=self.timeout,
            seed=self.seed,
            force=self.force,
        )


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the sort of one of several recordings ended.

    Attributes
    ----------
    recording : str
        Its path.
    result : Result or None
        What came of it.
    error : SpikecrateError or None
        Why nothing did.
    """

    recording: str
    result: "Result | None" = None
    error: SpikecrateError | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        outcome = self.result or self.error
        return {"recording": self.recording, **(outcome.as_dict() if outcome is not None else {})}


@command(
    "sort",
    SORTING,
    "spikecrate sort rec/",
    "spikecrate sort rec/ --sorter ms4 --param detect_threshold=4",
    "spikecrate sort rec/ --dry-run",
    "spikecrate sort day1/ day2/ 'more/*/rec' --output sorted/",
)
def sort(
    recording: Annotated[
        list[str],
        about("folder or file in any format of docs/recordings.md, or a glob; read in place", "RECORDING"),
    ],
    options: JobOptions,
    output: Annotated[
        str,
        about(
            "folder for a copy of the result, - for none; by default sortings/RECORDING/SORTER-KEY",
            "DIR",
            example="sorted/",
        ),
    ] = "",
    repeat: Annotated[
        int | None, about("run N times without the store, and compare the results", example="5")
    ] = None,
    dry_run: Annotated[bool, about("show cache hit or miss, why, memory and time; run nothing")] = False,
    json: bool = False,
    *,
    progress: Progress,
) -> Any:
    """Sort recordings in the sorter's pinned image, or return the results made before.

    The same command again is a cache hit and takes milliseconds. Several recordings are sorted in order; the exit code
    is that of the first failure.
    """
    recordings = expanded(recording)
    if len(recordings) > 1:
        if dry_run or repeat is not None:
            message = f"--dry-run and --repeat take one recording, here are {len(recordings)}"
            raise UsageError(message, next_step="name one recording")
        return _sort_all(recordings, options, output, progress, json=json)
    request = options.request(recordings[0])
    if dry_run:
        return Shown(forecast(request, progress), partial(show_forecast, verbose=_is_verbose(progress)))
    if repeat is not None:
        return Shown(measure_repeats(request, repeat, progress), show_repeats)
    return Shown(sort_one(request, output, progress), show_result)


def expanded(words: list[str]) -> list[str]:
    """Return the recordings that words name; a glob names those that match it, in alphabetical order."""
    found: list[str] = []
    for word in words:
        # Not Path.glob, which takes no absolute pattern.
        matches = sorted(glob(word)) if has_magic(word) and not Path(word).exists() else []  # noqa: PTH207
        found += matches or [word]
    return found


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
        found = json_module.loads(Path(path).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        message = f"--params {path}: {error}"
        raise ParameterValueError(message, next_step="give a JSON file with one object") from None
    if not isinstance(found, dict):
        message = f"--params {path} holds a {type(found).__name__}, not an object"
        raise ParameterValueError(message, next_step='write it as {"detect_threshold": 4}')
    return found


def sort_one(request: "SortRequest", folder: str, progress: Progress) -> "Result":
    """Sort a recording, and copy the result to where the user keeps results.

    Parameters
    ----------
    request : SortRequest
        What is asked.
    folder : str
        The word of `--output`; empty for the default place, `-` for no copy.
    progress : Progress
        Shows how far it is.
    """
    from spikecrate import api
    from spikecrate.steps.output import default_output, is_inside
    from spikecrate.store import open_store

    def default(job: "Job") -> Path | None:
        place = default_output(job.recording, job.tool.name, job.key)
        if is_inside(place, job.recording):
            progress.note("the current folder is inside the recording; the result stays in the store only")
            return None
        if not _can_write(place):
            progress.note(
                f"the current folder {Path.cwd()} cannot be written; the result stays in the store only"
            )
            return None
        return place

    return api.find_or_run(request, open_store(), progress, output=folder or default)


def forecast(request: "SortRequest", progress: Progress) -> "Forecast":
    """Return what `sort` would do."""
    from spikecrate import api
    from spikecrate.store import open_store

    return api.forecast(request, open_store(), progress)


def measure_repeats(request: "SortRequest", times: int, progress: Progress) -> "Repeated":
    """Run a job several times and compare the results.

    Raises
    ------
    UsageError
        For a number below 2.
    """
    from spikecrate.steps.repeat import repeat
    from spikecrate.store import open_store

    if times < 2:
        message = f"--repeat {times}: a comparison needs at least two runs"
        raise UsageError(message, next_step="--repeat 5")
    return repeat(request, times, open_store(), progress)


def _sort_all(
    recordings: list[str], options: JobOptions, output: str, progress: Progress, *, json: bool
) -> None:
    """Sort recordings in order, print a summary, and end with the exit code of the first failure."""
    from spikecrate.cli.main import report

    names = [Path(recording).resolve().name for recording in recordings]
    if output not in ("", "-") and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        message = (
            f"--output {output}: two of the recordings are named {twice}, so their copies would be one folder"
        )
        raise UsageError(message, next_step="sort them one by one, or leave --output out")
    ended: list[Ended] = []
    for number, recording in enumerate(recordings, start=1):
        progress.note(f"recording {number} of {len(recordings)}: {recording}")
        folder = str(Path(output) / Path(recording).resolve().name) if output not in ("", "-") else output
        try:
            ended.append(
                Ended(recording=recording, result=sort_one(options.request(recording), folder, progress))
            )
        except StoppedError:
            raise
        except SpikecrateError as error:
            report(error, to_json=False, debug=False)
            ended.append(Ended(recording=recording, error=error))
    if json:
        as_json([one.as_dict() for one in ended])
    else:
        show_all(ended)
    failed = [one.error for one in ended if one.error is not None]
    if failed:
        raise SystemExit(failed[0].exit_code)


def _can_write(place: Path) -> bool:
    """Whether a folder can be made there: the nearest that exists above it is writable."""
    there = next(parent for parent in place.parents if parent.exists())
    return os.access(there, os.W_OK | os.X_OK)


def _is_verbose(progress: Progress) -> bool:
    return bool(getattr(progress, "verbose", False))


def show_result(done: "Result") -> None:
    """Print units, events, time, key and folder of a result."""
    record = done.record
    how = (
        f"sorted in {record['wall_s']:.1f} s ({record['runtime']})"
        if done.status == "ran"
        else f"cache hit in {done.elapsed_s * 1000:.0f} ms (sorted in {record['wall_s']:.1f} s)"
    )
    sorter = record["tool"]
    say(f"{sorter['name']} {sorter['version']}: {record['units']} units, {record['events']} events; {how}")
    say(f"key     {done.key}")
    say(f"result  {done.output or done.folder}")


def show_all(ended: list[Ended]) -> None:
    """Print a row for each of several recordings."""
    rows: list[tuple[Any, ...]] = []
    for one in ended:
        if one.result is None:
            error = one.error
            rows.append((one.recording, "failed", None, None, None, str(error).partition("\n")[0]))
        else:
            record, place = one.result.record, one.result.output or one.result.folder
            status = "cache hit" if one.result.status == "cached" else one.result.status
            rows.append(
                (one.recording, status, record["units"], record["events"], one.result.key[:12], str(place))
            )
    table(("recording", "status", "units", "events", "key", "result"), rows)
    failed = sum(one.error is not None for one in ended)
    say(f"{len(ended) - failed} of {len(ended)} recordings sorted" + (f", {failed} failed" if failed else ""))


def show_forecast(found: "Forecast", *, verbose: bool) -> None:
    """Print cache hit or miss, why in three lines, memory and time; the command line with --verbose."""
    words = {
        "hit": "cache hit: the result is in the store",
        "wait": "another process runs this job; sort would wait for its result",
        "run": f"cache miss: sort would run it with {found.runtime}",
    }
    say(f"{words[found.plan.action]}")
    say(f"key     {found.job.key}")
    if found.plan.action == "run":
        if found.plan.nearest is not None:
            say(f"new against the nearest earlier result, {found.plan.nearest[:12]}:")
        shown = found.plan.reasons if verbose else found.plan.reasons[:REASONS]
        for reason in shown:
            say(f"  {reason}")
        if len(shown) < len(found.plan.reasons):
            say(f"  and {len(found.plan.reasons) - len(shown)} more; --verbose shows all")
        if found.estimate is None:
            say("memory and time are not known: this sorter has not been measured")
        else:
            memory, runs = format_bytes(found.estimate.memory_bytes), found.estimate.runs
            say(
                f"takes about {memory} of memory and {found.estimate.wall_s:.0f} s, "
                f"estimated from {runs} run{'s' if runs > 1 else ''}"
            )
    if verbose:
        say(shlex.join(found.argv))


def show_repeats(done: "Repeated") -> None:
    """Print every run of a job, and how far each agrees with each."""
    numbers = [str(number) for number in range(1, len(done.runs) + 1)]
    table(
        ("run", "BLAKE3", "units", "events", "wall_s", *(f"as {number}" for number in numbers)),
        (
            (
                number,
                run["blake3"][:12],
                run["units"],
                run["events"],
                run["wall_s"],
                *map("{:.4f}".format, row),
            )
            for number, run, row in zip(numbers, done.runs, done.agreement, strict=True)
        ),
    )
    distinct = len({run["blake3"] for run in done.runs})
    outcome = "the same bytes every time" if done.equal else f"{distinct} different results"
    taken = done.wall_s
    least = min(map(min, done.agreement))
    say(
        f"{outcome}; agreement at least {least:.4f}; {taken['least']:.1f} to {taken['most']:.1f} s ({done.runtime})"
    )
