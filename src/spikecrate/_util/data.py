"""What travels with the package: the catalogue of tools, the recipe of the base image, the library's lock."""

from __future__ import annotations

from pathlib import Path
from typing import Final

PACKAGE: Final = Path(__file__).parents[1]


def data_path(name: str) -> Path:
    """Find what is data_path: in the wheel, or in the clone that the package is imported from.

    Parameters
    ----------
    name : str
        `sorters`, `tools`, `docker` or `requirements.lock`.
    """
    # pyproject.toml puts them under share/ in the wheel.
    in_wheel = PACKAGE / "share" / name
    return in_wheel if in_wheel.exists() else PACKAGE.parents[1] / name
