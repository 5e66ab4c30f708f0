"""Files that hold a probe: geom.csv, probeinterface JSON, .prb, and Kilosort's chanMap.mat."""

from __future__ import annotations

import ast
import math
import re
from typing import TYPE_CHECKING, Any, Final, Literal

from spikecrate.errors import ProbeError
from spikecrate.recordings.formats.fields import Fields, as_numbers, number_in, shown
from spikecrate.recordings.formats.files import is_file, read_json, read_text
from spikecrate.recordings.probe import Probe

if TYPE_CHECKING:
    from pathlib import Path

    Contact = tuple[tuple[float, ...], str, int | None]
    Order = Literal["wires", "ranks", "given"]

GEOM: Final = "geom.csv"
PROBE: Final = "probe.json"
PER_UM: Final = {"um": 1.0, "mm": 1e3, "m": 1e6}
LITERALS: Final = (ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict, ast.UnaryOp)
MAX_CONTACTS: Final = 2**17
"""As many as a recording may have channels."""


def read_beside(folder: Path, num_channels: int) -> Probe | None:
    """Read the probe that a user put beside the samples.

    Parameters
    ----------
    folder : Path
        Folder with a geom.csv or a probe.json (probeinterface).
    num_channels : int
        Channels of the recording.

    Returns
    -------
    Probe or None
        None where neither file exists.
    """
    geom, probe = folder / GEOM, folder / PROBE
    if is_file(geom):
        return read_geom(geom, num_channels)
    return read_probeinterface(probe, num_channels) if is_file(probe) else None


def read_geom(path: Path, num_channels: int) -> Probe:
    """Read a MountainSort geom.csv: one row a channel, x and y in um (a third number is z).

    Parameters
    ----------
    path : Path
        The file. Empty lines and lines that start with # are ignored.
    num_channels : int
        Number of rows.

    Returns
    -------
    Probe
        Without groups.

    Raises
    ------
    ProbeError
        If a line is not numbers, or there are more or fewer rows than channels.
    """
    rows: list[tuple[float, ...]] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        words = re.split(r"[\s,]+", text.rstrip(","))
        row = tuple(value for word in words if (value := number_in(word)) is not None)
        if len(row) not in (2, 3) or len(row) != len(words):
            raise _refused(path, f"line {number}: expected x,y in um, got {shown(text)}")
        if rows and len(row) != len(rows[0]):
            raise _refused(path, f"line {number}: {len(row)} numbers, the lines before have {len(rows[0])}")
        rows.append(row)
    if len(rows) != num_channels:
        step = f"write one row a channel to {path.name}, in the channels' order"
        raise _refused(path, f"{len(rows)} rows for {num_channels} channels", next_step=step)
    return Probe(tuple(rows))


def read_probeinterface(path: Path, num_channels: int, *, order: Order = "wires") -> Probe:
    """Read a probe or a group of probes in probeinterface's JSON.

    Parameters
    ----------
    path : Path
        The file. Source of the format: probeinterface's `io.py` and `probegroup.py`.
    num_channels : int
        Channels of the recording.
    order : {"wires", "ranks", "given"}
        How contacts map to channels. "wires": `device_channel_indices` is the channel, as probeinterface defines
        it. "ranks": only the order of the indices counts (SpikeInterface's probe.json, before 0.105). "given":
        contacts are in the channels' order (its probegroup.json, since 0.105). A file without indices is in the
        channels' order.

    Returns
    -------
    Probe
        Its groups are the shanks, of several probes by number: "1" or "1.0" (probe 1, shank 0); None where the
        file has one probe without shanks.

    Raises
    ------
    ProbeError
        If the contacts do not fit the channels.
    RecordingFormatError
        If the file is not one of probeinterface's.
    """
    top = Fields(read_json(path), path)
    contacts: list[Contact] = []
    probes = top.objects("probes")
    for number, probe in enumerate(probes):
        # Several probes without wiring follow one another.
        contacts += _contacts(probe, str(number) if len(probes) > 1 else "")
    places = top.data.get("global_contact_order")
    if places is not None:
        if not isinstance(places, list) or sorted(map(str, places)) != sorted(map(str, range(len(contacts)))):
            raise _refused(path, "global_contact_order does not name every contact once")
        contacts = [contacts[int(place)] for place in places]
    if len({len(row) for row, _group, _wire in contacts}) > 1:
        raise _refused(path, "some probes have 2 coordinates, others 3")
    if order != "given" and any(wire is not None for _row, _group, wire in contacts):
        contacts = _by_wire(path, contacts, num_channels if order == "wires" else None)
    if len(contacts) != num_channels:
        raise _refused(path, f"{len(contacts)} contacts for {num_channels} channels")
    groups = tuple(group for _row, group, _wire in contacts)
    return Probe(tuple(row for row, _group, _wire in contacts), groups if any(groups) else None)


