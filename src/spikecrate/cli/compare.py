"""The command that compares sortings."""

from statistics import median
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.progress import Progress
from spikecrate._util.quantities import counted
from spikecrate.cli.choices import JobKeys
from spikecrate.cli.command import command
from spikecrate.cli.show_sort import told_run
from spikecrate.cli.sort import SORTING
from spikecrate.cli.step_options import StepOptions
from spikecrate.cli.text import say, table

if TYPE_CHECKING:
    from spikecrate.api.compare import ComparisonResult

MOST_ROWS: Final = 40
"""Longest table of pairs; `agreement.csv` has all."""
GAIN: Final = 0.1
"""Gain of accuracy from which a lag is told."""


def show_comparison(done: "ComparisonResult") -> None:
    """Print what each sorting makes of the truth, what the sortings have in common, the key and the folder.

    Parameters
    ----------
    done : ComparisonResult
        The comparison.
    """
    for score in done.summary["with_truth"]:
        _show_truth(done, score)
    if done.summary["pairs"]:
        _show_pairs(done)
    result = done.result
    say(told_run(result, "compared"))
    say(f"key     {result.key}")
    say(f"result  {result.output or done.folder}")


def _show_truth(done: "ComparisonResult", score: dict[str, Any]) -> None:
    name = score["sorting"]
    mine = [unit for unit in done.truth if unit.sorting == name]
    classes = {unit.unit: ", ".join(unit.classes) for unit in done.units if unit.sorting == name}
    head = (
        "unit",
        "events",
        "best",
        "assigned",
        "matched",
        "missed",
        "extra",
        "accuracy",
        "lag (ms)",
        "class",
    )
    say(f"{name}, compared with the truth")
    table(
        head,
        [
            (
                unit.unit,
                unit.events,
                unit.best,
                unit.found,
                unit.matched,
                unit.missed,
                unit.extra,
                f"{unit.accuracy:.3f}",
                unit.lag_ms,
                classes.get(unit.found or 0),
            )
            for unit in mine
        ],
    )
    least = done.summary["settings"]["well_detected"]
    means = (score["mean_accuracy"], score["mean_best_accuracy"])
    if score["true_units"]:
        shown = "mean accuracy {:.3f} assigned, {:.3f} best".format(*means)
        say(
            f"{score['well_detected']} of {score['true_units']} units have accuracy {least:g} or more; {shown}"
        )
    if done.summary["settings"]["exhaustive"]:
        _show_rest(done, name)
    _show_lag(done, mine)


def _show_rest(done: "ComparisonResult", name: str) -> None:
    """Print the units that are assigned to no true unit, by class."""
    rest = [unit for unit in done.units if unit.sorting == name and unit.true_unit is None]
    for kind in ("redundant", "overmerged", "false_positive"):
        if units := [unit.unit for unit in rest if kind in unit.classes]:
            say(f"{kind.replace('_', ' ')}, not assigned: {', '.join(map(str, units))}")


def _show_lag(done: "ComparisonResult", mine: list[Any]) -> None:
    """Say that units would match if the truth were shifted, and how to shift it."""
    offset = done.summary["settings"]["truth_offset_ms"]
    late = [
        unit
        for unit in mine
        if unit.lag_ms is not None
        and abs(unit.lag_ms - offset) > done.summary["settings"]["tolerance_ms"]
        and unit.lag_accuracy >= max(unit.best_accuracy + GAIN, done.summary["settings"]["match_score"])
    ]
    if not late:
        return
    most = max(late, key=lambda unit: unit.lag_accuracy - unit.best_accuracy)
    say(
        f"{counted(len(late), 'true unit')} would agree better without a lag; unit {most.unit}, which unit "
        f"{most.lag_unit} follows by {most.lag_ms:.2f} ms: {most.lag_accuracy:.3f} in place of {most.best_accuracy:.3f}"
    )
    lags = [unit.lag_ms for unit in late]
    if max(lags) - min(lags) > 2 * done.summary["settings"]["tolerance_ms"]:
        say(
            f"their lags differ, from {min(lags):.2f} to {max(lags):.2f} ms, so no shift of the truth fits all"
        )
    else:
        # Without the sign of a zero.
        say(f"to shift the truth: --truth-offset {round(median(lags), 2) + 0.0:.2f}")


