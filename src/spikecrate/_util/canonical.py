"""The canonical bytes of a JSON value, and their hash.

Job keys, recipes and manifests are hashes of JSON values. The bytes follow RFC 8785 in spirit: sorted keys, no white space,
UTF-8, the shortest decimal that reads back as the same float. NaN and infinity have no JSON form and are refused.
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

    Raises
    ------
    ValueError
        For NaN and infinity.
    TypeError
        For anything that is not JSON.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", errors="surrogatepass")


def digest(value: Any) -> str:
    """Return the BLAKE3 hash, 64 hexadecimal digits, of a JSON value's canonical bytes.

    Parameters
    ----------
    value : JSON value
        As in `canonical`.

    Raises
    ------
    ValueError, TypeError
        As in `canonical`.
    """
    return str(blake3(canonical(value)).hexdigest())
