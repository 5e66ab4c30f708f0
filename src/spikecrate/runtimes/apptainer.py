"""Run steps in Apptainer or SingularityCE: the same contract as in Docker, for a user without privileges.

Such a user has neither a daemon nor control groups, so spikecrate watches the processes to limit memory and time.
Apptainer's error messages arrive in the tool's output; `failed_itself` tells them from the tool's.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import run
from spikecrate.engines import apptainer
from spikecrate.errors import CommandError, EngineError, EngineMissingError
from spikecrate.images import sif
from spikecrate.runtimes import gpu, process_tree
from spikecrate.runtimes.contract import OUT, SCRATCH, ContainerSpec, Image, Mount
from spikecrate.runtimes.mounts import mount_option, read_only_throughout
from spikecrate.runtimes.permissions import make_readable
from spikecrate.store.file_hashes import FileHashCache, FileState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from spikecrate._util.progress import Progress
    from spikecrate.engines.apptainer import Program
    from spikecrate.images.build import BuildRequest
    from spikecrate.images.provenance import Sif
    from spikecrate.runtimes.contract import ExitStatus
    from spikecrate.store import Store

HEAD_BYTES: Final = 4096
"""Bytes of output kept to tell a failure of Apptainer from one of the tool."""
PROBE_S: Final = 60
VERSION: Final = "engine and version"
"""Question to the cache of file hashes, about a binary."""
ELF: Final = b"\x7fELF"
USERLAND: Final = ("bin", "lib", "lib32", "lib64", "libx32", "usr", "nix")
"""Folders of this machine that a trial container mounts, so that it has a program to run."""
MOUNTPOINTS: Final = ("dev", "etc", "home", "proc", "root", "sys", "tmp", "var")
KERNEL_SETTINGS: Final = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys")
"""Where root writes kernel settings: root's uid suffices, without capabilities and in a user namespace that maps root
to itself. The files of /proc are those that Docker mounts read-only:
https://github.com/moby/moby/blob/v26.1.5/oci/defaults.go"""


