"""Measure the channels of a recording, block by block: noise, offset, hum, limits, drop-outs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from spikecrate_harness.layout import Layout

STRETCH_S: Final = 1.0
"""Seconds: frequencies are then resolved to 1 Hz."""
AVERAGE_S: Final = 0.002
"""The moving average: half of the power passes it at 220 Hz, above the mains' harmonics and below spikes."""
BLOCK_VALUES: Final = 2**22
"""Samples x channels of a block at most: 32 MiB of float64."""
DROP_OUT_S: Final = 0.004
"""Below the least that is lost at once: a data block of Intan's RHX, 128 samples at 30 kHz (4.3 ms)."""
LEAST_DROP_OUT: Final = 20
"""Samples; of a slow, smooth signal few may be equal by chance."""
RUN: Final = 3
"""Samples in a row at the limit; noise reaches it with one."""
MAINS_HZ: Final = (50, 60)
HARMONICS: Final = (1, 2, 3)
LOBE_HZ: Final = 2
"""Width of a line's peak to either side with a Hann window over a second."""
BESIDE_HZ: Final = 7
"""How far beside a line its background is measured: 50 and 60 Hz stay apart."""
MAD_OF_GAUSS: Final = 0.6745
KEPT: Final = 100
"""Drop-outs that are listed; all are counted."""


@dataclass(frozen=True, kw_only=True)
class DropOut:
    """A stretch in which no channel changes.

    Attributes
    ----------
    start_s, duration_s : float
        Seconds.
    """

    start_s: float
    duration_s: float


