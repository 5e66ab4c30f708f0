"""The command that sorts."""

import os
from dataclasses import dataclass
from functools import partial
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Once, Progress, Terminal
from spikecrate.cli.choices import SorterName, Switch
from spikecrate.cli.command import Shown, command
from spikecrate.cli.main import report
from spikecrate.cli.recording_options import RecordingOptions
from spikecrate.cli.show_sort import (
    show_all,
    show_forecast,
    show_forecasts,
    show_groups,
    show_repeats,
    show_result,
)
from spikecrate.cli.step_options import RunOptions
from spikecrate.cli.text import as_json
from spikecrate.errors import SpikecrateError, StoppedError, UsageError
from spikecrate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate.api.result import GroupedResult, Result
    from spikecrate.recordings import Recording
    from spikecrate.steps.job import Job
    from spikecrate.steps.repeat import Repeated
    from spikecrate.steps.request import SortRequest

SORTING: Final = "sort and look at results"


@dataclass(frozen=True, kw_only=True)
class JobOptions(RunOptions):
    """Options of `sort` and `job.explain`: the sorter, its parameters and its limits.

    Attributes
    ----------
    sorter : NAME
        name or alias of a sorter; example: kilosort4
    gpu : GPU
        whether the sorter gets a GPU; auto: if it uses one and the machine has one; example: off
    """

    sorter: SorterName = "ms4"
    gpu: Switch = "auto"

    def request(self, recording: "Recording") -> "SortRequest":
        """Return the request to sort one recording.

        Parameters
        ----------
        recording : Recording
            The recording.

        Returns
        -------
        SortRequest

        Raises
        ------
        ParameterValueError, SorterNotFoundError
            An option is not valid; the message names it.
        """
        from spikecrate.steps.request import SortRequest

        return SortRequest(recording=recording, sorter=self.sorter, gpu=self.gpu, **self.fields(self.sorter))


@command("sort", SORTING, "sorting")
def sort(
    recording: list[str],
    options: JobOptions,
    chosen: RecordingOptions,
    by_group: bool = False,
    output: str = "",
    repeat: int | None = None,
    dry_run: bool = False,
    json: bool = False,
    *,
    progress: Progress,
) -> Any:
    """Sort recordings in the sorter's pinned image, or return the results made before.

    The same command again is a cache hit and takes milliseconds. Several recordings are sorted in order, or end to end
    with --concatenate; the exit code is that of the first failure.

    Parameters
    ----------
    recording : RECORDING
        folder or file in any format of docs/recordings.md, or a glob; read in place
    by_group : flag
        sort each shank, tetrode or probe by itself, and join the sortings
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
    spikecrate sort rec/ --end 10m --exclude-channels 7,12
    spikecrate sort rec/ --probe tetrode --by-group
    spikecrate sort run1/ run2/ run3/ --concatenate
    spikecrate sort day1/ day2/ 'more/*/rec' --output sorted/
    """
    recordings = [path for word in recording for path in expanded(word)]
    if len(recordings) > 1 and not chosen.concatenate:
        if dry_run or repeat is not None:
            message = f"--dry-run and --repeat take one recording, here are {len(recordings)}"
            raise UsageError(message, next_step="name one recording, or join them with --concatenate")
        return _sort_all(recordings, options, chosen, output, progress, by_group=by_group, json=json)
    # An import and the job after it, or the jobs of several groups, have notes in common.
    once = Once(progress)
    opened = chosen.open(recordings, once, options.runtime)
    if repeat is not None:
        if by_group:
            message = "--repeat takes no --by-group"
            raise UsageError(message, next_step="choose one group: --group NAME")
        return Shown(measure_repeats(options.request(opened), repeat, once), show_repeats)
    if dry_run:
        from spikecrate.steps.forecast import forecast

        verbose = isinstance(progress, Terminal) and progress.verbose
        show = partial(show_forecast, verbose=verbose)
        if not by_group:
            return Shown(forecast(options.request(opened), open_store(), once), show)
        found = {
            name: forecast(options.request(view), open_store(), once)
            for name, view in opened.by_group().items()
        }
        return Shown(
            {name: one.as_dict() for name, one in found.items()}, lambda _: show_forecasts(found, show)
        )
    units = not (isinstance(progress, Terminal) and progress.quiet)
    if by_group:
        done = sort_groups(options.request(opened), output, once)
        return Shown(done, partial(show_groups, units=units))
    return Shown(sort_one(options.request(opened), output, once), partial(show_result, units=units))


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

    return api.find_or_run(request, open_store(), progress, output=folder or default_folder(progress))


def sort_groups(request: "SortRequest", folder: str, progress: Progress) -> "GroupedResult":
    """Sort each group of a recording, and join the sortings in the folder where the user keeps results.

    Parameters
    ----------
    request, folder, progress
        As for `sort_one`.

    Returns
    -------
    GroupedResult
    """
    from spikecrate import api

    place = folder or default_folder(progress, "-by-group")
    return api.sort_by_group(request, output=place, progress=progress)


def default_folder(progress: Progress, suffix: str = "") -> "Callable[[Job], Path | None]":
    """Return a function that names the folder of a result, or None where nothing can be written.

    Parameters
    ----------
    progress : Progress
        Gets a note where there is no folder.
    suffix : str
        What the name has between the tool and the key.

    Returns
    -------
    callable
    """
    from spikecrate.steps.output import default_output, is_inside

    def default(job: "Job") -> Path | None:
        place = default_output(job.recording, f"{job.tool.name}{suffix}", job.key)
        existing = next(parent for parent in place.parents if parent.exists())
        if is_inside(place, job.recording):
            reason = "is inside the recording"
        elif not os.access(existing, os.W_OK | os.X_OK):
            reason = "cannot be written"
        else:
            return place
        progress.note(f"the current folder {Path.cwd()} {reason}; the result stays in the store only")
        return None

    return default


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
    recordings: list[str],
    options: JobOptions,
    chosen: RecordingOptions,
    output: str,
    progress: Progress,
    *,
    by_group: bool,
    json: bool,
) -> None:
    """Sort recordings in order, print a summary, and end with the exit code of the first failure."""
    names = [Path(recording).resolve().name for recording in recordings]
    if output not in ("", "-") and len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        message = (
            f"--output {output}: two of the recordings are named {twice}, so their copies would be one folder"
        )
        raise UsageError(message, next_step="sort them one by one, or leave --output out")
    ended: list[tuple[str, Result | GroupedResult | SpikecrateError]] = []
    for number, recording in enumerate(recordings, start=1):
        progress.note(f"recording {number} of {len(recordings)}: {recording}")
        folder = output if output in ("", "-") else str(Path(output) / names[number - 1])
        try:
            request = options.request(chosen.open([recording], progress, options.runtime))
            ended.append((recording, (sort_groups if by_group else sort_one)(request, folder, progress)))
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
