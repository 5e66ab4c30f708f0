"""Jobs on the machine itself: the sorter's locked virtual environment, the same harness, no isolation.

The embedded default where there is no container engine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from spikecrate.errors import CommandError, EngineError
from spikecrate.runtimes import gpu
from spikecrate.runtimes import process_tree as session
from spikecrate.runtimes.contract import JOB, OUT, RECORDING, SCRATCH, Image, Task
from spikecrate.runtimes.permissions import make_readable

if TYPE_CHECKING:
    from collections.abc import Callable

    from spikecrate._util.progress import Progress
    from spikecrate.images.build import BuildRequest
    from spikecrate.runtimes.contract import Exit
    from spikecrate.store import Store


class Host:
    """The runtime of a machine without a container engine.

    Parameters
    ----------
    store : Store
        Where the environments are kept.
    """

    name: Final = "host"

    def __init__(self, store: Store) -> None:
        self.store = store

    def prepare(self, request: BuildRequest, progress: Progress) -> Image:
        """Find the sorter's environment, or make it."""
        from spikecrate.environments.environment import make

        made = make(request, self.store, progress)
        return Image(
            reference=str(made.python.parents[1]),
            digest=made.hash,
            entrypoint=(str(made.python), "-I", str(made.code)),
            facts={"engine": "host", "engine_version": "", "kernel": os.uname().release},
        )

    def preview(self, request: BuildRequest) -> Image:
        """Name the environment that `prepare` would give."""
        from spikecrate.environments.environment import place

        made = place(request, self.store)
        return Image(
            reference=str(made.python.parents[1]),
            digest=made.hash,
            entrypoint=(str(made.python), "-I", str(made.code)),
        )

    def command(self, task: Task) -> list[str]:
        """Give the harness's command line with the host's own paths."""
        return [
            *task.image.entrypoint,
            "--job",
            str(task.source(JOB) / "job.json"),
            "--recording",
            str(task.source(RECORDING)),
            "--out",
            str(task.source(OUT)),
            "--scratch",
            str(task.source(SCRATCH)),
        ]

    def run(self, task: Task, on_output: Callable[[bytes], None]) -> Exit:
        """Run a task in a session of its own, and end the session whatever happens."""
        scratch = task.source(SCRATCH)
        try:
            return session.run(
                self.command(task),
                cwd=scratch,
                # What a container is not shown has to be hidden here.
                env={
                    "PATH": os.defpath,
                    "HOME": str(scratch),
                    **(gpu.visible() if task.gpu else {gpu.VISIBLE: ""}),
                },
                limits=task.limits,
                attempt=scratch.parent,
                on_output=on_output,
            )
        except CommandError as error:
            message = f"{task.image.entrypoint[0]}: {error.tail}"
            raise EngineError(
                message,
                next_step=f"remove {task.image.reference}; it is made again at the next run",
                doctor="runtime.host",
            ) from None
        finally:
            make_readable(task.source(OUT))

    def sweep(self, store_label: str, is_orphan: Callable[[str], bool]) -> list[str]:
        """End sessions whose owner is gone."""
        return session.sweep(self.store.work, is_orphan) if store_label == str(self.store.root) else []
