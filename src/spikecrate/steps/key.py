"""The job key: a hash of everything that can change a result, and of nothing else.

It contains the image's recipe, the complete parameters, the seed and the content of every input. It contains neither
paths nor the runtime, the limits of memory and time, or the user. It contains the number of cores unless a test shows
that the tool gives equal bytes with any number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from spikecrate._util.canonical import digest

SCHEMA: Final = 2
"""Increased whenever the meaning of a part changes, so that an old result is never a cache hit for a new job."""


@dataclass(frozen=True, kw_only=True)
class KeyParts:
    """The parts of a job key.

    Attributes
    ----------
    tool : str
        Name of the tool.
    recipe : str
        Hash of the image's sources.
    parameters : dict
        Every parameter, with defaults filled in.
    seed : int
        Seed of the tool.
    inputs : dict
        Identity of every input by its name. A recording has the hash of its samples, dtype, channels, rate, locations
        and gains.
    cores : int, optional
        Processors, only for a tool whose result depends on their number.
    gpu : bool, optional
        Whether the job runs on a GPU, only for a tool that works with and without one.
    """

    tool: str
    recipe: str
    parameters: dict[str, Any]
    seed: int
    inputs: dict[str, dict[str, Any]]
    cores: int | None
    gpu: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that the key hashes and the run record contains."""
        # An unknown GPU is absent rather than null, so that keys without this part stay valid.
        return {name: part for name, part in vars(self).items() if name != "gpu" or part is not None}

    @property
    def key(self) -> str:
        """BLAKE3 of the canonical JSON, 64 hex digits."""
        return digest(["spikecrate step", SCHEMA, self.as_dict()])


def differences(parts: dict[str, Any], earlier: dict[str, Any]) -> list[str]:
    """Return the differences between the key parts of two jobs, one line each.

    Parameters
    ----------
    parts, earlier : dict
        Key parts of the job and of an earlier one, from `KeyParts.as_dict`.

    Returns
    -------
    list of str
    """
    lines = [
        f"{name}: {_short(parts.get(name))} (was {_short(earlier.get(name))})"
        for name in ("tool", "recipe", "seed", "cores", "gpu")
        if parts.get(name) != earlier.get(name)
    ]
    groups, earlier_groups = _groups(parts), _groups(earlier)
    for group in dict.fromkeys((*groups, *earlier_groups)):
        mine, theirs = groups.get(group, {}), earlier_groups.get(group, {})
        lines += [
            f"{group}.{name}: {_short(mine.get(name))} (was {_short(theirs.get(name))})"
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]
    return lines


def _groups(parts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the parameters and every input, each a table of fields."""
    return {"parameters": parts.get("parameters", {}), **parts.get("inputs", {})}


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:16]}…"
