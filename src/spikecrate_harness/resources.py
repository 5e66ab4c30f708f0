"""What a sorter may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Resources:
    """What a sorter may use.

    Attributes
    ----------
    scratch : Path
        A folder of its own for temporary files; removed after the job.
    cores : int
        Processors.
    memory_bytes : int or None
        Memory limit; None where there is none.
    seed : int
        For whatever is random; numpy's and Python's global generators are seeded with it already.
    gpu : bool
        Whether to run on a GPU; one that is not to be used is not visible either.
    """

    scratch: Path
    cores: int
    memory_bytes: int | None
    seed: int
    gpu: bool = False
