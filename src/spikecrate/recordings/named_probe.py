"""The probe that a user names for a recording: a file, or a kind of probe."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate.errors import ProbeError
from spikecrate.recordings.assumptions import Assumption
from spikecrate.recordings.formats.files import is_file
from spikecrate.recordings.probe import PITCH_UM, SUFFIXES, Probe, picked
from spikecrate.recordings.probe_files import read_channel_map, read_geom, read_prb, read_probeinterface

if TYPE_CHECKING:
    from collections.abc import Sequence

READERS: Final = dict(
    zip(SUFFIXES, (read_geom, read_probeinterface, read_prb, read_channel_map), strict=True)
)
KINDS: Final = "a geom.csv, .prb, chanMap.mat or probeinterface .json file, tetrode, column, or a Neuropixels part number"
WIRES: Final = 4
"""Channels of a tetrode."""
TETRODE_UM: Final = 10.0
"""From the middle of a tetrode to each of its wires, as `probeinterface.generate_tetrode` has it."""
APART_UM: Final = 1000.0
"""From one tetrode to the next; more than a spike reaches."""


def read_probe(word: str, num_channels: int, channel_ids: Sequence[str]) -> tuple[Probe, list[Assumption]]:
    """Return the probe that a user names with `--probe`.

    Parameters
    ----------
    word : str
        Path of a geom.csv, a .prb, a chanMap.mat or a probeinterface JSON; or `tetrode`, `column`, or the part number
        of a Neuropixels probe such as `NP1010`.
    num_channels : int
        Channels of the recording.
    channel_ids : sequence of str
        Names of these channels, for messages.

    Returns
    -------
    probe : Probe
        Its `channels` are those that the file names, where it leaves some out.
    assumptions : list of Assumption
        What to tell the user.

    Raises
    ------
    ProbeError
        If there is neither such a file nor such a kind, or it does not fit the channels.
    SpikecrateError
        As the readers of the files.
    """
    path = Path(word)
    reader = READERS.get(path.suffix.lower())
    if reader is not None:
        probe = reader(path, num_channels)
        return probe, _left_out(path.name, probe, channel_ids)
    if word == "column":
        return Probe(tuple((0.0, PITCH_UM * channel) for channel in range(num_channels))), []
    if word == "tetrode":
        return _tetrodes(num_channels), []
    from spikecrate.recordings.formats.neuropixels import bank_zero, part_numbers

    known = part_numbers()
    if word in known:
        return _neuropixels(word, bank_zero(word), num_channels)
    kinds = {name.casefold(): name for name in ("tetrode", "column", *known)}
    near = [] if is_file(path) else get_close_matches(word.casefold(), kinds, n=1)
    hint = f", did you mean {kinds[near[0]]}?" if near else ""
    message = f"probe {word}: it is neither a {', '.join(READERS)} file nor a kind of probe{hint}"
    raise ProbeError(message, next_step=f"name {KINDS}")


def _left_out(name: str, probe: Probe, channel_ids: Sequence[str]) -> list[Assumption]:
    """Return the assumption that channels without a place are not sorted."""
    if probe.channels is None:
        return []
    kept = set(probe.channels)
    missing = [channel_id for channel, channel_id in enumerate(channel_ids) if channel not in kept]
    shown = ", ".join(missing[:8]) + (", …" if len(missing) > 8 else "")
    message = f"{name} has no place for {len(missing)} of the {len(channel_ids)} channels, which are left out: {shown}"
    return [Assumption(field="channels", message=message, next_step=f"add them to {name} to sort them")]


def _tetrodes(num_channels: int) -> Probe:
    """Return tetrodes, one of every four channels, in a row."""
    if num_channels % WIRES:
        message = f"--probe tetrode: {num_channels} channels are not tetrodes of {WIRES}"
        raise ProbeError(message, next_step="name a probe file (--probe FILE), or --probe column")
    # The wires of probeinterface's tetrode: left, below, above, right.
    around = ((-TETRODE_UM, 0.0), (0.0, -TETRODE_UM), (0.0, TETRODE_UM), (TETRODE_UM, 0.0))
    number_and_wire = [divmod(channel, WIRES) for channel in range(num_channels)]
    rows = tuple((APART_UM * number + around[wire][0], around[wire][1]) for number, wire in number_and_wire)
    return Probe(rows, tuple(str(number) for number, _wire in number_and_wire))


def _neuropixels(part: str, bank: Probe, num_channels: int) -> tuple[Probe, list[Assumption]]:
    """Return the first channels of a Neuropixels probe, and the assumption that these were recorded."""
    count = len(bank.locations)
    if num_channels > count:
        message = f"--probe {part}: {num_channels} channels, the probe has {count}"
        raise ProbeError(message, next_step="name the file of a channel map: --probe FILE")
    message = f"the channels are taken as the first {num_channels} of {part} in bank 0, in the order of its channels"
    step = "name the file of the channel map (--probe FILE) where other electrodes were recorded"
    note = Assumption(field="probe", message=message, next_step=step)
    return picked(bank, range(num_channels)), [note]
