"""Paths of a running job and its result."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

FIRINGS: Final = "firings.mda"
RECORD: Final = "run.json"
LOG: Final = "log.txt"
CRATE: Final = "ro-crate-metadata.json"
FAILURE: Final = "failure.json"


@dataclass(frozen=True)
class WorkPaths:
    """The folder of one attempt at a job, under the store's `work/`.

    Attributes
    ----------
    root : Path
        `work/<key>-<attempt>/`.
    """

    root: Path

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

    @property
    def owner(self) -> Path:
        """The runtime and the process that own the attempt."""
        return self.root / "owner.json"

    @property
    def job(self) -> Path:
        """The folder mounted at /job."""
        return self.root / "job"

    @property
    def job_json(self) -> Path:
        """The file that the harness reads."""
        return self.job / "job.json"

    @property
    def out(self) -> Path:
        """The folder mounted at /out."""
        return self.root / "out"

    @property
    def scratch(self) -> Path:
        """The folder mounted at /tmp."""
        return self.root / "scratch"

    @property
    def log(self) -> Path:
        """The live log of the tool."""
        return self.root / LOG

    @property
    def result(self) -> Path:
        """The result folder before it is published."""
        return self.root / "result"

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
