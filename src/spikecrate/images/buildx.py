"""Run `docker buildx build`: its command line, its log and its failures.

docker-py cannot use BuildKit (https://github.com/docker/docker-py/issues/2230), so the command builds. Two builds of
one recipe give the same bytes: the Dockerfiles set the date of every file (docker/base/seal), `SOURCE_DATE_EPOCH` sets
that of the image, and no provenance or SBOM, which would name this build, is attached.
"""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.files import disk_full_named
from spikecrate._util.process import capture, run
from spikecrate.errors import CommandError, DiskFullError, EngineMissingError, ImageBuildError
from spikecrate.images.staging import SOURCE_DATE_EPOCH
from spikecrate.store import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from spikecrate._util.progress import Progress

CREATED: Final = "2026-01-01T00:00:00Z"
"""`SOURCE_DATE_EPOCH` as labels write it."""

PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
CA_BUNDLE: Final = Path("/etc/ssl/certs/ca-certificates.crt")
LAST_LINES: Final = 20
NO_BUILDER: Final = ("no builder ", "context not found")
"""Messages of buildx where the build does not start."""

STEP: Final = re.compile(r"#\d+ \[(?P<stage>(?!internal\b)[^\]]+)\] ", re.ASCII)
"""How buildx begins a step with `--progress=plain`: `#9 [environment 2/3] RUN make-environment`."""


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
    """Return the command line of a build.

    Parameters
    ----------
    context : Path
        The build context.
    output : str
        For `--output`: `engine_output(…)`, or `type=oci,dest=…` for an archive.
    dockerfile : Path, optional
        By default the one in the context.
    target : str, optional
        Stage to stop at.
    labels, arguments : mapping, optional
        Labels of the image; build arguments.
    contexts : mapping, optional
        Further build contexts, by the name that the Dockerfile uses.
    options : sequence of str, optional
        Further options; a secret `ca` among them replaces the machine's CA bundle.
    environ : mapping, optional
        Environment that names the proxy and the CA bundle; by default that of this process.
    no_cache : bool
        Run every step again.

    Returns
    -------
    list of str
    """
    environ = os.environ if environ is None else environ
    named = any(option.startswith("--secret=id=ca,") for option in options)
    bundle = None if named else ca_bundle(environ)
    return [
        *("docker", "buildx", "build", f"--builder={builder(environ)}", "--progress=plain"),
        # A proxy of the site often listens on localhost only.
        *("--network=host", "--provenance=false", "--sbom=false"),
        *(["--no-cache"] if no_cache else []),
        *([f"--file={dockerfile}"] if dockerfile is not None else []),
        *([f"--target={target}"] if target else []),
        f"--build-arg=SOURCE_DATE_EPOCH={SOURCE_DATE_EPOCH}",
        *(f"--build-arg={name}={value}" for name, value in (arguments or {}).items()),
        # Without a value: it may hold a password, and the command line is public.
        *(f"--build-arg={name}" for name in PROXY_VARIABLES if environ.get(name)),
        *([f"--secret=id=ca,src={bundle}"] if bundle is not None else []),
        *(f"--label={name}={value}" for name, value in (labels or {}).items()),
        *(f"--build-context={name}={folder}" for name, folder in (contexts or {}).items()),
        *options,
        f"--output={output}",
        os.fspath(context),
    ]


def builder(environ: Mapping[str, str]) -> str:
    """Return the builder of the engine that docker-py uses: it has the name of the engine's context.

    Parameters
    ----------
    environ : mapping
        Environment variables.

    Returns
    -------
    str
    """
    if environ.get("DOCKER_HOST"):
        return "default"
    from docker.context.config import get_current_context_name

    return environ.get("DOCKER_CONTEXT") or str(get_current_context_name())


def engine_output(reference: str) -> str:
    """Return the `--output` that loads an image into the engine, with the digest that its OCI archive has.

    Parameters
    ----------
    reference : str
        Name of the image.

    Returns
    -------
    str
    """
    return f"type=image,name={reference},oci-mediatypes=true"


