"""Who works here: git's identity, git's trust in this folder, the ssh agent."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.process import capture, run
from spikecrate.doctor.check import Check, ok, warn
from spikecrate.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict

TIMEOUT_S: Final = 5
NO_KEYS: Final = 1
NO_AGENT: Final = 2
"""Exit codes of `ssh-add -l`."""


@dataclass(frozen=True, kw_only=True)
class Agent:
    """What the ssh agent says.

    Attributes
    ----------
    socket : str
        SSH_AUTH_SOCK; empty where it is not set.
    program : bool
        Whether ssh-add is there to ask with.
    code : int
        Its exit code.
    keys : int
        How many keys it has.
    """

    socket: str
    program: bool
    code: int = 0
    keys: int = 0


def look_identity(_: Mapping[str, Any]) -> dict[str, str] | None:
    """See git's name and address as they hold in this folder; None without git."""
    if shutil.which("git") is None:
        return None
    return {name: _git("config", name) for name in ("user.name", "user.email")}


def judge_identity(seen: dict[str, str] | None) -> Verdict:
    """Judge whether git knows who commits."""
    if seen is None:
        return warn(
            "git is missing: records do not say which commit ran", "sudo apt-get install git", ends=True
        )
    missing = [name for name, value in seen.items() if not value]
    if missing:
        return warn(f"git has no {' and no '.join(missing)}", f"git config --global {missing[0]} VALUE")
    return ok(f"{seen['user.name']} <{seen['user.email']}>")


def look_trust(_: Mapping[str, Any]) -> tuple[str, str]:
    """See the clone that this folder is in, and what git says to it."""
    here = Path.cwd()
    clone = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), None)
    if clone is None:
        return "", ""
    done = run(["git", "-C", clone, "rev-parse", "--git-dir"], timeout=TIMEOUT_S, check=False)
    return str(clone), "" if done.code == 0 else done.output


def judge_trust(seen: tuple[str, str]) -> Verdict:
    """Judge whether git works in this clone: it refuses those of other users."""
    clone, said = seen
    if not clone:
        return ok("not in a clone")
    if "dubious ownership" in said:
        return warn(
            f"{clone} is another user's, and git refuses it",
            f"git config --global --add safe.directory {shlex.quote(clone)}",
        )
    if said:
        return warn(f"git fails in {clone}: {said.splitlines()[-1]}", f"git -C {shlex.quote(clone)} status")
    return ok(f"git works in {clone}")


def look_agent(_: Mapping[str, Any]) -> Agent:
    """Ask the ssh agent for its keys."""
    socket = os.environ.get("SSH_AUTH_SOCK", "")
    program = shutil.which("ssh-add") is not None
    if not socket or not program:
        return Agent(socket=socket, program=program)
    done = run(["ssh-add", "-l"], timeout=TIMEOUT_S, check=False)
    code = NO_AGENT if done.timed_out else done.code
    return Agent(
        socket=socket, program=True, code=code, keys=len(done.output.splitlines()) if code == 0 else 0
    )


def judge_agent(seen: Agent) -> Verdict:
    """Judge whether the agent answers; having none is no fault."""
    if not seen.socket:
        return ok("no SSH_AUTH_SOCK: git over ssh asks for keys itself")
    if not seen.program:
        return warn("ssh-add is missing: the agent cannot be asked", "sudo apt-get install openssh-client")
    if seen.code == 0:
        return ok(f"{seen.keys} key{'s' if seen.keys != 1 else ''}")
    if seen.code == NO_KEYS:
        return warn("the agent has no key", "ssh-add")
    return warn(f"nobody answers at SSH_AUTH_SOCK={seen.socket}", 'eval "$(ssh-agent)" && ssh-add')


def _git(*words: str) -> str:
    try:
        return capture(["git", *words], timeout=TIMEOUT_S)
    except CommandError:
        return ""


CHECKS: Final = (
    Check(
        name="git.identity",
        about="git's user.name and user.email, here",
        look=look_identity,
        judge=judge_identity,
    ),
    Check(
        name="git.trust",
        about="git works in this clone (safe.directory)",
        look=look_trust,
        judge=judge_trust,
        needs=("git.identity",),
    ),
    Check(
        name="ssh.agent",
        about="the ssh agent answers, and has a key",
        look=look_agent,
        judge=judge_agent,
    ),
)
