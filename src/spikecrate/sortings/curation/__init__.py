"""Curation of a sorting: labels, merges, splits and removals, in SpikeInterface's format and read from others."""

from spikecrate.sortings.curation.combine import add, decide, inherit, labels_after, leave_out
from spikecrate.sortings.curation.document import as_text, labels_of, parse
from spikecrate.sortings.curation.model import Curation, LabelDefinition, Merge, Split
from spikecrate.sortings.curation.read import events_of, parse_any, read_curation, read_json
from spikecrate.sortings.curation.rules import Decision, Rule, Table

__all__ = [
    "Curation",
    "Decision",
    "LabelDefinition",
    "Merge",
    "Rule",
    "Split",
    "Table",
    "add",
    "as_text",
    "decide",
    "events_of",
    "inherit",
    "labels_after",
    "labels_of",
    "leave_out",
    "parse",
    "parse_any",
    "read_curation",
    "read_json",
]
