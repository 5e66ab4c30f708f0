"""Choose the runtime: the requested one, or the first that works on this machine."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from spikecrate.errors import (
    EngineDownError,
    EngineError,
    EngineMissingError,
    EnginePermissionError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest
    from spikecrate.runtimes.contract import Runtime
    from spikecrate.store import Store

NAMES: Final = ("auto", "docker", "apptainer", "host")
UNUSABLE: Final = (EngineMissingError, EngineDownError, EnginePermissionError, EngineError)


def choose(name: str, store: Store, progress: Progress, *, request: BuildRequest | None = None) -> Runtime:
    """Return the runtime of that name; for `auto`, the first of docker, apptainer and host that works.

    Parameters
    ----------
    name : str
        `auto`, `docker`, `apptainer` or `host`.
    store : Store
        Keeps SIFs and environments.
    progress : Progress
        Receives one line when `auto` falls back, with the reasons.
    request : BuildRequest, optional
        Sources of the image. Only Docker builds images: `auto` takes Apptainer only when the store has the SIF.

    Returns
    -------
    Runtime

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError
        When the requested engine cannot be used.
    UsageError
        When there is no runtime of that name.
    """
    makers = _makers(store, request if name == "auto" else None)
    if name in makers:
        return makers[name]()
    if name != "auto":
        message = f"there is no runtime {name!r}"
        raise UsageError(message, next_step=f"one of: {', '.join(NAMES)}")
    reasons: list[str] = []
    for candidate, make in makers.items():
        try:
            runtime = make()
        except UNUSABLE as error:
            reasons.append(str(error))
            continue
        if reasons:
            isolation = ", which isolates nothing" if candidate == "host" else ""
            progress.note(f"{'; '.join(reasons)}; running with the {candidate} runtime{isolation}")
        return runtime
    raise AssertionError  # the host runtime can always be made


def usable(store: Store) -> list[Runtime]:
    """Return every runtime that works on this machine.

    Parameters
    ----------
    store : Store
        Keeps SIFs and environments.

    Returns
    -------
    list of Runtime
    """
    found = []
    for make in _makers(store).values():
        with suppress(*UNUSABLE):
            found.append(make())
    return found


def _makers(store: Store, needed: BuildRequest | None = None) -> dict[str, Callable[[], Runtime]]:
    def docker() -> Runtime:
        from spikecrate.runtimes.docker import Docker

        return Docker()

    def apptainer() -> Runtime:
        from spikecrate.runtimes.apptainer import Apptainer

        runtime = Apptainer(store)
        # Docker comes before Apptainer; without Docker no image can be built.
        if needed is not None:
            runtime.require_image(needed)
        return runtime

    def host() -> Runtime:
        from spikecrate.runtimes.host import Host

        return Host(store)

    return {"docker": docker, "apptainer": apptainer, "host": host}
