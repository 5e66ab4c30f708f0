"""The annotations of a figpack figure, among which is a curation of its sorting.

`annotations.json` of a figure has the annotations of each view by its path; that of the curation is `sorting_curation`,
a JSON text with sortingview's fields. Source: figpack's `SortingCuration` view, and its extension for spike sorting.
"""

from __future__ import annotations

import json
from typing import Any, Final

from spikecrate.errors import CurationError
from spikecrate.sortings.curation.document import as_object
from spikecrate.sortings.curation.model import NEXT

ANNOTATIONS: Final = "annotations"
CURATION: Final = "sorting_curation"


def is_figpack(document: Any) -> bool:
    """Return whether a JSON document has the annotations of a figpack figure.

    Parameters
    ----------
    document : object
        The document.

    Returns
    -------
    bool
    """
    return isinstance(document, dict) and (ANNOTATIONS in document or CURATION in document)


def unwrap(document: Any, source: str) -> dict[str, Any]:
    """Return the curation among the annotations of a figure.

    Parameters
    ----------
    document : object
        The JSON document.
    source : str
        Its file, for messages.

    Returns
    -------
    dict
        A curation of sortingview.

    Raises
    ------
    CurationError
        There is no curation, or more than one.
    """
    fields = as_object(document, source)
    views = {"": fields} if CURATION in fields else as_object(fields[ANNOTATIONS], f"{source}: {ANNOTATIONS}")
    found = {
        f"{source}: {view}: {CURATION}" if view else f"{source}: {CURATION}": annotations[CURATION]
        for view, annotations in views.items()
        if isinstance(annotations, dict) and CURATION in annotations
    }
    if len(found) != 1:
        message = f"{source}: {ANNOTATIONS}: {len(found) or 'no'} views with a {CURATION}"
        raise CurationError(message, next_step="save the annotations of one figure with a curation")
    ((where, value),) = found.items()
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            message = f"{where}: not JSON: {error}"
            raise CurationError(message, next_step=NEXT) from None
    return as_object(value, where)
