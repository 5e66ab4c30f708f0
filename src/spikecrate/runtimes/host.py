"""Run steps on this machine: in the tool's locked virtual environment, with the same harness and no isolation.

The default on a machine without a container engine.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from spikecrate.errors import CommandError, EngineError
from spikecrate.runtimes import gpu, process_tree
from spikecrate.runtimes.contract import INPUTS, JOB, OUT, SCRATCH, ContainerSpec, Image
from spikecrate.runtimes.permissions import make_readable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path, PurePosixPath

    from spikecrate._util.progress import Progress
    from spikecrate.environments.environment import Environment
    from spikecrate.images.build import BuildRequest
    from spikecrate.runtimes.contract import ExitStatus, Mount
    from spikecrate.store import Store


class Host:
    """The runtime of a machine without a container engine.

    Parameters
    ----------
    store : Store
        Keeps the environments.
    """

    name: Final = "host"

    def __init__(self, store: Store) -> None:
        self.store = store

    def prepare(self, request: BuildRequest, progress: Progress) -> Image:
        """Find the tool's environment, or make it.

        Parameters
        ----------
        request : BuildRequest
            Sources of the environment.
        progress : Progress
            Receives the lines of a build.

        Returns
        -------
        Image
        """
        from spikecrate.environments.environment import make

        return _image(make(request, self.store, progress))

    def preview(self, request: BuildRequest) -> Image:
        """Return the environment that `prepare` would return, without making it.

        Parameters
        ----------
        request : BuildRequest
            Sources of the environment.

        Returns
        -------
        Image
        """
        from spikecrate.environments.environment import place

        return _image(place(request, self.store))

    def command(self, spec: ContainerSpec) -> list[str]:
        """Return the harness's command line with paths of the host.

        Parameters
        ----------
        spec : ContainerSpec
            Command to run.

        Returns
        -------
        list of str
        """
        places = {
            place: _links(spec) / place if linked else mounts[0].source
            for place, (mounts, linked) in _places(spec).items()
        }
        return [
            *spec.image.entrypoint,
            *("--job", str(spec.source(JOB) / "job.json")),
            *(f"--input={place}={path}" for place, path in places.items()),
            *("--out", str(spec.source(OUT))),
            *("--scratch", str(spec.source(SCRATCH))),
        ]

    def run(self, spec: ContainerSpec, on_output: Callable[[bytes], None]) -> ExitStatus:
        """Run a step, and end all of its processes however the call ends.

        Parameters
        ----------
        spec : ContainerSpec
            Command to run.
        on_output : callable
            Receives the output in pieces.

        Returns
        -------
        ExitStatus

        Raises
        ------
        EngineError
            The environment's Python cannot be started.
        """
        scratch = spec.source(SCRATCH)
        for place, (mounts, linked) in _places(spec).items():
            for mount in mounts if linked else ():
                (_links(spec) / place).mkdir(parents=True, exist_ok=True)
                (_links(spec) / place / mount.target.name).symlink_to(mount.source)
        try:
            return process_tree.run(
                self.command(spec),
                cwd=scratch,
                # A container does not show the GPUs; on the host this variable hides them.
                env={
                    "PATH": os.defpath,
                    "HOME": str(scratch),
                    **(gpu.visible() if spec.gpu else {gpu.VISIBLE: ""}),
                },
                limits=spec.limits,
                attempt=scratch.parent,
                on_output=on_output,
            )
        except CommandError as error:
            message = f"{spec.image.entrypoint[0]}: {error.tail}"
            raise EngineError(
                message,
                next_step=f"remove {spec.image.reference}; the next run makes it again",
                doctor="runtime.host",
            ) from None
        finally:
            make_readable(spec.source(OUT))

    def sweep(self, store_label: str, is_orphan: Callable[[str], bool]) -> list[str]:
        """End the processes of killed runs.

        Parameters
        ----------
        store_label : str
            The store whose steps are swept.
        is_orphan : callable
            Returns whether the owner of a job key is gone.

        Returns
        -------
        list of str
            The sessions that were ended.
        """
        return process_tree.sweep(self.store.work, is_orphan) if store_label == str(self.store.root) else []


def _places(spec: ContainerSpec) -> dict[PurePosixPath, tuple[list[Mount], bool]]:
    """Return the mounts of each place below /inputs, and whether the place is a folder of links.

    An input of single files is a folder of links to them: what lies beside them is no input, here as in a container.
    """
    mounts = [mount for mount in spec.mounts if mount.target.is_relative_to(INPUTS)]
    of_files = {mount.target.parent for mount in mounts if mount.source.is_file()}
    places: dict[PurePosixPath, tuple[list[Mount], bool]] = {}
    for mount in mounts:
        linked = mount.target.parent in of_files
        target = mount.target.parent if linked else mount.target
        places.setdefault(target.relative_to(INPUTS), ([], linked))[0].append(mount)
    return places


def _links(spec: ContainerSpec) -> Path:
    """Return the folder of an attempt for the links to single files."""
    return spec.source(SCRATCH).parent / "inputs"


def _image(made: Environment) -> Image:
    return Image(
        reference=str(made.python.parents[1]),
        digest=made.hash,
        entrypoint=(str(made.python), "-I", str(made.code)),
        facts={"engine": "host", "engine_version": "", "kernel": os.uname().release},
    )
