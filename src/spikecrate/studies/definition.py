"""The file of a study: recordings × sorters with their parameters × seeds, checked against study.schema.json."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.canonical import digest
from spikecrate._util.nearest import nearest
from spikecrate._util.quantities import parse_bytes, parse_seconds
from spikecrate._util.yaml_text import YamlError, read_yaml
from spikecrate.errors import SpikecrateError, StudyInvalidError, UsageError
from spikecrate.sortings.comparison.compare import MATCH_SCORE, TOLERANCE_MS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from jsonschema.exceptions import ValidationError

    from spikecrate._util.yaml_text import Document, Place
    from spikecrate.catalogue.tools import Tool

SCHEMA: Final = Path(__file__).with_name("study.schema.json")
LEAST_TIME_S: Final = 60.0
"""Least time limit that a factor gives: a container needs seconds whatever the recording."""
WRITE: Final = "spikecrate study.new FOLDER writes one"
MOST_BYTES: Final = 10_000_000
"""Size above which a file is no study: a list of 100,000 recordings is smaller."""


@dataclass(frozen=True, kw_only=True)
class RecordingEntry:
    """An entry of `recordings`.

    Attributes
    ----------
    path : str
        A path or a glob, absolute.
    name, study_set, probe : str
        As written; empty where the default counts.
    tags : tuple of str
        Words to filter by.
    truth : str
        File with the true spikes, absolute; empty for the one in the recording.
    exhaustive, by_group : bool
        Whether the truth holds every unit, and whether each group of channels is sorted by itself.
    line : int
        Its line in the file.
    """

    path: str
    name: str = ""
    study_set: str = ""
    probe: str = ""
    tags: tuple[str, ...] = ()
    truth: str = ""
    exhaustive: bool = False
    by_group: bool = False
    line: int


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A sorter with its parameters.

    Attributes
    ----------
    name : str
        Unique in the study.
    sorter : str
        Name or alias in the catalogue.
    params : dict
        Parameters that differ from the defaults.
    line : int
        Its line in the file.
    """

    name: str
    sorter: str
    params: dict[str, Any]
    line: int


@dataclass(frozen=True, kw_only=True)
class ComparisonOptions:
    """Options of `spikecrate.sortings.comparison.compare`.

    Attributes
    ----------
    tolerance_ms, match_score, truth_offset_ms : float
        As `compare` takes them.
    """

    tolerance_ms: float = TOLERANCE_MS
    match_score: float = MATCH_SCORE
    truth_offset_ms: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What each job gets.

    Attributes
    ----------
    cores : int
        Processors.
    memory_bytes : int or None
        Memory limit.
    time_s, time_factor : float or None
        Time limit in seconds, and as a multiple of the recording's duration; the smaller one counts.
    gpu, runtime : str
        As for `sort`.
    """

    cores: int = 1
    memory_bytes: int | None = None
    time_s: float | None = None
    time_factor: float | None = None
    gpu: str = "auto"
    runtime: str = "auto"

    def timeout_s(self, duration_s: float) -> float | None:
        """Return the time limit of a job.

        Parameters
        ----------
        duration_s : float
            Duration of its recording, s.

        Returns
        -------
        float or None
            Seconds; None for no limit.
        """
        scaled = None if self.time_factor is None else max(LEAST_TIME_S, self.time_factor * duration_s)
        return min((limit for limit in (self.time_s, scaled) if limit is not None), default=None)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study, as its file describes it.

    Attributes
    ----------
    path : Path
        The file.
    name : str
        Name of the study.
    recordings : tuple of RecordingEntry
        Globs are not expanded yet.
    variants : tuple of Variant
        Sorters with their parameters.
    seeds : tuple of int
        Each job runs with each.
    comparison : ComparisonOptions
        How sortings are compared with the truth.
    resources : Resources
        What each job gets.
    content : str
        Hash of what the file says, comments and order of keys left out.
    """

    path: Path
    name: str
    recordings: tuple[RecordingEntry, ...]
    variants: tuple[Variant, ...]
    seeds: tuple[int, ...] = (0,)
    comparison: ComparisonOptions = field(default_factory=ComparisonOptions)
    resources: Resources = field(default_factory=Resources)
    content: str = ""

    @property
    def folder(self) -> Path:
        """Folder of the study's plan, logs and report, beside the file."""
        return self.path.with_name(f"{self.path.stem}-run")


