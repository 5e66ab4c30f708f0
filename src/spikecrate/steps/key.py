"""The job key: a hash of all that can change a result, and of nothing else.

Paths, the runtime, the memory given, the time limit and the user are not in it; the image's recipe, the
complete parameters, the seed and the recording's content are. The number of cores is left out for a sorter
that is tested to give equal bytes whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from spikecrate._util.canonical import digest

SCHEMA: Final = 1
"""Increased whenever the meaning of a part changes, so that no old result is taken for a new one."""


@dataclass(frozen=True, kw_only=True)
class KeyParts:
    """The parts of a job key.

    Attributes
    ----------
    sorter : str
        Name of the sorter.
    recipe : str
        Hash of the sources of its image.
    parameters : dict
        Every parameter, with defaults filled in.
    seed : int
        Seed of the sorter.
    recording : dict
        Identity of the recording: hash of the samples, dtype, channels, rate, locations, gains.
    cores : int, optional
        Processors, only for a sorter whose result depends on their number.
    gpu : bool, optional
        Whether the job runs on a GPU, only for a sorter that works with and without one.
    """

    sorter: str
    recipe: str
    parameters: dict[str, Any]
    seed: int
    recording: dict[str, Any]
    cores: int | None
    gpu: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON object that is hashed and kept in the run record."""
        return {
            "sorter": self.sorter,
            "recipe": self.recipe,
            "parameters": self.parameters,
            "seed": self.seed,
            "recording": self.recording,
            "cores": self.cores,
            # Absent rather than null, so that keys from before this part existed stay valid.
            **({} if self.gpu is None else {"gpu": self.gpu}),
        }

    @property
    def key(self) -> str:
        """BLAKE3 of the canonical JSON, 64 hex digits."""
        return digest(["spikecrate job", SCHEMA, self.as_dict()])


def differences(parts: dict[str, Any], earlier: dict[str, Any]) -> list[str]:
    """Return the differences between the key parts of two jobs, one line each.

    Parameters
    ----------
    parts, earlier : dict
        Key parts of the job and of an earlier one, from `KeyParts.as_dict`.
    """
    lines = [
        f"{name}: {_short(parts.get(name))} (was {_short(earlier.get(name))})"
        for name in ("sorter", "recipe", "seed", "cores", "gpu")
        if parts.get(name) != earlier.get(name)
    ]
    for group in ("parameters", "recording"):
        mine, theirs = parts[group], earlier[group]
        lines += [
            f"{group}.{name}: {_short(mine.get(name))} (was {_short(theirs.get(name))})"
            for name in sorted({*mine, *theirs})
            if mine.get(name) != theirs.get(name)
        ]
    return lines


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:16]}…"
