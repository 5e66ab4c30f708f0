"""`recording.info`: everything that is known of a recording, as JSON."""

from __future__ import annotations

import json

import pytest
from recording_files import GAIN, RATE, WRITERS, samples

from spikecrate.recordings import open_recording
from spikecrate.recordings.describe import describe


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_a_recording_is_described_as_json(tmp_path, form):
    recording = open_recording(WRITERS[form](tmp_path / "rec", samples()))
    facts = describe(recording, "ab" * 32)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["format"] == form
    assert facts["sample_file"] == str(recording.sample_file)
    assert (facts["num_channels"], facts["num_samples"], facts["sampling_frequency"]) == (4, 500, RATE)
    assert facts["duration_s"] == 500 / RATE
    assert (facts["dtype"], facts["byte_order"], facts["samples_hash"]) == ("int16", "little", "ab" * 32)
    assert facts["channels"][1]["location_um"] == [0.0, 25.0]
    assert facts["channels"][1]["gain_uv"] == GAIN
    assert facts["notes"] == list(recording.notes)


def test_no_hash_is_null(tmp_path):
    recording = open_recording(WRITERS["mountainsort"](tmp_path, samples()))
    assert describe(recording)["samples_hash"] is None
