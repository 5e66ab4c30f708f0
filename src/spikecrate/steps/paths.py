"""Paths of a running job and its result."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

FIRINGS: Final = "firings.mda"
UNITS: Final = "units.csv"
TRUTH: Final = "firings_true.mda"
"""File with the true spikes, beside the samples of a recording."""
RECORD: Final = "run.json"
JOINED: Final = "joined.json"
"""Describes a joined sorting, whose jobs' results are below `results/`."""
RESULTS: Final = "results"
LOG: Final = "log.txt"
CRATE: Final = "ro-crate-metadata.json"
FAILURE: Final = "failure.json"


@dataclass(unsafe_hash=True)
class WorkPaths:
    """The folder of one attempt at a job, under the store's `work/`.

    Attributes
    ----------
    root : Path
        `work/<key>-<attempt>/`.
    owner : Path
        The runtime and the process that own the attempt.
    job : Path
        The folder mounted at /job.
    job_json : Path
        The file that the harness reads.
    out : Path
        The folder mounted at /out.
    scratch : Path
        The folder mounted at /tmp.
    log : Path
        The live log of the tool.
    result : Path
        The result folder before it is published.
    """

    root: Path

    def __post_init__(self) -> None:
        """Set the path of each file and folder."""
        self.owner = self.root / "owner.json"
        self.job = self.root / "job"
        self.job_json = self.job / "job.json"
        self.out = self.root / "out"
        self.scratch = self.root / "scratch"
        self.log = self.root / LOG
        self.result = self.root / "result"

    @classmethod
    def fresh(cls, work: Path, key: str) -> WorkPaths:
        """Return the paths of a new attempt, without creating them.

        Parameters
        ----------
        work : Path
            The store's `work/`.
        key : str
            The job key.

        Returns
        -------
        WorkPaths
        """
        return cls(work / f"{key}-{secrets.token_hex(4)}")

    @property
    def name(self) -> str:
        """Name of the container, unique to the attempt."""
        key, attempt = self.root.name.split("-")
        return f"spikecrate-{key[:12]}-{attempt}"

    def make(self) -> None:
        """Create the folders."""
        for folder in (self.job, self.out, self.scratch, self.result):
            folder.mkdir(parents=True)


def attempts(work: Path, key: str = "") -> list[WorkPaths]:
    """Return the attempts in a store's `work/`.

    Parameters
    ----------
    work : Path
        The store's `work/`.
    key : str, optional
        The first digits of a job key; by default all jobs.

    Returns
    -------
    list of WorkPaths
    """
    return [WorkPaths(path) for path in sorted(work.glob(f"{key}*-*")) if path.is_dir()]
