"""Pictures of a sorting: its units, its events on the traces, its metrics, a comparison with another.

Equal inputs give equal bytes: the fonts are those that matplotlib brings, no file has a date, and nothing is
compressed by the machine's zlib.
"""

from __future__ import annotations

import base64
import io
import os
from typing import TYPE_CHECKING, Any, Final

from draw_comparison import draw_comparison
from draw_metrics import draw_metrics
from draw_traces import draw_traces
from draw_units import draw_units

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from matplotlib.figure import Figure

    from spikecrate_harness.resources import Resources

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
    # Names are data, with or without a dollar sign.
    "text.parse_math": False,
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
DRAWN: Final = {
    "units": draw_units,
    "traces": draw_traces,
    "metrics": draw_metrics,
    "comparison": draw_comparison,
}


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
