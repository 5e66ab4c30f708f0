"""Compute the canonical bytes of a JSON value, and their hash.

Job keys, recipes and manifests are hashes of JSON values. The bytes follow the idea of RFC 8785: sorted keys, no white
space, UTF-8, the shortest decimal that reads back as the same float. JSON has neither NaN nor infinity.
"""

from __future__ import annotations

import json
from typing import Any

from blake3 import blake3


def canonical(value: Any) -> bytes:
    """Return the canonical bytes of a JSON value.

    Parameters
    ----------
    value : JSON value
        Tuples count as arrays. `1` and `1.0` differ.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        The value contains NaN or infinity.
    TypeError
        The value is not JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", errors="surrogatepass")


def digest(value: Any) -> str:
    """Return the BLAKE3 hash, 64 hexadecimal digits, of a JSON value's canonical bytes.

    Parameters
    ----------
    value : JSON value
        Tuples count as arrays.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        The value contains NaN or infinity.
    TypeError
        The value is not JSON.
    """
    return str(blake3(canonical(value)).hexdigest())
