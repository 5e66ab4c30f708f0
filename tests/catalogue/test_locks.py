"""What stands in image.lock is of the sorter as it is now."""

from __future__ import annotations

import json

from matrix import SORTERS

from spikecrate._util.data import data_path
from spikecrate.steps.job import recipe


def test_the_lock_of_a_sorter_of_the_catalogue_is_of_its_present_recipe(sorter):
    folder = SORTERS[sorter].folder
    if folder.parent == data_path("sorters"):
        lock = json.loads((folder / "image.lock").read_text())
        assert lock["recipe"] == recipe(SORTERS[sorter]), f"spikecrate image.lock --sorter {sorter}"
