"""Gains and locations of a Neuropixels probe, from a SpikeGLX .meta file and probeinterface's table of probes.

Source: SpikeGLX's metadata guide (`Markdown/Metadata_Help.md`) and its authors' `readSGLX.py` and
`SGLXMetaToCoords.py`. The table is IMEC's and SpikeGLX's `ProbeTable`, which probeinterface packages:
https://github.com/billkarsh/ProbeTable
"""

from __future__ import annotations

import json
import re
import sys
from functools import cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.errors import ProbeError
from spikecrate.recordings.formats.fields import number_in, shown
from spikecrate.recordings.probe import PUT_GEOM, Probe

if TYPE_CHECKING:
    from types import ModuleType

    from spikecrate.recordings.formats.spikeglx import Meta

PROTOTYPES: Final = {"PRB_1_2": "NP1000", "PRB_1_4": "NP1000", "PRB2_1": "NP2000", "PRB2_4": "NP2010"}
"""Part numbers of early probes begin like this; the value is the probe they equal."""
SIMPLE: Final = "imro_np1000"
"""Format of an imroTbl with (channel bank reference AP-gain LF-gain filter), one entry a channel."""
SPLIT: Final = "snsSaveChanSubset_orig"
"""IBL's splitter copies the probe's whole map into the .meta of each part, and lists the part's channels here.

https://github.com/int-brain-lab/ibl-neuropixel (`NP2Converter`)
"""
BANK: Final = 384
"""Electrodes of a bank of such a probe."""
EDGE: Final = "row_horz_offset_left_edge_to_leftmost_electrode_center_um"
GEOMETRY: Final = (
    "shank_pitch_um",
    f"even_{EDGE}",
    f"odd_{EDGE}",
    "electrode_pitch_horz_um",
    "electrode_pitch_vert_um",
)
"""Fields of the table that place an electrode by shank, column and row, from the left edge of the first shank."""
BLOCK: Final = 48
BLOCKS: Final = (0, 6, 1, 7, 2, 4, 3, 5)
"""Of a probe with four shanks: which 48 electrodes of bank 0 each 48 channels have, on the first shank.

https://github.com/billkarsh/SpikeGLX (`IMROTbl_T24base.cpp`)
"""
FOUR_SHANKS: Final = ("imro_np2010", "imro_np2013")


def saved_channels(meta: Meta, kept: int, name: str = "snsSaveChanSubset") -> list[int]:
    """Return which acquired channels the first `kept` channels of a file are.

    Parameters
    ----------
    meta : Meta
        The .meta file.
    kept : int
        Channels of the recording, the file's first ones.
    name : str
        The field that lists them: "all", or like 0:35,72:95,384.

    Returns
    -------
    list of int

    Raises
    ------
    RecordingFormatError
        If the field is malformed or names fewer channels.

    Examples
    --------
    >>> from pathlib import Path
    >>> from spikecrate.recordings.formats.spikeglx import Meta
    >>> saved_channels(Meta(Path("run.meta"), "snsSaveChanSubset=0:2,7,384"), 4)
    [0, 1, 2, 7]
    """
    subset = meta.text(name, "all")
    if subset in ("all", ""):
        return list(range(kept))
    found: list[int] = []
    for word in subset.split(","):
        ends = re.fullmatch(r"\s*([0-9]{1,9})(?::([0-9]{1,9}))?\s*", word)
        if ends is None:
            meta.refuse(name, f"expected channels such as 0:383,768, got {shown(word)}")
        first, last = int(ends[1]), int(ends[2] or ends[1])
        found.extend(range(first, min(last, first + kept) + 1))
        if len(found) >= kept:
            break
    if len(found) < kept:
        meta.refuse(name, f"{len(found)} channels where {kept} were saved")
    return found[:kept]