def _show_pairs(done: "ComparisonResult") -> None:
    names, pairs = done.names, done.summary["pairs"]
    overall = {(pair["first"], pair["second"]): pair["overall_agreement"] for pair in pairs}
    if len(names) == 2:
        say(f"{names[0]} and {names[1]}")
        assigned = [pair for pair in done.agreement if pair.assigned and pair.first == names[0]]
        events = {(unit.sorting, unit.unit): unit.events for unit in done.units}
        table(
            [f"{names[0]} unit", "events", f"{names[1]} unit", "events", "matched", "agreement"],
            [
                (
                    pair.first_unit,
                    events[pair.first, pair.first_unit],
                    pair.second_unit,
                    events[pair.second, pair.second_unit],
                    pair.matched,
                    f"{pair.agreement:.3f}",
                )
                for pair in assigned[:MOST_ROWS]
            ],
        )
        if len(assigned) > MOST_ROWS:
            say(f"and {len(assigned) - MOST_ROWS} more pairs, in agreement.csv")
        (pair,) = pairs
        sizes = " and ".join(str(one["units"]) for one in done.summary["sortings"])
        say(
            f"{counted(pair['assigned_units'], 'pair')} of {sizes} units; overall agreement {pair['overall_agreement']:.3f}"
        )
    else:
        say("overall agreement")
        rows = [
            [
                one,
                *(
                    1.0 if one == other else overall.get((one, other), overall.get((other, one)))
                    for other in names
                ),
            ]
            for one in names
        ]
        table(["", *names], rows)
        _show_consensus(done)
    consensus = done.summary["consensus"]
    say(
        f"consensus: {counted(consensus['units'], 'unit')} and {counted(consensus['events'], 'event')} that "
        f"at least {consensus['least_votes']} of {len(names)} sortings have"
    )


def _show_consensus(done: "ComparisonResult") -> None:
    say("units of the consensus, by their labels")
    table(
        ["unit", *done.names, "events", "agreement"],
        [
            (unit.unit, *map(unit.members.get, done.names), unit.events, f"{unit.agreement:.3f}")
            for unit in done.consensus[:MOST_ROWS]
        ],
    )
    if len(done.consensus) > MOST_ROWS:
        say(f"and {len(done.consensus) - MOST_ROWS} more units, in consensus.csv")


@command("compare", SORTING, "comparing sortings", show=show_comparison)
def compare(
    result: JobKeys,
    options: StepOptions,
    truth: str = "",
    exhaustive: bool = False,
    truth_offset: float | None = None,
    tolerance: float | None = None,
    name: list[str] | None = None,
    sampling_frequency: float | None = None,
    different_recordings: bool = False,
    *,
    progress: Progress,
) -> "ComparisonResult":
    """Compare sortings of one recording with ground truth, with each other, or both.

    Matched, missed and extra events of each unit, agreement, lags and a consensus; the same command again is a cache
    hit.

    Parameters
    ----------
    result : RESULT
        a sorting: the first digits of its job key, its result folder, or a firings.mda or a folder with one
    truth : SORTING
        the true sorting, named in the same ways; auto takes the firings_true.mda beside the recording; example: auto
    exhaustive : flag
        the truth holds every unit of the recording, so call other units false positive, redundant or overmerged
    truth_offset : MS
        shift the true events by so many milliseconds; example: -3
    tolerance : MS
        largest distance of two events that match; by default 0.4; example: 1
    name : NAME
        name of a sorting in the tables, once for each in their order; example: mine
    sampling_frequency : HZ
        of the recording, where no sorting has a run record; example: 30000
    different_recordings : flag
        compare sortings of a recording and, for example, of its filtered copy

    Examples
    --------
    spikecrate compare 0123abcd --truth auto
    spikecrate compare 0123abcd 4567cdef
    spikecrate compare sorted/ --truth true/firings.mda --exhaustive --sampling-frequency 30000
    """
    from spikecrate import api

    fields = options.fields("compare")
    chosen = {"truth_offset_ms": truth_offset, "tolerance_ms": tolerance, "exhaustive": exhaustive or None}
    params = fields.pop("params") | {key: value for key, value in chosen.items() if value is not None}
    return api.compare(
        *result,
        truth=truth or None,
        names=name or (),
        sampling_frequency=sampling_frequency,
        different_recordings=different_recordings,
        params=params,
        progress=progress,
        **fields,
    )
