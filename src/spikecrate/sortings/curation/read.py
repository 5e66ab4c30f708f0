"""Read a curation in any format: which one it is, its content says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from spikecrate.errors import CurationError
from spikecrate.sortings.curation import figpack, phy, sortingview
from spikecrate.sortings.curation.document import parse

if TYPE_CHECKING:
    from spikecrate.sortings.curation.model import Curation
    from spikecrate.sortings.model import Sorting

LIMIT_BYTES: Final = 512 * 2**20
"""More than a split of every event of a day's sorting needs."""
FORMATS: Final = "name a curation of SpikeInterface, sortingview or figpack (JSON), or a folder of phy; docs/curate.md has examples"


def read_curation(path: Path | str, sorting: Sorting) -> tuple[Curation, ...]:
    """Read a curation of a sorting.

    Parameters
    ----------
    path : Path or str
        A JSON file of SpikeInterface (format 1 or 2), sortingview or figpack, or a folder of phy.
    sorting : Sorting
        The sorting that was curated.

    Returns
    -------
    tuple of Curation
        One, or several of which each is of the units that the one before makes; complete.

    Raises
    ------
    CurationError
        It is of no such format, half written, or not of this sorting; the message names file and field.
    """
    path = Path(path)
    if path.is_dir():
        if not phy.is_phy(path):
            message = f"{path}: not a folder of phy: no {phy.CLUSTERS}"
            raise CurationError(message, next_step=FORMATS)
        return phy.read_phy(path, sorting)
    if path.suffix == ".npy" or path.name == "params.py":
        return read_curation(path.parent, sorting)
    return parse_any(read_json(path), str(path), sorting)


def parse_any(document: Any, source: str, sorting: Sorting) -> tuple[Curation, ...]:
    """Read a JSON document with a curation of a sorting.

    Parameters
    ----------
    document : object
        The document.
    source : str
        Its file, for messages.
    sorting : Sorting
        The sorting that was curated.

    Returns
    -------
    tuple of Curation
        As `read_curation`.

    Raises
    ------
    CurationError
        As `read_curation`.
    """
    events = events_of(sorting)
    if figpack.is_figpack(document):
        return sortingview.read_sortingview(figpack.unwrap(document, source), source, events)
    if sortingview.is_sortingview(document):
        return sortingview.read_sortingview(document, source, events)
    if not isinstance(document, list) and not (isinstance(document, dict) and "format_version" in document):
        message = f"{source}: format_version: missing, and of no other format"
        raise CurationError(message, next_step=FORMATS)
    return parse(document, source, events)


def events_of(sorting: Sorting) -> dict[int, int]:
    """Return the number of events of each unit.

    Parameters
    ----------
    sorting : Sorting
        The sorting.

    Returns
    -------
    dict
        By unit, ascending.
    """
    units, counts = np.unique(sorting.labels, return_counts=True)
    return dict(zip(units.tolist(), counts.tolist(), strict=True))


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    object

    Raises
    ------
    CurationError
        It cannot be read, or is no JSON.
    """
    try:
        if (size := path.stat().st_size) > LIMIT_BYTES:
            message = f"{path}: {size} bytes, a curation has at most {LIMIT_BYTES}"
            raise CurationError(message, next_step=FORMATS)
        return json.loads(path.read_bytes())
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise CurationError(message, next_step=FORMATS) from None
    except (ValueError, RecursionError) as error:
        message = f"{path}: not valid JSON: {error}"
        raise CurationError(message, next_step=FORMATS) from None
