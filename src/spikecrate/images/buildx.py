"""`docker buildx build`: the command line, its log, and what its failures mean.

docker-py has no BuildKit, so the command does the building. Two builds of one recipe give the same bytes:
every file is dated by the Dockerfiles themselves (docker/base/seal), the image by `SOURCE_DATE_EPOCH`, and
nothing that names this build (provenance, an SBOM's serial number) is attached.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import capture, run
from spikecrate.errors import CommandError, DiskFullError, EngineMissingError, ImageBuildError
from spikecrate.images.build_log import build_log
from spikecrate.images.staging import SOURCE_DATE_EPOCH
from spikecrate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from spikecrate._util.progress import Progress

CREATED: Final = "2026-01-01T00:00:00Z"
"""`SOURCE_DATE_EPOCH` as labels write it."""

PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
CA_BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")
LAST_LINES: Final = 20
NO_BUILDER: Final = ("no builder ", "context not found")
"""What buildx says where it does not even come to the build."""


def build_argv(
    context: Path,
    *,
    output: str,
    dockerfile: Path | None = None,
    target: str = "",
    labels: Mapping[str, str] | None = None,
    arguments: Mapping[str, str] | None = None,
    contexts: Mapping[str, Path] | None = None,
    options: Sequence[str] = (),
    environ: Mapping[str, str] | None = None,
    no_cache: bool = False,
) -> list[str]:
    """Give the command line of a build.

    Parameters
    ----------
    context : Path
        The folder that the build sees.
    output : str
        As `--output` takes it: `engine_output(…)`, or `type=oci,dest=…` for an archive.
    dockerfile : Path, optional
        By default the context's own.
    target : str, optional
        Stage to stop at.
    labels, arguments : mapping, optional
        Labels of the image; build arguments.
    contexts : mapping, optional
        More folders that the Dockerfile names.
    options : sequence of str, optional
        More words; a secret `ca` among them stands in place of the machine's CA bundle.
    environ : mapping, optional
        Where the proxy and the CA bundle are looked up; by default this process's environment.
    no_cache : bool
        Do every step again.
    """
    environ = os.environ if environ is None else environ
    named = any(option.startswith("--secret=id=ca,") for option in options)
    bundle = None if named else ca_bundle(environ)
    return [
        *("docker", "buildx", "build", f"--builder={builder(environ)}", "--progress=plain"),
        # A site's proxy often listens on this machine alone.
        *("--network=host", "--provenance=false", "--sbom=false"),
        *(["--no-cache"] if no_cache else []),
        *([f"--file={dockerfile}"] if dockerfile is not None else []),
        *([f"--target={target}"] if target else []),
        f"--build-arg=SOURCE_DATE_EPOCH={SOURCE_DATE_EPOCH}",
        *(f"--build-arg={name}={value}" for name, value in (arguments or {}).items()),
        # By name: the value, which may hold a password, stays out of the command line.
        *(f"--build-arg={name}" for name in PROXY_VARIABLES if environ.get(name)),
        *([f"--secret=id=ca,src={bundle}"] if bundle is not None else []),
        *(f"--label={name}={value}" for name, value in (labels or {}).items()),
        *(f"--build-context={name}={folder}" for name, folder in (contexts or {}).items()),
        *options,
        f"--output={output}",
        os.fspath(context),
    ]


def builder(environ: Mapping[str, str]) -> str:
    """Name the builder inside the engine that docker-py speaks to: it is named after the engine's context."""
    if environ.get("DOCKER_HOST"):
        return "default"
    from docker.context.config import get_current_context_name

    return environ.get("DOCKER_CONTEXT") or str(get_current_context_name())


def engine_output(reference: str) -> str:
    """Say that a build goes to the engine, as an OCI image: its digest is then that of an OCI archive."""
    return f"type=image,name={reference},oci-mediatypes=true"


def ca_bundle(environ: Mapping[str, str]) -> Path | None:
    """Find the certificates that this machine trusts, for builds behind an inspecting proxy."""
    named = [Path(environ[name]) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if environ.get(name)]
    return next((path for path in [*named, CA_BUNDLE] if path.is_file()), None)


def require_buildx() -> None:
    """Make sure that the command which builds is there.

    Raises
    ------
    EngineMissingError
    """
    try:
        capture(["docker", "buildx", "version"])
    except CommandError:
        message = "images are built with docker buildx, which is not installed here"
        raise EngineMissingError(
            message, next_step="sudo apt-get install docker-buildx", doctor="docker.buildx"
        ) from None


def build_logged(argv: list[str], title: str, progress: Progress) -> None:
    """Run a build; show its step as progress and keep the whole log where it fails.

    Parameters
    ----------
    argv : list of str
        As `build_argv` makes it.
    title : str
        What is built: the image's reference.
    progress : Progress
        Gets the step and every line of the log.

    Raises
    ------
    ImageBuildError
        With the last lines, and the path of the log in the store's `logs/`.
    DiskFullError
        Where the engine's disk or the store is full.
    EngineMissingError
        Without docker buildx.
    StoreError
        Where the store cannot be used.
    """
    require_buildx()
    name = f"build-{title.removeprefix('spikecrate/')}"
    path = None
    try:
        with build_log(name, f"building {title}", open_store().logs, progress) as log:
            path = log.path
            run(argv, on_line=log.on_line)
    except CommandError as error:
        assert path is not None
        raise _failure(title, error, path) from None


def _failure(title: str, error: CommandError, log: Path) -> ImageBuildError | DiskFullError:
    last = "\n".join(error.tail.splitlines()[-LAST_LINES:])
    details = {"log": str(log), "code": error.code}
    if "no space left on device" in error.tail.lower():
        message = f"{title} could not be built: the disk is full\n{last}"
        return DiskFullError(
            message,
            next_step="docker system df shows what fills the engine's disk",
            details=details,
            doctor="docker.space",
        )
    message = f"{title} could not be built; the last lines:\n{last}"
    doctor = "docker.builder" if any(sign in error.tail for sign in NO_BUILDER) else None
    return ImageBuildError(message, next_step=f"the whole log is {log}", details=details, doctor=doctor)
