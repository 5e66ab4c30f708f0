"""Where the samples of a recording lie in its files: plain numbers, the same in the library and in the image.

A `Layout` travels as JSON in `job.json`, so it is checked again where it arrives. Standard library only.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, fields
from pathlib import PurePosixPath
from typing import Any, Final

DTYPE: Final = re.compile(r"\|[iu]1|[<>][iu][248]|[<>]f[248]")
"""The sample types that can be read: real numbers with their byte order. Complex samples cannot be sorted."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A stretch of samples of one flat file.

    Attributes
    ----------
    file : str
        Path of the sample file, relative to the recording's folder, with forward slashes.
    dtype : str
        numpy's name of the sample type with byte order: "<i2", "<f4", "|u1".
    offset : int
        Bytes before the first sample of the file.
    time_axis : int
        0: interleaved (samples x channels in C order); 1: one channel after the other.
    file_channels : int
        Channels in the file.
    file_samples : int
        Samples per channel in the file.
    channels : tuple of int
        The columns of the file that are the recording's channels, in order.
    start : int
        The first sample of the stretch, counted from the first of the file.
    num_samples : int
        Samples per channel of the stretch.

    Raises
    ------
    ValueError
        If a field is out of its range; the message starts with the field's name.
    """

    file: str
    dtype: str
    offset: int
    time_axis: int
    file_channels: int
    file_samples: int
    channels: tuple[int, ...]
    start: int
    num_samples: int

    def __post_init__(self) -> None:
        """Check every field against the others."""
        path = PurePosixPath(self.file)
        _hold(
            bool(path.name) and not path.is_absolute() and ".." not in path.parts and "\0" not in self.file,
            "file",
            f"{self.file!r} is not a path inside the recording's folder",
        )
        _hold(
            DTYPE.fullmatch(self.dtype) is not None, "dtype", f"{self.dtype!r} is not a type of real samples"
        )
        _hold(self.offset >= 0, "offset", f"{self.offset} is negative")
        _hold(self.time_axis in (0, 1), "time_axis", f"{self.time_axis} is neither 0 nor 1")
        _hold(self.file_channels >= 1, "file_channels", f"{self.file_channels} is not a number of channels")
        _hold(self.file_samples >= 1, "file_samples", f"{self.file_samples} is not a number of samples")
        _hold(len(self.channels) >= 1, "channels", "there are none")
        _hold(
            all(0 <= column < self.file_channels for column in self.channels),
            "channels",
            f"a column is outside the {self.file_channels} channels of the file",
        )
        _hold(len(set(self.channels)) == len(self.channels), "channels", "a column is named twice")
        _hold(self.start >= 0, "start", f"{self.start} is negative")
        _hold(self.num_samples >= 1, "num_samples", f"{self.num_samples} is not a number of samples")
        _hold(
            self.start + self.num_samples <= self.file_samples,
            "num_samples",
            f"the stretch ends beyond the {self.file_samples} samples of the file",
        )

    @property
    def itemsize(self) -> int:
        """Bytes of one sample of one channel."""
        return int(self.dtype[2:])

    @property
    def file_bytes(self) -> int:
        """Bytes that the file has at least."""
        return self.offset + self.file_samples * self.file_channels * self.itemsize

    @property
    def num_bytes(self) -> int:
        """Bytes of the stretch, with all channels of the file."""
        return self.num_samples * self.file_channels * self.itemsize


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The samples of a recording and their meaning.

    Attributes
    ----------
    parts : tuple of Part
        The stretches of files that follow one another in the recording.
    sampling_frequency : float
        Hz.
    gains : tuple of float
        uV per count, one a channel.
    offsets : tuple of float
        uV, one a channel.
    locations : tuple of tuple of float
        um, one row a channel, 2 or 3 columns.

    Raises
    ------
    ValueError
        If a field is out of its range; the message starts with the field's name.
    """

    parts: tuple[Part, ...]
    sampling_frequency: float
    gains: tuple[float, ...]
    offsets: tuple[float, ...]
    locations: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        """Check every field against the others."""
        _hold(len(self.parts) >= 1, "parts", "there are none")
        first = self.parts[0]
        _hold(
            all(len(part.channels) == len(first.channels) for part in self.parts),
            "parts",
            "they differ in the number of channels",
        )
        _hold(
            all(part.dtype[1:] == first.dtype[1:] for part in self.parts),
            "parts",
            "they differ in the type of the samples",
        )
        _hold(
            math.isfinite(self.sampling_frequency) and self.sampling_frequency > 0,
            "sampling_frequency",
            f"{self.sampling_frequency} is not a frequency in Hz",
        )
        for name, rows in (("gains", self.gains), ("offsets", self.offsets), ("locations", self.locations)):
            _hold(
                len(rows) == self.num_channels, name, f"{len(rows)} entries for {self.num_channels} channels"
            )
        for name, values in (("gains", self.gains), ("offsets", self.offsets)):
            _hold(all(map(math.isfinite, values)), name, "a value is not finite")
        _hold(
            len(self.locations[0]) in (2, 3) and len({len(row) for row in self.locations}) == 1,
            "locations",
            "rows must all have 2 or all have 3 columns",
        )
        _hold(
            all(math.isfinite(value) for row in self.locations for value in row),
            "locations",
            "a coordinate is not finite",
        )

    @property
    def num_channels(self) -> int:
        """Channels of the recording."""
        return len(self.parts[0].channels)

    @property
    def num_samples(self) -> int:
        """Samples per channel."""
        return sum(part.num_samples for part in self.parts)

    @property
    def dtype(self) -> str:
        """Type of the samples in the first file; the parts may differ in byte order alone."""
        return self.parts[0].dtype

    @property
    def itemsize(self) -> int:
        """Bytes of one sample of one channel."""
        return self.parts[0].itemsize

    @property
    def num_bytes(self) -> int:
        """Bytes of the samples in the files, with all channels of the files."""
        return sum(part.num_bytes for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """Return the layout as JSON types."""
        return {
            "parts": [{**asdict(part), "channels": list(part.channels)} for part in self.parts],
            "sampling_frequency": self.sampling_frequency,
            "gains": list(self.gains),
            "offsets": list(self.offsets),
            "locations": [list(row) for row in self.locations],
        }

    @classmethod
    def from_dict(cls, data: Any) -> Layout:
        """Return the layout of a dict from `as_dict`.

        Raises
        ------
        ValueError
            If a field is missing, unknown, of the wrong type or out of its range; the message names it.
        """
        _hold_fields("layout", cls, data)
        return cls(
            parts=tuple(map(_part, _row("parts", data["parts"]))),
            sampling_frequency=_real("sampling_frequency", data["sampling_frequency"]),
            gains=tuple(_real("gains", value) for value in _row("gains", data["gains"])),
            offsets=tuple(_real("offsets", value) for value in _row("offsets", data["offsets"])),
            locations=tuple(
                tuple(_real("locations", value) for value in _row("locations", row))
                for row in _row("locations", data["locations"])
            ),
        )


def _part(data: Any) -> Part:
    """Return the part of a dict."""
    _hold_fields("parts", Part, data)
    whole = ("offset", "time_axis", "file_channels", "file_samples", "start", "num_samples")
    return Part(
        file=_text(data, "file"),
        dtype=_text(data, "dtype"),
        channels=tuple(_whole("channels", value) for value in _row("channels", data["channels"])),
        **{name: _whole(name, data[name]) for name in whole},
    )


def _hold_fields(name: str, kind: type[Part | Layout], data: Any) -> None:
    """Raise a ValueError unless the data have each field of a class and no other."""
    _hold(isinstance(data, dict), name, f"expected an object, got {type(data).__name__}")
    names = {field.name for field in fields(kind)}
    for field in sorted(names ^ set(data), key=str):
        _hold(field in data, str(field), "missing")
        _hold(field in names, str(field), "unknown field")


def _hold(condition: bool, field: str, problem: str) -> None:
    """Raise a ValueError that names the field unless the condition holds."""
    if not condition:
        message = f"{field}: {problem}"
        raise ValueError(message)


def _text(data: dict[str, Any], field: str) -> str:
    """Return a field that must be text."""
    value = data[field]
    _hold(isinstance(value, str), field, f"expected text, got {type(value).__name__}")
    return str(value)


def _whole(field: str, value: Any) -> int:
    """Return a value that must be a whole number; true and false are not numbers here."""
    _hold(
        isinstance(value, int) and not isinstance(value, bool),
        field,
        f"expected a whole number, got {type(value).__name__}",
    )
    return int(value)


def _real(field: str, value: Any) -> float:
    """Return a value that must be a number that a float can hold."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    _hold(number, field, f"expected a number, got {type(value).__name__}")
    try:
        return float(value)
    except OverflowError:
        message = f"{field}: {str(value)[:20]}... is too large"
        raise ValueError(message) from None


def _row(field: str, value: Any) -> list[Any]:
    """Return a value that must be a list."""
    _hold(isinstance(value, list), field, f"expected a list, got {type(value).__name__}")
    return list(value)