def imec_gains(meta: Meta, saved: list[int]) -> list[float]:
    """Return the gains of an imec file: 1e6 imAiRangeMax / imMaxInt / gain.

    Parameters
    ----------
    meta : Meta
        The .meta file.
    saved : list of int
        Channels of the recording, as `saved_channels` returns them.

    Returns
    -------
    list of float
        uV per count, one a channel.

    Raises
    ------
    RecordingFormatError
        If a gain is missing or malformed.
    """
    features, num_ap = _features(meta), acquired_ap(meta)
    if "imMaxInt" not in meta.data and not features:
        meta.refuse("imMaxInt", "missing, and the probe is not known")
    # Of the converter's counts, one half are above 0.
    counts = meta.number("imMaxInt", 2.0 ** (int(features["adc_bit_depth"]) - 1) if features else 0)
    uv = 1e6 * meta.number("imAiRangeMax") / counts
    header, table = meta.table("imroTbl")
    # Only probes with selectable gains have 6 columns, two of them the gains; phase 3A has 5.
    if (table and len(table[0].split()) == 6) or features.get("imro_table_format_type") == SIMPLE:
        return [uv / _listed_gain(meta, table, channel, num_ap) for channel in saved]
    if "imChan0apGain" in meta.data:
        ap = meta.number("imChan0apGain")
        lf = number_in(meta.text("imChan0lfGain", "")) or ap
    else:
        # NP1110 has its gains in the header: (type,columns,reference,AP-gain,LF-gain,filter).
        words = header[3:5] if len(header) == 6 else [features.get("ap_gain_list", "")] * 2
        ap, lf = (number_in(word) or 0.0 for word in words)
    if min(ap, lf) <= 0:
        kind = meta.text("imDatPrb_type", "0")[:20]
        meta.refuse("imChan0apGain", f"missing, and the gain of probe type {kind} is not known")
    return [uv / (ap if channel < num_ap else lf) for channel in saved]


def imec_map(meta: Meta, saved: list[int]) -> tuple[Probe | None, int]:
    """Return the locations of an imec file: x across the shanks, y (SpikeGLX's z) from the tip upward.

    Parameters
    ----------
    meta : Meta
        The .meta file.
    saved : list of int
        Channels of the recording, as `saved_channels` returns them.

    Returns
    -------
    probe : Probe or None
        Its groups are the shanks; None where the file has no map of this probe.
    unused : int
        How many of the channels the map marks as not in use.

    Raises
    ------
    ProbeError
        If an entry of the map cannot be read, or its entries are not those of the channels.
    """
    name, features = "snsGeomMap", _features(meta)
    header, entries = meta.table(name)
    if entries:
        pitch = number_in(header[2]) if len(header) > 2 else 0.0
        even_x = odd_x = 0.0
        pitch_x = pitch_z = 1.0
    elif not features:
        return None, 0
    else:
        # SpikeGLX before 20230202 wrote columns and rows in place of um, and none of them for an LF file.
        name, entries = "snsShankMap", meta.table("snsShankMap")[1]
        if not entries:
            name, entries = "imroTbl", _electrodes(meta, features)
        if not entries:
            return None, 0
        pitch, even_x, odd_x, pitch_x, pitch_z = (float(features[field]) for field in GEOMETRY)
    if name == "imroTbl":
        # One entry for each acquired channel; an LF channel has the place of its AP channel.
        num_ap = acquired_ap(meta)
        places = [channel - num_ap if channel >= num_ap else channel for channel in saved]
        entries = [entries[place] for place in places if place < len(entries)]
    elif len(entries) > len(saved) and SPLIT in meta.data:
        places = saved_channels(meta, len(saved), SPLIT)
        entries = [entries[place] for place in places if place < len(entries)]
    if len(entries) != len(saved):
        message = f"{meta.path}: {name}: {len(entries)} entries for {len(saved)} channels"
        raise ProbeError(message, next_step=PUT_GEOM)
    rows, groups = [], []
    for entry in entries:
        words = entry.split(":")
        numbers = [number for word in words if (number := number_in(word)) is not None]
        if not len(words) == len(numbers) == 4 or pitch is None:
            message = f"{meta.path}: {name}: expected shank:x:z:used, got {shown(entry)}"
            raise ProbeError(message, next_step=f"copy {meta.path.name} again from where it was recorded")
        shank, x, z, _used = numbers
        rows.append((shank * pitch + (odd_x if z % 2 else even_x) + x * pitch_x, z * pitch_z))
        groups.append(f"{shank:g}")
    return Probe(tuple(rows), tuple(groups)), sum(entry.split(":")[-1].strip() == "0" for entry in entries)


