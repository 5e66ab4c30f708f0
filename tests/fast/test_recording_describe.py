"""`recording.info`: everything that is known of a recording, as JSON."""

from __future__ import annotations

import json

import pytest
from recording_files import GAIN, RATE, WRITERS, samples, write_flat

from spikecrate.recordings import open_recording
from spikecrate.recordings.describe import describe, overview, summarize


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_a_recording_is_described_as_json(tmp_path, form):
    recording = open_recording(WRITERS[form](tmp_path / "rec", samples()))
    facts = describe(recording, "ab" * 32)
    assert json.loads(json.dumps(facts)) == facts
    assert facts["format"] == form
    assert facts["files"] == list(map(str, recording.files))
    assert [part["file"] for part in facts["parts"]] == facts["files"]
    assert sum(part["num_samples"] for part in facts["parts"]) == facts["num_samples"]
    assert (facts["num_channels"], facts["num_samples"], facts["sampling_frequency"]) == (4, 500, RATE)
    assert facts["duration_s"] == 500 / RATE
    assert (facts["dtype"], facts["byte_order"], facts["samples_hash"]) == ("int16", "little", "ab" * 32)
    assert facts["channels"][1]["location_um"] == [0.0, 25.0]
    assert facts["channels"][1]["gain_uv"] == GAIN
    assert facts["notes"] == list(recording.notes)


def test_no_hash_is_null(tmp_path):
    recording = open_recording(WRITERS["mountainsort"](tmp_path, samples()))
    assert describe(recording)["samples_hash"] is None


def neuropixels(folder, num_channels=384, shanks=4):
    folder.mkdir(parents=True, exist_ok=True)
    path = write_flat(folder, samples(2, num_channels), gain_uv=[2.34375] * num_channels)
    rows = [
        (250 * (index % shanks) + 32 * (index // shanks % 2), 15 * (index // shanks // 2))
        for index in range(num_channels)
    ]
    (folder / "geom.csv").write_text("".join(f"{x},{y}\n" for x, y in rows))
    return open_recording(path)


def test_384_channels_are_summarized_in_a_few_numbers(tmp_path):
    recording = neuropixels(tmp_path)
    assert summarize(recording.layout, recording.channel_ids) == {
        "channels": "384 (1 to 384)",
        "pitch": "15 µm",
        "span": "782 × 705 µm",
        "groups": "4 of 96 channels",
        "gain": "2.34375 µV per count",
        "count_0": "0 µV",
    }


def test_a_summary_has_the_ranges_of_what_differs(tmp_path):
    write_flat(tmp_path, samples(), gain_uv=[1, 2, 3, 0.5], offset_uv=[0, -5, 0, 0])
    (tmp_path / "geom.csv").write_text("0,0\n0,0\n500,0\n500,60\n")
    recording = open_recording(tmp_path)
    text = summarize(recording.layout, recording.channel_ids)
    assert (text["gain"], text["count_0"], text["groups"], text["pitch"]) == (
        "0.5 to 3 µV per count",
        "-5 to 0 µV",
        "2 of 2 channels",
        "60 µm",
    )


def test_one_channel_is_summarized(tmp_path):
    recording = open_recording(WRITERS["mountainsort"](tmp_path, samples(num_channels=1)))
    text = summarize(recording.layout, recording.channel_ids)
    assert (text["channels"], text["pitch"], text["groups"]) == ("1 (1)", "none", "1")


def test_an_overview_has_every_fact_but_the_lists_of_channels_and_parts(tmp_path):
    recording = neuropixels(tmp_path)
    facts, full = overview(recording, "ab" * 32), describe(recording, "ab" * 32)
    assert facts["channels"] == "384 (1 to 384)"
    lists = ("channels", "parts", "gaps")
    assert "parts" not in facts
    assert facts["gaps"] == "none"
    assert {name: facts[name] for name in full if name not in lists} == {
        name: value for name, value in full.items() if name not in lists
    }
    assert len(json.dumps(facts)) < 2000


def test_the_repr_of_384_channels_is_one_short_line(tmp_path):
    recording = neuropixels(tmp_path)
    assert repr(recording) == f"<Recording '{tmp_path}': flat, 384 channels, 0.0001 s at 20000 Hz>"