class Apptainer:
    """The runtime of a machine with Apptainer or SingularityCE; the user needs no privileges.

    Parameters
    ----------
    store : Store
        Keeps the SIFs.

    Raises
    ------
    EngineMissingError, EnginePermissionError, EngineError
        When the program cannot be used.
    """

    name: Final = "apptainer"

    def __init__(self, store: Store) -> None:
        self.store = store
        self.program = find_program(FileHashCache(store.memo))
        self.in_user_namespace = apptainer.lacks_capabilities()
        self._require_usable()

    def require_image(self, request: BuildRequest) -> None:
        """Require that the store has the tool's SIF, on a machine that cannot make one.

        Parameters
        ----------
        request : BuildRequest
            Sources of the image.

        Raises
        ------
        EngineMissingError
            When it has none.
        """
        if not sif.stored(request, self.store):
            message = f"Apptainer has no SIF of {request.name} in the store"
            raise EngineMissingError(
                message,
                next_step=f"spikecrate convert --sorter {request.name} --archive FILE.tar",
                doctor="images.sorters",
            )

    def prepare(self, request: BuildRequest, progress: Progress) -> Image:
        """Find the tool's SIF, or make it; replace a corrupt SIF.

        Parameters
        ----------
        request : BuildRequest
            Sources of the image.
        progress : Progress
            Receives the lines of a conversion.

        Returns
        -------
        Image
        """
        return self._image(request, sif.ensure(request, self.store, progress))

    def preview(self, request: BuildRequest) -> Image:
        """Return the image that `prepare` would return, without making the SIF.

        Parameters
        ----------
        request : BuildRequest
            Sources of the image.

        Returns
        -------
        Image
        """
        stored = sif.stored(request, self.store, sif.docker_digest(request))
        if stored:
            return self._image(request, stored[0])
        return Image(
            reference=request.origin,
            digest="",
            entrypoint=request.entrypoint,
            facts={"sif": {"path": str(self.store.sifs / f"{request.name}-{request.recipe[:16]}.sif")}},
        )

    def command(self, spec: ContainerSpec) -> list[str]:
        """Return the `apptainer exec` command line of a step.

        Parameters
        ----------
        spec : ContainerSpec
            Container to run.

        Returns
        -------
        list of str
        """
        return exec_argv(spec, self.program.path, in_user_namespace=self.in_user_namespace)

    def run(self, spec: ContainerSpec, on_output: Callable[[bytes], None]) -> ExitStatus:
        """Run a step, and end all of its processes however the call ends.

        Parameters
        ----------
        spec : ContainerSpec
            Container to run.
        on_output : callable
            Receives the output in pieces.

        Returns
        -------
        ExitStatus
        """
        head = bytearray()

        def keep_head(data: bytes) -> None:
            head.extend(data[: HEAD_BYTES - len(head)])
            on_output(data)

        attempt = spec.source(SCRATCH).parent
        try:
            ended = process_tree.run(
                self.command(spec),
                cwd=attempt,
                env=environment(attempt),
                limits=spec.limits,
                attempt=attempt,
                on_output=keep_head,
            )
        except CommandError as error:
            message = f"{self.program.path}: {error.tail}"
            raise EngineError(message, doctor="apptainer.runs") from None
        finally:
            make_readable(spec.source(OUT))
        output = head.decode(errors="replace")
        if apptainer.failed_itself(ended.code, output) and not ended.timed_out and not ended.out_of_memory:
            path = spec.image.facts["sif"]["path"]
            if not Path(path).exists():
                # Another checkout or a person removed it; a SIF that is open stays readable.
                message = f"{path} was removed while the job was starting"
                raise EngineError(
                    message, next_step="run it again; the SIF is made again", doctor="images.sorters"
                )
            raise apptainer.refusal(output)
        return ended

    def sweep(self, store_label: str, is_orphan: Callable[[str], bool]) -> list[str]:
        """End the processes of killed runs, and remove the files of killed conversions.

        Parameters
        ----------
        store_label : str
            The store whose steps are swept.
        is_orphan : callable
            Returns whether the owner of a job key is gone.

        Returns
        -------
        list of str
        """
        if store_label != str(self.store.root):
            return []
        return [*process_tree.sweep(self.store.work, is_orphan), *sif.sweep(self.store)]

    def _image(self, request: BuildRequest, made: Sif) -> Image:
        return Image(
            reference=made.reference,
            digest=made.image_digest,
            entrypoint=request.entrypoint,
            facts={
                "engine": self.program.engine,
                "engine_version": self.program.version,
                "kernel": os.uname().release,
                "sif": {
                    "path": str(made.path),
                    "blake3": made.blake3,
                    "sha256": made.sha256,
                    "made_with": f"{made.engine} {made.engine_version}",
                },
            },
        )

    def _require_usable(self) -> None:
        """Run a trial container, the only way to see whether this kernel allows it to this user."""
        memo, binary = FileHashCache(self.store.memo), FileState.of(Path(self.program.path))
        boot = apptainer.read_setting("kernel/random/boot_id")
        question = f"usable by {os.geteuid()}, namespace {self.in_user_namespace}, boot {boot}"
        if memo.get(binary, question) == self.program.version:
            return
        with tempfile.TemporaryDirectory(prefix="spikecrate-probe-") as folder:
            done = run(
                probe_argv(self.program.path, Path(folder), in_user_namespace=self.in_user_namespace),
                env=environment(Path(folder)),
                timeout=PROBE_S,
                check=False,
            )
        if done.timed_out or done.code != 0:
            raise apptainer.refusal(done.output or f"FATAL: no answer within {PROBE_S} s")
        if os.geteuid() != 0 or self.in_user_namespace:
            apptainer.require_fuse(self.program)
        memo.put(binary, question, self.program.version)


