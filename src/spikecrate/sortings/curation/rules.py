"""Rules on the metrics of a unit: `snr > 5 and isi_violations < 0.5`.

A rule is Python's grammar of comparisons, and nothing else of Python: names of metrics, numbers, `<`, `<=`, `>`, `>=`,
`==`, `!=` also in chains, `and`, `or`, `not`, parentheses. It is parsed and never executed.
"""

from __future__ import annotations

import ast
import csv
import math
import operator
import textwrap
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spikecrate._util.nearest import nearest
from spikecrate.errors import CurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

COMPARISONS: Final[dict[type[ast.cmpop], Callable[[float, float], bool]]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
SYNONYMS: Final = (
    ("isi_violations_ratio", "isi_violations", "isi_violation"),
    ("firing_rate", "rate"),
    ("num_spikes", "events"),
    ("amplitude_median", "amplitude"),
    ("rp_violations", "rp_violation"),
    ("sliding_rp_violation", "sliding_rp_violations"),
    ("drift_ptp", "drift"),
)
"""Names of one metric; the first that a table has is taken."""
MOST_CHARACTERS: Final = 2000
"""More than any rule needs, and few enough for Python's parser."""
NEXT: Final = "write it as 'snr > 5 and isi_violations < 0.5'"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Metrics of the units of a sorting.

    Attributes
    ----------
    units : tuple of int
        The units.
    columns : dict
        Values of each metric in order of the units; None where a unit has none.
    """

    units: tuple[int, ...]
    columns: Mapping[str, list[float | None]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a table of units; columns with other than numbers, such as labels, are left out.

        Parameters
        ----------
        path : Path
            `units.csv` or `metrics.csv`.

        Returns
        -------
        Table

        Raises
        ------
        CurationError
            The file has no column `unit`, or cannot be read.
        """
        try:
            with path.open(encoding="utf-8", newline="") as file:
                reader = csv.DictReader(file)
                names, rows = reader.fieldnames or (), [*reader]
            units = tuple(int(row["unit"]) for row in rows)
            if "unit" not in names:
                message = f"the columns are {', '.join(names)}"
                raise ValueError(message)  # noqa: TRY301 (one place for all that is wrong with the file)
        except (OSError, ValueError, KeyError, csv.Error) as error:
            message = f"{path}: not a table of units: {error}"
            raise CurationError(message, next_step="analyze the sorting, and name that analysis") from None
        columns: dict[str, list[float | None]] = {}
        for name in (one for one in names if one != "unit"):
            with suppress(ValueError, TypeError):
                columns[name] = [float(row[name]) if row[name] else None for row in rows]
        return cls(units=units, columns=columns)

    def answers(self, rule: Rule) -> bool:
        """Return whether every unit has every metric of a rule.

        Parameters
        ----------
        rule : Rule
            The rule.

        Returns
        -------
        bool
        """
        found = [self.find(name) for name in rule.names]
        return all(name is not None and None not in self.columns[name] for name in found)

    def find(self, name: str) -> str | None:
        """Return the column that a rule names, itself or by a synonym.

        Parameters
        ----------
        name : str
            The name in the rule.

        Returns
        -------
        str or None
        """
        if name in self.columns:
            return name
        names = next((names for names in SYNONYMS if name in names), ())
        return next((known for known in names if known in self.columns), None)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a rule says of the units.

    Attributes
    ----------
    units : tuple of int
        Units of which it is true.
    missing : dict
        For each metric that a unit lacks, these units; a comparison with it is false.
    """

    units: tuple[int, ...]
    missing: Mapping[str, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A rule.

    Attributes
    ----------
    text : str
        As the user wrote it.
    tree : ast.expr
        Its syntax tree, of comparisons only.

    Examples
    --------
    >>> table = Table(units=(1, 2, 3), columns={"snr": [9.0, 4.0, None], "rate": [1.0, 2.0, 3.0]})
    >>> Rule.parse("5 < snr or firing_rate > 2.5").decide(table)
    Decision(units=(1, 3), missing={'snr': (3,)})
    """

    text: str
    tree: ast.expr

    @classmethod
    def parse(cls, text: str) -> Rule:
        """Parse a rule.

        Parameters
        ----------
        text : str
            The rule.

        Returns
        -------
        Rule

        Raises
        ------
        CurationError
            It is not one; the message names the place.
        """
        if len(text) > MOST_CHARACTERS:
            message = f"rule: {len(text)} characters, at most {MOST_CHARACTERS} are read"
            raise CurationError(message, next_step=NEXT)
        try:
            tree = ast.parse(text.strip(), mode="eval").body
            _check(tree, text)
        except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as error:
            told = error.msg if isinstance(error, SyntaxError) else "not readable"
            message = f"rule {text!r}: {told}"
            raise CurationError(message, next_step=NEXT) from None
        return cls(text=text.strip(), tree=tree)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the metrics, in order."""
        found = [node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)]
        return tuple(dict.fromkeys(found))

    def unknown(self, table: Table) -> tuple[str, ...]:
        """Return the names that a table has no metric for.

        Parameters
        ----------
        table : Table
            The metrics.

        Returns
        -------
        tuple of str
        """
        return tuple(name for name in self.names if table.find(name) is None)

    def decide(self, table: Table) -> Decision:
        """Return the units of which the rule is true.

        Parameters
        ----------
        table : Table
            The metrics of each unit.

        Returns
        -------
        Decision

        Raises
        ------
        CurationError
            The table lacks a metric; the message suggests the nearest.
        """
        for name in self.unknown(table):
            known = [*table.columns, *(name for names in SYNONYMS for name in names if table.find(name))]
            near = nearest(name, known)
            message = f"rule {self.text!r}: no metric {name!r}{near}"
            listed = textwrap.fill(f"the metrics are {', '.join(table.columns)}", 100, subsequent_indent="  ")
            raise CurationError(message, next_step="correct the name in the rule" if near else listed)
        columns = {name: table.columns[table.find(name) or name] for name in self.names}
        values = [
            {name: column[place] for name, column in columns.items()} for place in range(len(table.units))
        ]
        missing = {
            name: tuple(unit for unit, one in zip(table.units, values, strict=True) if one[name] is None)
            for name in self.names
        }
        return Decision(
            units=tuple(
                unit for unit, one in zip(table.units, values, strict=True) if _is_true(self.tree, one)
            ),
            missing={name: units for name, units in missing.items() if units},
        )


def _check(node: ast.expr, text: str) -> None:
    """Refuse everything but comparisons of metrics and numbers."""
    if isinstance(node, ast.BoolOp):
        for value in node.values:
            _check(value, text)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _check(node.operand, text)
    elif isinstance(node, ast.Compare) and all(type(one) in COMPARISONS for one in node.ops):
        for value in (node.left, *node.comparators):
            if not isinstance(value, ast.Name) and _number(value) is None:
                numeric = isinstance(value, ast.Constant) and isinstance(value.value, float)
                what = "not a finite number" if numeric else "not a metric or a number"
                raise CurationError(_told(value, text, what), next_step=NEXT)
    else:
        raise CurationError(_told(node, text, "not a comparison"), next_step=NEXT)


def _told(node: ast.expr, text: str, what: str) -> str:
    return f"rule {text!r}: {ast.get_source_segment(text.strip(), node)!r} is {what}"


def _number(node: ast.expr) -> float | None:
    """Return a number in a rule, also with a sign; None for anything else."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        found = _number(node.operand)
        return found if found is None or isinstance(node.op, ast.UAdd) else -found
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        found = float(node.value)  # type: ignore[arg-type]
        return found if math.isfinite(found) else None
    return None


def _is_true(node: ast.expr, values: Mapping[str, float | None]) -> bool:
    if isinstance(node, ast.BoolOp):
        every = all if isinstance(node.op, ast.And) else any
        return every(_is_true(value, values) for value in node.values)
    if isinstance(node, ast.UnaryOp):
        return not _is_true(node.operand, values)
    assert isinstance(node, ast.Compare)
    sides = [
        values[side.id] if isinstance(side, ast.Name) else _number(side)
        for side in (node.left, *node.comparators)
    ]
    return all(
        left is not None and right is not None and COMPARISONS[type(one)](left, right)
        for left, one, right in zip(sides, node.ops, sides[1:], strict=False)
    )