def read_study(path: Path | str) -> Study:
    """Read the file of a study.

    Parameters
    ----------
    path : Path or str
        A YAML file; docs/studies.md describes it.

    Returns
    -------
    Study

    Raises
    ------
    StudyInvalidError
        It cannot be read or is not valid; the message has the line of each error, and the nearest name.
    """
    path = Path(path).absolute()
    try:
        if path.is_file() and path.stat().st_size > MOST_BYTES:
            raise StudyInvalidError(f"{path} has more than {MOST_BYTES} bytes", next_step=WRITE)  # noqa: EM102
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"it is not UTF-8 (byte {error.start})"
        message = f"{path}: {reason}"
        raise StudyInvalidError(message, next_step=WRITE) from None
    return parse_study(text, path)


def parse_study(text: str, path: Path) -> Study:
    """Parse the text of a study.

    Parameters
    ----------
    text : str
        The YAML.
    path : Path
        Its file, absolute: relative paths start at its folder.

    Returns
    -------
    Study

    Raises
    ------
    StudyInvalidError
        The text is not valid.
    """
    try:
        document = read_yaml(text)
    except YamlError as error:
        raise invalid(path, [(error.line, error.problem)]) from None
    if problems := list(_problems(document)):
        raise invalid(path, problems)
    found = document.value
    recordings = [_recording(entry, place, document, path) for place, entry in _entries(found, "recordings")]
    variants = [_variant(entry, place, document) for place, entry in _entries(found, "sorters")]
    seeds = found.get("seeds") or range(found.get("repeats", 1))
    problems = [*_twice(variants), *_wrong_sorters(variants)]
    try:
        resources = _resources(found.get("resources", {}), document)
    except YamlError as error:
        problems.append((error.line, error.problem))
    if problems:
        raise invalid(path, problems)
    return Study(
        path=path,
        name=found.get("name", path.stem),
        recordings=tuple(recordings),
        variants=tuple(variants),
        seeds=tuple(seeds),
        comparison=ComparisonOptions(**found.get("comparison", {})),
        resources=resources,
        content=digest(found),
    )


def invalid(path: Path, problems: list[tuple[int, str]]) -> StudyInvalidError:
    """Return the error of a study's file.

    Parameters
    ----------
    path : Path
        The file.
    problems : list of (int, str)
        Line and words of each error, at least one.

    Returns
    -------
    StudyInvalidError
        Its message has a line for each; `details` too.
    """
    lines = [f"line {line}: {problem}" for line, problem in sorted(set(problems))]
    message = f"{path}: {lines[0]}"
    if len(lines) > 1:
        message = "\n".join([f"{path} has {len(lines)} errors", *lines])
    details = {"file": str(path), "errors": lines}
    return StudyInvalidError(message, next_step="docs/studies.md describes each field", details=details)


def _problems(document: Document) -> Iterator[tuple[int, str]]:
    """Yield the line and the words of everything that the schema refuses."""
    from jsonschema import Draft202012Validator

    for error in Draft202012Validator(json.loads(SCHEMA.read_bytes())).iter_errors(document.value):
        place: Place = tuple(error.absolute_path)
        if error.validator == "additionalProperties":
            known = error.schema["properties"]
            for key in error.instance.keys() - known.keys():
                where = f" in {_told(place)}" if place else ""
                yield document.lines[(*place, key)], f"there is no field {key!r}{where}{nearest(key, known)}"
        else:
            yield document.lines[place], f"{_told(place)}: {_words(error)}" if place else _words(error)
    found = document.value
    if isinstance(found, dict) and {"seeds", "repeats"} <= found.keys():
        yield document.lines["repeats",], "repeats is short for seeds, and both are given"


