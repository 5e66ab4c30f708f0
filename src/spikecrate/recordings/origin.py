"""How a recording was opened, as JSON in a run record: path and options, views, recordings that were joined."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import RecordingFormatError
from spikecrate.recordings.formats import open_recording
from spikecrate.recordings.views import View, apply, concatenate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from spikecrate.recordings.model import Recording

OPTIONS: Final = {
    "stream": str,
    "segment": int,
    "concatenate": bool,
    "allow_truncated": bool,
    "probe": str,
    "reader": str,
}
"""Options of `open_recording` with their types, and the reader of an import."""


def is_origin(value: Any) -> bool:
    """Return whether a value of a run record says how a recording was opened.

    Parameters
    ----------
    value : object
        JSON types.

    Returns
    -------
    bool
    """
    match value:
        case {"of": inner, "view": dict(chosen), **others}:
            return not others and all(map(_is_chosen, chosen, chosen.values())) and is_origin(inner)
        case {"recordings": [_, *_] as inner, **others}:
            return not others and all(map(is_origin, inner))
        case {"path": str(), **options}:
            return all(type(value) is OPTIONS.get(str(name)) for name, value in options.items())
        case _:
            return False


def _is_chosen(name: str, value: Any) -> bool:
    """Return whether a value is one that a view has under a name."""
    match name:
        case "start" | "end":
            return isinstance(value, (int, float, str)) and not isinstance(value, bool)
        case "channels" | "exclude_channels":
            return isinstance(value, list) and all(isinstance(channel, str) for channel in value)
        case _:
            return name == "group" and isinstance(value, str)


def told_origin(origin: dict[str, Any]) -> str:
    """Return where a recording is from and what is read of it, as one line.

    Parameters
    ----------
    origin : dict
        `Recording.origin`.

    Returns
    -------
    str

    Examples
    --------
    >>> told_origin({"of": {"path": "rec"}, "view": {"end": "10m", "channels": ["1", "3-4"]}})
    'rec (end 10m, channels 1 3-4)'
    >>> told_origin({"path": "run_g0", "stream": "imec0.ap", "concatenate": True})
    'run_g0 (stream imec0.ap, concatenate)'
    """
    if "recordings" in origin:
        return " + ".join(map(told_origin, origin["recordings"]))
    inner = origin.get("of")
    chosen = origin["view"] if inner else {name: value for name, value in origin.items() if name != "path"}
    options = ", ".join(
        name if value is True else f"{name} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in chosen.items()
    )
    where = told_origin(inner) if inner else str(origin.get("path", ""))
    return f"{where} ({options})" if options else where


def reopen(
    origin: dict[str, Any],
    *,
    moved: Path | str | None = None,
    opener: Callable[..., Recording] = open_recording,
) -> Recording:
    """Open a recording as it was opened before.

    Parameters
    ----------
    origin : dict
        `Recording.origin`, of a run record for example.
    moved : Path or str, optional
        Where the recording is now; of a joined one, a recording.json that names its recordings.
    opener : callable
        Opens a path with the options of `open_recording`.

    Returns
    -------
    Recording

    Raises
    ------
    RecordingFormatError
        The origin is not one of a recording.
    SpikecrateError
        As `open_recording`, `apply` and `concatenate`.
    """
    if not is_origin(origin):
        message = f"{json.dumps(origin)[:200]} does not say how a recording was opened"
        raise RecordingFormatError(message, next_step="sort the recording again")
    match origin:
        case {"of": inner, "view": chosen}:
            fields: dict[str, Any] = {
                name: tuple(map(str, value)) if isinstance(value, list) else value
                for name, value in chosen.items()
            }
            return apply(View(**fields), reopen(inner, moved=moved, opener=opener))
        case {"recordings": _} if moved is not None:
            # A recording.json names as many as were joined; the job's key tells whether they are the same.
            return opener(moved)
        case {"recordings": inner}:
            return concatenate([reopen(one, opener=opener) for one in inner])
        case _:
            options = {name: value for name, value in origin.items() if name != "path"}
            return opener(moved or origin["path"], **options)
