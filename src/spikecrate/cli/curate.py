"""The command that curates a sorting."""

import csv
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import counted
from spikecrate.cli.choices import JobKey
from spikecrate.cli.command import Shown, command
from spikecrate.cli.option import Words
from spikecrate.cli.show_sort import told_run
from spikecrate.cli.show_units import show_units
from spikecrate.cli.sort import SORTING
from spikecrate.cli.step_options import StepOptions
from spikecrate.cli.text import say
from spikecrate.errors import UsageError
from spikecrate.steps.kinds import CURATE, KINDS
from spikecrate.store import open_store

if TYPE_CHECKING:
    from spikecrate.api.curate import Decided
    from spikecrate.api.result import Result


@dataclass(frozen=True)
class Change:
    """Events that went from a unit to a unit."""

    unit_before: int
    unit_after: int | None
    how: str
    events: int


@dataclass(frozen=True)
class Curated:
    """A curated sorting, and what changed."""

    result: "Result"
    changes: list[Change]

    def as_dict(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {**self.result.as_dict(), "changes": [asdict(change) for change in self.changes]}


def read_changes(result: "Result") -> list[Change]:
    """Read what a curation changed.

    Parameters
    ----------
    result : Result
        The curated sorting.

    Returns
    -------
    list of Change
        By unit before, then unit after.
    """
    path = result.folder / KINDS[CURATE].folder / "changes.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Change(
                unit_before=int(row["unit_before"]),
                unit_after=int(row["unit_after"]) if row["unit_after"] else None,
                how=row["how"],
                events=int(row["events"]),
            )
            for row in csv.DictReader(file)
        ]


def show_curated(done: Curated) -> None:
    """Print what changed, the table of units, the key and the folder.

    Parameters
    ----------
    done : Curated
        The curated sorting.
    """
    for change in done.changes:
        if change.how != "kept":
            into = "" if change.unit_after is None else f" to {change.unit_after}"
            say(f"unit {change.unit_before} {change.how}{into}: {counted(change.events, 'event')}")
    result = done.result
    show_units(result)
    record = result.record
    counts = f"{counted(record['units'], 'unit')}, {counted(record['events'], 'event')}"
    say(f"{counts}; {told_run(result, 'curated')}")
    say(f"key     {result.key}")
    say(f"result  {result.output or result.folder}")
    for warning in result.warnings:
        say(f"warning: {warning}")


def show_decided(decided: "Decided") -> None:
    """Print a curation that is not applied.

    Parameters
    ----------
    decided : Decided
        The curation.
    """
    say(decided.text.rstrip())


@command("curate", SORTING, "curating {result}", show=show_curated)
def curate(
    result: JobKey,
    options: StepOptions,
    curation: Annotated[str, Words(may_miss=True)] = "",
    keep: str = "",
    label: list[str] | None = None,
    merge: list[str] | None = None,
    remove: list[str] | None = None,
    remove_label: list[str] | None = None,
    analysis: str = "",
    recording: str = "",
    dry_run: bool = False,
    *,
    progress: Progress,
) -> Curated | Shown:
    """Merge, split, remove and label the units of a sorting, as a file, rules and options say.

    The curation is of SpikeInterface, sortingview or figpack, or a folder of phy. Rules compare metrics; where the sorting's
    own table lacks one, the sorting is analyzed first.

    Parameters
    ----------
    result : RESULT
        the first digits of the job key of a sorting, or its result folder; example: 0123abcd
    curation : CURATION
        a curation (JSON), or a folder of phy; example: curation.json
    keep : RULE
        remove the units of which it is false; example: 'snr > 5 and isi_violations < 0.5'
    label : NAME=RULE
        label the units of which it is true, unless they have a label; example: good='snr > 8'
    merge : UNITS
        units that become one, a unit or a range each; example: 3,7
    remove : UNITS
        units to leave out, a unit or a range each; example: 5,8-12
    remove_label : LABEL
        leave out the units with this label; example: noise
    analysis : RESULT
        the analysis with the metrics of the rules; by default one is made if needed; example: 89abcdef
    recording : RECORDING
        where the recording is now, for that analysis; example: /nas/rec
    dry_run : flag
        print the curation that would be applied, and apply nothing

    Examples
    --------
    spikecrate curate 0123abcd curation.json
    spikecrate curate 0123abcd phy/ --remove-label noise
    spikecrate curate 0123abcd --keep 'snr > 5 and isi_violations < 0.5' --dry-run
    """
    from spikecrate import api
    from spikecrate.api.curate import Choices, decide

    choices = Choices(
        curation=curation or None,
        keep=keep or None,
        labels=_rules(label or []),
        merge=[_units("--merge", word) for word in merge or []],
        remove=[unit for word in remove or [] for unit in _units("--remove", word)],
        leave_out=remove_label or [],
    )
    fields = options.fields("curate")
    if dry_run:
        limits = {name: fields[name] for name in ("runtime", "cores", "memory_bytes", "timeout_s", "seed")}
        decided = decide(
            result,
            choices,
            analysis=analysis or None,
            recording=recording or None,
            store=open_store(),
            progress=progress,
            **limits,
        )
        return Shown(json.loads(decided.text), lambda _: show_decided(decided))
    done = api.curate(
        result,
        **vars(choices),
        analysis=analysis or None,
        recording=recording or None,
        progress=progress,
        **fields,
    )
    return Curated(done, read_changes(done))


def _rules(words: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, rule = word.partition("=")
        if not equals or not name.strip() or not rule.strip():
            message = f"--label {word!r} is not NAME=RULE"
            raise UsageError(message, next_step="write it as --label good='snr > 8'")
        if name.strip() in found:
            message = f"--label {name.strip()} has two rules"
            raise UsageError(message, next_step="join them: --label good='snr > 8 or rate > 5'")
        found[name.strip()] = rule
    return found


def _units(flag: str, word: str) -> list[str]:
    from spikecrate.api.curate import UNIT_WORD

    units = [unit.strip() for unit in word.split(",")]
    if not all(map(UNIT_WORD.fullmatch, units)):
        message = f"{flag} {word!r} is not units or ranges with commas between"
        raise UsageError(message, next_step=f"write it as {flag} 3,7 or {flag} 3-5,7")
    return units
