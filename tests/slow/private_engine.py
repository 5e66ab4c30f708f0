"""A Docker daemon of a test's own, to be killed: the machine's own is never touched.

It has its own folders, socket and containerd, as under systemd, and a network of its own with nothing in it: sorters have none,
and a daemon that is to do without a bridge would take the machine's away.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

UP_S = 60


class PrivateEngine:
    """A daemon and a containerd that start, are killed, and start again on the same folders."""

    def __init__(self):
        # Short: a socket's path has room for 107 bytes.
        self.place = Path(tempfile.mkdtemp(prefix="spikecrate-engine-"))
        self.url = f"unix://{self.place}/sock"
        self.cgroup = self.place.name
        self.processes = {}
        (self.place / "containerd.toml").write_text(
            f"""version = 2
root = "{self.place}/data/containerd"
state = "{self.place}/exec/containerd"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{self.place}/containerd.sock"
"""
        )

    def start(self, *, live_restore=False):
        """Start what is not up, and wait until the daemon answers; say whether containers outlive it."""
        settings = {"features": {"containerd-snapshotter": True}, "live-restore": live_restore}
        (self.place / "daemon.json").write_text(json.dumps(settings))
        self._spawn("containerd", "containerd", "--config", self.place / "containerd.toml")
        deadline = time.monotonic() + UP_S
        # Of a killed one the socket is still there, and refuses.
        while not self._containerd_answers():
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        self._spawn(
            "dockerd",
            *("unshare", "--net", "dockerd", "--config-file", self.place / "daemon.json", "--host", self.url),
            *("--containerd", self.place / "containerd.sock", "--cgroup-parent", f"/{self.cgroup}"),
            *("--data-root", self.place / "data", "--exec-root", self.place / "exec"),
            *("--pidfile", self.place / "pid", "--bridge=none"),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false"),
        )
        while not self._answers():
            assert self._is_up("dockerd"), self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)

    def restart(self, *, live_restore=False):
        """Stop the daemon as an administrator does, and start it with other settings."""
        self.processes["dockerd"].terminate()
        self.processes["dockerd"].wait(UP_S)
        self.start(live_restore=live_restore)

    def load(self, reference):
        """Copy an image from the machine's own daemon."""
        with subprocess.Popen(["docker", "save", reference], stdout=subprocess.PIPE) as saved:
            subprocess.run(
                ["docker", "--host", self.url, "load"], stdin=saved.stdout, check=True, timeout=UP_S
            )

    def kill(self, what):
        """Kill the daemon, its containerd, both, or what stands between containerd and a container; say if any was."""
        names = ("dockerd", "containerd") if what == "both" else (what,)
        pids = self._shims() if what == "shim" else [self.processes[name].pid for name in names]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if what != "shim":
            for name in names:
                self.processes[name].wait(UP_S)
        return bool(pids)

    def log(self):
        """Give the end of what the daemon said."""
        return "\n".join((self.place / "log").read_text(errors="replace").splitlines()[-20:])

    def remove(self):
        """End all that is left of it, and remove its mounts, control groups and folders."""
        deadline = time.monotonic() + UP_S
        while pids := [*self._named(), *self._in_cgroups()]:
            assert time.monotonic() < deadline, f"processes {pids} do not end"
            for pid in pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for process in self.processes.values():
                process.poll()
            time.sleep(0.02)
        for process in self.processes.values():
            process.wait(UP_S)
        for address in self.place.rglob("*/address"):
            Path(address.read_text().removeprefix("unix://")).unlink(missing_ok=True)
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        for point in reversed([point for point in mounted if point.startswith(f"{self.place}/")]):
            subprocess.run(["umount", "--lazy", point], check=True)
        for group in sorted(self._cgroups(), key=lambda path: -len(path.parts)):
            group.rmdir()
        shutil.rmtree(self.place)

    def _spawn(self, name, *words):
        if not self._is_up(name):
            with (self.place / "log").open("ab") as log:
                self.processes[name] = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )

    def _is_up(self, name):
        return name in self.processes and self.processes[name].poll() is None

    def _containerd_answers(self):
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(f"{self.place}/containerd.sock") == 0

    def _answers(self):
        # Unlike a ping, this asks containerd.
        asked = ["docker", "--host", self.url, "images", "--quiet"]
        with suppress(subprocess.TimeoutExpired):
            return subprocess.run(asked, capture_output=True, check=False, timeout=5).returncode == 0
        return False

    def _shims(self):
        return [pid for pid, line in self._lines() if b"containerd-shim" in line.partition(b"\0")[0]]

    def _named(self):
        return [pid for pid, _ in self._lines()]

    def _lines(self):
        """Give the processes with the daemon's folder in their command lines; the dead have none."""
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                line = entry.read_bytes()
                if f"{self.place}/".encode() in line:
                    found.append((int(entry.parent.name), line))
        return found

    def _cgroups(self):
        tops = {*Path("/sys/fs/cgroup").glob(self.cgroup), *Path("/sys/fs/cgroup").glob(f"*/{self.cgroup}")}
        return [Path(folder) for top in tops for folder, _, _ in os.walk(top)]

    def _in_cgroups(self):
        return {int(pid) for group in self._cgroups() for pid in (group / "cgroup.procs").read_text().split()}
