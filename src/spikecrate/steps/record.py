"""The run record: everything needed to trust a result and to run its job again."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.canonical import digest
from spikecrate._util.git import commit_of, is_edited
from spikecrate._version import __version__
from spikecrate.engines.host_paths import host_path
from spikecrate.errors import CommandError
from spikecrate.runtimes import gpu
from spikecrate.steps.kinds import warnings_of
from spikecrate.steps.paths import LOG

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate.runtimes.contract import ContainerSpec, ExitStatus, Mount
    from spikecrate.steps.job import Job

SCHEMA: Final = 3
TOOL_FIELDS: Final = ("name", "kind", "version", "title", "license", "reference", "url", "deterministic")
"""Fields of a tool's description that the run record repeats."""


def run_record(
    job: Job,
    *,
    spec: ContainerSpec,
    runtime: str,
    argv: list[str],
    started: datetime,
    ended: datetime,
    ended_as: ExitStatus,
    report: dict[str, Any],
    facts: dict[str, Any],
    files: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Return the run record of a finished job.

    Parameters
    ----------
    job : Job
        The job.
    spec : ContainerSpec
        The container that ran.
    runtime : str
        Name of the runtime.
    argv : list of str
        The equivalent command line.
    started, ended : datetime
        Start and end in UTC.
    ended_as : ExitStatus
        Exit status from the runtime.
    report : dict
        The harness's report.
    facts : dict
        Facts on the output, by the tool's kind: `units` and `events` of a sorting.
    files : dict
        Size and hash of every output file.

    Returns
    -------
    dict
        JSON types only; written as run.json.
    """
    tool = job.tool
    # Prefer the runtime's figure: the harness's may include cached pages of the recording.
    watched, reported = ended_as.peak_memory_bytes, report.get("peak_memory_bytes")
    on_host, reference, identity = runtime == "host", spec.image.reference, spec.image.digest
    return {
        "schema": SCHEMA,
        "key": job.key,
        "status": "completed",
        "tool": {
            **{name: getattr(tool, name) for name in TOOL_FIELDS},
            "catalogue": catalogue_state(tool.folder),
        },
        "recipe": job.parts.recipe,
        "parameters": job.parts.parameters,
        "seed": job.parts.seed,
        "key_parts": job.parts.as_dict(),
        "inputs": {name: found.facts for name, found in job.inputs.items()},
        "runtime": runtime,
        "image": None if on_host else {"reference": reference, "digest": identity},
        "environment": {"folder": reference, "lock": identity} if on_host else None,
        "engine": spec.image.facts,
        "argv": argv,
        "mounts": [_mount(mount, by_daemon=runtime == "docker") for mount in spec.mounts],
        "user": {"uid": spec.user[0], "gid": spec.user[1]},
        "limits": asdict(spec.limits),
        "gpu": gpu.devices() if spec.gpu else None,
        "started": started.isoformat(timespec="milliseconds"),
        "ended": ended.isoformat(timespec="milliseconds"),
        "wall_s": round((ended - started).total_seconds(), 3),
        "cpu_s": report.get("cpu_s"),
        "peak_memory_bytes": reported if watched is None else watched,
        "exit_code": ended_as.code,
        **facts,
        "warnings": warnings_of(report, facts),
        "inside": report,
        "files": files,
        "spikecrate": __version__,
    }


def _mount(mount: Mount, *, by_daemon: bool) -> dict[str, Any]:
    """Return a mount with its path for the user and, where it differs, its path on the Docker host."""
    host = host_path(mount.source) if by_daemon else mount.source
    return {
        "source": str(mount.source),
        "target": str(mount.target),
        "read_only": mount.read_only,
        **({"host": str(host)} if host != mount.source else {}),
    }


def outputs_hash(record: dict[str, Any]) -> str:
    """Return one hash of all output files of a run.

    Parameters
    ----------
    record : dict
        The run record.

    Returns
    -------
    str
        The hash of the only file, as of a sorting, or one hash of all files.
    """
    hashes = {name: str(facts.get("blake3")) for name, facts in record["files"].items() if name != LOG}
    return next(iter(hashes.values())) if len(hashes) == 1 else digest(["spikecrate outputs", hashes])


def catalogue_state(folder: Path) -> dict[str, Any]:
    """Return the git commit of a tool's folder and whether it has uncommitted edits.

    Parameters
    ----------
    folder : Path
        The tool's folder.

    Returns
    -------
    dict
        `{"commit": str or None, "dirty": bool or None}`; None outside any git repository.
    """
    commit = commit_of(folder)
    try:
        dirty = None if commit is None else is_edited(folder)
    except CommandError:
        dirty = None
    return {"commit": commit, "dirty": dirty}


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)
