"""The recordings that every sorter is given: small, made up from a seed, of every shape and type."""

from __future__ import annotations

import json
import math
import shutil

import numpy as np

from spikecrate.recordings.toy import UV_PER_COUNT, write_toy
from spikecrate_harness import mda

CHANNELS = 4
DURATION_S = 10
SHORT_S = 1
DENSE = 32
DENSE_S = 5


class Inputs:
    """Recordings below one folder, each made when it is first asked for.

    Most have four channels and ten seconds, or what a sorter requires where that is more.
    """

    def __init__(self, root):
        self.root = root

    def of(self, kind, requires):
        """Give the folder of a kind of recording, made for a sorter that requires so much."""
        channels = max(CHANNELS, requires.get("channels", 1))
        least_s = requires.get("duration_s", 0)
        duration_s = max(DURATION_S, math.ceil(least_s))
        make = {
            "plain": lambda: self.toy(channels, duration_s),
            "one channel": lambda: self.toy(1, duration_s),
            "32 channels": lambda: self.toy(DENSE, max(DENSE_S, math.ceil(least_s))),
            "short": lambda: self.toy(channels, SHORT_S),
            "float32": lambda: self.flat(channels, duration_s, "<f4", UV_PER_COUNT),
            "big-endian": lambda: self.flat(channels, duration_s, ">i2", 1),
            "channel after channel": lambda: self.flat(channels, duration_s, "<i2", 1, time_axis=1),
            "odd path": lambda: self.copy(channels, duration_s, "Übung 3, with spaces"),
            "one place": lambda: self.one_place(channels, duration_s),
            "silence": lambda: self.silence(channels, duration_s),
        }
        return make[kind]()

    def toy(self, channels, duration_s):
        folder = self.root / f"toy-{channels}-{duration_s}"
        return write_toy(
            folder, num_channels=channels, duration_s=duration_s, num_units=max(2, channels * 3 // 8)
        )

    def copy(self, channels, duration_s, name):
        folder = self.root / name / f"{channels} 神経 {duration_s}"
        if not folder.exists():
            shutil.copytree(self.toy(channels, duration_s), folder)
        return folder

    def one_place(self, channels, duration_s):
        """Put all channels of the plain recording at one place, as SpikeForest's tetrodes are."""
        folder = self.copy(channels, duration_s, "one place")
        (folder / "geom.csv").write_text("0,0\n" * channels)
        return folder

    def flat(self, channels, duration_s, dtype, factor, *, time_axis=0):
        """Write the plain recording's samples, times a factor, as another type; in µV they stay the same."""
        folder = self.root / f"flat-{channels}-{duration_s}-{dtype[1:]}-{time_axis}"
        if folder.exists():
            return folder
        toy = self.toy(channels, duration_s)
        params = json.loads((toy / "params.json").read_text())
        counts = mda.read(toy / "raw.mda").T
        folder.mkdir()
        samples = (counts.astype(np.float64) * factor).astype(dtype)
        (samples.T if time_axis else samples).copy(order="C").tofile(folder / "raw.dat")
        shutil.copyfile(toy / "geom.csv", folder / "geom.csv")
        described = {
            "file": "raw.dat",
            "dtype": dtype,
            "time_axis": time_axis,
            "num_channels": channels,
            "sampling_frequency": params["samplerate"],
            "gain_uv": params["scale_factor"] / factor,
            "probe": "geom.csv",
            "spike_sign": params["spike_sign"],
        }
        (folder / "recording.json").write_text(json.dumps(described))
        return folder

    def silence(self, channels, duration_s):
        folder = self.root / f"silence-{channels}-{duration_s}"
        if not folder.exists():
            shutil.copytree(self.toy(channels, duration_s), folder)
            shape = mda.read_header(folder / "raw.mda").shape
            mda.write(folder / "raw.mda", np.zeros(shape, dtype=np.int16))
        return folder