def _contacts(probe: Fields, number: str) -> list[Contact]:
    """Read one probe: its contacts in um, the group of each, and its channel (None: not given)."""
    unit = probe.text("si_units", "um")
    if unit not in PER_UM:
        probe.refuse("si_units", f"expected um, mm or m, got {unit!r}")
    rows: list[tuple[float, ...]] = []
    for position in probe.items("contact_positions"):
        row = tuple(value * PER_UM[unit] for value in as_numbers(position) or ())
        if len(row) not in (2, 3) or not all(map(math.isfinite, row)):
            probe.refuse(f"contact_positions[{len(rows)}]", f"expected x and y, got {shown(position)}")
        rows.append(row)
    wires: list[Any] = probe.items("device_channel_indices", [None] * len(rows))
    if len(wires) != len(rows) or not all(wire is None or type(wire) is int for wire in wires):
        probe.refuse("device_channel_indices", f"expected {len(rows)} whole numbers, got {shown(wires)}")
    shanks: list[Any] = probe.items("shank_ids", [""] * len(rows))
    if len(shanks) != len(rows) or not all(isinstance(shank, (str, int)) for shank in shanks):
        probe.refuse("shank_ids", f"expected {len(rows)} names, got {shown(shanks)}")
    groups = [".".join(filter(None, (number, str(shank)))) for shank in shanks]
    return list(zip(rows, groups, wires, strict=True))


def _by_wire(path: Path, contacts: list[Contact], num_channels: int | None) -> list[Contact]:
    """Return the contacts in the order of their wires, without those that are not recorded (-1)."""
    place = {contact[2]: contact for contact in contacts if contact[2] is not None and contact[2] >= 0}
    channels = sorted(place) if num_channels is None else range(num_channels)
    for channel in channels:
        if channel not in place:
            raise _refused(path, f"device_channel_indices: no contact is wired to channel {channel}")
    return [place[channel] for channel in channels]


def read_prb(path: Path, num_channels: int) -> Probe:
    """Read a .prb file of Klusta, phy or SpyKING CIRCUS; it is parsed and never executed.

    Parameters
    ----------
    path : Path
        The file. Of its Python text the assignment `channel_groups` counts: a dict of groups with `channels` and
        `geometry`, of literals, `range(n)` and `list(range(n))`.
    num_channels : int
        Channels of the recording; a channel of the file is one of these, from 0.

    Returns
    -------
    Probe
        Its groups are the file's, its `channels` those that the file names.

    Raises
    ------
    ProbeError
        If the text is anything else, or does not fit the channels.
    """
    groups = _assigned(path, "channel_groups")
    if not isinstance(groups, dict) or not groups:
        raise _refused(path, "channel_groups: expected a dict of groups")
    found: dict[int, tuple[tuple[float, ...], str]] = {}
    for name, group in groups.items():
        channels = group.get("channels") if isinstance(group, dict) else None
        geometry = group.get("geometry") if isinstance(group, dict) else None
        place = f"channel_groups[{shown(name)}]"
        if not isinstance(channels, (list, tuple, range)):
            raise _refused(path, f"{place}: channels: expected a list of channels")
        if isinstance(geometry, (list, tuple)):
            geometry = dict(zip(channels, geometry, strict=False))
        if not isinstance(geometry, dict):
            raise _refused(path, f"{place}: geometry: expected a place of each channel")
        for channel in channels:
            row = as_numbers(list(geometry[channel])) if _is_row(geometry.get(channel)) else None
            if row is None or type(channel) is not int:
                raise _refused(path, f"{place}: geometry: no x and y in um of channel {shown(channel)}")
            if channel in found:
                raise _refused(path, f"{place}: channels: channel {channel} is named twice")
            found[channel] = row, str(name)
    return _of_channels(path, found, num_channels)


def _is_row(value: Any) -> bool:
    """Return whether a literal may be a place."""
    return isinstance(value, (list, tuple)) and len(value) in (2, 3)


