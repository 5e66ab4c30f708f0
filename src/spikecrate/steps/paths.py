"""Every path of a running job and of its result, in one place."""

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
        """Name a new attempt; nothing is made."""
        return cls(work / f"{key}-{secrets.token_hex(4)}")

    @property
    def name(self) -> str:
        """Name of the container: short, and found again by its attempt."""
        key, attempt = self.root.name.split("-")
        return f"spikecrate-{key[:12]}-{attempt}"

    @property
    def owner(self) -> Path:
        """Which runtime and process the attempt belongs to."""
        return self.root / "owner.json"

    @property
    def job(self) -> Path:
        """Mounted at /job."""
        return self.root / "job"

    @property
    def job_json(self) -> Path:
        """What the harness reads."""
        return self.job / "job.json"

    @property
    def out(self) -> Path:
        """Mounted at /out."""
        return self.root / "out"

    @property
    def scratch(self) -> Path:
        """Mounted at /tmp."""
        return self.root / "scratch"

    @property
    def log(self) -> Path:
        """What the sorter prints, live."""
        return self.root / LOG

    @property
    def result(self) -> Path:
        """The result folder while it is put together."""
        return self.root / "result"

    def make(self) -> None:
        """Make the folders."""
        for folder in (self.job, self.out, self.scratch, self.result):
            folder.mkdir(parents=True)


def attempts(work: Path, key: str = "") -> list[WorkPaths]:
    """Find the attempts that lie in a store's `work/`, of one job or of all."""
    return [WorkPaths(path) for path in sorted(work.glob(f"{key}*-*")) if path.is_dir()]
