"""The house: each room imports from the floors below it; no circle; and the modules stay small."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
PACKAGE = SOURCE / "spikecrate"

FLOORS = [
    {"errors", "_version"},
    {"_util"},
    {"engines", "recordings"},
    {"sortings", "catalogue", "store"},
    {"images", "environments"},
    {"runtimes"},
    {"steps", "bundles"},
    {"exports"},
    {"api", "batch", "doctor"},
    {"studies"},
    {"cli", "__main__"},
]
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor}
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def name_of(path):
    """Return the dotted name of a module."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def room_of(name):
    return name.split(".")[1]


def imports(path):
    """Yield the modules of the package that a module imports, inside functions and type-checking blocks too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "spikecrate")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "spikecrate":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in NAMES else node.module


def room_arrows():
    arrows = {room: set() for room in LEVEL}
    for path in MODULES:
        room = room_of(name_of(path))
        arrows[room] |= {room_of(name) for name in imports(path) if name != "spikecrate"} - {room}
    return arrows


def test_every_room_has_its_floor():
    assert {room_of(name) for name in NAMES} == set(LEVEL)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_room_imports_from_its_own_floor_or_below(path):
    here = room_of(name_of(path))
    assert [
        name for name in imports(path) if name == "spikecrate" or LEVEL[room_of(name)] > LEVEL[here]
    ] == []


def test_the_rooms_form_no_circle():
    TopologicalSorter(room_arrows()).prepare()


def test_the_library_does_not_import_the_development_container():
    assert [
        path for path in MODULES if imports_dev(path.read_text()) and room_of(name_of(path)) != "cli"
    ] == []


def imports_dev(text):
    """Whether a module imports the development container anywhere, inside functions too."""
    for node in ast.walk(ast.parse(text)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names.append(node.module or "")
        if any(name.split(".")[0] == "spikecrate_dev" for name in names):
            return True
    return False


def test_the_wheel_leaves_the_development_container_out():
    project = tomllib.loads((SOURCE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    shipped = [*wheel["only-include"], *wheel["force-include"]]
    assert "src/spikecrate" in shipped
    assert [path for path in shipped if "spikecrate_dev" in path or path in (".", "src")] == []


WITHOUT_DEV = """
import sys
sys.modules["spikecrate_dev"] = None  # an import then fails as where the wheel is installed
from spikecrate.cli.main import main
main()
"""


def test_the_command_line_works_where_the_development_container_is_not_installed():
    def run(*words):
        argv = [sys.executable, "-c", WITHOUT_DEV, *words]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    done = run("doctor", "--check", "python", "--json")
    assert done.returncode == 0, done.stderr
    assert [line["name"] for line in json.loads(done.stdout)["checks"]] == ["python.tools"]
    refused = run("dev.status")
    assert refused.returncode != 0
    assert "dev.status" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert "ModuleNotFoundError" not in refused.stderr


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_a_module_fits_on_a_few_screens(path):
    assert len(path.read_text().splitlines()) <= 400