def _words(error: ValidationError) -> str:
    rule: Any = error.validator_value
    if error.validator == "required":
        instance: Any = error.instance
        missing = [name for name in rule if name not in instance]
        return f"no {' and no '.join(missing)}"
    if error.validator == "type":
        named = rule if isinstance(rule, list) else [rule]
        return f"{json.dumps(error.instance)[:60]} is not of type {' or '.join(named)}"
    if error.validator == "enum":
        known = [str(value) for value in rule]
        return f"{error.instance!r} is not one of {', '.join(known)}{nearest(str(error.instance), known)}"
    return str(error.message)[:200]


def _told(place: Place) -> str:
    """Return a place in words: `recordings[2].path`, counted from 1."""
    words = ""
    for step in place:
        words += f"[{step + 1}]" if isinstance(step, int) else f".{step}"
    return words.removeprefix(".")


def _entries(found: dict[str, Any], name: str) -> Iterator[tuple[Place, Any]]:
    for number, entry in enumerate(found[name]):
        yield (name, number), entry


def _recording(entry: str | dict[str, Any], place: Place, document: Document, file: Path) -> RecordingEntry:
    fields: dict[str, Any] = {"path": entry} if isinstance(entry, str) else entry
    truth = fields.get("truth")
    return RecordingEntry(
        path=_absolute(fields["path"], file),
        truth=_absolute(truth, file) if truth else "",
        study_set=fields.get("set", ""),
        tags=tuple(fields.get("tags", ())),
        **{name: fields[name] for name in ("name", "probe", "exhaustive", "by_group") if name in fields},
        line=document.lines[place],
    )


def _absolute(word: str, file: Path) -> str:
    return str(file.parent / Path(word).expanduser())


def _variant(entry: str | dict[str, Any], place: Place, document: Document) -> Variant:
    fields: dict[str, Any] = {"sorter": entry} if isinstance(entry, str) else entry
    params: Mapping[str, Any] = fields.get("params", {})
    told = " ".join([fields["sorter"], *(f"{name}={value}" for name, value in params.items())])
    return Variant(
        name=fields.get("name", told),
        sorter=fields["sorter"],
        params=dict(params),
        line=document.lines[place],
    )


def _twice(variants: list[Variant]) -> Iterator[tuple[int, str]]:
    first: dict[str, int] = {}
    for variant in variants:
        if variant.name in first:
            words = f"the sorter {variant.name!r} is on line {first[variant.name]} too; give one another name"
            yield variant.line, words
        first.setdefault(variant.name, variant.line)


def _wrong_sorters(variants: list[Variant]) -> Iterator[tuple[int, str]]:
    """Yield the sorters and parameters that the catalogue refuses."""
    from spikecrate.catalogue.parameters import complete, validate
    from spikecrate.catalogue.tools import SORTER, find

    tools: dict[str, Tool] = {}
    for variant in variants:
        try:
            if variant.sorter not in tools:
                tools[variant.sorter] = find(variant.sorter, kind=SORTER)
            tool = tools[variant.sorter]
            validate(tool, complete(tool, variant.params))
        except SpikecrateError as error:
            yield variant.line, str(error)


def _resources(fields: dict[str, Any], document: Document) -> Resources:
    def amount(name: str) -> Any:
        if name not in fields:
            return None
        try:
            read = (parse_bytes if name == "memory" else parse_seconds)(str(fields[name]))
        except UsageError as error:
            raise YamlError(document.lines["resources", name], f"resources.{name}: {error}") from None
        return read

    plain = ("cores", "time_factor", "gpu", "runtime")
    return Resources(
        memory_bytes=amount("memory"),
        time_s=amount("time"),
        **{name: fields[name] for name in plain if name in fields},
    )
