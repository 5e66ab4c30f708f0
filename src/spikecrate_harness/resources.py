"""What a sorter may use."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    warnings : list of str
        What `warn` was given.
    """

    scratch: Path
    cores: int
    memory_bytes: int | None
    seed: int
    gpu: bool = False
    warnings: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        """Warn the user of a result that may not be what they expect.

        Warnings are the last lines of the log and stand in the run record; `sort` prints them beside the result, also
        of a cache hit. Only the process that called `sort` can give one.

        Parameters
        ----------
        text : str
            One sentence: "too few spikes to make a unit: 3 events".
        """
        self.warnings.append(" ".join(str(text).split()))
