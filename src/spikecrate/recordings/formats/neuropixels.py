"""What a SpikeGLX .meta file says of a Neuropixels probe: gains and locations.

Source: SpikeGLX's metadata guide (`Markdown/Metadata_Help.md`) and its authors' `readSGLX.py` and
`SGLXMetaToCoords.py`, from which the table of probe shapes is.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final, NamedTuple

from spikecrate.errors import ProbeError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.formats.fields import shown
from spikecrate.recordings.formats.spikeglx_meta import as_number

if TYPE_CHECKING:
    from spikecrate.recordings.formats.spikeglx_meta import Meta
    from spikecrate.recordings.probe import Locations


class Shape(NamedTuple):
    """How the electrodes of a probe stand on its shanks, all in um."""

    even_x: float
    odd_x: float
    pitch_x: float
    pitch_z: float
    shank_pitch: float = 0.0


NP1: Final = Shape(27, 11, 32, 20)
NP1_LINEAR: Final = Shape(27, 27, 32, 20)
PRIMATE_STAGGERED: Final = Shape(27, 11, 87, 20)
PRIMATE_LINEAR: Final = Shape(11, 11, 103, 20)
ULTRA: Final = Shape(14, 14, 6, 6)
NP2: Final = Shape(27, 27, 32, 15)
NP2_FOUR: Final = Shape(27, 27, 32, 15, 250)
SHAPES: Final = {
    **dict.fromkeys(("3A", "PRB_1_4_0480_1", "PRB_1_4_0480_1_C"), NP1),
    **dict.fromkeys(("NP1000", "NP1001", "NP1010", "NP1011", "NP1012", "NP1013", "NP1200"), NP1),
    **dict.fromkeys(("NP1015", "NP1016", "NP1017"), NP1_LINEAR),
    **dict.fromkeys(("NP1020", "NP1021", "NP1030", "NP1031"), PRIMATE_STAGGERED),
    **dict.fromkeys(("NP1022", "NP1032"), PRIMATE_LINEAR),
    **dict.fromkeys(("NP1100", "NP1110"), ULTRA),
    **dict.fromkeys(("PRB2_1_4_0480_1", "PRB2_1_2_0640_0", "NP2000", "NP2003", "NP2004"), NP2),
    **dict.fromkeys(("PRB2_4_2_0640_0", "PRB2_4_4_0480_1", "NP2010", "NP2013", "NP2014"), NP2_FOUR),
    "NP1120": Shape(6.75, 6.75, 4.5, 4.5),
    "NP1121": Shape(6.25, 6.25, 3, 3),
    "NP1122": Shape(6.75, 6.75, 4.5, 4.5),
    "NP1123": Shape(10.25, 10.25, 3, 3),
    "NP1300": Shape(11, 11, 48, 20),
}
"""Needed only before SpikeGLX 20230202: since then the file gives every electrode's place."""
SELECTABLE: Final = {0, 1020, 1030, 1100, 1120, 1121, 1122, 1123, 1200, 1300}
"""Probe types whose gains are set channel by channel, in ~imroTbl."""
FIXED: Final = {21: 80.0, 24: 80.0, 2003: 100.0, 2013: 100.0}
"""AP gain of the probe types that have one only."""


def imec_gains(meta: Meta, kept: int) -> tuple[float, ...]:
    """Give the uV per count of the first `kept` channels of an imec file: 1e6 imAiRangeMax / imMaxInt / gain."""
    kind = meta.whole("imDatPrb_type") if "imDatPrb_type" in meta.values else 0
    uv = 1e6 * meta.number("imAiRangeMax") / meta.number("imMaxInt", 512.0)
    acquired = _saved(meta, kept)
    num_ap = _acquired_ap(meta)
    table = meta.entries("imroTbl")
    by_channel = bool(table) and len(table[0].split()) == 6
    if kind in SELECTABLE or (by_channel and kind not in FIXED):
        return tuple(uv / _listed(meta, table, channel, num_ap) for channel in acquired)
    ap, lf = _common(meta, kind)
    return tuple(uv / (ap if channel < num_ap else lf) for channel in acquired)


