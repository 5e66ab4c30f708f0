"""Read a git repository without running anything that the repository configures.

`git status` runs the repository's `core.fsmonitor` program and its clean filters (`filter.NAME.clean`), and a partial
clone fetches missing objects with a command of its own: https://git-scm.com/docs/git-config. A tool's folder may come
from anybody, so this module compares hashes itself and turns these off.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Final

from spikecrate._util.process import answer, capture

if TYPE_CHECKING:
    from pathlib import Path

SAFE: Final = (
    "env",
    # Neither write the index nor fetch an object of a partial clone.
    *("GIT_OPTIONAL_LOCKS=0", "GIT_NO_LAZY_FETCH=1", "GIT_ALLOW_PROTOCOL="),
    *("git", "--no-pager", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
)
"""How git is called."""
TIMEOUT_S: Final = 10


def read_git(folder: Path, *words: str) -> str:
    """Return the output of a git command that only reads.

    Parameters
    ----------
    folder : Path
        A folder in a repository.
    words : str
        A command that reads neither files through filters nor submodules: `rev-parse`, `ls-tree`, `ls-files`,
        `cat-file`.

    Returns
    -------
    str
        Standard output, stripped.

    Raises
    ------
    CommandError
        Where git is missing, the folder is in no repository, or the command fails.
    """
    return capture([*SAFE, "-C", folder, *words], timeout=TIMEOUT_S)


def is_edited(folder: Path) -> bool:
    """Whether the files of a folder differ from its repository's commit, in bytes, kind or the executable flag.

    Files that git ignores do not count. Filters and end-of-line conversion are not applied: a file that only a filter
    would turn into the committed one counts as edited.

    Parameters
    ----------
    folder : Path
        A folder in a repository.

    Returns
    -------
    bool

    Raises
    ------
    CommandError
    """
    committed = {}
    for row in read_git(folder, "ls-tree", "-r", "-z", "HEAD").split("\0"):
        described, _, name = row.partition("\t")
        if name:
            mode, kind, identity = described.split()
            if kind == "blob":
                committed[name] = mode, identity
    listed = read_git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    here = {name for name in listed if name and not (folder / name).is_dir()}
    return any(
        _differs(folder / name, *committed.get(name, ("", ""))) for name in sorted(here | committed.keys())
    )


def _differs(path: Path, mode: str, identity: str) -> bool:
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            found, data = "120000", os.fsencode(path.readlink())
        elif stat.S_ISREG(status.st_mode):
            found = "100755" if status.st_mode & stat.S_IXUSR else "100644"
            data = path.read_bytes()
        else:
            return True
    except OSError:
        return True
    # A repository's object format: SHA-1 has 40 digits, SHA-256 has 64.
    algorithm = "sha1" if len(identity) == 40 else "sha256"
    hashed = hashlib.new(algorithm, b"blob %d\0" % len(data), usedforsecurity=False)
    hashed.update(data)
    return found != mode or hashed.hexdigest() != identity


def commit_of(folder: Path) -> str | None:
    """Return the commit that a folder's repository is at; None outside a repository.

    Parameters
    ----------
    folder : Path
        A folder in a repository.

    Returns
    -------
    str or None
    """
    return answer([*SAFE, "-C", folder, "rev-parse", "HEAD"], timeout=TIMEOUT_S)
