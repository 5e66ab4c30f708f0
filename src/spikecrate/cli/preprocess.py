"""The command that preprocesses a recording."""

from typing import TYPE_CHECKING, Final

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import counted
from spikecrate.catalogue.parameters import parse_operation
from spikecrate.catalogue.tools import find
from spikecrate.cli.command import command
from spikecrate.cli.recording_options import RecordingOptions
from spikecrate.cli.show_sort import told_run
from spikecrate.cli.sort import SORTING
from spikecrate.cli.step_options import StepOptions, read_json_file
from spikecrate.cli.text import say
from spikecrate.errors import UsageError

if TYPE_CHECKING:
    from spikecrate.api.preprocess import Preprocessed

STEPS: Final = '[{"operation": "bandpass_filter"}]'
"""Contents of such a file, for messages."""


def show_preprocessed(done: "Preprocessed") -> None:
    """Print the operations, the new recording, its key and folder, and the next command.

    Parameters
    ----------
    done : Preprocessed
        The new recording.
    """
    result, layout = done.result, done.recording.layout
    say(f"{', '.join(step['operation'] for step in done.steps)}; {told_run(result, 'preprocessed')}")
    say(f"{counted(layout.num_channels, 'channel')}, {done.recording.duration_s:g} s, {layout.dtype}")
    say(f"key     {result.key}")
    say(f"result  {done.folder}")
    for warning in result.warnings:
        say(f"warning: {warning}")
    say(f"next    spikecrate sort {result.key[:12] if result.output is None else done.folder}")


@command("preprocess", SORTING, "preprocessing", show=show_preprocessed)
def preprocess(
    recording: list[str],
    options: StepOptions,
    chosen: RecordingOptions,
    steps: str = "",
    step: list[str] | None = None,
    *,
    progress: Progress,
) -> "Preprocessed":
    """Filter a recording, subtract a common reference, treat bad channels, in the order of the steps.

    The new recording is read in place like any other, by its folder or the first digits of the job key. The same command
    again is a cache hit. spikecrate sorters.show preprocess lists the operations with their parameters.

    Parameters
    ----------
    recording : RECORDING
        folder or file in any format of docs/recordings.md, or several to join; read in place
    steps : FILE
        a JSON file: a list of operations such as {"operation": "bandpass_filter", "freq_min": 300}; example: chain.json
    step : OPERATION
        one operation, after those of --steps, with its parameters; example: bandpass_filter:freq_min=300,freq_max=6000

    Examples
    --------
    spikecrate preprocess rec/ --steps chain.json
    spikecrate preprocess rec/ --step bandpass_filter:freq_min=500 --step common_reference
    spikecrate preprocess rec/ --step remove_channels:channels=7,12 --step highpass_filter --output clean/
    spikecrate preprocess rec/ --step detect_bad_channels:action=remove --param dtype=float32
    """
    from spikecrate import api

    fields = options.fields("preprocess")
    named = read_json_file("steps", steps, list, STEPS) if steps else []
    named += [parse_operation(find("preprocess"), "steps", word) for word in step or []]
    if not named and "steps" not in fields["params"]:
        message = "neither --steps nor --step names an operation"
        raise UsageError(
            message, next_step="--step bandpass_filter; spikecrate sorters.show preprocess lists them"
        )
    opened = chosen.open(recording, progress, options.runtime)
    return api.preprocess(opened, named or fields["params"]["steps"], progress=progress, **fields)
