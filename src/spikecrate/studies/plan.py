"""The plan of a study: every job with its key and its resources, frozen in the study's folder."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from spikecrate._util.files import write_atomically
from spikecrate.errors import StoreError, UsageError
from spikecrate.studies.definition import ComparisonOptions, Resources

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA: Final = 1
PLAN: Final = "plan.json"
"""File of the plan in the study's folder."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a job cannot run.

    Attributes
    ----------
    kind : str
        Class of the error.
    message : str
        Its first line.
    """

    kind: str
    message: str


@dataclass(frozen=True, kw_only=True)
class PlannedRecording:
    """A recording of the plan, or a group of its channels.

    Attributes
    ----------
    name, study_set : str
        Its name, unique in the study, and its study set.
    tags : list of str
        Words to filter by.
    path, probe, group, truth : str
        Where it lies, the named probe, the group of its channels and the file of the true spikes; empty for none.
    exhaustive : bool
        Whether the truth holds every unit.
    places : list of int
        Channels of the group in the whole recording, from 0; empty where there is no group.
    channels : int or None
        Number of channels; None, as all below, where it cannot be opened.
    duration_s, sampling_frequency : float or None
        Seconds, Hz.
    content : str
        Hash of its samples, channels and their places; empty where it cannot be opened.
    problem : Problem or None
        Why it cannot be opened.
    """

    name: str
    study_set: str
    tags: list[str]
    path: str
    probe: str
    group: str
    truth: str
    exhaustive: bool
    places: list[int] = field(default_factory=list)
    channels: int | None = None
    duration_s: float | None = None
    sampling_frequency: float | None = None
    content: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedVariant:
    """A sorter with its parameters.

    Attributes
    ----------
    name, sorter, version : str
        Name in the study; name and version of the sorter in the catalogue.
    params : dict
        Parameters that differ from the defaults.
    recipe : str
        Hash of the sources of its image; empty where it cannot run.
    problem : Problem or None
        Why it cannot run.
    """

    name: str
    sorter: str
    version: str
    params: dict[str, Any]
    recipe: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedJob:
    """A job of the plan.

    Attributes
    ----------
    recording, variant : int
        Places in the plan's recordings and variants.
    seed : int
        Seed of the sorter.
    key : str or None
        Its job key; None where it cannot run.
    timeout_s : float or None
        Time limit.
    gpu : bool
        Whether it gets a GPU.
    memory_bytes : int or None
        Expected peak memory; None, as the two below, where no run was measured.
    wall_s : float or None
        Expected duration, s.
    disk_bytes : int or None
        Expected size of the result.
    why : str
        What was new about it when the plan was made; empty where the store had its result.
    problem : Problem or None
        Why it cannot run.
    """

    recording: int
    variant: int
    seed: int
    key: str | None = None
    timeout_s: float | None = None
    gpu: bool = False
    memory_bytes: int | None = None
    wall_s: float | None = None
    disk_bytes: int | None = None
    why: str = ""
    problem: Problem | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A frozen plan; the number of a job is its place in `jobs`.

    Attributes
    ----------
    name, study, content, version, made : str
        Name and file of the study, hash of what the file said, version of spikecrate, and time in UTC.
    store : str
        The store that keeps the results.
    comparison : ComparisonOptions
        How sortings are compared with the truth.
    resources : Resources
        What each job gets.
    recordings, variants, jobs : tuple
        Jobs are ordered by recording, variant and seed.
    """

    name: str
    study: str
    content: str
    version: str
    made: str
    store: str
    comparison: ComparisonOptions
    resources: Resources
    recordings: tuple[PlannedRecording, ...]
    variants: tuple[PlannedVariant, ...]
    jobs: tuple[PlannedJob, ...]

    def title(self, index: int) -> str:
        """Return recording, variant and seed of a job in words.

        Parameters
        ----------
        index : int
            Number of the job.
        """
        job = self.jobs[index]
        seed = f", seed {job.seed}" if job.seed else ""
        return f"{self.recordings[job.recording].name}: {self.variants[job.variant].name}{seed}"

    def as_dict(self) -> dict[str, Any]:
        """Return the plan in JSON types."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read a plan.

        Parameters
        ----------
        data : dict
            As `as_dict` returned it.

        Returns
        -------
        Plan
        """
        values = {name: value for name, value in data.items() if name != "schema"}
        return cls(
            **values
            | {
                "comparison": ComparisonOptions(**data["comparison"]),
                "resources": Resources(**data["resources"]),
                "recordings": tuple(PlannedRecording(**_read(entry)) for entry in data["recordings"]),
                "variants": tuple(PlannedVariant(**_read(entry)) for entry in data["variants"]),
                "jobs": tuple(PlannedJob(**_read(entry)) for entry in data["jobs"]),
            }
        )


def freeze(plan: Plan, folder: Path) -> None:
    """Write a plan to the study's folder, in place of an earlier one.

    Parameters
    ----------
    plan : Plan
        The plan.
    folder : Path
        The study's folder; made when needed.

    Raises
    ------
    DiskFullError
    """
    write_atomically(folder / PLAN, json.dumps(plan.as_dict(), ensure_ascii=False).encode())


def load_plan(folder: Path) -> Plan:
    """Read the plan of a study's folder.

    Parameters
    ----------
    folder : Path
        The study's folder.

    Returns
    -------
    Plan

    Raises
    ------
    UsageError
        The study has not run: there is no plan.
    StoreError
        The plan is damaged, or of another version of spikecrate.
    """
    path = folder / PLAN
    try:
        data = json.loads(path.read_bytes())
        if data["schema"] != SCHEMA:
            message = f"{path} has schema {data['schema']}, not {SCHEMA}"
            raise StoreError(message, next_step=_AGAIN)
        return Plan.from_dict(data)
    except FileNotFoundError:
        message = f"the study has not run: {path} does not exist"
        raise UsageError(message, next_step="spikecrate study.run STUDY") from None
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        message = f"{path} is damaged ({type(error).__name__}: {error})"
        raise StoreError(message, next_step=_AGAIN) from None


_AGAIN: Final = "make the plan anew: spikecrate study.run STUDY --replan; finished jobs are cache hits"


def _read(entry: dict[str, Any]) -> dict[str, Any]:
    problem = entry["problem"]
    return entry if problem is None else {**entry, "problem": Problem(**problem)}
