"""The job key: what can change a result, and nothing else.

Paths, the runtime, the memory given, the time limit and the user are not in it; the image's recipe, the
complete parameters, the seed and the recording's content are. The number of cores is left out for a sorter
that is tested to give equal bytes whatever their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from spikecrate._util.canonical import digest

SCHEMA: Final = 1
"""Raised whenever the meaning of a part changes; old results are then never mistaken for new ones."""


@dataclass(frozen=True, kw_only=True)
class KeyParts:
    """What a job key is made of.

    Attributes
    ----------
    sorter : str
        Name of the sorter.
    recipe : str
        Hash of what its image is made from.
    parameters : dict
        Complete: every parameter, defaults filled in.
    seed : int
        Handed to the sorter.
    recording : dict
        Identity of the recording: hash of the samples, dtype, channels, rate, locations, gains.
    cores : int, optional
        Only for a sorter whose result depends on it.
    gpu : bool, optional
        Whether it runs on a GPU; only for a sorter that can do with or without.
    """

    sorter: str
    recipe: str
    parameters: dict[str, Any]
    seed: int
    recording: dict[str, Any]
    cores: int | None
    gpu: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give the parts as the JSON object that is hashed, and kept in the run record."""
        return {
            "sorter": self.sorter,
            "recipe": self.recipe,
            "parameters": self.parameters,
            "seed": self.seed,
            "recording": self.recording,
            "cores": self.cores,
            # Left out rather than null: keys made before there was a choice stay what they are.
            **({} if self.gpu is None else {"gpu": self.gpu}),
        }

    @property
    def key(self) -> str:
        """BLAKE3 of the canonical JSON, 64 hex digits."""
        return digest(["spikecrate job", SCHEMA, self.as_dict()])


def differences(parts: dict[str, Any], earlier: dict[str, Any]) -> list[str]:
    """Name what differs between two jobs' key parts, one line each.

    Parameters
    ----------
    parts, earlier : dict
        As `KeyParts.as_dict` gives them: the job at hand and an earlier one.
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