def imec_locations(meta: Meta, kept: int) -> Locations | None:
    """Give the locations of the first `kept` channels, um; None where the file has no map of this probe.

    x runs across the shanks, shank 0 at its own x; y (SpikeGLX's z) from the tip upward.

    Raises
    ------
    ProbeError
        If the map has an entry that cannot be read, or fewer entries than channels.
    """
    shape = SHAPES.get(meta.values.get("imDatPrb_pn", "3A"))
    if "snsGeomMap" in meta.values:
        name, header = "snsGeomMap", meta.header("snsGeomMap")
        pitch = as_number(header[2]) if len(header) > 2 else 0.0
    elif "snsShankMap" in meta.values and shape is not None:
        name, pitch = "snsShankMap", shape.shank_pitch
    else:
        return None
    entries = meta.entries(name)
    if len(entries) < kept:
        message = f"{meta.path}: {name}: {len(entries)} entries for {kept} channels"
        raise ProbeError(message, next_step=f"Copy {meta.path.name} again from where it was recorded.")
    rows = []
    for entry in entries[:kept]:
        numbers = [as_number(word) for word in entry.split(":")]
        if len(numbers) != 4 or not all(map(math.isfinite, [*numbers, pitch])):
            message = f"{meta.path}: {name}: expected shank:x:z:used, got {shown(entry)}"
            raise ProbeError(message, next_step=f"Copy {meta.path.name} again from where it was recorded.")
        shank, x, z, _used = numbers
        if name == "snsShankMap" and shape is not None:
            x, z = x * shape.pitch_x + (shape.odd_x if z % 2 else shape.even_x), z * shape.pitch_z
        rows.append((shank * pitch + x, z))
    return tuple(rows)


def unused_channels(meta: Meta, kept: int) -> list[Assumption]:
    """Return an assumption where the probe's map marks channels as not in use; they are sorted all the same.

    Parameters
    ----------
    meta : Meta
        The .meta file.
    kept : int
        Channels of the recording, the file's first ones.

    Returns
    -------
    list of Assumption
    """
    entries = meta.entries("snsGeomMap" if "snsGeomMap" in meta.values else "snsShankMap")[:kept]
    unused = sum(entry.split(":")[-1].strip() == "0" for entry in entries)
    if not unused:
        return []
    message = f"{unused} of the {kept} channels are marked as not in use (a reference or a dead site) and are sorted"
    return [Assumption(field="channels", message=message)]


def _saved(meta: Meta, kept: int) -> list[int]:
    """Give the acquired channels that the first `kept` channels of the file are: all, or 0:35,72:95,384."""
    subset = meta.values.get("snsSaveChanSubset", "all")
    if subset in ("all", ""):
        return list(range(kept))
    found: list[int] = []
    for word in subset.split(","):
        ends = re.fullmatch(r"\s*([0-9]{1,9})(?::([0-9]{1,9}))?\s*", word)
        if ends is None:
            meta.refuse("snsSaveChanSubset", f"expected channels such as 0:383,768, got {shown(word)}")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        found.extend(range(first, min(last + 1, first + kept)))
        if len(found) >= kept:
            break
    if len(found) < kept:
        meta.refuse("snsSaveChanSubset", f"{len(found)} channels where {kept} were saved")
    return found[:kept]


def _acquired_ap(meta: Meta) -> int:
    """Give the number of AP channels at acquisition: a channel beyond them is an LF channel."""
    text = meta.values.get("acqApLfSy", "").split(",")[0].strip()
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else 384


def _listed(meta: Meta, table: list[str], channel: int, num_ap: int) -> float:
    """Read a channel's gain from ~imroTbl: (channel bank reference AP-gain LF-gain filter)."""
    lf = channel >= num_ap
    index = channel - num_ap if lf else channel
    words = table[index].split() if index < len(table) else []
    gain = as_number(words[4 if lf else 3]) if len(words) >= 5 else math.nan
    if not gain > 0:
        problem = f"no gain for channel {channel}" if not words else f"no gain in ({shown(table[index])})"
        meta.refuse("imroTbl", problem)
    return gain


def _common(meta: Meta, kind: int) -> tuple[float, float]:
    """Read the AP and LF gain of a probe that has one for all channels."""
    if "imChan0apGain" in meta.values:
        ap = meta.number("imChan0apGain")
        lf = as_number(meta.values.get("imChan0lfGain", ""))
        return ap, lf if lf > 0 else ap
    if kind in FIXED:
        return FIXED[kind], FIXED[kind]
    header = [as_number(word) for word in meta.header("imroTbl")]
    if kind != 1110 or len(header) < 5 or not (header[3] > 0 and header[4] > 0):
        meta.refuse("imChan0apGain", f"missing, and the gain of probe type {kind} is not known")
    return header[3], header[4]