@cache
def probeinterface_readers() -> ModuleType:
    """Return probeinterface's `neuropixels_tools` without the rest of the package, which takes as long again to import.

    Returns
    -------
    types.ModuleType
        It has `read_openephys_neuropixels` and `has_neuropixels_probes`.
    """
    name = "probeinterface"
    spec = find_spec(name)
    if name not in sys.modules and spec is not None:
        # The package's own file, which imports requests among others, is not run.
        sys.modules[name] = module_from_spec(spec)
        try:
            return import_module(f"{name}.neuropixels_tools")
        finally:
            # A later import is one of the whole package.
            for loaded in [loaded for loaded in sys.modules if loaded.partition(".")[0] == name]:
                del sys.modules[loaded]
    return import_module(f"{name}.neuropixels_tools")


def part_numbers() -> list[str]:
    """Return the part numbers of Neuropixels probes that probeinterface knows."""
    return list(_table()["neuropixels_probes"])


def probe_shifts(part: str) -> dict[int, float]:
    """Return when each channel of a probe is sampled, in samples after the first one of its converter.

    A converter samples its channels one after the other, then the same channels of the LF band as often as its rate
    needs: 13 cycles a sample for the 12 channels of Neuropixels 1.0, 16 for the 16 of 2.0.
    https://github.com/billkarsh/ProbeTable/issues/3

    Parameters
    ----------
    part : str
        One of `part_numbers`.

    Returns
    -------
    dict
        Delay in samples, from 0 to below 1, by the number of the channel.
    """
    table = _table()
    features = table["neuropixels_probes"][part]
    head, *slots = re.findall(r"\(([^()]*)\)", table["z_mux_tables"][features["mux_table_format_type"]])
    ap, lf = (float(features[f"{band}_sample_frequency_hz"]) for band in ("ap", "lf"))
    cycles = round(int(head.split(",")[1]) * (1 + lf / ap))
    # Of the smaller probes some slots are filled up with a number that no channel has.
    count = int(features["num_readout_channels"])
    return {
        int(channel): slot / cycles
        for slot, channels in enumerate(slots)
        for channel in channels.split()
        if int(channel) < count
    }


def imec_shifts(meta: Meta, saved: list[int]) -> list[float] | None:
    """Return when the channels of an imec file are sampled.

    Parameters
    ----------
    meta : Meta
        The .meta file.
    saved : list of int
        Channels of the recording, as `saved_channels` returns them.

    Returns
    -------
    list of float or None
        In samples, one a channel; None for an unknown probe.
    """
    part = _features(meta).get("part_number")
    if part is None:
        return None
    shifts, num_ap = probe_shifts(part), acquired_ap(meta)
    channels = [channel - num_ap if channel >= num_ap else channel for channel in saved]
    return [shifts[channel] for channel in channels] if shifts.keys() >= set(channels) else None


