"""Which runtime: the one asked for, or the best that this machine has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from spikecrate.errors import (
    EngineDownError,
    EngineMissingError,
    EnginePermissionError,
    SpikecrateError,
    UsageError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate.progress import Progress
    from spikecrate.runtimes.task import Runtime
    from spikecrate.store import Store

NAMES: Final = ("auto", "docker", "host")
UNUSABLE: Final = (EngineMissingError, EngineDownError, EnginePermissionError)


def choose(name: str, store: Store, progress: Progress) -> Runtime:
    """Give the runtime of that name; for `auto` the first of docker and host that can be used.

    Parameters
    ----------
    name : str
        `auto`, `docker` or `host`.
    store : Store
        Where the host runtime keeps its environments.
    progress : Progress
        Told in one line when `auto` falls back, and why.

    Raises
    ------
    EngineMissingError, EngineDownError, EnginePermissionError
        When the engine asked for cannot be used.
    UsageError
        For another name.
    """
    makers = _makers(store)
    if name in makers:
        return makers[name]()
    if name != "auto":
        message = f"there is no runtime {name!r}"
        raise UsageError(message, next_step=f"one of: {', '.join(NAMES)}")
    reason: SpikecrateError | None = None
    for candidate, make in makers.items():
        try:
            runtime = make()
        except UNUSABLE as error:
            reason = reason or error
            continue
        if reason is not None:
            progress.note(f"{reason}; running with the {candidate} runtime, which isolates nothing")
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


def _makers(store: Store) -> dict[str, Callable[[], Runtime]]:
    def docker() -> Runtime:
        from spikecrate.runtimes.docker import Docker

        return Docker()

    def host() -> Runtime:
        from spikecrate.runtimes.host import Host

        return Host(store)

    return {"docker": docker, "host": host}
