"""Read the harness's report, /out/run.json: untrusted bytes from the container."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from spikecrate.errors import ResultInvalidError

if TYPE_CHECKING:
    from pathlib import Path

LIMIT_BYTES: Final = 16 * 2**20
"""The harness writes a few kilobytes."""


def read_report(path: Path) -> dict[str, Any]:
    """Return the harness's report, a JSON object that can be written as JSON again.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict

    Raises
    ------
    ResultInvalidError
        The file is too large, or not such an object.
    """
    problem = f"has more than {LIMIT_BYTES} bytes" if path.stat().st_size > LIMIT_BYTES else ""
    report = None
    if not problem:
        try:
            # The run record can contain neither NaN, which JSON lacks, nor lone surrogates, which UTF-8 lacks.
            report = json.loads(path.read_bytes(), parse_constant=_no_number)
            json.dumps(report, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError):
            problem = "is not JSON"
        else:
            warnings = report.get("warnings", []) if isinstance(report, dict) else []
            if not isinstance(warnings, list) or not all(isinstance(text, str) for text in warnings):
                problem = "has warnings that are not a list of texts"
    if problem or not isinstance(report, dict):
        message = f"/out/run.json {problem or 'is not a JSON object'}: the tool broke the container contract"
        raise ResultInvalidError(message, next_step="see docs/contract.md for what a tool must write to /out")
    return report


def _no_number(name: str) -> NoReturn:
    raise ValueError(name)
