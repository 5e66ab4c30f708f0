"""The outcome of a study: the document from which reports are made."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spikecrate.studies.outcome import OutcomeDocument

EXAMPLE = Path(__file__).parents[1] / "data" / "study_outcome.json"


def test_the_document_survives_its_way_through_json():
    data = json.loads(EXAMPLE.read_bytes())
    document = OutcomeDocument.from_dict(data)
    assert document.jobs[0].scores[1].best == 2
    assert document.recordings[1].true_units is None
    assert json.loads(json.dumps(document.as_dict())) == data
    assert OutcomeDocument.from_dict(document.as_dict()) == document


def test_a_document_of_another_schema_is_refused():
    data = json.loads(EXAMPLE.read_bytes()) | {"schema": 99}
    with pytest.raises(ValueError, match="schema 99, not 1"):
        OutcomeDocument.from_dict(data)
