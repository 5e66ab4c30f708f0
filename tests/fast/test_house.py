"""The house: each room imports from those below it, never from those above; and the rooms stay small."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "spikecrate"

FLOORS = [
    {"errors", "canonical", "shipped"},
    {"process", "progress", "quantities", "engine", "apptainer", "files", "hostpaths"},
    {"recordings"},
    {"sortings"},
    {"sorters", "store", "crate"},
    {"images", "catalogue"},
    {"runtimes"},
    {"jobs", "output"},
    {"api", "devenv", "quality"},
    {"request", "report", "demo"},
    {"cli", "tasks", "__main__"},
]
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}
MODULES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def room_of(path):
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported_rooms(path):
    """Find the rooms that a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "spikecrate":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else (name.name for name in node.names)


def test_every_room_has_its_floor():
    assert {room_of(path) for path in MODULES} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_room_imports_from_its_own_floor_or_below(path):
    rooms = {room for room in imported_rooms(path) if room in LEVEL}
    assert [room for room in sorted(rooms) if LEVEL[room] > LEVEL[room_of(path)]] == []


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_module_fits_on_a_few_screens(path):
    assert len(path.read_text().splitlines()) <= 400
