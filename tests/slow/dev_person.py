"""A user of this machine that no image knows, with a fresh clone whose path has a space."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import accounts
from conftest import ROOT
from uv import find_uv_bin

UID = 61234
SOCKET = Path("/var/run/docker.sock")
NAMED = 'mount --bind "$1" /etc/passwd; shift; exec "$@"'
"""Gives the user a name for one command: programs ask for it (node, Apptainer), and no account need be made."""


class Person:
    """Runs commands as that user, as a login would: own home, own groups, nothing of ours in the environment.

    Attributes
    ----------
    home, clone : Path
        The user's home, and the clone in it.
    """

    def __init__(self) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="spikecrate-dev-"))
        self.place.chmod(0o755)
        self.home = self.place / "home"
        self.home.mkdir(mode=0o700)
        account = f"person:x:{UID}:{UID}::{self.home}:/bin/bash\n"
        (self.place / "passwd").write_text(Path("/etc/passwd").read_text() + account)
        os.chown(self.home, UID, UID)
        self.clone = self.home / "my clone"
        self.environ = {
            "PATH": f"{Path(find_uv_bin()).parent}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "USER": "person",
            "SPIKECRATE_STORE": str(self.place / "store"),
            "UV_CACHE_DIR": str(self.home / ".uv"),
            **{name: os.environ[name] for name in ("SSL_CERT_FILE", "PIP_CERT") if name in os.environ},
        }
        (self.place / "store").mkdir(mode=0o700)
        os.chown(self.place / "store", UID, UID)

    def words(self, *words, **environ):
        """Give the command line that runs `words` as the user."""
        variables = {**self.environ, **environ}
        return [
            *("unshare", "--mount", "sh", "-c", NAMED, "named", str(self.place / "passwd")),
            *(
                "setpriv",
                f"--reuid={UID}",
                f"--regid={UID}",
                f"--groups={SOCKET.stat().st_gid}",
                "--inh-caps=-all",
            ),
            *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
            *map(str, words),
        ]

    def run(self, *words, cwd=None, **environ):
        with accounts.unchanged():
            return subprocess.run(
                self.words(*words, **environ),
                cwd=cwd or self.clone,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )

    def dev(self, *words, cwd=None, **environ):
        """Run `invoke dev …` in the clone."""
        return self.run(self.invoke, "dev", *words, cwd=cwd, **environ)

    @property
    def invoke(self):
        return self.clone / ".venv" / "bin" / "invoke"

    def make_clone(self) -> None:
        """Clone what lies here, uncommitted work with it, and bootstrap it as the Makefile does."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout
        origin = self.place / "origin"
        for name in filter(None, listed.decode().split("\0")):
            if (ROOT / name).is_file():
                target = origin / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, target)
        git = ["git", "-c", "user.name=A", "-c", "user.email=a@b.c"]
        for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "All"]):
            subprocess.run([*git, *words], cwd=origin, check=True)
        subprocess.run(["chown", "--recursive", f"{UID}:{UID}", origin], check=True)
        for words in (
            ["git", "clone", "--quiet", origin, self.clone],
            ["make", "-C", self.clone, ".venv/.made"],
        ):
            done = self.run(*words, cwd=self.home)
            assert done.returncode == 0, done.stderr

    def remove(self) -> None:
        """Remove the user's containers, images and files."""
        left = subprocess.run(
            ["docker", "ps", "--all", "--quiet", "--filter", "label=devcontainer.local_folder"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        for name in left:
            folder = subprocess.run(
                [
                    "docker",
                    "inspect",
                    "--format",
                    '{{index .Config.Labels "devcontainer.local_folder"}}',
                    name,
                ],
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            if folder.startswith(str(self.place)):
                subprocess.run(
                    ["docker", "rm", "--force", "--volumes", name], check=True, capture_output=True
                )
        # What the devcontainer CLI built for this path.
        short = hashlib.sha256(str(self.clone).encode()).hexdigest()
        built = subprocess.run(
            ["docker", "images", "--quiet", "--filter", f"reference=vsc-myclone-{short}*"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        if built:
            subprocess.run(["docker", "rmi", "--force", *set(built)], check=True, capture_output=True)
        shutil.rmtree(self.place)
        shutil.rmtree(f"/tmp/spikecrate-{UID}", ignore_errors=True)