@dataclass(kw_only=True)
class Measurements:
    """What was measured so far; per channel in counts.

    Attributes
    ----------
    sampling_frequency : float
        Hz.
    num_channels : int
        Channels.
    window : int
        Samples of the moving average.
    not_finite : numpy.ndarray
        Number of values that are NaN or infinite.
    resolution : float
        Least difference of two values: 1, or 0 for floating point.
    num_samples : int
        Samples that were read.
    drop_outs : list of DropOut
        The first of them.
    drop_outs_count : int
        All of them.
    drop_outs_s : float
        Their duration together.
    """

    sampling_frequency: float
    num_channels: int
    window: int
    not_finite: Any
    resolution: float = 1.0
    num_samples: int = 0
    drop_outs: list[DropOut] = field(default_factory=list)
    drop_outs_count: int = 0
    drop_outs_s: float = 0.0
    _noise: list[Any] = field(default_factory=list)
    _deviations: list[Any] = field(default_factory=list)
    _means: list[Any] = field(default_factory=list)
    _slow: list[Any] = field(default_factory=list)
    _power: Any = 0
    _powers: int = 0
    _limits: Any = None
    _at_limit: Any = None
    _last: Any = None
    _next: int = -1
    _unchanged: int = 0

    @classmethod
    def of(cls, layout: Layout) -> Measurements:
        """Return empty measurements.

        Parameters
        ----------
        layout : Layout
            Layout of the recording.
        """
        import numpy as np

        rate = layout.sampling_frequency
        return cls(
            sampling_frequency=rate,
            num_channels=layout.num_channels,
            window=max(2, round(AVERAGE_S * rate)),
            not_finite=np.zeros(layout.num_channels, dtype=np.int64),
        )

    @property
    def stretch(self) -> int:
        """Samples of a stretch."""
        return max(1, round(STRETCH_S * self.sampling_frequency))

    def blocks(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Yield the blocks of a stretch, each a multiple of the moving average's samples but for the last.

        Parameters
        ----------
        start, stop : int
            The stretch.
        """
        averages = max(2, BLOCK_VALUES // (self.num_channels * self.window))
        step = averages * self.window
        yield from ((first, min(first + step, stop)) for first in range(start, stop, step))

    def begin(self, start: int) -> None:
        """Begin a stretch; one that follows the last one goes on with its drop-out.

        Parameters
        ----------
        start : int
            Its first sample.
        """
        if start != self._next:
            self.close()
            self._last = None
        self._slow, self._deviations = [], []

    def add(self, counts: Any, start: int, *, with_noise: bool) -> None:
        """Measure one block.

        Parameters
        ----------
        counts : numpy.ndarray
            Samples x channels, as in the file.
        start : int
            Its first sample.
        with_noise : bool
            Whether to measure noise, offset and hum too.
        """
        import numpy as np

        self.num_samples += len(counts)
        self._next = start + len(counts)
        if counts.dtype.kind == "f":
            wrong = ~np.isfinite(counts)
            self.not_finite += wrong.sum(axis=0)
            counts = np.where(wrong, 0, counts)
            self.resolution = 0.0
        unchanged = self._find_drop_outs(counts, start)
        self._find_limits(counts, unchanged)
        if not with_noise or len(counts) < self.window:
            return
        window, values = self.window, counts.astype(np.float64)
        total = np.zeros((len(values) + 1, self.num_channels))
        np.cumsum(values, axis=0, out=total[1:])
        rest = values[window // 2 :][: len(total) - window]
        rest = rest - (total[window:] - total[:-window]) / window
        # The median of every third value differs little, and takes a third of the time.
        self._deviations.append(np.median(np.abs(rest[::3].T), axis=1) / MAD_OF_GAUSS)
        self._slow.append(np.diff(total[::window], axis=0) / window)

    def end(self, *, with_noise: bool) -> None:
        """End a stretch: take its mean, and the spectrum of its averages if it lasts a second.

        Parameters
        ----------
        with_noise : bool
            As in `add`.
        """
        import numpy as np

        if not with_noise or not self._slow:
            return
        self._noise.append(np.median(self._deviations, axis=0))
        slow = np.concatenate(self._slow)
        self._means.append(slow.mean(axis=0))
        if len(slow) < self.stretch // self.window:
            return
        hann = np.hanning(len(slow) + 1)[:-1, np.newaxis]
        spectrum = np.fft.rfft((slow - self._means[-1]) * hann, axis=0)
        self._power = self._power + 2 * np.abs(spectrum) ** 2 / (len(slow) * (hann**2).sum())
        self._powers += 1

    def close(self) -> None:
        """End the drop-out that lasts to the last sample read."""
        if self._unchanged:
            self._drop_out(self._next - self._unchanged - 1, self._unchanged + 1)
        self._unchanged = 0

    def noise(self) -> Any:
        """Return the standard deviation of the noise of each channel; 0 where the recording is too short."""
        import numpy as np

        return np.median(self._noise, axis=0) if self._noise else np.zeros(self.num_channels)

    def offsets(self) -> tuple[Any, Any]:
        """Return the median of the stretches' means, and their robust standard deviation."""
        import numpy as np

        means = np.array(self._means or [np.zeros(self.num_channels)])
        median = np.median(means, axis=0)
        return median, np.median(np.abs(means - median), axis=0) / MAD_OF_GAUSS

    def range(self) -> Any:
        """Return the difference of each channel's limits."""
        return self._limits[1] - self._limits[0]

    def clipped(self) -> Any:
        """Return the share of samples in runs at either limit."""
        return self._at_limit.sum(axis=0) / self.num_samples

    def hum(self) -> tuple[Any, Any, Any]:
        """Return of each channel the stronger mains frequency, its root mean square, and how it stands out.

        Returns
        -------
        hertz, rms, ratio : numpy.ndarray
            The ratio is that of the power at the fundamental to the median power beside it. All are 0 where no
            stretch is long enough.
        """
        import numpy as np

        best = np.zeros((3, self.num_channels))
        if not self._powers:
            return best[0], best[1], best[2]
        power = self._power / self._powers
        rate = self.sampling_frequency / self.window
        hertz = np.arange(len(power)) * rate / (self.stretch // self.window)
        for mains in MAINS_HZ:
            total, ratio = np.zeros(self.num_channels), np.zeros(self.num_channels)
            for harmonic in HARMONICS:
                distance = np.abs(hertz - harmonic * mains)
                line, beside = distance <= LOBE_HZ, (distance > LOBE_HZ) & (distance <= BESIDE_HZ)
                if (harmonic * mains + BESIDE_HZ) * 2 > rate:
                    break
                background = np.median(power[beside], axis=0)
                above = np.maximum(power[line].sum(axis=0) - background * line.sum(), 0)
                # The moving average weakens a tone by the sinc of its frequency.
                total += above / np.sinc(harmonic * mains / rate) ** 2
                if harmonic == 1:
                    ratio = power[line].max(axis=0) / np.maximum(background, np.finfo(float).tiny)
            found = np.stack([np.full(self.num_channels, mains), np.sqrt(total), ratio])
            best = np.where(found[1] > best[1], found, best)
        return best[0], best[1], best[2]

    def _find_drop_outs(self, counts: Any, start: int) -> Any:
        """Find the samples at which no channel changes; return them as flags."""
        import numpy as np

        before = counts[:1] if self._last is None else self._last
        unchanged = np.empty(len(counts), dtype=bool)
        unchanged[0] = self._last is not None and (counts[0] == before[0]).all()
        unchanged[1:] = (counts[1:] == counts[:-1]).all(axis=1)
        self._last = counts[-1:].copy()
        edges = np.flatnonzero(np.diff(np.concatenate([[False], unchanged, [False]]))).tolist()
        if self._unchanged and not unchanged[0]:
            self._drop_out(start - self._unchanged - 1, self._unchanged + 1)
            self._unchanged = 0
        for first, last in zip(edges[::2], edges[1::2], strict=True):
            length = last - first + (self._unchanged if first == 0 else 0)
            if last == len(counts):
                self._unchanged = length
                return unchanged
            self._drop_out(start + last - length - 1, length + 1)
        self._unchanged = 0
        return unchanged

    def _drop_out(self, start: int, length: int) -> None:
        """Keep a drop-out that is long enough."""
        seconds = length / self.sampling_frequency
        if seconds < DROP_OUT_S or length < LEAST_DROP_OUT:
            return
        self.drop_outs_count += 1
        self.drop_outs_s += seconds
        if len(self.drop_outs) < KEPT:
            self.drop_outs.append(DropOut(start_s=start / self.sampling_frequency, duration_s=seconds))

    def _find_limits(self, counts: Any, unchanged: Any) -> None:
        """Count the samples in runs at the least and the largest value so far."""
        import numpy as np

        if self._limits is None:
            self._limits = np.stack([counts[0], counts[0]]).astype(np.float64)
            self._at_limit = np.zeros((2, self.num_channels), dtype=np.int64)
        for side, extreme in enumerate((counts.min(axis=0), counts.max(axis=0))):
            beyond = extreme < self._limits[0] if side == 0 else extreme > self._limits[1]
            self._limits[side] = np.where(beyond, extreme, self._limits[side])
            self._at_limit[side][beyond] = 0
            columns = np.flatnonzero(extreme == self._limits[side])
            if not len(columns):
                continue
            at = counts[:, columns] == extreme[columns]
            if self.num_channels > 1:
                # A drop-out may well lie at a limit, of an unsigned type at 0.
                at &= ~unchanged[:, np.newaxis]
            triples = at[2:] & at[1:-1] & at[:-2]
            in_run = np.zeros_like(at)
            for shift in range(RUN):
                in_run[shift : shift + len(triples)] |= triples
            self._at_limit[side][columns] += in_run.sum(axis=0)
