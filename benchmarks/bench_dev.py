"""The development container: entering a running one, and making one."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Row, at_most, interleaved, process, timed
from spikecrate_dev.definition import find_project, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT = Path(__file__).parents[1]
INVOKE = str(Path(sys.executable).with_name("invoke"))
DEV = (INVOKE, "dev", "--cmd", "true")
ROUNDS = 15
COLD_ROUNDS = 5


def enter_and_make(scratch: Path) -> list[Row]:
    """Time `invoke dev --cmd true` with a running container, and with none."""
    project = find_project(_copy(scratch / "project"))
    environ = {**os.environ, "SPIKECRATE_STORE": str(scratch / "store")}

    def run(*commands: Sequence[str]) -> None:
        for argv in commands:
            subprocess.run(
                argv, cwd=project, env=environ, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip

    def again(*commands: Sequence[str]) -> Callable[[], float]:
        def measured() -> float:
            subprocess.run(["docker", "rm", "--force", name], check=False, capture_output=True)
            return timed(lambda: run(*commands))()

        return measured

    name = read(project, environ).name
    try:
        run(DEV)
        bare = ["docker", "exec", name, "true"]
        both: list[Sequence[str]] = [[INVOKE, "--version"], bare]
        entered = interleaved(
            {
                "invoke dev": timed(lambda: run(DEV)),
                "docker exec": process(bare),
                "invoke --version, then docker exec": timed(lambda: run(*both)),
            },
            ROUNDS,
        )
        by_hand = _docker_run(project, environ)
        made = interleaved(
            {
                "invoke dev": again(DEV),
                "docker run": again(by_hand),
                "docker run, then docker exec": again(by_hand, bare),
            },
            COLD_ROUNDS,
        )
    finally:
        subprocess.run(["docker", "rm", "--force", name], check=False, capture_output=True)
    return [
        at_most(
            "(i) invoke dev --cmd true, running",
            entered,
            "invoke dev",
            "docker exec",
            ratio=1.5,
            seconds=None,
        ),
        at_most(
            "(i) the same, against invoke's own start",
            entered,
            "invoke dev",
            "invoke --version, then docker exec",
            ratio=1.5,
            seconds=None,
        ),
        *(
            at_most("(i) invoke dev --cmd true, cold", made, "invoke dev", against, ratio=1.5, seconds=None)
            for against in ("docker run", "docker run, then docker exec")
        ),
    ]


def _copy(project: Path) -> Path:
    """Make a project with a container of its own."""
    for path in (*read(ROOT, os.environ).inputs, *(ROOT / ".devcontainer").iterdir(), ROOT / "tasks.py"):
        target = project / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            shutil.copy(path, target)
    return project


def _docker_run(project: Path, environ: dict[str, str]) -> list[str]:
    """Return the `docker run` of `invoke dev`."""
    printed = subprocess.run(
        [*DEV, "--rebuild", "--dry-run"], cwd=project, env=environ, check=True, capture_output=True, text=True
    ).stdout
    lines = map(shlex.split, printed.splitlines())
    return next(words for words in lines if words[:2] == ["docker", "run"])
