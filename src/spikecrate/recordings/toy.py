"""A synthetic recording with ground truth, made from a seed.

Units lie near the probe and fire at random with a refractory period; each spike adds the unit's biphasic
waveform, which decays with distance, to coloured noise that the channels share in part.
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from spikecrate._util.progress import Silent
from spikecrate.errors import OutputError, UsageError
from spikecrate.recordings.new_folder import new_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from spikecrate._util.progress import Progress

VERSION: Final = 1
"""Incremented with every change of the bytes that equal arguments give."""
UV_PER_COUNT: Final = 0.195
PITCH_UM: Final = 25.0
NOISE_TAPS: Final = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.12, 0.06)
"""White noise averaged with these weights: strongest below 2 kHz, as in tissue."""
SHARED_NOISE: Final = 0.4
"""Share of the noise's standard deviation that all channels have in common."""
BLOCK: Final = 1 << 15
"""Samples made at a time; random numbers are drawn per block, so the bytes depend on it."""

RANGES: Final = {
    "seed": (0, math.inf),
    "duration_s": (1, 1e7),
    "num_channels": (1, 10_000),
    "num_units": (1, 10_000),
    "sampling_frequency": (5000, 1e6),
    "noise_uv": (0.1, 500),
}
"""Least and largest value of each argument."""


class Difficulty(NamedTuple):
    """How hard a recording is to sort.

    Attributes
    ----------
    units_per_channel : float
        For the default number of units.
    height : tuple of float
        Smallest and largest spike at its nearest channel, in standard deviations of the noise.
    jitter : float
        Standard deviation of a spike's height from one spike to the next, relative.
    """

    units_per_channel: float
    height: tuple[float, float]
    jitter: float


DIFFICULTIES: Final = {
    "easy": Difficulty(units_per_channel=1.0, height=(14.0, 28.0), jitter=0.03),
    "medium": Difficulty(units_per_channel=1.5, height=(9.0, 22.0), jitter=0.06),
    "hard": Difficulty(units_per_channel=2.5, height=(4.0, 16.0), jitter=0.1),
}


