"""Gains and locations of a Neuropixels probe, from a SpikeGLX .meta file and probeinterface's table of probes.

Source: SpikeGLX's metadata guide (`Markdown/Metadata_Help.md`) and its authors' `readSGLX.py` and
`SGLXMetaToCoords.py`. The table is IMEC's and SpikeGLX's `ProbeTable`, which probeinterface packages:
https://github.com/billkarsh/ProbeTable
"""

from __future__ import annotations

import json
import math
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import ProbeError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.formats.fields import shown
from spikecrate.recordings.formats.spikeglx_meta import as_number

if TYPE_CHECKING:
    from spikecrate.recordings.formats.spikeglx_meta import Meta
    from spikecrate.recordings.probe import Locations

PROTOTYPES: Final = {"PRB_1_2": "NP1000", "PRB_1_4": "NP1000", "PRB2_1": "NP2000", "PRB2_4": "NP2010"}
"""Part numbers of early probes begin like this; the value is the probe they equal."""


def imec_gains(meta: Meta, kept: int) -> tuple[float, ...]:
    """Return the gains of an imec file: 1e6 imAiRangeMax / imMaxInt / gain.

    Parameters
    ----------
    meta : Meta
        The .meta file.
    kept : int
        Channels of the recording, the file's first ones.

    Returns
    -------
    tuple of float
        uV per count, one a channel.

    Raises
    ------
    RecordingFormatError
        If a gain is missing or malformed.
    """
    counts = meta.number("imMaxInt") if "imMaxInt" in meta.values else _counts(meta)
    uv = 1e6 * meta.number("imAiRangeMax") / counts
    acquired = _saved(meta, kept)
    num_ap = _acquired_ap(meta)
    table = meta.entries("imroTbl")
    # Only probes with selectable gains have 6 columns, one of them the gain; phase 3A has 5.
    listed = bool(table) and len(table[0].split()) == 6
    if listed or _features(meta).get("imro_table_format_type") == "imro_np1000":
        return tuple(uv / _listed(meta, table, channel, num_ap) for channel in acquired)
    ap, lf = _common(meta)
    return tuple(uv / (ap if channel < num_ap else lf) for channel in acquired)


def imec_locations(meta: Meta, kept: int) -> Locations | None:
    """Return the locations of an imec file: x across the shanks, y (SpikeGLX's z) from the tip upward.

    Parameters
    ----------
    meta : Meta
        The .meta file.
    kept : int
        Channels of the recording, the file's first ones.

    Returns
    -------
    tuple of tuple of float, or None
        um, one row a channel; None where the file has no map of this probe.

    Raises
    ------
    ProbeError
        If the map has an entry that cannot be read, or fewer entries than channels.
    """
    if "snsGeomMap" in meta.values:
        name, header = "snsGeomMap", meta.header("snsGeomMap")
        pitch = as_number(header[2]) if len(header) > 2 else 0.0
        even_x = odd_x = 0.0
        pitch_x = pitch_z = 1.0
    else:
        # SpikeGLX before 20230202 wrote columns and rows in place of um.
        name, features = "snsShankMap", _features(meta)
        if name not in meta.values or not features:
            return None
        edge = "row_horz_offset_left_edge_to_leftmost_electrode_center_um"
        fields = ("shank_pitch_um", f"even_{edge}", f"odd_{edge}")
        pitch, even_x, odd_x = (float(features[field]) for field in fields)
        pitch_x, pitch_z = (float(features[f"electrode_pitch_{axis}_um"]) for axis in ("horz", "vert"))
    entries = meta.entries(name)
    if len(entries) < kept:
        message = f"{meta.path}: {name}: {len(entries)} entries for {kept} channels"
        raise ProbeError(message, next_step=f"copy {meta.path.name} again from where it was recorded")
    rows = []
    for entry in entries[:kept]:
        numbers = [as_number(word) for word in entry.split(":")]
        if len(numbers) != 4 or not all(map(math.isfinite, [*numbers, pitch])):
            message = f"{meta.path}: {name}: expected shank:x:z:used, got {shown(entry)}"
            raise ProbeError(message, next_step=f"copy {meta.path.name} again from where it was recorded")
        shank, x, z, _used = numbers
        rows.append((shank * pitch + (odd_x if z % 2 else even_x) + x * pitch_x, z * pitch_z))
    return tuple(rows)


def map_assumptions(meta: Meta, kept: int) -> list[Assumption]:
    """Return what the recording leaves out of the probe's map: further entries, and marks of channels not in use.

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
    name = "snsGeomMap" if "snsGeomMap" in meta.values else "snsShankMap"
    entries, found = meta.entries(name), []
    if len(entries) > kept:
        message = f"{name} has {len(entries)} entries for {kept} channels; the first {kept} are taken"
        next_step = "check the locations: a program may have split the file without its map"
        found.append(Assumption(field="probe", message=message, next_step=next_step))
    unused = sum(entry.split(":")[-1].strip() == "0" for entry in entries[:kept])
    if unused:
        message = f"channels that {name} marks as not in use (a reference or a dead site) are sorted: {unused} of {kept}"
        found.append(Assumption(field="channels", message=message))
    return found


@cache
def _table() -> dict[str, Any]:
    """Read probeinterface's table of probes, without the quarter of a second that importing probeinterface takes."""
    spec = find_spec("probeinterface")
    (folder,) = spec.submodule_search_locations if spec and spec.submodule_search_locations else ("",)
    text = Path(folder, "resources", "neuropixels_probe_features.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


def _features(meta: Meta) -> dict[str, str]:
    """Return the table's row for this probe, by part number or else by type; empty for an unknown probe."""
    table = _table()
    # Phase 3A has neither part number nor type, and the geometry of the probe of type 0.
    kind = meta.values.get("imDatPrb_type", "0")
    by_type = table["z_imro_format_type_to_part_number"].get(kind, "")
    part = meta.values.get("imDatPrb_pn") or by_type
    probes: dict[str, dict[str, str]] = table["neuropixels_probes"]
    if part not in probes:
        part = next((probe for start, probe in PROTOTYPES.items() if part.startswith(start)), part)
    return probes.get(part, {})


def _counts(meta: Meta) -> float:
    """Return imMaxInt of a file that does not give it: half of the converter's counts."""
    features = _features(meta)
    if not features:
        meta.refuse("imMaxInt", "missing, and the probe is not known")
    return 2.0 ** (int(features["adc_bit_depth"]) - 1)


def _saved(meta: Meta, kept: int) -> list[int]:
    """Return the acquired channels of the first `kept` channels of the file: all, or 0:35,72:95,384."""
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
    """Return the number of AP channels at acquisition: a channel beyond them is an LF channel."""
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


def _common(meta: Meta) -> tuple[float, float]:
    """Read the AP and LF gain of a probe that has one for all channels."""
    if "imChan0apGain" in meta.values:
        ap = meta.number("imChan0apGain")
        lf = as_number(meta.values.get("imChan0lfGain", ""))
        return ap, lf if lf > 0 else ap
    # NP1110 has selectable gains, in the header: (type,columns,reference,AP-gain,LF-gain,filter).
    header = [as_number(word) for word in meta.header("imroTbl")]
    if len(header) == 6 and header[3] > 0 and header[4] > 0:
        return header[3], header[4]
    only = as_number(_features(meta).get("ap_gain_list", ""))
    if not only > 0:
        kind = meta.values.get("imDatPrb_type", "0")[:20]
        meta.refuse("imChan0apGain", f"missing, and the gain of probe type {kind} is not known")
    return only, only
