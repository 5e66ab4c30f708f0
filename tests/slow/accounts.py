"""The machine's accounts, which some tests add to while others run commands under a copy of /etc/passwd.

The copy is mounted over the file, and useradd replaces the file: the kernel then takes the mount away.
"""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

LOCK = Path(tempfile.gettempdir()) / "spikecrate-accounts.lock"


@contextmanager
def unchanged():
    """Let nobody add or remove an account in the block."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def change(*words):
    """Run useradd or userdel while no test counts on the accounts."""
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([*map(str, words)], check=True)
