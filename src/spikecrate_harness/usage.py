"""Resources that a job has used: processor time, memory, processes that the kernel ended for lack of memory.

Memory is that of the control group where the group belongs to the job alone, as in a container; otherwise that of the
largest process. Standard library only.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Group:
    """The memory files of a control group, version 1 or 2.

    Attributes
    ----------
    members, peak, events : Path
        Files with the process ids, the peak in bytes and the count of processes ended by the kernel.
    """

    members: Path
    peak: Path
    events: Path


V2: Final = Group(CGROUPS / "cgroup.procs", CGROUPS / "memory.peak", CGROUPS / "memory.events")
V1: Final = Group(
    CGROUPS / "memory/cgroup.procs",
    CGROUPS / "memory/memory.max_usage_in_bytes",
    CGROUPS / "memory/memory.oom_control",
)


def own_group() -> Group | None:
    """Find the control group that holds this process, its ancestors and descendants, and nothing else."""
    for group in (V2, V1):
        try:
            members = {int(word) for word in group.members.read_text().split()}
        except (OSError, ValueError):
            continue
        if os.getpid() in members and all(_is_kin(pid) for pid in members):
            return group
    return None


def peak_memory(group: Group | None) -> tuple[int, str]:
    """Return the peak memory in bytes and its source: "cgroup" (page cache included) or "process"."""
    if group is not None:
        try:
            return int(group.peak.read_text()), "cgroup"
        except (OSError, ValueError):
            pass
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(1024 * resource.getrusage(who).ru_maxrss for who in users), "process"


def oom_kills(group: Group | None) -> int | None:
    """Return how many processes of the group the kernel ended for lack of memory; None if unknown."""
    if group is None:
        return None
    try:
        pairs = (line.split() for line in group.events.read_text().splitlines())
        return next((int(words[1]) for words in pairs if words[0] == "oom_kill"), None)
    except (OSError, ValueError, IndexError):
        return None


def cpu_seconds() -> float:
    """Return the processor time of this process and of its children that have ended."""
    users = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(used.ru_utime + used.ru_stime for used in map(resource.getrusage, users))


def _is_kin(pid: int) -> bool:
    """Return whether a process is this one, its ancestor or its descendant; False for one outside this namespace."""
    return os.getpid() in _line(pid) or pid in _line(os.getpid())


def _line(pid: int) -> list[int]:
    """Return a process and its ancestors."""
    line = []
    while pid > 0:
        line.append(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(stat.rpartition(")")[2].split()[1])
    return line
