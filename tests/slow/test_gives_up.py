"""A real sorter that finds nothing says why."""

from __future__ import annotations

import numpy as np
import pytest

import spikecrate
from spikecrate_harness import mda


@pytest.mark.usefixtures("shared_environments")
def test_the_reason_of_an_empty_sorting_is_the_last_line_of_the_log_and_in_the_result(tmp_path):
    folder = tmp_path / "silence"
    folder.mkdir()
    mda.write(folder / "raw.mda", np.zeros((4, 60_000), dtype=np.int16, order="F"))
    (folder / "params.json").write_text('{"samplerate": 30000}')
    reason = "no units found: no channel ever changes"
    for status in ("ran", "cached"):
        result = spikecrate.sort(folder, sorter="tridesclous2", runtime="host")
        assert (result.status, result.record["units"], result.warnings) == (status, 0, [reason])
    assert (result.folder / "log.txt").read_text().splitlines()[-1] == f"warning: {reason}"
