"""One JSON value, one sequence of bytes, one hash.

Keys, recipes and seals are hashes of JSON values. The bytes are those of RFC 8785 in spirit: keys sorted, no
white space, UTF-8, the shortest decimal that reads back as the same float. NaN and infinity have no JSON
form and are refused.
"""

from __future__ import annotations

import json
from typing import Any

from blake3 import blake3


def canonical(value: Any) -> bytes:
    """Give the canonical bytes of a JSON value.

    Parameters
    ----------
    value : JSON value
        Tuples count as arrays. `1` and `1.0` differ: whoever builds the value settles the type.

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
    """Give the BLAKE3 hash (64 hex digits) of a JSON value's canonical bytes."""
    return str(blake3(canonical(value)).hexdigest())