def _assigned(path: Path, name: str) -> Any:
    """Return the literal that a Python text assigns to a name."""
    try:
        tree = ast.parse(read_text(path))
        for statement in tree.body:
            if isinstance(statement, ast.Assign) and [
                ast.unparse(target) for target in statement.targets
            ] == [name]:
                value = _Ranges().visit(statement.value)
                for node in ast.walk(value):
                    if isinstance(node, ast.expr) and not isinstance(node, LITERALS):
                        message = (
                            f"line {node.lineno}: {ast.unparse(node)[:80]} is code, which is never executed"
                        )
                        raise ValueError(message)  # noqa: TRY004, TRY301
                return ast.literal_eval(value)
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        problem = f"not a .prb file of literals: {str(error)[:200]}"
        raise _refused(path, problem, next_step=f"write the values themselves into {path.name}") from None
    raise _refused(path, f"{name}: missing")


class _Ranges(ast.NodeTransformer):
    """Replace `range(...)` and `list(range(...))` of whole numbers by the numbers."""

    def visit_Call(self, node: ast.Call) -> Any:
        """Return the list of a range; another call stays and is refused as no literal."""
        if ast.unparse(node.func) == "list" and len(node.args) == 1:
            return self.visit(node.args[0])
        if ast.unparse(node.func) != "range" or node.keywords:
            return node
        numbers = range(*map(ast.literal_eval, node.args))
        if len(numbers) > MAX_CONTACTS:
            message = f"a range of {len(numbers)} channels"
            raise ValueError(message)
        return ast.List(elts=[ast.Constant(value=number) for number in numbers], ctx=ast.Load())


def read_channel_map(path: Path, num_channels: int) -> Probe:
    """Read a chanMap.mat of Kilosort (MATLAB 5 to 7.2).

    Parameters
    ----------
    path : Path
        The file: `xcoords` and `ycoords` in um, `chanMap0ind` or `chanMap` (from 1), and, optional, `kcoords` (group)
        and `connected`.
    num_channels : int
        Channels of the recording.

    Returns
    -------
    Probe
        Its `channels` are those that are connected.

    Raises
    ------
    ProbeError
        If the variables do not fit one another or the channels.
    RecordingFormatError
        If it is not such a file.
    """
    from spikecrate.recordings.formats.matfile import read_mat

    names = ("xcoords", "ycoords", "kcoords", "chanMap", "chanMap0ind", "connected")
    table = {name: values.ravel().tolist() for name, values in read_mat(path, names).items()}
    x, y = (table.get(name, []) for name in names[:2])
    if not x:
        raise _refused(path, "xcoords: missing")
    first = 0 if "chanMap0ind" in table else 1
    wires = table.get("chanMap0ind") or table.get("chanMap") or list(range(1, len(x) + 1))
    groups = [f"{group:g}" for group in table.get("kcoords", [])] or [""] * len(x)
    connected = table.get("connected") or [True] * len(x)
    for name, values in zip(names[1:], (y, groups, wires, wires, connected), strict=True):
        if len(values) != len(x):
            raise _refused(path, f"{name}: {len(values)} entries, xcoords has {len(x)}")
    found: dict[int, tuple[tuple[float, ...], str]] = {}
    for row, wire, group, used in zip(zip(x, y, strict=True), wires, groups, connected, strict=True):
        if not used:
            continue
        channel = wire - first
        if not all(map(math.isfinite, (*row, channel))) or channel != int(channel) or channel in found:
            raise _refused(path, f"chanMap, xcoords, ycoords: {wire:g} at {row} is not a channel's place")
        found[int(channel)] = tuple(map(float, row)), group
    return _of_channels(path, found, num_channels)


def _of_channels(path: Path, found: dict[int, tuple[tuple[float, ...], str]], num_channels: int) -> Probe:
    """Return the probe of the channels that a file names."""
    beyond = sorted(channel for channel in found if not 0 <= channel < num_channels)
    if beyond:
        raise _refused(path, f"channel {beyond[0]} is not one of the recording's 0 to {num_channels - 1}")
    if not found:
        raise _refused(path, "it names none of the channels")
    if len({len(row) for row, _group in found.values()}) > 1:
        raise _refused(path, "some channels have 2 coordinates, others 3")
    channels = sorted(found)
    rows, groups = zip(*(found[channel] for channel in channels), strict=True)
    return Probe(
        rows, groups if any(groups) else None, tuple(channels) if len(channels) < num_channels else None
    )


def _refused(path: Path, problem: str, *, next_step: str = "") -> ProbeError:
    """Return the error for a probe file that does not fit."""
    message = f"{path}: {problem}"
    return ProbeError(message, next_step=next_step or f"correct {path.name}", details={"file": str(path)})
