"""A container started by this process: it sees the store, and its files belong to the caller."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.doctor.check import Checks, Facts, Verdict, fail, ok, warn
from spikecrate.doctor.store import probe_folder
from spikecrate.engines.host_paths import host_path
from spikecrate.images.base import DEBIAN
from spikecrate.images.inventory import BASES, PREFIX
from spikecrate.images.lookup import list_images

if TYPE_CHECKING:
    from pathlib import Path

    from docker import DockerClient


INSIDE: Final = "/doctor"
CHECKS: Final = Checks()


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """The outcome of a token that was written here and copied by a container.

    Attributes
    ----------
    image : str
        The image of the container; empty where the engine has none that can copy.
    code : int
        The exit code of the copy.
    came_back : bool
        Whether the copy exists and is equal.
    owner, user : int
        The uid of the copy, and of this process.
    """

    image: str = ""
    code: int = 0
    came_back: bool = False
    owner: int = 0
    user: int = 0


def look_sibling(facts: Facts) -> RoundTrip:
    """Write a token, let a container copy it, and read the copy.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    client = facts["docker.daemon"].client
    names = [str(tag) for found in list_images(client) for tag in found.tags]
    # Each of these has `cp`; the smallest kind first.
    wanted = [DEBIAN, *(f"{PREFIX}{base}:" for base in BASES), PREFIX]
    image = next((name for start in wanted for name in names if name.startswith(start)), "")
    if not image:
        return RoundTrip()
    token = secrets.token_hex(16)
    with probe_folder() as folder:
        (folder / "token").write_text(token, encoding="utf-8")
        code = _copy(client, image, host_path(folder))
        copy = folder / "copy"
        came_back = copy.is_file() and copy.read_text(encoding="utf-8") == token
        owner = copy.stat().st_uid if came_back else -1
    return RoundTrip(image=image, code=code, came_back=came_back, owner=owner, user=os.geteuid())


@CHECKS.add(
    "store.sibling",
    "a container reads the store, and writes it as you",
    look_sibling,
    needs=("docker.daemon", "store.place"),
    limit_s=30,
)
def judge_sibling(trip: RoundTrip) -> Verdict:
    """Judge whether containers see the same files, and write them as the caller.

    Parameters
    ----------
    trip : RoundTrip
        As `look_sibling` returns it.
    """
    if not trip.image:
        return warn("the engine has no image to test with", "spikecrate build --sorter ms4")
    if not trip.came_back:
        message = f"a container of {trip.image} cannot copy a file in the store (exit code {trip.code})"
        fix = "export SPIKECRATE_STORE=FOLDER, at the same path on the Docker host and shared with Docker"
        return fail(message, fix)
    if trip.owner != trip.user:
        fix = "docker context use default (this machine's own daemon), or --runtime apptainer"
        return fail(f"files that a container writes belong to uid {trip.owner}, you are {trip.user}", fix)
    return ok(f"a container of {trip.image} read and wrote the store, as you")


def _copy(client: DockerClient, image: str, folder: Path) -> int:
    """Copy the token in a container that is confined as a job is; return the exit code."""
    from docker.errors import APIError, NotFound
    from docker.types import Mount

    from spikecrate.engines.docker import docker_errors

    with docker_errors():
        container = client.containers.create(
            image,
            entrypoint=["cp"],
            command=[f"{INSIDE}/token", f"{INSIDE}/copy"],
            user=f"{os.geteuid()}:{os.getegid()}",
            mounts=[Mount(target=INSIDE, source=str(folder), type="bind")],
            read_only=True,
            network_mode="none",
            cap_drop=["ALL"],
            # The engine removes it even where this process is killed.
            auto_remove=True,
        )
        try:
            container.start()
            return int(container.wait(condition="removed")["StatusCode"])
        except NotFound:
            return 0
        finally:
            with suppress(APIError):  # the engine removes it, before or at this moment
                container.remove(force=True, v=True)