@dataclass(frozen=True, kw_only=True)
class Toy:
    """The arguments of a recording: everything that its bytes depend on, and the content of its `toy.json`.

    Attributes
    ----------
    toy : int
        The `VERSION` that wrote it.
    seed, duration_s, num_channels, num_units, sampling_frequency, noise_uv, difficulty
        As in `write_toy`.
    """

    toy: int = VERSION
    seed: int
    duration_s: float
    num_channels: int
    num_units: int
    sampling_frequency: float
    noise_uv: float
    difficulty: str

    @property
    def num_samples(self) -> int:
        """Samples per channel."""
        return round(self.duration_s * self.sampling_frequency)

    @property
    def lead(self) -> int:
        """Samples of a waveform before its trough, which is at the spike's time."""
        return round(0.001 * self.sampling_frequency)

    @property
    def places(self) -> list[tuple[float, float]]:
        """Locations of the channels in um: two columns, rows from the bottom up."""
        return [(PITCH_UM * (channel % 2), PITCH_UM * (channel // 2)) for channel in range(self.num_channels)]


class _Unit(NamedTuple):
    """One unit: waveform in uV (samples x channels), nearest channel from 1, times in samples, relative heights."""

    waveform: NDArray[np.float32]
    channel: int
    times: NDArray[np.int64]
    heights: NDArray[np.float32]


def write_toy(
    folder: str | Path,
    *,
    seed: int = 0,
    duration_s: float = 60.0,
    num_channels: int = 4,
    num_units: int | None = None,
    sampling_frequency: float = 30000.0,
    noise_uv: float = 10.0,
    difficulty: str = "easy",
    progress: Progress | None = None,
) -> Path:
    """Write a synthetic recording as a MountainSort folder: the same bytes for the same arguments.

    It holds `raw.mda` (int16), `params.json`, `geom.csv`, `firings_true.mda` (the truth) and `toy.json` (the
    arguments). It is complete or absent, and is written in pieces, so that memory does not grow with its length.
    A folder that holds the recording of the same arguments is left as it is.

    Parameters
    ----------
    folder : str or Path
        A folder that does not exist, is empty, or holds the recording of the same arguments.
    seed : int
        From 0.
    duration_s : float
        Length in seconds, at least 1.
    num_channels : int
        Channels, in two columns of 25 um pitch.
    num_units : int, optional
        Units; by default 1, 1.5 or 2.5 per channel, by difficulty.
    sampling_frequency : float
        Hz, at least 5000.
    noise_uv : float
        Standard deviation of the noise on every channel in uV.
    difficulty : str
        "easy", "medium" or "hard": how far spikes rise above the noise, how much they vary, how many units.
    progress : Progress, optional
        Shows the samples written.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    UsageError
        For an argument out of its range.
    OutputError
        If the folder holds anything else, or cannot be written.
    DiskFullError
        If no space is left; no files are left behind.
    """
    folder = Path(folder)
    if difficulty not in DIFFICULTIES:
        message = f"there is no difficulty {difficulty!r}"
        raise UsageError(message, next_step=f"one of {', '.join(DIFFICULTIES)}")
    if num_units is None:
        num_units = max(2, round(num_channels * DIFFICULTIES[difficulty].units_per_channel))
    toy = Toy(
        seed=seed,
        duration_s=float(duration_s),
        num_channels=num_channels,
        num_units=num_units,
        sampling_frequency=float(sampling_frequency),
        noise_uv=float(noise_uv),
        difficulty=difficulty,
    )
    for name, (least, most) in RANGES.items():
        if not least <= getattr(toy, name) <= most:
            message = f"{name} is {getattr(toy, name):g}"
            raise UsageError(message, next_step=f"pass {name} from {least:g} to {most:g}")
    if not _is_there(folder, toy):
        with new_folder(folder.absolute()) as staging:
            _write(staging, toy, progress or Silent())
    return folder


def _is_there(folder: Path, toy: Toy) -> bool:
    """Return whether the folder holds this very recording; raise if it holds anything else."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return False
    with suppress(OSError, ValueError):
        if json.loads((folder / "toy.json").read_text(encoding="utf-8")) == asdict(toy):
            return True
    message = f"{folder} is not empty and holds another recording"
    raise OutputError(message, next_step="name another folder, or remove this one")


def _write(folder: Path, toy: Toy, progress: Progress) -> None:
    """Write the files of the recording."""
    import numpy as np

    from spikecrate_harness import mda

    # Independent streams, so that the noise does not change with the number of units.
    seeds = np.random.SeedSequence(toy.seed).spawn(2)
    of_units, of_noise = (np.random.Generator(np.random.PCG64(seed)) for seed in seeds)
    homes = of_units.permutation(toy.num_channels)
    units = [_unit(of_units, toy, int(homes[index % toy.num_channels])) for index in range(toy.num_units)]

    # The codec writes zeros that take no memory; the samples then replace them block by block.
    raw = folder / "raw.mda"
    mda.write(raw, np.broadcast_to(np.int16(0), (toy.num_channels, toy.num_samples)))
    with raw.open("r+b") as file, progress.bar("toy recording", toy.num_samples) as advance:
        file.seek(mda.read_header(raw).offset)
        for block in _blocks(of_noise, units, toy):
            file.write(block.astype("<i2").tobytes())
            advance(len(block))

    mda.write(folder / "firings_true.mda", _truth(units))
    params = {"samplerate": toy.sampling_frequency, "spike_sign": -1, "scale_factor": UV_PER_COUNT}
    places = "".join(f"{x:g},{y:g}\n" for x, y in toy.places)
    (folder / "params.json").write_text(json.dumps(params) + "\n", encoding="utf-8")
    (folder / "geom.csv").write_text(places, encoding="utf-8")
    (folder / "toy.json").write_text(json.dumps(asdict(toy), indent=1) + "\n", encoding="utf-8")


def _unit(rng: np.random.Generator, toy: Toy, home: int) -> _Unit:
    """Draw one unit: its place (near the channel `home`), its waveform, its spike times."""
    import numpy as np

    level, rate, num_samples = DIFFICULTIES[toy.difficulty], toy.sampling_frequency, toy.num_samples
    place = np.array([*(toy.places[home] + rng.uniform(-0.4, 0.4, size=2) * PITCH_UM), rng.uniform(8, 25)])
    distance = np.sqrt(((np.array([(x, y, 0.0) for x, y in toy.places]) - place) ** 2).sum(axis=1))
    reach = rng.uniform(18, 35)
    decay = 1 / (1 + (distance / reach) ** 2)
    height = rng.uniform(*level.height) * toy.noise_uv

    width, delay = rng.uniform(0.07, 0.16), rng.uniform(0.3, 0.7)
    ms = np.arange(-toy.lead, round(0.0025 * rate) + 1) / rate * 1000
    shape = -np.exp(-((ms / width) ** 2) / 2)
    shape += rng.uniform(0.15, 0.45) * np.exp(-(((ms - delay) / (width * rng.uniform(1.5, 2.5))) ** 2) / 2)
    # Rounded: exp() may differ in its last bit from one processor to another, the recording must not.
    waveform = np.round(height * shape[:, np.newaxis] * (decay / decay.max()), 3)

    refractory_s, mean_s = rng.uniform(0.002, 0.004), 1 / rng.uniform(2, 20)
    expected = num_samples / rate / mean_s
    gaps = rng.exponential(mean_s - refractory_s, size=int(expected + 6 * math.sqrt(expected) + 10))
    times = np.ceil(np.cumsum(gaps + refractory_s) * rate).astype(np.int64)
    # Rounding up keeps two spikes the refractory period apart only to within a sample: drop those too close.
    times = times[np.diff(times, prepend=-num_samples) >= math.ceil(0.002 * rate)]
    times = times[times < num_samples - len(ms)]
    heights = 1 + level.jitter * rng.standard_normal(len(times))
    return _Unit(
        waveform=waveform.astype(np.float32),
        channel=int(distance.argmin()) + 1,
        times=times,
        heights=heights.astype(np.float32),
    )


def _blocks(rng: np.random.Generator, units: list[_Unit], toy: Toy) -> Iterator[NDArray[np.int16]]:
    """Yield the samples in blocks: samples x channels int16.

    Only sums and products of single numbers are used, never a matrix product or a transform, whose order of
    summation differs between processors.
    """
    import numpy as np

    taps = np.array(NOISE_TAPS, dtype=np.float32) / np.float32(math.sqrt(sum(tap**2 for tap in NOISE_TAPS)))
    own, shared = np.float32(math.sqrt(1 - SHARED_NOISE**2)), np.float32(SHARED_NOISE)
    lead, length = toy.lead, len(units[0].waveform)
    history = np.zeros((0, toy.num_channels), dtype=np.float32)
    for start in range(0, toy.num_samples, BLOCK):
        count = min(BLOCK, toy.num_samples - start)
        new = count + (len(taps) - 1 if start == 0 else 0)
        drawn = rng.standard_normal((new, toy.num_channels + 1), dtype=np.float32)
        white = np.concatenate([history, own * drawn[:, :-1] + shared * drawn[:, -1:]])
        history = white[count:]
        block = np.zeros((count, toy.num_channels), dtype=np.float32)
        for lag, tap in enumerate(taps):
            block += tap * white[lag : lag + count]
        block *= np.float32(toy.noise_uv)
        for unit in units:
            first, last = np.searchsorted(unit.times, [start - length, start + count + lead])
            for time, height in zip(unit.times[first:last].tolist(), unit.heights[first:last], strict=True):
                begin = time - lead - start
                low, high = max(begin, 0), min(begin + length, count)
                if low < high:
                    block[low:high] += height * unit.waveform[low - begin : high - begin]
        block *= np.float32(1 / UV_PER_COUNT)
        yield np.clip(np.rint(block), -32768, 32767).astype(np.int16)


def _truth(units: list[_Unit]) -> NDArray[np.float64]:
    """Return the table of `firings_true.mda`, 3 x events: nearest channel, time in samples, unit, by time."""
    import numpy as np

    rows = [
        np.stack([np.full(len(unit.times), unit.channel), unit.times, np.full(len(unit.times), label)])
        for label, unit in enumerate(units, start=1)
    ]
    table = np.concatenate(rows, axis=1).astype(np.float64)
    return table[:, np.lexsort((table[2], table[1]))]
