"""Modules of spikecrate that a tool runs: complete, part of its recipe, and all of spikecrate that its code can import."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import replace
from pathlib import Path

import pytest
from lab import write_sorter

import spikecrate
from spikecrate.catalogue.tools import catalogue, check, read
from spikecrate.environments import environment
from spikecrate.errors import SorterInvalidError
from spikecrate.images.base import Bases
from spikecrate.images.build import sorter_argv
from spikecrate.images.recipe import ingredients
from spikecrate.images.staging import staged
from spikecrate.steps.job import build_request, recipe
from spikecrate.steps.sources import changed_files, current, hash_of, keep, kept

PACKAGE = Path(spikecrate.__file__).parent
TOOLS = [tool for tool in catalogue(kind="").values() if tool.library]
BODY = "from spikecrate.errors import UsageError\n"


def modules(code):
    """Yield the modules of spikecrate that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(code.read_text())):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [(node.module, alias.name) for alias in node.names]
        else:
            continue
        for module, name in names:
            if module.split(".")[0] == "spikecrate":
                inner = f"{module}.{name}".replace(".", "/").removeprefix("spikecrate/")
                whole = module.replace(".", "/").removeprefix("spikecrate/")
                yield f"{inner}.py" if (PACKAGE / f"{inner}.py").is_file() else f"{whole}.py"


@pytest.fixture
def tool(tmp_path):
    """A tool with a library, and the package that it is of."""
    write_sorter(tmp_path, BODY, kind="command", inputs={"data": "folder"}, library=["errors.py"])
    package = tmp_path / "package"
    package.mkdir()
    for name in ("errors.py", "_version.py"):
        shutil.copyfile(PACKAGE / name, package / name)
    return read(tmp_path / "lab"), replace(current(read(tmp_path / "lab")), package=package)


def test_there_is_such_a_tool():
    assert "compare" in [tool.name for tool in TOOLS]


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_library_of_a_tool_is_all_that_its_code_imports_and_no_more(tool):
    reached, waiting = set(), [tool.folder / "run.py"]
    while waiting:
        found = {*modules(waiting.pop())} - reached
        reached |= found
        waiting += [PACKAGE / name for name in found]
    assert reached == {*tool.library}
    assert [*tool.library] == sorted(tool.library)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_code_of_a_tool_runs_without_the_rest_of_spikecrate(tool, tmp_path):
    request = build_request(tool, recipe(tool))
    environment._copy_code(request, tmp_path / "code")
    code = f"""
import sys
sys.path += [{str(tmp_path / "code")!r}, {sysconfig.get_path("purelib")!r}]
import run
assert not hasattr(sys.modules["spikecrate"], "__version__")
print(sorted(name for name in sys.modules if name.startswith("spikecrate.")))
"""
    # Without `site`, which would add the spikecrate that is installed for development.
    words = [sys.executable, "-I", "-S", "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "spikecrate.errors" in done.stdout


def test_only_the_recipe_of_a_tool_with_a_library_has_one():
    for tool in catalogue(kind="").values():
        sources = current(tool)
        parts = ingredients(
            sources.sorter,
            harness=sources.harness,
            base=sources.base,
            package=sources.package,
            library=tool.library,
        )
        assert [name for name, *_ in parts.get("library", [])] == [*tool.library]
        assert ("library" in parts) == bool(tool.library)


def test_an_edit_of_a_module_that_the_tool_runs_changes_the_recipe_and_of_another_one_does_not(tool):
    described, sources = tool
    before = hash_of(described, sources)
    with (sources.package / "_version.py").open("a") as file:
        file.write("# edited\n")
    assert hash_of(described, sources) == before
    with (sources.package / "errors.py").open("a") as file:
        file.write("# edited\n")
    assert hash_of(described, sources) != before
    assert changed_files(replace(sources, package=PACKAGE), sources) == ["library/errors.py"]


def test_an_image_and_an_environment_get_just_the_modules(tool, tmp_path):
    described, sources = tool
    request = build_request(described, hash_of(described, sources), sources)
    with staged(request) as copy:
        assert [path.name for path in copy.package.rglob("*")] == ["errors.py"]
        bases = Bases(runtime="", builder="", runtime_digest="")
        words = sorter_argv(copy, bases, output="type=docker")
        assert f"--build-context=library={copy.package}" in words
        environment._copy_code(copy, tmp_path / "code")
    inside = {path.relative_to(tmp_path / "code").as_posix() for path in (tmp_path / "code").rglob("*.py")}
    assert {name for name in inside if name.startswith("spikecrate/")} == {"spikecrate/errors.py"}


def test_a_tool_without_a_library_has_no_such_context(tmp_path):
    write_sorter(tmp_path, BODY)
    plain = read(tmp_path / "lab")
    request = build_request(plain, recipe(plain))
    bases = Bases(runtime="", builder="", runtime_digest="")
    assert not [word for word in sorter_argv(request, bases, output="x") if "library=" in word]


def test_the_modules_are_kept_so_that_the_job_can_run_again(tool, store):
    described, sources = tool
    known = hash_of(described, sources)
    keep(described, sources, known, store, store.work / "staging")
    with (sources.package / "errors.py").open("a") as file:
        file.write("# edited since\n")
    again, theirs = kept("lab", known, store)
    assert (again.library, hash_of(again, theirs)) == (("errors.py",), known)
    assert "edited since" not in (theirs.package / "errors.py").read_text()


@pytest.mark.parametrize(
    "names", [["../errors.py"], ["errors"], ["/etc/passwd.py"], ["a.py", "a.py"], "errors.py"]
)
def test_a_library_that_names_no_modules_of_the_package_is_refused(tmp_path, names):
    write_sorter(tmp_path, BODY, kind="command", inputs={"data": "folder"}, library=names)
    with pytest.raises(SorterInvalidError, match=r"\$\.library"):
        check(tmp_path / "lab")


def test_a_module_that_is_missing_is_named(tmp_path):
    write_sorter(tmp_path, BODY, kind="command", inputs={"data": "folder"}, library=["sortings/gone.py"])
    with pytest.raises(SorterInvalidError, match=r"library: .*sortings/gone\.py: No such file"):
        recipe(read(tmp_path / "lab"))
