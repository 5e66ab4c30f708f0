"""sorters/ms4/run.py is held to sorter.json: no parameter is ignored, none is read that is not described."""

from __future__ import annotations

import contextlib
import sys
import types

import numpy as np
import pytest
from ms4_run import DEFAULTS, SCHEMAS, noise, recording_of, run

from spikecrate_harness import mda
from spikecrate_harness.resources import Resources

RECORDING = recording_of(noise(3000, 2))

OTHER = {
    name: next(
        value
        for value in (*schema.get("enum", ()), not schema["default"], schema["default"] + 1)
        if value != schema["default"] and isinstance(value, bool) == (schema["type"] == "boolean")
    )
    for name, schema in SCHEMAS.items()
}
"""For each parameter a value that is not its default."""


class Noting(dict):
    """A dict that notes which keys are read."""

    def __init__(self, *args):
        super().__init__(*args)
        self.read = set()

    def __getitem__(self, name):
        self.read.add(name)
        return super().__getitem__(name)

    def get(self, name, default=None):
        self.read.add(name)
        return super().get(name, default)

    def refuse(self, *_args):
        message = "parameters must be read one by one, by name"
        raise AssertionError(message)

    __iter__ = keys = values = items = copy = __or__ = refuse


class FakeMountainSort4:
    """What mountainsort4.ms4alg.MountainSort4 lets one set; it sorts by handing out `events`."""

    events = ((), (), ())

    def __init__(self):
        self.told = {}

    def setSortingOpts(self, **options):
        self.told |= options

    def setRecording(self, recording):
        channels = np.arange(len(recording.get_channel_ids()))
        traces = recording.get_traces(
            channel_ids=channels, start_frame=0, end_frame=recording.get_num_frames()
        )
        self.told["traces"] = traces.tobytes()

    def setGeom(self, locations):
        self.told["locations"] = locations.tolist()

    def setNumWorkers(self, count):
        self.told["workers"] = count

    def setTemporaryDirectory(self, folder):
        self.told["folder"] = folder

    def setUseRecordingDirectly(self, directly):
        self.told["directly"] = directly

    def setFiringsOutPath(self, path):
        self.path = path

    def sort(self):
        FakeMountainSort4.last = self.told
        mda.write(self.path, np.array(self.events, dtype=np.float64).reshape(3, -1))


@pytest.fixture
def upstream(monkeypatch):
    """Put the fake in the place of mountainsort4, and of dask, which starts its workers."""
    modules = {name: types.ModuleType(name) for name in ("mountainsort4", "dask", "dask.callbacks")}
    modules["mountainsort4.ms4alg"] = types.SimpleNamespace(MountainSort4=FakeMountainSort4)
    modules["dask"].config = types.SimpleNamespace(set=lambda **_: contextlib.nullcontext())
    modules["dask.callbacks"].Callback = lambda **_: contextlib.nullcontext()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return FakeMountainSort4


def told(upstream, folder, parameters):
    answer = run.sort(RECORDING, parameters, Resources(folder, cores=2, memory_bytes=None, seed=0))
    return upstream.last, answer


def test_every_described_parameter_is_read_and_no_other(upstream, tmp_path):
    parameters = Noting(DEFAULTS)
    told(upstream, tmp_path, parameters)
    assert parameters.read == set(SCHEMAS)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_parameter_changes_what_mountainsort4_gets(upstream, tmp_path, name):
    by_default, _ = told(upstream, tmp_path, DEFAULTS)
    changed, _ = told(upstream, tmp_path, DEFAULTS | {name: OTHER[name]})
    differing = {key for key in changed if changed[key] != by_default[key]}
    assert differing == {SCHEMAS[name].get("upstream", "traces")}


@pytest.mark.parametrize("name", sorted(name for name, schema in SCHEMAS.items() if "upstream" in schema))
def test_a_parameter_of_mountainsort4_reaches_it_as_it_is(upstream, tmp_path, name):
    options, _ = told(upstream, tmp_path, DEFAULTS | {name: OTHER[name]})
    assert options[SCHEMAS[name]["upstream"]] == OTHER[name]


def test_workers_scratch_and_probe_reach_mountainsort4(upstream, tmp_path):
    options, _ = told(upstream, tmp_path, DEFAULTS)
    assert (options["workers"], options["folder"]) == (2, str(tmp_path))
    assert options["locations"] == [[0, 0], [0, 20]]


def test_events_come_back_with_unit_and_channel(upstream, tmp_path, monkeypatch):
    monkeypatch.setattr(upstream, "events", ((1, 2), (100, 200), (1, 3)))
    _, (times, labels, channels) = told(upstream, tmp_path, DEFAULTS)
    assert (times.tolist(), labels.tolist(), channels.tolist()) == ([100, 200], [1, 3], [1, 2])


def test_events_that_were_moved_out_of_the_recording_are_left_out(upstream, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(upstream, "events", ((1, 1, 1), (-3, 2999, 3000), (1, 1, 1)))
    _, (times, _, _) = told(upstream, tmp_path, DEFAULTS)
    assert times.tolist() == [2999]
    assert "left out 2 events" in capsys.readouterr().out


def test_no_events_are_an_empty_sorting(upstream, tmp_path):
    _, answer = told(upstream, tmp_path, DEFAULTS)
    assert [row.shape for row in answer] == [(0,), (0,), (0,)]


@pytest.mark.parametrize("values", [30, 40, 200])
def test_principal_components_that_a_short_clip_lacks_are_zero(values):
    clips = np.random.default_rng(0).normal(size=(values, 500))
    components = run._principal_components(clips, 40)
    known = min(values, 40)
    assert components.shape == (values, 40)
    assert np.allclose(components[:, :known].T @ components[:, :known], np.eye(known))
    assert not components[:, known:].any()