def bank_zero(part: str) -> Probe:
    """Return the places of a Neuropixels probe's channels as they are before a user chooses electrodes.

    Parameters
    ----------
    part : str
        One of `part_numbers`.

    Returns
    -------
    Probe
        All channels, on bank 0 of the first shank; a probe with more channels than a shank's bank has them on all
        shanks. Its groups are the shanks.

    Raises
    ------
    ProbeError
        If the probe's channels are not in the order of its electrodes.
    """
    features = _table()["neuropixels_probes"][part]
    if features["imro_table_format_type"] == "imro_np1110":
        message = f"{part}: its channels are not in the order of its electrodes"
        raise ProbeError(message, next_step="name the file of its channel map: --probe FILE")
    pitch, even_x, odd_x, pitch_x, pitch_z = (float(features[field]) for field in GEOMETRY)
    sizes = ("num_shanks", "cols_per_shank", "rows_per_shank", "num_readout_channels")
    shanks, columns, num_rows, readout = (int(features[name]) for name in sizes)
    count = min(readout, shanks * columns * num_rows)
    on_shank = count // shanks if count > BANK else count
    rows, groups = [], []
    for channel in range(count):
        shank, electrode = divmod(channel, on_shank)
        if features["imro_table_format_type"] in FOUR_SHANKS:
            electrode = BLOCKS[channel // BLOCK] * BLOCK + channel % BLOCK
        row, column = divmod(electrode, columns)
        rows.append((shank * pitch + (odd_x if row % 2 else even_x) + column * pitch_x, row * pitch_z))
        groups.append(str(shank))
    return Probe(tuple(rows), tuple(groups))


@cache
def _table() -> dict[str, Any]:
    """Read probeinterface's table of probes, without the quarter of a second that importing probeinterface takes."""
    spec = find_spec("probeinterface")
    (folder,) = spec.submodule_search_locations if spec and spec.submodule_search_locations else ("",)
    table = Path(folder, "resources", "neuropixels_probe_features.json")
    return dict(json.loads(table.read_bytes()))


def _features(meta: Meta) -> dict[str, str]:
    """Return the table's row for this probe, by part number or else by type; empty for an unknown probe."""
    table = _table()
    # Phase 3A has neither part number nor type, and the geometry of the probe of type 0.
    kind = meta.text("imDatPrb_type", "0")
    part = meta.text("imDatPrb_pn", "") or table["z_imro_format_type_to_part_number"].get(kind, "")
    probes: dict[str, dict[str, str]] = table["neuropixels_probes"]
    if part not in probes:
        part = next((probe for start, probe in PROTOTYPES.items() if part.startswith(start)), part)
    return probes.get(part, {})


def _electrodes(meta: Meta, features: dict[str, str]) -> list[str]:
    """Return shank:column:row:used of every acquired channel by the imroTbl; none where that names no electrodes."""
    names = _table()["z_imro_formats"][f"{features['imro_table_format_type']}_elm_flds"].strip("()").split()
    if features["imro_table_format_type"] != SIMPLE and "electrode" not in names:
        return []
    found = []
    for entry in meta.table("imroTbl")[1]:
        words = entry.split()
        # Phase 3A lacks the last one.
        if len(words) < len(names) - 1 or not all(re.fullmatch("[0-9]{1,5}", word) for word in words):
            meta.refuse("imroTbl", f"expected {' '.join(names)}, got {shown(entry)}")
        values = dict(zip(names, map(int, words), strict=False))
        electrode = values["electrode"] if "electrode" in names else values["bank"] * BANK + values["channel"]
        row, column = divmod(electrode, int(features["cols_per_shank"]))
        found.append(f"{values.get('shank', 0)}:{column}:{row}:1")
    return found


def acquired_ap(meta: Meta) -> int:
    """Return the number of AP channels at acquisition: a channel beyond them is an LF channel.

    Parameters
    ----------
    meta : Meta
        The .meta file.

    Returns
    -------
    int
    """
    text = meta.text("acqApLfSy", "").split(",")[0].strip()
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,8}", text) else 384


def _listed_gain(meta: Meta, table: list[str], channel: int, num_ap: int) -> float:
    """Read a channel's gain from ~imroTbl: (channel bank reference AP-gain LF-gain filter)."""
    lf = channel >= num_ap
    index = channel - num_ap if lf else channel
    words = table[index].split() if index < len(table) else []
    gain = number_in(words[4 if lf else 3]) if len(words) >= 5 else None
    if gain is None or gain <= 0:
        problem = f"no gain for channel {channel}" if not words else f"no gain in ({shown(table[index])})"
        meta.refuse("imroTbl", problem)
    return gain
