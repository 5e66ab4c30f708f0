"""The user's identity in the development container: git's configuration, the ssh agent, ssh's known hosts.

Every attach updates them in two mounted folders, so a container that has run for weeks commits and pushes as its user does
today. Private keys stay on the host.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from spikecrate._util.files import write_atomically
from spikecrate._util.process import answer
from spikecrate.runtimes.contract import Mount
from spikecrate_dev import relay
from spikecrate_dev.attached import AGAIN, Attached, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GIT: Final = PurePosixPath("/run/spikecrate/git")
AGENT: Final = PurePosixPath("/run/spikecrate/agent")
CONFIG: Final = "config"
KNOWN_HOSTS: Final = "known_hosts"

PASSED: Final = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
HOST_S_OWN: Final = (
    *("credential.", "include.", "includeif.", "safe.", "gpg.", "pager.", "difftool.", "mergetool."),
    *("filter.", "core.editor", "core.pager", "core.askpass", "core.sshcommand", "core.hookspath"),
    *("core.fsmonitor", "core.attributesfile", "core.excludesfile", "sequence.editor"),
    *("interactive.difffilter", "diff.external", "commit.gpgsign", "tag.gpgsign", "init.templatedir"),
    *("http.sslcainfo", "http.sslcapath"),
)
"""git settings that name a program or a file of the host, which git would not find inside."""


def mounts(folder: Path) -> tuple[Mount, ...]:
    """Return the mounts of the user's identity.

    Parameters
    ----------
    folder : Path
        The container's run folder on the host; the mounted folders in it are made.
    """
    found = (Mount(source=folder / "git", target=GIT), Mount(source=folder / "agent", target=AGENT))
    for mount in found:
        mount.source.mkdir(mode=0o700, parents=True, exist_ok=True)
    return found


def attach(
    environ: Mapping[str, str], shown: Sequence[Mount], project: Path, *, make: bool = True
) -> Attached:
    """Hand this session's identity to a shell: git's configuration, the ssh agent, ssh's known hosts.

    Parameters
    ----------
    environ : mapping
        The caller's variables.
    shown : sequence of Mount
        The container's mounts.
    project : Path
        The clone, on which git's configuration may depend.
    make : bool
        Whether to make files and sockets, or only name them.

    Returns
    -------
    Attached
        A failure is a note, never an error.
    """
    environment = {name: environ[name] for name in PASSED if environ.get(name)}
    notes: list[str] = []
    agent = environ.get("SSH_AUTH_SOCK", "")
    git, folder = source_of(GIT, shown), source_of(AGENT, shown)
    if agent and not Path(agent).is_socket():
        notes.append(f"SSH_AUTH_SOCK={agent} is not a socket: no ssh agent inside")
    elif agent and (folder is None or not folder.is_dir()):
        notes.append(f"this container was started before this login: no ssh agent inside until {AGAIN}")
    elif agent:
        environment["SSH_AUTH_SOCK"] = str(AGENT / _agent_name(agent))
    try:
        if make and git is not None and git.is_dir():
            _renew(git / CONFIG, git_config(project))
            _renew(git / KNOWN_HOSTS, _read(Path(environ.get("HOME") or Path.home()) / ".ssh" / KNOWN_HOSTS))
        if make and folder is not None and "SSH_AUTH_SOCK" in environment:
            relay.hold(folder / _agent_name(agent), str(Path(agent).absolute()))
    except OSError as error:
        notes.append(f"git's configuration or the ssh agent is not available inside: {error}")
    return Attached(environment=environment, notes=tuple(notes))


def git_config(project: Path) -> bytes:
    """Return the user's git configuration in a clone, without settings of this host; empty without git.

    Parameters
    ----------
    project : Path
        The folder that contains `.devcontainer/`.
    """
    # None without git, or without such a file.
    listed = answer(["git", "config", "--global", "--includes", "--null", "--list"], cwd=project)
    return write_config(listed or "").encode()


def write_config(listed: str) -> str:
    """Return git settings as the text of a file, without those that depend on the host.

    Parameters
    ----------
    listed : str
        The output of `git config --null --list`: name, newline, value; a name alone is a setting that is on.
    """
    lines: list[str] = []
    for setting in filter(None, listed.split("\0")):
        name, has_value, value = setting.partition("\n")
        if name.lower().startswith(HOST_S_OWN):
            continue
        section, _, rest = name.partition(".")
        subsection, _, key = rest.rpartition(".")
        head = f'[{section} "{_quotable(subsection)}"]' if subsection else f"[{section}]"
        quotable = _quotable(value).replace("\n", "\\n").replace("\t", "\\t")
        lines += [head, f'\t{key} = "{quotable}"' if has_value else f"\t{key}"]
    return "".join(f"{line}\n" for line in lines)


def _quotable(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _agent_name(socket: str) -> str:
    """Return the name of an agent's relay; two logins have one each."""
    return hashlib.sha256(socket.encode()).hexdigest()[:12]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _renew(path: Path, content: bytes) -> None:
    if not (path.is_file() and path.read_bytes() == content):
        write_atomically(path, content, flush=False, mode=0o600)
