"""A tool with two inputs, a recording and a sorting, runs through the code of a sorter in every runtime."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.api import find_or_run
from spikecrate.errors import RecordingChangedError
from spikecrate.runtimes.apptainer import Apptainer
from spikecrate.runtimes.docker import Docker
from spikecrate.steps.request import StepRequest
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate.store import open_store, results

BODY = """
import json
from pathlib import Path
import numpy as np
from spikecrate_harness import mda

def refused(action):
    try:
        action()
    except OSError:
        return True
    return False

def run(inputs, parameters, out, resources):
    recording, sorting = inputs["recording"], inputs["sorting"]
    events = mda.read(sorting / "firings.mda").astype(int)
    units = {}
    for unit in np.unique(events[2]):
        snippets = [recording.traces(time, time + 20) for time in events[1, events[2] == unit]
                    if time + 20 <= recording.num_samples]
        units[int(unit)] = np.mean(snippets, axis=0).round(6).tolist()
    (out / "templates").mkdir()
    (out / "templates" / "mean.json").write_text(json.dumps(units))
    print("sees " + json.dumps({
        "files": sorted(path.name for path in sorting.iterdir()),
        "read_only": refused(lambda: (sorting / "planted").write_text("x")),
    }))
"""


@pytest.mark.usefixtures("shared_environments")
def test_a_tool_with_a_recording_and_a_sorting_gives_equal_bytes_in_every_runtime(toy, lab_sorter):
    tool = lab_sorter(BODY, kind="command", inputs={"recording": "recording", "sorting": "folder"})
    store = open_store()
    sorting = spikecrate.sort(toy, runtime="docker")
    outputs = {}
    for runtime in ("docker", "apptainer", "host"):
        request = StepRequest(
            tool=tool,
            inputs={"recording": toy, "sorting": sorting.key},
            runtime=runtime,
            force=True,
        )
        result = find_or_run(request, store, Silent())
        assert result.record["runtime"] == runtime
        outputs[runtime] = (result.folder / "output" / "templates" / "mean.json").read_bytes()
        sees = json.loads((result.folder / "log.txt").read_text().split("sees ")[1].splitlines()[0])
        assert sees["files"] == ["firings.mda", "units.csv"]
        # The host runtime isolates nothing.
        assert sees["read_only"] or runtime == "host"
    assert outputs["docker"] == outputs["apptainer"] == outputs["host"]
    means = json.loads(outputs["docker"])
    traces, events = spikecrate.open_recording(toy).traces(), sorting.sorting
    for unit in events.unit_ids:
        times = events.times[events.labels == unit].astype(int)
        snippets = [traces[time : time + 20] for time in times if time + 20 <= len(traces)]
        assert np.allclose(means[str(int(unit))], np.mean(snippets, axis=0), atol=1e-6)
    again = rerun(
        find_job(result.key, store, Silent()),
        runtime="docker",
        recording=None,
        cores=None,
        keep=False,
        store=store,
        progress=Silent(),
    )
    assert again.equal


@pytest.mark.parametrize("engine", [Docker, Apptainer])
def test_a_result_of_another_recording_that_stood_in_for_a_moment_is_discarded(
    toy, tmp_path, monkeypatch, engine
):
    recording = shutil.copytree(toy, tmp_path / "rec")
    other, aside = shutil.copytree(toy, tmp_path / "other"), tmp_path / "aside"
    prepare, run = engine.prepare, engine.run

    def exchange(self, request, progress):
        image = prepare(self, request, progress)
        recording.rename(aside)
        other.rename(recording)
        return image

    def put_back(self, spec, on_output):
        ended = run(self, spec, on_output)
        recording.rename(other)
        aside.rename(recording)
        return ended

    monkeypatch.setattr(engine, "prepare", exchange)
    monkeypatch.setattr(engine, "run", put_back)
    with pytest.raises(RecordingChangedError, match="was replaced while the job started"):
        spikecrate.sort(recording, runtime=engine.name)
    assert list(results.keys(open_store())) == []