def ca_bundle(environ: Mapping[str, str]) -> Path | None:
    """Return the certificates that this machine trusts, for builds behind an inspecting proxy.

    Parameters
    ----------
    environ : mapping
        Environment variables.

    Returns
    -------
    Path or None
    """
    named = [Path(environ[name]) for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE") if environ.get(name)]
    return next((path for path in [*named, CA_BUNDLE] if path.is_file()), None)


def require_buildx() -> None:
    """Check that docker buildx is installed.

    Raises
    ------
    EngineMissingError
    """
    try:
        capture(["docker", "buildx", "version"])
    except CommandError:
        message = "docker buildx, which builds images, is not installed"
        raise EngineMissingError(
            message, next_step="sudo apt-get install docker-buildx", doctor="docker.buildx"
        ) from None


@contextmanager
def build_log(
    name: str,
    title: str,
    folder: Path,
    progress: Progress,
    failure: Callable[[CommandError, Path], Exception],
) -> Iterator[Callable[[str], None]]:
    """Keep the log of a build in a file that stays only where a command of the build fails.

    Parameters
    ----------
    name : str
        Begins the file's name.
    title : str
        Shown as progress, followed by the step of `docker buildx` that is running.
    folder : Path
        If the file goes: the store's `logs/`.
    progress : Progress
        Gets the title, the step and every line.
    failure : callable
        Return the error to raise where a command fails; gets the path of the log.

    Yields
    ------
    callable
        Takes each line of the build.

    Raises
    ------
    Exception
        What `failure` returns.
    DiskFullError
    """
    with disk_full_named(folder):
        prefix = f"{re.sub(r'[^A-Za-z0-9_.+-]+', '-', name)}-"
        descriptor, path = tempfile.mkstemp(prefix=prefix, suffix=".txt", dir=folder)
    log = Path(path)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file, ExitStack() as shown:
            shown.enter_context(progress.bar(title, 0))

            def on_line(line: str) -> None:
                print(line, file=file, flush=True)
                progress.line(line)
                step = STEP.match(line)
                if step is not None:
                    shown.close()
                    shown.enter_context(progress.bar(f"{title}: {step['stage']}", 0))

            yield on_line
    except CommandError as error:
        raise failure(error, log) from None
    except BaseException:
        log.unlink(missing_ok=True)
        raise
    log.unlink(missing_ok=True)


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
        If the engine's disk or the store is full.
    EngineMissingError
        docker buildx is not installed.
    StoreError
        If the store cannot be used.
    """
    require_buildx()
    name = f"build-{title.removeprefix('spikecrate/')}"
    logs = open_store().logs
    with build_log(name, f"building {title}", logs, progress, partial(_failure, title)) as on_line:
        run(argv, on_line=on_line)


def is_disk_full(error: CommandError) -> bool:
    """Whether a command failed because a disk is full.

    Parameters
    ----------
    error : CommandError
        The failure.

    Returns
    -------
    bool
    """
    return "no space left on device" in error.tail.lower()


def engine_full(message: str, **details: object) -> DiskFullError:
    """Return the error for a full disk of the engine.

    Parameters
    ----------
    message : str
        What could not be done.
    **details : object
        Fields for `--json`.

    Returns
    -------
    DiskFullError
    """
    return DiskFullError(
        message,
        next_step="see what fills the engine's disk: docker system df",
        details=details,
        doctor="docker.space",
    )


def _failure(title: str, error: CommandError, log: Path) -> ImageBuildError | DiskFullError:
    last = "\n".join(error.tail.splitlines()[-LAST_LINES:])
    if is_disk_full(error):
        message = f"{title} could not be built: the disk is full\n{last}"
        return engine_full(message, log=str(log), code=error.code)
    message = f"{title} could not be built; the log ends with:\n{last}"
    doctor = "docker.builder" if any(sign in error.tail for sign in NO_BUILDER) else None
    details = {"log": str(log), "code": error.code}
    return ImageBuildError(message, next_step=f"read the whole log: {log}", details=details, doctor=doctor)
