"""SpikeGLX files of every Neuropixels part number that probeinterface knows, with electrodes chosen at random."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from recording_files import samples, write_spikeglx

if TYPE_CHECKING:
    from pathlib import Path

    from probeinterface import Probe

TABLE: dict[str, Any] = json.loads(
    (files("probeinterface") / "resources" / "neuropixels_probe_features.json").read_bytes()
)
FEATURES: dict[str, dict[str, str]] = TABLE["neuropixels_probes"]
EDGE = "row_horz_offset_left_edge_to_leftmost_electrode_center_um"
SIMPLE = "channel bank reference ap-gain lf-gain filter"
FIELDS = {
    "imro_np1000": SIMPLE,
    "imro_np2000": "channel mask reference electrode",
    "imro_np2003": "channel mask reference electrode",
    "imro_np2010": "channel shank bank reference electrode",
    "imro_np2013": "channel shank bank reference electrode",
    "imro_np2020": "channel shank bank reference electrode",
    "imro_np3010": "channel bank reference electrode",
    "imro_np3020": "channel shank bank reference electrode",
}
TYPES = {"imro_np1000": "0", "imro_np2000": "21", "imro_np2010": "24"}
"""Types in the header of an imroTbl; others are the digits of the format."""
PARTS = [part for part in FEATURES if part != "NP1110"]
"""NP1110 chooses its electrodes by groups; a real file of one is in tests/data."""
TABLES = ("imroTbl", "snsShankMap", "snsGeomMap")


def imro(part: str, seed: int) -> tuple[str, list[tuple[int, int, int]]]:
    """Write an imroTbl of random electrodes; give it and shank, column and row of each channel."""
    facts = FEATURES[part]
    names = FIELDS[facts["imro_table_format_type"]].split()
    shanks, columns, rows = (int(facts[name]) for name in ("num_shanks", "cols_per_shank", "rows_per_shank"))
    count, rng = min(int(facts["num_readout_channels"]), shanks * columns * rows), np.random.default_rng(seed)
    chosen = rng.permutation(shanks * columns * rows)[:count]
    if "electrode" not in names:
        banks = -(-columns * rows // count)
        chosen = np.array([channel + count * rng.integers(banks) for channel in range(count)])
        chosen = np.where(chosen < columns * rows, chosen, np.arange(count))
    header = TYPES.get(
        facts["imro_table_format_type"], facts["imro_table_format_type"].removeprefix("imro_np")
    )
    text, places = f"({header},{count})", []
    for channel, electrode in enumerate(chosen.tolist()):
        shank, on_shank = divmod(electrode, columns * rows)
        bank = on_shank // count if "electrode" not in names else 0
        values = {"channel": channel, "bank": bank, "shank": shank, "electrode": on_shank}
        values |= {"ap-gain": 500, "lf-gain": 250, "filter": 1, "mask": 1}
        text += "(" + " ".join(str(values.get(name, 0)) for name in names) + ")"
        places.append((shank, on_shank % columns, on_shank // columns))
    return text, places


def write_part(folder: Path, part: str, table: str, seed: int = 0) -> Path:
    """Write two samples of a probe whose places stand in one of `TABLES`; give the .bin."""
    facts, (text, electrodes) = FEATURES[part], imro(part, seed)
    even, odd = (float(facts[f"{parity}_{EDGE}"]) for parity in ("even", "odd"))
    x, z = (float(facts[f"electrode_pitch_{axis}_um"]) for axis in ("horz", "vert"))
    maps = {"~imroTbl": text, "~snsGeomMap": None}
    if table == "snsShankMap":
        maps["~snsShankMap"] = "(1,2,480)" + "".join(f"({s}:{c}:{r}:1)" for s, c, r in electrodes)
    elif table == "snsGeomMap":
        rows = [
            (shank, (odd if row % 2 else even) + column * x, row * z) for shank, column, row in electrodes
        ]
        header = f"({part},1,{facts['shank_pitch_um']},70)"
        maps["~snsGeomMap"] = header + "".join(f"({shank}:{a:g}:{b:g}:1)" for shank, a, b in rows)
    identity = {"imDatPrb_pn": part, "imDatPrb_type": "0", "imDatPrb_sn": "1"}
    return write_spikeglx(folder, samples(2, len(electrodes)), **identity, **maps)


def shanks(probe: Probe) -> list[str]:
    """Give the shank of each contact of probeinterface's probe; it names none where there is one."""
    names = [""] * probe.get_contact_count() if probe.shank_ids is None else probe.shank_ids
    return [str(name) or "0" for name in names]
