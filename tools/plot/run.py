"""Pictures of a sorting: its units, its events on the traces, its metrics, a comparison with another.

Equal inputs give equal bytes: the fonts are those that matplotlib brings, no file has a date, and nothing is
compressed by the machine's zlib.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate_harness import mda

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from spikecrate_harness.resources import Resources
    from spikecrate_harness.traces import TraceReader

    Array = np.ndarray[Any, np.dtype[Any]]
    Row = Mapping[str, float | None]

STYLE: Final = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.6,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "savefig.dpi": 150,
    "svg.fonttype": "none",
    "svg.hashsalt": "spikecrate",
    "pdf.fonttype": 42,
    # Python takes the machine's zlib, and not every zlib compresses to the same bytes.
    "pdf.compression": 0,
}
METADATA: Final[dict[str, dict[str, str | None]]] = {
    "png": {"Software": "spikecrate"},
    "svg": {"Creator": "spikecrate", "Date": None},
    "pdf": {"Creator": "spikecrate", "Producer": "spikecrate", "CreationDate": None},
}
INK: Final = "#222222"
GREY: Final = "#888888"
PALE: Final = "#c8c8c8"
COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by the colour-blind: Okabe & Ito 2008, without yellow and black."""
PER_PAGE: Final = 20
MOST_CHANNELS: Final = 32
MOST_LABELS: Final = 40
LONGEST_S: Final = 60
COLUMNS: Final = 2000
"""Points across a picture: what is finer is drawn as the range of its values."""


def run(inputs: Mapping[str, Any], parameters: Mapping[str, Any], out: Path, resources: Resources) -> None:
    """Draw one picture, and write it to `out`.

    Parameters
    ----------
    inputs : mapping
        `analysis` (a folder of `analyze`) for units and metrics; `recording` (a TraceReader) and `sorting` (a folder
        with firings.mda) for traces; `comparison` (a folder of `compare`) for a comparison.
    parameters : mapping
        Those of tool.json.
    out : Path
        An empty folder.
    resources : Resources
        Scratch space for matplotlib's cache.

    Raises
    ------
    ValueError
        The page or the stretch does not exist.
    """
    os.environ["MPLCONFIGDIR"] = str(resources.scratch)
    import matplotlib as mpl
    from matplotlib import font_manager

    own = mpl.get_data_path()
    # A font of the machine may have the same name and another version.
    font_manager.fontManager.ttflist = [
        font for font in font_manager.fontManager.ttflist if font.fname.startswith(own)
    ]
    what, form = parameters["what"], parameters["format"]
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE, "backend": "agg"}):
        figure = DRAWN[what](inputs, parameters)
        path = out / f"{what}.{form}"
        figure.savefig(path, format=form, metadata=METADATA[form])
    if form == "svg":
        embed_font(path, figure)


def embed_font(path: Path, figure: Figure) -> None:
    """Add the font's glyphs that an SVG needs, so that its text is text and looks the same everywhere."""
    from fontTools import subset
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.text import Text

    faces = []
    for weight in ("normal", "bold"):
        options = subset.Options(recalc_timestamp=False, hinting=False)
        options.drop_tables += ["FFTM"]
        font = subset.load_font(findfont(FontProperties(family="DejaVu Sans", weight=weight)), options)
        maker = subset.Subsetter(options)
        maker.populate(text="".join(text.get_text() for text in figure.findobj(Text)))
        maker.subset(font)
        with io.BytesIO() as made:
            font.save(made)
            data = base64.b64encode(made.getvalue()).decode()
        faces.append(
            f"@font-face{{font-family:'DejaVu Sans';font-weight:{weight};"
            f"src:url(data:font/ttf;base64,{data})}}"
        )
    picture = path.read_text(encoding="utf-8")
    head, mark, rest = picture.partition("<defs>")
    style = f"\n  <style>{''.join(faces)}</style>"
    path.write_text(head + mark + style + rest, encoding="utf-8")


def read_table(path: Path) -> list[dict[str, float | None]]:
    """Return the rows of a table of numbers; an empty cell is None."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            {name: float(cell) if cell else None for name, cell in row.items()}
            for row in csv.DictReader(file)
        ]


def new_figure(width: float, height: float, title: str, note: str = "") -> Figure:
    """Return an empty figure, in inches, with its title at the top left and a note beside it."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    figure.text(0.15 / width, 1 - 0.12 / height, title, va="top", size=10, weight="bold", color=INK)
    figure.text(0.15 / width, 1 - 0.34 / height, note, va="top", color=GREY)
    return figure


