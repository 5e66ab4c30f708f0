"""A container beside this process: it sees the store, and what it writes there is the caller's."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from spikecrate.doctor.check import Check, fail, ok, warn
from spikecrate.doctor.store import probe_folder
from spikecrate.engines.host_paths import host_path
from spikecrate.errors import SpikecrateError
from spikecrate.images.base import DEBIAN
from spikecrate.images.inventory import BASES, PREFIX
from spikecrate.images.lookup import list_images

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from docker import DockerClient

    from spikecrate.doctor.check import Verdict
    from spikecrate.doctor.docker import Daemon

INSIDE: Final = "/doctor"


@dataclass(frozen=True, kw_only=True)
class RoundTrip:
    """What came back of a token that was written here and copied by a container.

    Attributes
    ----------
    image : str
        What it was copied in; empty where the engine has nothing that could.
    refused : str
        What the daemon said where it made no container.
    mend : str
        The next step that came with it.
    code : int
        The copy's exit code.
    came_back : bool
        Whether the copy is there, and the same.
    owner, user : int
        Uid of the copy, and of who asks.
    """

    image: str = ""
    refused: str = ""
    mend: str = ""
    code: int = 0
    came_back: bool = False
    owner: int = 0
    user: int = 0


def look_sibling(seen: Mapping[str, Any]) -> RoundTrip:
    """Write a token, have a container copy it, read the copy."""
    daemon: Daemon = seen["docker.daemon"]
    image = _some_image(daemon.client)
    if not image:
        return RoundTrip()
    token = secrets.token_hex(16)
    with probe_folder() as folder:
        (folder / "token").write_text(token, encoding="utf-8")
        try:
            code = _copy(daemon.client, image, host_path(folder))
        except SpikecrateError as error:
            return RoundTrip(image=image, refused=str(error), mend=error.next_step)
        copy = folder / "copy"
        came_back = copy.is_file() and copy.read_text(encoding="utf-8") == token
        owner = copy.stat().st_uid if came_back else -1
    return RoundTrip(image=image, code=code, came_back=came_back, owner=owner, user=os.geteuid())


def judge_sibling(seen: RoundTrip) -> Verdict:
    """Judge whether containers see the same files, and write as the caller."""
    if not seen.image:
        return warn("the engine has no image to try it with", "spikecrate build --sorter ms4")
    if seen.refused:
        return fail(seen.refused, seen.mend or "docker info; the daemon's log may say more")
    if not seen.came_back:
        return fail(
            f"a container of {seen.image} could not copy a file of the store (exit code {seen.code})",
            "export SPIKECRATE_STORE=FOLDER, one that the daemon's machine has at the same path and shares",
        )
    if seen.owner != seen.user:
        return fail(
            f"what a container writes belongs to uid {seen.owner}, you are {seen.user}",
            "docker context use default (the machine's own daemon), or --runtime apptainer",
        )
    return ok(f"a container of {seen.image} read the store and wrote to it, as you")


def _some_image(client: DockerClient) -> str:
    """Name an image that has `cp`, the smallest kind first; empty where there is none."""
    names = [str(tag) for image in list_images(client) for tag in image.tags]
    ours = [name for name in names if name.startswith(PREFIX)]
    wanted = [DEBIAN, *(f"{PREFIX}{base}:" for base in BASES), PREFIX]
    return next((name for start in wanted for name in [*names, *ours] if name.startswith(start)), "")


def _copy(client: DockerClient, image: str, folder: Path) -> int:
    """Have a container copy the token, as a job would run; give its exit code."""
    from docker.errors import NotFound
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
            # The engine removes it, even where this process is killed.
            auto_remove=True,
        )
        try:
            container.start()
            return int(container.wait(condition="removed")["StatusCode"])
        except NotFound:
            return 0
        finally:
            _remove(client, str(container.id))


def _remove(client: DockerClient, name: str) -> None:
    from docker.errors import APIError

    try:
        client.api.remove_container(name, force=True, v=True)
    except APIError:
        # Removed already, or at this moment by the engine.
        return


CHECKS: Final = (
    Check(
        name="store.sibling",
        about="a container sees the store, and writes as you",
        look=look_sibling,
        judge=judge_sibling,
        needs=("docker.daemon", "store.place"),
        limit_s=30,
    ),
)
