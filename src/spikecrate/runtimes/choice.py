"""Which runtime: the one asked for, or the best that this machine has."""

from __future__ import annotations

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
    """Give the runtime of that name; for `auto` the first of docker, apptainer and host that can be used.

    Parameters
    ----------
    name : str
        `auto`, `docker`, `apptainer` or `host`.
    store : Store
        Where runtimes keep what they run in.
    progress : Progress
        Told in one line when `auto` falls back, and why.
    request : BuildRequest, optional
        What is to run. Without Docker no image can be made: `auto` takes Apptainer only where there is one.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError, EngineError
        When the engine asked for cannot be used.
    UsageError
        For another name.
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
    """Give every runtime that this machine has."""
    found = []
    for make in _makers(store).values():
        try:
            found.append(make())
        except UNUSABLE:
            continue
    return found


def _makers(store: Store, needed: BuildRequest | None = None) -> dict[str, Callable[[], Runtime]]:
    def docker() -> Runtime:
        from spikecrate.runtimes.docker import Docker

        return Docker()

    def apptainer() -> Runtime:
        from spikecrate.runtimes.apptainer import Apptainer

        runtime = Apptainer(store)
        # SortRequest after Docker, so there is none to make an image with.
        if needed is not None:
            runtime.require_image(needed)
        return runtime

    def host() -> Runtime:
        from spikecrate.runtimes.host import Host

        return Host(store)

    return {"docker": docker, "apptainer": apptainer, "host": host}
