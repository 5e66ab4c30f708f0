"""The known name that is nearest to an unknown one, for messages."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the end of a message that suggests the nearest known name.

    Parameters
    ----------
    name : str
        An unknown name.
    known : iterable of str
        The names to choose from.

    Returns
    -------
    str
        `; did you mean '…'?`, or an empty text where no name is near.

    Examples
    --------
    >>> nearest("detect_treshold", ["detect_threshold", "whiten"])
    "; did you mean 'detect_threshold'?"
    >>> nearest("colour", ["detect_threshold", "whiten"])
    ''
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""
