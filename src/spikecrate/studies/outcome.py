"""The outcome of a study: one document with every job, its state, and its units against the ground truth.

`study.report` is made from this document alone. `OutcomeDocument.as_dict` gives it as JSON and `from_dict` reads it
back; tests/data/study_outcome.json is an example. A job that failed or has not run is there with its status, and has
no units; nothing is imputed for it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Self

SCHEMA: Final = 1
"""Number of the document's form; it grows when an older reader would misread it."""

DIGITS: Final = 6
"""Decimals of every ratio, rate and SNR in the document."""

Status = Literal["finished", "failed", "died", "cancelled", "running", "waiting"]
"""`died`: its process ended and left neither result nor error. `waiting`: it has not started."""
UnitClass = Literal["well_detected", "overmerged", "redundant", "false_positive", "bad"]


@dataclass(frozen=True, kw_only=True)
class OutcomeRecording:
    """A recording of the study.

    Attributes
    ----------
    name : str
        Unique in the study; a group of channels is `NAME:GROUP`.
    study_set : str
        The study set that it belongs to.
    tags : tuple of str
        Further words to filter by.
    path : str
        Where it lay when the study was planned.
    channels : int or None
        Number of channels; None, as the two below, where it cannot be opened.
    duration_s, sampling_frequency : float or None
        Seconds, Hz.
    exhaustive : bool
        Whether the truth holds every unit of the recording; found units have classes only then.
    true_units : tuple of TrueUnit or None
        Units of the ground truth; None where the recording has none.
    """

    name: str
    study_set: str
    tags: tuple[str, ...] = ()
    path: str
    channels: int | None = None
    duration_s: float | None = None
    sampling_frequency: float | None = None
    exhaustive: bool = False
    true_units: tuple[TrueUnit, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class TrueUnit:
    """A unit of the ground truth.

    Attributes
    ----------
    unit, events : int
        Label and number of events.
    rate_hz : float
        Events per second.
    channel : int or None
        Channel of the largest peak, from 0; None where the samples cannot be read.
    snr : float or None
        Peak of the mean waveform over the noise; None where the samples cannot be read.
    """

    unit: int
    events: int
    rate_hz: float
    channel: int | None = None
    snr: float | None = None


@dataclass(frozen=True, kw_only=True)
class OutcomeVariant:
    """A sorter with its parameters, a column of the report.

    Attributes
    ----------
    name : str
        Unique in the study.
    sorter, version : str
        Name and version in the catalogue; the version is empty where the catalogue lacks the sorter.
    params : dict
        Parameters that differ from the sorter's defaults.
    """

    name: str
    sorter: str
    version: str
    params: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OutcomeError:
    """Why a job has no result.

    Attributes
    ----------
    kind : str
        Class of the error, such as `JobTimeoutError`.
    message : str
        Its first line.
    cause : str
        The last line of the sorter's log where the sorter failed, else empty.
    """

    kind: str
    message: str
    cause: str = ""


@dataclass(frozen=True, kw_only=True)
class UnitScore:
    """One true unit against a found unit.

    Attributes
    ----------
    unit : int
        Label of the true unit.
    found : int or None
        Label of the found unit that is assigned to it; None where none is, and `matched` and `extra` are 0.
    matched, missed, extra : int
        Events in both, in the true unit alone, in the found unit alone.
    accuracy, precision, recall : float
        matched / (matched + missed + extra), matched / (matched + extra), matched / (matched + missed); 0 to 1.
    best : int or None
        Label of the found unit of highest agreement, which may be the best of other true units too: SpikeForest's
        rule, with neither a floor nor a one-to-one assignment.
    best_accuracy, best_precision, best_recall : float
        The same ratios for that unit.
    """

    unit: int
    found: int | None
    matched: int
    missed: int
    extra: int
    accuracy: float
    precision: float
    recall: float
    best: int | None
    best_accuracy: float
    best_precision: float
    best_recall: float


@dataclass(frozen=True, kw_only=True)
class FoundUnit:
    """A unit that a sorter found.

    Attributes
    ----------
    unit, events : int
        Label and number of events.
    rate_hz : float
        Events per second.
    classes : tuple of str
        Its classes against the truth, of `UnitClass`; empty without truth, and but for `well_detected` where the truth
        is not exhaustive.
    """

    unit: int
    events: int
    rate_hz: float
    classes: tuple[UnitClass, ...] = ()


@dataclass(frozen=True, kw_only=True)
class OutcomeJob:
    """One job of the study.

    Attributes
    ----------
    index : int
        Its number in the plan, from 0: `spikecrate study.logs STUDY INDEX`.
    key : str or None
        The job key; None where the recording or the sorter cannot be opened.
    recording, variant : str
        Names of an `OutcomeRecording` and an `OutcomeVariant`.
    seed : int
        Seed of the sorter.
    status : str
        As `Status` lists them.
    error : OutcomeError or None
        Why it failed.
    wall_s : float or None
        Duration of the run that made the result, in seconds; like all below None where there is no result. Wall times
        of jobs that ran side by side are no benchmark.
    peak_memory_bytes, cores : int or None
        Of the same run.
    runtime : str or None
        Of the same run: docker, apptainer or host.
    warnings : tuple of str
        Reasons why the result may not be what the user expects.
    found : tuple of FoundUnit or None
        The units that the sorter found.
    scores : tuple of UnitScore or None
        One for each unit of the recording's truth, in its order; None without truth.
    """

    index: int
    key: str | None
    recording: str
    variant: str
    seed: int
    status: Status
    error: OutcomeError | None = None
    wall_s: float | None = None
    peak_memory_bytes: int | None = None
    cores: int | None = None
    runtime: str | None = None
    warnings: tuple[str, ...] = ()
    found: tuple[FoundUnit, ...] | None = None
    scores: tuple[UnitScore, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class JobAgreement:
    """Agreement of two jobs on one recording without ground truth.

    Attributes
    ----------
    first, second : int
        Indices of the jobs.
    overall : float
        Share of the events of both that their paired units have in common, 0 to 1.
    """

    first: int
    second: int
    overall: float


@dataclass(frozen=True, kw_only=True)
class OutcomeDocument:
    """All that a report shows.

    Attributes
    ----------
    name : str
        Name of the study.
    version : str
        Version of spikecrate that made the document.
    made : str
        Time in UTC, ISO 8601.
    tolerance_ms, match_score, truth_offset_ms : float
        Options of the comparison with ground truth.
    recordings, variants, jobs : tuple
        In the order of the plan.
    agreements : tuple of JobAgreement
        Of the finished jobs of each recording without ground truth, each pair once.
    """

    name: str
    version: str
    made: str
    tolerance_ms: float
    match_score: float
    truth_offset_ms: float
    recordings: tuple[OutcomeRecording, ...]
    variants: tuple[OutcomeVariant, ...]
    jobs: tuple[OutcomeJob, ...]
    agreements: tuple[JobAgreement, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the document in JSON types, with its `schema` number."""
        return {"schema": SCHEMA, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read a document.

        Parameters
        ----------
        data : dict
            As `as_dict` returned it, also after a way through JSON.

        Returns
        -------
        OutcomeDocument

        Raises
        ------
        ValueError
            It has another schema number.
        """
        if data.get("schema") != SCHEMA:
            message = f"the outcome has schema {data.get('schema')}, not {SCHEMA}"
            raise ValueError(message)
        values = {name: value for name, value in data.items() if name != "schema"}
        return cls(
            **values
            | {
                "recordings": tuple(map(_recording, data["recordings"])),
                "variants": tuple(OutcomeVariant(**variant) for variant in data["variants"]),
                "jobs": tuple(map(_job, data["jobs"])),
                "agreements": tuple(JobAgreement(**pair) for pair in data["agreements"]),
            }
        )


def _recording(data: dict[str, Any]) -> OutcomeRecording:
    units = data["true_units"]
    read = None if units is None else tuple(TrueUnit(**unit) for unit in units)
    return OutcomeRecording(**data | {"tags": tuple(data["tags"]), "true_units": read})


def _job(data: dict[str, Any]) -> OutcomeJob:
    error, found, scores = (data[name] for name in ("error", "found", "scores"))
    return OutcomeJob(
        **data
        | {
            "error": None if error is None else OutcomeError(**error),
            "warnings": tuple(data["warnings"]),
            "found": None if found is None else tuple(map(_found, found)),
            "scores": None if scores is None else tuple(UnitScore(**score) for score in scores),
        }
    )


def _found(data: dict[str, Any]) -> FoundUnit:
    return FoundUnit(**data | {"classes": tuple(data["classes"])})
