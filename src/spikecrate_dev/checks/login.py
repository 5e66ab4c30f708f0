"""git's identity, git's trust in this clone, the ssh agent."""

from __future__ import annotations

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from spikecrate._util.process import answer, run
from spikecrate.doctor.check import Checks, Facts, Verdict, ok, warn

TIMEOUT_S: Final = 5
NO_KEYS: Final = 1
NO_AGENT: Final = 2
"""Exit codes of `ssh-add -l`."""
CHECKS: Final = Checks()


@dataclass(frozen=True, kw_only=True)
class Agent:
    """The ssh agent.

    Attributes
    ----------
    socket : str
        The value of SSH_AUTH_SOCK.
    program : bool
        Whether ssh-add is installed.
    code, keys : int
        The exit code of `ssh-add -l`, and the number of keys it lists.
    """

    socket: str
    program: bool
    code: int = 0
    keys: int = 0


def look_identity(_: Facts) -> dict[str, str] | None:
    """Return git's name and address for the current folder; None without git."""
    if shutil.which("git") is None:
        return None
    return {
        name: answer(["git", "config", name], timeout=TIMEOUT_S) or "" for name in ("user.name", "user.email")
    }


@CHECKS.add("git.identity", "git's user.name and user.email in this folder", look_identity)
def judge_identity(identity: dict[str, str] | None) -> Verdict:
    """Judge whether git can commit.

    Parameters
    ----------
    identity : dict[str, str] or None
        As `look_identity` returns it.
    """
    if identity is None:
        return warn("git is missing", "sudo apt-get install git", ends=True)
    missing = [name for name, value in identity.items() if not value]
    if missing:
        return warn(f"git has no {' and no '.join(missing)}", f"git config --global {missing[0]} VALUE")
    return ok(f"{identity['user.name']} <{identity['user.email']}>")


def look_trust(_: Facts) -> tuple[str, str]:
    """Return the clone of the current folder, and git's error in it."""
    here = Path.cwd()
    clone = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), None)
    if clone is None:
        return "", ""
    done = run(["git", "-C", clone, "rev-parse", "--git-dir"], timeout=TIMEOUT_S, check=False)
    return str(clone), "" if done.code == 0 else done.output


@CHECKS.add("git.trust", "git works in this clone (safe.directory)", look_trust, needs=("git.identity",))
def judge_trust(facts: tuple[str, str]) -> Verdict:
    """Judge whether git works in this clone: it refuses the clones of other users.

    Parameters
    ----------
    facts : tuple
        As `look_trust` returns it.
    """
    clone, error = facts
    if not clone:
        return ok("not in a clone")
    if "dubious ownership" in error:
        fix = f"git config --global --add safe.directory {shlex.quote(clone)}"
        return warn(f"{clone} belongs to another user, so git refuses it", fix)
    if error:
        return warn(f"git fails in {clone}: {error.splitlines()[-1]}", f"git -C {shlex.quote(clone)} status")
    return ok(f"git works in {clone}")


def look_agent(_: Facts) -> Agent:
    """Ask the ssh agent for its keys."""
    socket = os.environ.get("SSH_AUTH_SOCK", "")
    program = shutil.which("ssh-add") is not None
    if not socket or not program:
        return Agent(socket=socket, program=program)
    done = run(["ssh-add", "-l"], timeout=TIMEOUT_S, check=False)
    code = NO_AGENT if done.timed_out else done.code
    keys = len(done.output.splitlines()) if code == 0 else 0
    return Agent(socket=socket, program=True, code=code, keys=keys)


@CHECKS.add("ssh.agent", "the ssh agent answers and has a key", look_agent)
def judge_agent(agent: Agent) -> Verdict:
    """Judge whether the ssh agent answers; it is optional.

    Parameters
    ----------
    agent : Agent
        As `look_agent` returns it.
    """
    if not agent.socket:
        return ok("no SSH_AUTH_SOCK: git over ssh asks for keys itself")
    if not agent.program:
        return warn("ssh-add is missing, so the agent cannot be asked", "sudo apt-get install openssh-client")
    if agent.code == 0:
        return ok(f"{agent.keys} key{'s' if agent.keys != 1 else ''}")
    if agent.code == NO_KEYS:
        return warn("the agent has no key", "ssh-add")
    return warn(f"no agent answers at SSH_AUTH_SOCK={agent.socket}", 'eval "$(ssh-agent)" && ssh-add')
