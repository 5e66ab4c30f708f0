"""Write mounts as the engines read them: one option each, and read-only for every file system below."""

from __future__ import annotations

import csv
import io
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from spikecrate.runtimes.contract import Mount

MOUNT_TABLE: Final = Path("/proc/self/mountinfo")
OCTAL: Final = re.compile(rb"\\([0-7]{3})")
"""The kernel writes spaces, tabs, line breaks and backslashes of a path as octal numbers (proc_pid_mountinfo(5))."""


def read_only_throughout(mounts: Iterable[Mount], table: Path = MOUNT_TABLE) -> list[Mount]:
    """Return the mounts, with every file system mounted below a read-only one as a read-only mount of its own.

    A bind mount includes the mounts below its source, but its read-only flag covers only the top mount:
    MS_BIND|MS_REMOUNT is not recursive (mount(2)). Apptainer has no other form; Docker's is recursive from Engine 25
    on Linux 5.12.

    Parameters
    ----------
    mounts : iterable of Mount
        The mounts of a step.
    table : Path, optional
        The mount table of this process.

    Returns
    -------
    list of Mount
    """
    points = mount_points(table)
    complete = []
    for mount in mounts:
        complete.append(mount)
        if mount.read_only:
            # A later mount may hide a mount point from this user, or it is another user's FUSE.
            complete += [
                replace(mount, source=point, target=mount.target / point.relative_to(mount.source))
                for point in points
                if point != mount.source and point.is_relative_to(mount.source) and os.path.lexists(point)
            ]
    return complete


def mount_points(table: Path = MOUNT_TABLE) -> list[Path]:
    """Return the mount points of all file systems, parents first.

    Parameters
    ----------
    table : Path, optional
        The mount table of this process.

    Returns
    -------
    list of Path
        Empty on a system without a mount table.
    """
    try:
        lines = table.read_bytes().splitlines()
    except OSError:
        return []
    return sorted({Path(os.fsdecode(_unescape(line.split(b" ")[4]))) for line in lines})


def mount_option(mount: Any) -> str:
    """Return the value of `--mount` for a mount.

    Parameters
    ----------
    mount : Mount
        The mount.

    Returns
    -------
    str
        One line of CSV, so that commas and quotes in paths survive.
    """
    line = io.StringIO()
    fields = ["type=bind", f"source={mount.source}", f"target={mount.target}"]
    csv.writer(line).writerow([*fields, *(["readonly"] if mount.read_only else [])])
    return line.getvalue().removesuffix("\r\n")


def _unescape(path: bytes) -> bytes:
    return OCTAL.sub(lambda found: bytes([int(found[1], 8)]), path)