def number(value: float, digits: int = 3) -> str:
    """Return a number as a reader likes it: 12,345, 13.9, 0.042, with a true minus sign."""
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def of_unit(row: Row) -> str:
    """Return what the head of a unit tells beside its number."""
    parts = [f"{number(row['events'] or 0)} events", f"{number(row['rate'] or 0)} Hz"]
    if row["snr"] is not None:
        parts.append(f"SNR {number(row['snr'])}")
    if row["amplitude"] is not None:
        parts.append(f"{number(row['amplitude'])} µV")
    return " · ".join(parts)


def nice(value: float) -> float:
    """Return the largest of 1, 2, 5, 10, 20, … that is not above a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in (1, 2, 5) if step * power <= value * (1 + 1e-9))


def draw_units(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Figure:
    """Draw template and autocorrelogram of each unit of a page, the largest first."""
    folder: Path = inputs["analysis"]
    rows = read_table(folder / "units.csv")
    if not rows:
        return new_figure(6, 1, "No units", "the sorting is empty")
    order = sorted(range(len(rows)), key=lambda place: -abs(rows[place]["amplitude"] or 0))
    first = (parameters["page"] - 1) * PER_PAGE
    shown = order[first : first + PER_PAGE]
    if not shown:
        message = (
            f"there is no page {parameters['page']}: the {len(rows)} units are on {-(-len(rows) // PER_PAGE)}"
        )
        raise ValueError(message)
    extensions = folder / "extensions"
    templates = np.load(extensions / "templates" / "average.npy", mmap_mode="r")
    window = json.loads((extensions / "templates" / "params.json").read_bytes())
    counts = np.load(extensions / "correlograms" / "ccgs.npy", mmap_mode="r")
    bins = np.load(extensions / "correlograms" / "bins.npy")
    probe = json.loads((folder / "recording_info" / "probegroup.json").read_bytes())["probes"][0]
    places = np.array(probe["contact_positions"])[:, :2]

    across = min(len(shown), 4)
    down = -(-len(shown) // across)
    wide, high, head, foot = max(3.1, 6.2 / across), 1.95, 0.65, 0.42
    width, height = wide * across, high * down + head + foot
    if len(shown) == len(rows):
        title, note = f"{len(rows)} unit{'s' * (len(rows) > 1)}", "the largest amplitude first"
    else:
        title = f"Units {first + 1} to {first + len(shown)} of {len(rows)}"
        note = f"the largest amplitude first; page {parameters['page']} of {-(-len(rows) // PER_PAGE)}"
    figure = new_figure(width, height, title, f"{note}. Template (mean waveform by place), autocorrelogram")
    for cell, place in enumerate(shown):
        row = rows[place]
        left, top = wide * (cell % across), height - head - high * (cell // across)

        def axes(x: float, w: float, left: float = left, top: float = top) -> Axes:
            return figure.add_axes(
                ((left + x) / width, (top - high + 0.3) / height, w / width, (high - 0.62) / height)
            )

        label = f"unit {row['unit']:.0f}"
        figure.text(
            (left + 0.15) / width,
            (top - 0.1) / height,
            label,
            va="baseline",
            size=9,
            weight="bold",
            color=INK,
        )
        indent = 0.25 + 0.085 * len(label)
        figure.text(
            (left + indent) / width,
            (top - 0.1) / height,
            of_unit(row),
            va="baseline",
            size=7,
            color="#555555",
        )
        draw_template(
            axes(0.15, wide * 0.5 - 0.25),
            templates[place],
            places,
            row,
            float(window["ms_before"]) + float(window["ms_after"]),
        )
        plot = axes(wide * 0.5 + 0.3, wide * 0.5 - 0.45)
        seconds = np.diff(bins)[0] / 1000
        rates = counts[place, place] / max(row["events"] or 0, 1) / seconds
        plot.stairs(rates, bins, fill=True, color=COLOURS[0])
        plot.set_xlim(bins[0], bins[-1])
        top_rate = rates.max()
        plot.set_ylim(0, top_rate * 1.05 if top_rate else 1)
        plot.set_yticks([0, nice(top_rate)] if top_rate else [0])
        plot.set_yticklabels(["0", f"{number(nice(top_rate))} Hz"] if top_rate else ["0 Hz"])
        plot.tick_params(labelsize=6, length=2, pad=1)
        if cell >= len(shown) - across:
            plot.set_xlabel("lag (ms)", size=7, color="#555555", labelpad=1)
    return figure


def draw_template(axes: Axes, template: Array, places: Array, row: Row, window_ms: float) -> None:
    """Draw a template's waveforms at the places of the primary channel and the nearest others, with a scale."""
    axes.set_axis_off()
    primary = row["channel"]
    if primary is None:
        axes.text(
            0,
            0.5,
            "no waveform:\nno event is far enough from\nthe borders of the recording",
            size=7,
            color=GREY,
            va="center",
            transform=axes.transAxes,
        )
        return
    own = int(primary)
    distance = np.linalg.norm(places - places[own], axis=1)
    near = [channel for channel in np.argsort(distance, kind="stable")[:8] if np.any(template[:, channel])]
    x, y = (in_pitches(places[near, axis]) for axis in (0, 1))
    samples = np.linspace(-0.45, 0.45, len(template))
    span = float(np.ptp(template[:, near], axis=0).max())
    scale = 1.3 / span
    for channel, right, up in zip(near, x, y, strict=True):
        colour, width = (COLOURS[0], 1.1) if channel == own else (GREY, 0.7)
        axes.plot(right + samples, up + template[:, channel] * scale, color=colour, lw=width)
    bar, one_ms = nice(span / 2), 0.9 / window_ms
    corner, low = x.max() + 0.6, y.min() - 0.75
    axes.plot(
        [corner, corner, corner + one_ms],
        [low + bar * scale, low, low],
        color=INK,
        lw=0.8,
        solid_joinstyle="miter",
    )
    axes.text(corner + 0.06, low + bar * scale / 2, f" {number(bar)} µV", size=6, va="center", color=INK)
    axes.text(corner, low - 0.06, "1 ms", size=6, va="top", color=INK)
    axes.set_xlim(x.min() - 0.5, x.max() + 1.3)
    axes.set_ylim(min(low - 0.3, y.min() - 1), y.max() + 0.8)


