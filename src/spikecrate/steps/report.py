"""What the container says of itself in /out/run.json: read as what it is, bytes from a program that may be hostile."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from spikecrate.errors import ResultInvalidError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES: Final = 16 * 2**20
"""The harness writes some kilobytes."""


def read_report(path: Path) -> dict[str, Any]:
    """Read the harness's report: a JSON object that can be written as JSON again.

    Raises
    ------
    ResultInvalidError
        Where it is anything else.
    """
    problem = f"has more than {LIMIT_BYTES} bytes" if path.stat().st_size > LIMIT_BYTES else ""
    report = None
    if not problem:
        try:
            # NaN is no JSON, and half a character has no UTF-8: neither could stand in the run record.
            report = json.loads(path.read_bytes(), parse_constant=_no_number)
            json.dumps(report, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            problem = "is not JSON"
    if problem or not isinstance(report, dict):
        message = f"/out/run.json {problem or 'is not a JSON object'}: the sorter did not keep the container contract"
        raise ResultInvalidError(message, next_step="docs/contract.md says what a sorter must leave")
    return report


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)
