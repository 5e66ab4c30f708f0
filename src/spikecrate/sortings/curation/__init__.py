"""Curation of a sorting: labels, merges, splits and removals, in SpikeInterface's format and read from others."""

from spikecrate.sortings.curation.document import parse
from spikecrate.sortings.curation.model import Curation, LabelDefinition, Merge, Split
from spikecrate.sortings.curation.read import read_curation
from spikecrate.sortings.curation.rules import Decision, Rule, Table

__all__ = [
    "Curation",
    "Decision",
    "LabelDefinition",
    "Merge",
    "Rule",
    "Split",
    "Table",
    "parse",
    "read_curation",
]