def in_pitches(places: Array) -> Array:
    """Return coordinates as multiples of their least distance, 5 rows or columns at most."""
    found = np.unique(places)
    if len(found) == 1:
        return np.zeros(len(places))
    pitch = max(float(np.diff(found).min()), float(np.ptp(found)) / 4)
    return np.asarray((places - found[0]) / pitch)


def draw_traces(inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> Figure:
    """Draw a stretch of the traces by depth, each event in the colour of its unit on the unit's primary channel."""
    from matplotlib.collections import LineCollection

    recording: TraceReader = inputs["recording"]
    channels, times, labels = (
        np.round(row).astype(np.int64) for row in mda.read(inputs["sorting"] / "firings.mda")[:3]
    )
    first, last = stretch(recording, times, labels, parameters)
    traces = filtered(recording, first, last, parameters)
    inside = (times >= first) & (times < last)
    channels, times, labels = channels[inside] - 1, times[inside], labels[inside]
    units = np.unique(labels)
    for unit in units:
        own = labels == unit
        if (channels[own] < 0).any():
            channels[own] = np.abs(traces[times[own] - first].mean(axis=0)).argmax()
    places = recording.locations
    by_depth = np.lexsort((places[:, 0], places[:, 1]))
    most = min(MOST_CHANNELS, len(by_depth))
    events_by_depth = np.bincount(channels, minlength=len(by_depth))[by_depth]
    # As many neighbours in depth as fit, where most events are.
    lowest = int(np.convolve(events_by_depth, np.ones(most), "valid").argmax())
    shown = by_depth[lowest : lowest + most]
    noise = (
        float(np.median(np.abs(traces[:, shown])) * 1.4826) or float(np.abs(traces[:, shown]).max()) or 1.0
    )
    step = noise * 12
    rate = recording.sampling_frequency
    row_of = {int(channel): row for row, channel in enumerate(shown)}

    width, height = 12.0, 1.3 + 0.26 * max(most, 6)
    drawn = np.isin(channels, shown)
    note = f"{first / rate:g} to {last / rate:g} s, {of_all(most, len(by_depth), 'channel')} by depth; "
    note += f"{of_all(int(drawn.sum()), len(times), 'event')} of {len(units)} unit{'s' * (len(units) != 1)}"
    figure = new_figure(width, height, "Traces" if len(times) else "Traces, no events", note)
    axes = figure.add_axes((0.7 / width, 0.45 / height, (width - 1.5) / width, (height - 1.1) / height))
    for channel, row in row_of.items():
        axes.plot(*thinned(first, traces[:, channel] / step + row, rate), color=PALE, lw=0.5)
    half = max(round(0.0005 * rate), 1)
    for place, unit in enumerate(units):
        own = drawn & (labels == unit)
        colour = COLOURS[place % len(COLOURS)]
        lines = []
        for time, channel in zip(times[own], channels[own], strict=True):
            part = np.arange(max(time - half, first), min(time + half + 1, last))
            lines.append(
                np.column_stack([part / rate, traces[part - first, channel] / step + row_of[int(channel)]])
            )
        axes.add_collection(LineCollection(lines, colors=colour, linewidths=1.0))
        if lines and len(units) <= MOST_LABELS:
            axes.text(
                times[own][0] / rate,
                lines[0][:, 1].max() + 0.1,
                str(unit),
                color=colour,
                size=7,
                ha="center",
                va="bottom",
                weight="bold",
            )
    axes.set_xlim(first / rate, last / rate)
    axes.set_ylim(-1, most)
    depths = places[shown, 1]
    ticks = np.flatnonzero(np.diff(depths, prepend=depths[0] - 1))
    axes.set_yticks(ticks, [number(depth) for depth in depths[ticks]])
    axes.set_ylabel("depth (µm)")
    axes.set_xlabel("time (s)")
    bar = nice(step)
    right = 1 + 0.15 / (width - 1.5)
    axes.plot(
        [right, right],
        [-0.5, -0.5 + bar / step],
        color=INK,
        lw=1,
        transform=axes.get_yaxis_transform(),
        clip_on=False,
    )
    axes.text(
        right,
        -0.5 + bar / step / 2,
        f"  {number(bar)} µV",
        size=7,
        va="center",
        transform=axes.get_yaxis_transform(),
    )
    return figure


def of_all(some: int, every: int, noun: str) -> str:
    """Return `4 channels`, or `32 of 64 channels` where some are left out."""
    counted = f"{every:,} {noun}{'s' * (every != 1)}"
    return counted if some == every else f"{some:,} of {counted}"


def stretch(
    recording: TraceReader, times: Array, labels: Array, parameters: Mapping[str, Any]
) -> tuple[int, int]:
    """Return the first sample of the stretch and the one after its last.

    Raises
    ------
    ValueError
        It is empty, too long or beyond the end of the recording.
    """
    rate, samples = recording.sampling_frequency, recording.num_samples
    start, end = parameters["start"], parameters["end"]
    if start is None and end is None:
        seconds = np.unique(np.column_stack([times // rate, labels]), axis=0)[:, 0].astype(int)
        start = int(np.bincount(seconds).argmax()) if len(seconds) else 0
    start = max(end - 1, 0) if start is None else start
    end = start + 1 if end is None else end
    first, last = round(start * rate), min(round(end * rate), samples)
    if end - start > LONGEST_S:
        message = f"from start {start:g} s to end {end:g} s is longer than {LONGEST_S} s"
        raise ValueError(message)
    if first >= last:
        message = (
            f"no samples from start {start:g} s to end {end:g} s: the recording has {samples / rate:g} s"
        )
        raise ValueError(message)
    return first, last


def filtered(recording: TraceReader, first: int, last: int, parameters: Mapping[str, Any]) -> Array:
    """Return a stretch in µV, samples x channels, band-passed where wanted as `analyze` does it.

    Raises
    ------
    ValueError
        The pass band is empty.
    """
    from scipy import signal

    rate = recording.sampling_frequency
    low, high = parameters["freq_min"], parameters["freq_max"]
    if not parameters["filter"]:
        return in_microvolts(recording, first, last)
    if low >= min(high, rate / 2):
        message = f"freq_min ({low:g} Hz) must be below freq_max ({high:g} Hz) and {rate / 2:g} Hz"
        raise ValueError(message)
    band = {"Wn": low, "btype": "highpass"} if high >= rate / 2 else {"Wn": (low, high), "btype": "bandpass"}
    sections = signal.butter(5, fs=rate, output="sos", **band)
    margin = round(0.1 * rate)
    begin, stop = max(first - margin, 0), min(last + margin, recording.num_samples)
    traces = in_microvolts(recording, begin, stop)
    padded = min(6 * len(sections), len(traces) - 1)
    return np.asarray(
        signal.sosfiltfilt(sections, traces, axis=0, padlen=padded)[first - begin : last - begin]
    )


def in_microvolts(recording: TraceReader, first: int, last: int) -> Array:
    """Return samples in µV, without the median of each channel."""
    traces = recording.traces(first, last) * recording.gains
    return np.asarray(traces - np.median(traces, axis=0))


def thinned(first: int, values: Array, rate: float) -> tuple[Array, Array]:
    """Return seconds and values of a line; of many samples, the least and the largest of each piece."""
    times = (first + np.arange(len(values))) / rate
    piece = len(values) // COLUMNS
    if piece < 3:
        return times, values
    whole = len(values) // piece * piece
    pieces = values[:whole].reshape(-1, piece)
    ranges = np.column_stack([pieces.min(axis=1), pieces.max(axis=1)]).ravel()
    return np.repeat(times[:whole:piece], 2), ranges


def draw_metrics(inputs: Mapping[str, Any], _parameters: Mapping[str, Any]) -> Figure:
    """Draw how SNR, rate, ISI violations and amplitude are distributed over the units, and go together."""
    rows = read_table(inputs["analysis"] / "units.csv")
    if not rows:
        return new_figure(6, 1, "No units", "the sorting is empty")
    values = {
        name: np.array([np.nan if row[name] is None else row[name] for row in rows], dtype=float)
        for name in ("snr", "rate", "isi_violations", "amplitude")
    }
    values["amplitude"] = np.abs(values["amplitude"])
    names = [f"{row['unit']:.0f}" for row in rows]
    width, height = 11.0, 6.9
    figure = new_figure(
        width,
        height,
        f"Metrics of {of_all(len(rows), len(rows), 'unit')}",
        "each line below a histogram is a unit; the median is named",
    )
    heads = {
        "snr": "SNR",
        "rate": "rate (Hz)",
        "isi_violations": "ISI violations (ratio of rates)",
        "amplitude": "|amplitude| (µV)",
    }
    for place, (name, head) in enumerate(heads.items()):
        axes = figure.add_axes(((0.6 + 2.65 * place) / width, 4.55 / height, 2.15 / width, 1.5 / height))
        draw_histogram(axes, values[name], head, logarithmic=name == "rate", first=place == 0)
    for place, (x, y) in enumerate((("snr", "rate"), ("amplitude", "isi_violations"))):
        axes = figure.add_axes(((0.6 + 5.3 * place) / width, 0.5 / height, 4.8 / width, 3.2 / height))
        axes.scatter(values[x], values[y], s=14, color=COLOURS[0], alpha=0.6, linewidths=0)
        axes.set_xlabel(heads[x])
        axes.set_ylabel(heads[y])
        axes.margins(0.08)
        if y == "rate":
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: number(value))
        if len(rows) <= MOST_LABELS:
            for name, right, up in zip(names, values[x], values[y], strict=True):
                if np.isfinite([right, up]).all():
                    axes.annotate(
                        name, (right, up), (3, 2), textcoords="offset points", size=6.5, color="#555555"
                    )
    return figure


def draw_histogram(axes: Axes, values: Array, head: str, *, logarithmic: bool, first: bool) -> None:
    """Draw a histogram with a line a unit below it, and its median."""
    known = values[np.isfinite(values) & ((values > 0) | (not logarithmic))]
    axes.set_xlabel(head)
    if first:
        axes.set_ylabel("units")
    missing = len(values) - len(known)
    if missing:
        axes.text(
            1, 1.12, f"{missing} without a value", size=6.5, color=GREY, ha="right", transform=axes.transAxes
        )
    if not len(known):
        axes.set_xticks([])
        axes.set_yticks([])
        return
    low, high = float(known.min()), float(known.max())
    count = int(min(max(math.sqrt(len(known)) * 2, 5), 30))
    if logarithmic:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: number(value))
        edges = np.geomspace(low / 1.1, high * 1.1, count + 1)
    else:
        pad = 0.0 if high > low else max(abs(high), 1.0) / 2
        edges = np.linspace(low - pad, high + pad, count + 1)
    counts, _ = np.histogram(known, edges)
    axes.stairs(counts, edges, fill=True, color=PALE)
    axes.plot(known, np.full(len(known), -0.06 * counts.max()), "|", color=COLOURS[0], ms=5, mew=0.7)
    axes.set_ylim(-0.13 * counts.max(), counts.max() * 1.08)
    axes.set_yticks([0, int(counts.max())])
    middle = float(np.median(known))
    axes.axvline(middle, color=INK, lw=0.8)
    axes.text(
        middle,
        1.01,
        number(middle),
        size=7,
        color=INK,
        ha="center",
        va="bottom",
        transform=axes.get_xaxis_transform(),
    )


DRAWN: Final[dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Figure]]] = {
    "units": draw_units,
    "traces": draw_traces,
    "metrics": draw_metrics,
}
