"""sorters/ms4/run.py as a module, and a small recording for it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
from layouts import layout_of

from spikecrate_harness.layout import Layout
from spikecrate_harness.traces import TraceReader

FOLDER = Path(__file__).parents[2] / "sorters" / "ms4"
SCHEMAS = json.loads((FOLDER / "sorter.json").read_text())["parameters"]["properties"]
DEFAULTS = {name: schema["default"] for name, schema in SCHEMAS.items()}

specification = importlib.util.spec_from_file_location("ms4_run_py", FOLDER / "run.py")
assert specification is not None
assert specification.loader is not None
run = importlib.util.module_from_spec(specification)
sys.modules[specification.name] = run
specification.loader.exec_module(run)


def recording_of(samples: np.ndarray, rate: float = 30000.0, gain: float = 1.0) -> TraceReader:
    """Give samples x channels in memory as a recording, channels 20 um apart."""
    channels = samples.shape[1]
    layout = layout_of(
        channels,
        len(samples),
        dtype=samples.dtype.str,
        sampling_frequency=rate,
        gains=[gain] * channels,
    )
    return TraceReader(Layout.from_dict(layout), [lambda: samples], [Path()])


def noise(num_samples: int, channels: int, seed: int = 0) -> np.ndarray:
    """Give int16 noise on an offset, correlated between channels and of unlike size."""
    rng = np.random.default_rng(seed)
    independent = rng.normal(0, 1, (num_samples, channels))
    mixed = independent + rng.normal(0, 1, (num_samples, 1))
    return (mixed * np.linspace(20, 80, channels) + 2050).astype("<i2")


def prepared(recording: TraceReader, folder: Path, **changes: object) -> np.ndarray:
    """Give the traces that mountainsort4 would get, channels x samples."""
    traces = run.prepare(recording, DEFAULTS | changes, folder)
    return traces.get_traces(np.arange(recording.num_channels), 0, recording.num_samples)
