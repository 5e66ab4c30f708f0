"""The development container of the clone that this folder is in."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.doctor.check import Check, fail, ok, warn
from spikecrate.errors import DevContainerError, SpikecrateError
from spikecrate_dev import session

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict


def look_container(_: Mapping[str, Any]) -> dict[str, Any] | str | SpikecrateError:
    """See the container as `dev.status` tells it; a text where there is nothing to see."""
    if session.is_inside(os.environ):
        return "this is the development container"
    try:
        project = session.project_of(Path.cwd())
    except DevContainerError:
        return "not in a clone with one"
    try:
        return session.status(project)
    except SpikecrateError as error:
        return error


def judge_container(seen: dict[str, Any] | str | SpikecrateError) -> Verdict:
    """Judge whether the container is of the present description."""
    if isinstance(seen, str):
        return ok(seen)
    if isinstance(seen, SpikecrateError):
        return fail(str(seen), seen.next_step or "invoke dev --dry-run")
    if seen["state"] == "absent":
        return ok("none yet; invoke dev makes it")
    said = f"{seen['name']} is {seen['state']}"
    if seen["stale"]:
        return warn(f"{said}, made from an older description", "invoke dev --rebuild")
    return ok(said)


CHECKS: Final = (
    Check(
        name="dev.container",
        about="the development container is not of an older description",
        look=look_container,
        judge=judge_container,
        needs=("docker.daemon",),
    ),
)