def find_program(memo: FileHashCache) -> Program:
    """Find the program, and cache the version of a binary, but not of a script, which may start any program.

    Parameters
    ----------
    memo : FileHashCache
        Cache of the versions.

    Returns
    -------
    Program

    Raises
    ------
    EngineMissingError, EnginePermissionError
        When neither name is on PATH, or the program does not start for this user.
    """
    path = next((found for name in apptainer.NAMES if (found := shutil.which(name))), None)
    if path is not None and (known := memo.get(FileState.of(Path(path)), VERSION)) is not None:
        engine, _, version = known.partition(" ")
        return apptainer.Program(path, engine, version)
    program = apptainer.find_program()
    with suppress(OSError), Path(program.path).open("rb") as file:
        if file.read(len(ELF)) == ELF:
            memo.put(FileState.of(Path(program.path)), VERSION, f"{program.engine} {program.version}")
    return program


def exec_argv(spec: ContainerSpec, program: str, *, in_user_namespace: bool) -> list[str]:
    """Return the command line of a step: the container contract as options of `apptainer exec`.

    Parameters
    ----------
    spec : ContainerSpec
        What to run.
    program : str
        Path of the program.
    in_user_namespace : bool
        Whether root needs a user namespace, see `spikecrate.engines.apptainer.lacks_capabilities`.

    Returns
    -------
    list of str
    """
    return [
        *options(program, in_user_namespace=in_user_namespace, as_root=spec.user[0] == 0),
        *(["--nv"] if spec.gpu else []),
        *(word for item in gpu.visible().items() if spec.gpu for word in ("--env", "=".join(item))),
        *("--pwd", str(SCRATCH)),
        *mount_options(spec.mounts),
        spec.image.facts["sif"]["path"],
        *spec.image.entrypoint,
    ]


def options(program: str, *, in_user_namespace: bool, as_root: bool) -> list[str]:
    """Return the options of every command line: no privileges, and no files of the machine but the mounts.

    Parameters
    ----------
    program : str
        Path of the program.
    in_user_namespace, as_root : bool
        Whether root needs a user namespace, and whether root runs it: then /sys and /proc's settings are read-only.

    Returns
    -------
    list of str
    """
    settings = [
        Mount(source=Path(name), target=PurePosixPath(name))
        for name in KERNEL_SETTINGS
        if Path(name).exists()
    ]
    return [
        *(program, "--quiet", "--nocolor", "exec"),
        *(["--userns"] if in_user_namespace else []),
        "--no-privs",
        "--containall",
        "--cleanenv",
        # No home is mounted, and HOME is the scratch folder.
        *("--no-home", "--home", str(SCRATCH)),
        # By default /tmp and /var/tmp are writable memory, and bind-paths are the machine's hosts and time zone.
        *("--no-mount", "tmp,sys,bind-paths" if as_root else "tmp,bind-paths"),
        *("--net", "--network", "none"),
        *(mount_options(settings) if as_root else []),
    ]


def mount_options(mounts: Iterable[Mount]) -> list[str]:
    """Return the `--mount` options of some mounts.

    Parameters
    ----------
    mounts : iterable of Mount
        The mounts.

    Returns
    -------
    list of str
    """
    return [word for mount in read_only_throughout(mounts) for word in ("--mount", mount_option(mount))]


def probe_argv(program: str, folder: Path, *, in_user_namespace: bool) -> list[str]:
    """Make an empty container in `folder`; return the command line that runs this machine's `true` in it.

    Parameters
    ----------
    program : str
        Path of the program.
    folder : Path
        An empty folder.
    in_user_namespace : bool
        Whether root needs a user namespace.

    Returns
    -------
    list of str
    """
    for name in MOUNTPOINTS:
        (folder / name).mkdir()
    mounts = []
    for name in USERLAND:
        machines = Path("/", name)
        if machines.is_symlink():
            (folder / name).symlink_to(machines.readlink())
        elif machines.is_dir():
            (folder / name).mkdir()
            mounts += ["--mount", f"type=bind,source=/{name},target=/{name},readonly"]
    return [
        *options(program, in_user_namespace=in_user_namespace, as_root=os.geteuid() == 0),
        *mounts,
        str(folder),
        "/usr/bin/true",
    ]


def environment(home: Path) -> dict[str, str]:
    """Return the environment of the program, without the user's settings for it, which could add mounts.

    Parameters
    ----------
    home : Path
        Folder that becomes HOME.

    Returns
    -------
    dict
    """
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home)}
