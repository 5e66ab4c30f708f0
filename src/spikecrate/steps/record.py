"""The run record: everything that is needed to believe a result, and to make it again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.git import commit_of, is_edited
from spikecrate._version import __version__
from spikecrate.engines.host_paths import host_path
from spikecrate.errors import CommandError
from spikecrate.runtimes import gpu

if TYPE_CHECKING:
    from pathlib import Path

    from spikecrate.runtimes.contract import Exit, Mount, Task
    from spikecrate.steps.job import Job

SCHEMA: Final = 1


def run_record(
    job: Job,
    *,
    task: Task,
    runtime: str,
    argv: list[str],
    seed: int,
    started: datetime,
    ended: datetime,
    ended_as: Exit,
    report: dict[str, Any],
    files: dict[str, dict[str, Any]],
) -> dict[str, Any]:
    """Put a run record together.

    Parameters
    ----------
    job : Job
        What was asked.
    task : Task
        What was run.
    runtime : str
        Where.
    argv : list of str
        The command line that does the same by hand.
    seed : int
        Handed to the sorter.
    started, ended : datetime
        In UTC.
    ended_as : Exit
        How the runtime saw it end.
    report : dict
        What the harness wrote inside.
    files : dict
        Sizes and hashes of what came out.

    Returns
    -------
    dict
        JSON types only; written as run.json.
    """
    sorter, recording = job.sorter, job.recording
    # The runtime's own watch counts the job's memory alone; the harness may count pages of the recording too.
    watched, reported = ended_as.peak_memory_bytes, report.get("peak_memory_bytes")
    return {
        "schema": SCHEMA,
        "key": job.key,
        "status": "completed",
        "sorter": {
            "name": sorter.name,
            "version": sorter.version,
            "title": sorter.title,
            "license": sorter.license,
            "reference": sorter.reference,
            "url": sorter.url,
            "deterministic": sorter.deterministic,
            "catalogue": catalogue_state(sorter.folder),
        },
        "recipe": job.parts.recipe,
        "parameters": job.parts.parameters,
        "seed": seed,
        "key_parts": job.parts.as_dict(),
        "recording": {
            "path": str(recording.path),
            "format": recording.format,
            "sample_file": str(recording.sample_file),
            "layout": recording.layout.as_dict(),
            "channel_ids": list(recording.channel_ids),
            "notes": list(recording.notes),
            "identity": job.parts.recording,
        },
        "runtime": runtime,
        "image": (
            None if runtime == "host" else {"reference": task.image.reference, "digest": task.image.digest}
        ),
        "environment": (
            {"folder": task.image.reference, "lock": task.image.digest} if runtime == "host" else None
        ),
        "engine": task.image.facts,
        "argv": argv,
        "mounts": [_mount(mount, by_daemon=runtime == "docker") for mount in task.mounts],
        "user": {"uid": task.user[0], "gid": task.user[1]},
        "limits": {
            "cores": task.limits.cores,
            "memory_bytes": task.limits.memory_bytes,
            "timeout_s": task.limits.timeout_s,
        },
        "gpu": gpu.devices() if task.gpu else None,
        "started": started.isoformat(timespec="milliseconds"),
        "ended": ended.isoformat(timespec="milliseconds"),
        "wall_s": round((ended - started).total_seconds(), 3),
        "cpu_s": report.get("cpu_s"),
        "peak_memory_bytes": reported if watched is None else watched,
        "exit_code": ended_as.code,
        "units": report["units"],
        "events": report["events"],
        "inside": report,
        "files": files,
        "spikecrate": __version__,
    }


def _mount(mount: Mount, *, by_daemon: bool) -> dict[str, Any]:
    """Describe a mount as the user sees it, and as the daemon's machine does where that is another path."""
    host = host_path(mount.source) if by_daemon else mount.source
    return {
        "source": str(mount.source),
        "target": str(mount.target),
        "read_only": mount.read_only,
        **({"host": str(host)} if host != mount.source else {}),
    }


def catalogue_state(folder: Path) -> dict[str, Any]:
    """Give the git commit that a sorter's folder is at, and whether it was edited since.

    Returns
    -------
    dict
        `{"commit": str or None, "dirty": bool or None}`; None where the folder is in no git repository.
    """
    commit = commit_of(folder)
    if commit is None:
        return {"commit": None, "dirty": None}
    try:
        return {"commit": commit, "dirty": is_edited(folder)}
    except CommandError:
        return {"commit": commit, "dirty": None}


def now() -> datetime:
    """Give the present moment in UTC."""
    return datetime.now(UTC)
