"""Jobs that made the inputs of other jobs: how a run record names them, and the command that makes one again."""

from __future__ import annotations

import json
import shlex
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from spikecrate.catalogue.tools import find
from spikecrate.errors import RecordingNotFoundError, SorterNotFoundError
from spikecrate.recordings.origin import reopen
from spikecrate.steps.kinds import ANALYZE, COMPARE, CURATE, PREPROCESS, RECORDING
from spikecrate.steps.opening import open_any
from spikecrate.store.summary import told_maker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.recordings import Recording
    from spikecrate.store import Store

NAMED: Final = {ANALYZE: ("sorting",), CURATE: ("sorting", "curation"), COMPARE: ("sortings",)}
"""Inputs that the command of a kind names, in their order; the others are found by these."""
FOLLOWING: Final = frozenset(
    {
        *("steps", "channel_ids", "groups", "gaps", "spike_sign", "assumed", "sampling_frequency"),
        *("num_samples", "duration_s", "names", "files", "truth_file"),
    }
)
"""Parameters that follow from the inputs, or have an option of their own."""


def maker(record: dict[str, Any]) -> dict[str, Any]:
    """Return how another run record names a job that made one of its inputs.

    Parameters
    ----------
    record : dict
        The run record of that job.

    Returns
    -------
    dict
        `tool`, `kind`, `key`, `parameters`, `seed`, and of each of its `inputs` the job key or the path; `origin` of its
        recording; the `sorter` of a curated sorting.
    """
    tool, inputs = record["tool"], record["inputs"]
    origin = inputs.get(RECORDING, {}).get("origin")
    return {
        "tool": tool["name"],
        "kind": tool["kind"],
        **{name: record[name] for name in ("key", "parameters", "seed")},
        "inputs": {name: _word(facts) for name, facts in inputs.items()},
        **({"origin": origin} if origin else {}),
        **({"sorter": sorter_of(record)} if tool["kind"] == CURATE else {}),
    }


def sorter_of(record: dict[str, Any]) -> str:
    """Return the name of the sorter whose units a sorting has, also through curations; empty where it is not known.

    Parameters
    ----------
    record : dict
        The run record of the sorting.

    Returns
    -------
    str
    """
    if record["tool"]["kind"] != CURATE:
        return str(record["tool"]["name"])
    made = record["inputs"]["sorting"].get("made_by") or {}
    return str(made.get("sorter", made.get("tool", "")))


def _word(facts: dict[str, Any]) -> Any:
    return [*map(_word, facts["folders"])] if "folders" in facts else facts.get("key") or facts["path"]


def command_again(made: dict[str, Any]) -> str:
    """Return the command that makes a result again.

    Parameters
    ----------
    made : dict
        The job, as `maker` returns it.

    Returns
    -------
    str
    """
    tool, kind, parameters = made["tool"], made.get("kind", PREPROCESS), dict(made["parameters"])
    inputs = made["inputs"]
    if kind in NAMED:
        named = [inputs[name] for name in NAMED[kind] if name in inputs]
        words = [kind, *(word for one in named for word in (one if isinstance(one, list) else [one]))]
    else:
        words = [PREPROCESS] if kind == PREPROCESS else ["sort", "--sorter", tool]
        words += _opened(made["origin"]) if "origin" in made else [str(inputs.get(RECORDING, "RECORDING"))]
    for step in parameters.get("steps", ()):
        values = ",".join(
            f"{name}={_value(value)}"
            for name, value in step.items()
            if name != "operation" and value is not None
        )
        words += ["--step", f"{step['operation']}:{values}" if values else step["operation"]]
    defaults: dict[str, Any] = {}
    with suppress(SorterNotFoundError):
        defaults = find(tool).defaults
    for name, value in parameters.items():
        if name not in FOLLOWING and value != defaults.get(name):
            words += ["--param", f"{name}={_value(value)}"]
    if made.get("seed"):
        words += ["--seed", str(made["seed"])]
    return f"spikecrate {shlex.join(words)}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _opened(origin: dict[str, Any]) -> list[str]:
    """Return the words of a command line that open a recording in this way."""
    if "recordings" in origin:
        return [*(word for one in origin["recordings"] for word in _opened(one)), "--concatenate"]
    options = {name: value for name, value in origin.items() if name != "path"}
    words = _opened(origin["of"]) if "of" in origin else [str(origin["path"])]
    return [*words, *_flags(origin["view"] if "of" in origin else options)]


def _flags(options: dict[str, Any]) -> Iterator[str]:
    for name, value in options.items():
        if value is False:
            continue
        yield f"--{name.replace('_', '-')}"
        if value is not True:
            yield ",".join(map(str, value)) if isinstance(value, list) else str(value)


def reopen_recorded(
    facts: dict[str, Any], moved: Path | str | None, store: Store, progress: Progress
) -> Recording:
    """Open the recording of a run record as it was opened before.

    Parameters
    ----------
    facts : dict
        The run record's entry of the recording.
    moved : Path or str, optional
        Where it is now.
    store : Store
        The store with other steps.
    progress : Progress
        Shows the progress of an import.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingNotFoundError
        The recording is gone; the message names the job that made it, and the next step makes it again.
    """
    try:
        return reopen(facts["origin"], moved=moved, opener=partial(open_any, store=store, progress=progress))
    except RecordingNotFoundError as error:
        if moved is not None:
            raise
        made, message, step = facts.get("made_by"), str(error), "name where it is now: --recording DIR"
        if made:
            message += f"; the job {told_maker(facts)} made it"
            step = f"make it again: {command_again(made)}, or {step}"
        raise RecordingNotFoundError(message, next_step=step) from None
