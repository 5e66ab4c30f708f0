"""The local engine: a process a task, admitted by cores, memory and GPUs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from spikecrate._util.files import disk_full_named, make_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from spikecrate.batch.engine import ResourceClass, State

GRACE_S: Final = 30.0
"""Seconds that a task gets to remove its container before it is killed."""
POLL_S: Final = 0.05
VISIBLE: Final = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What tasks may occupy together.

    Attributes
    ----------
    cores, jobs : int
        Processors, and tasks at once.
    memory_bytes : int or None
        Memory; None for no bound.
    gpus : tuple of str
        Names of the GPUs for CUDA_VISIBLE_DEVICES; a task that needs one has it to itself.
    """

    cores: int
    jobs: int
    memory_bytes: int | None
    gpus: tuple[str, ...] = ()


@dataclass
class _Task:
    index: int
    resources: ResourceClass
    memory_bytes: int
    process: subprocess.Popen[bytes] | None = None
    gpu: str = ""


@dataclass
class Local:
    """The engine of this machine; it has no process of its own and works when `states` is called.

    Attributes
    ----------
    command : callable
        Returns the command line of a task by its number.
    log : callable
        Returns the file of what a task prints, by its number; further attempts are appended.
    capacity : Capacity
        What the tasks may occupy together.
    reserved : callable
        Returns cores and memory that other processes of the batch occupy, such as those of a submitter that died.
    """

    command: Callable[[int], list[str]]
    log: Callable[[int], Path]
    capacity: Capacity
    reserved: Callable[[], tuple[int, int]] = lambda: (0, 0)
    _waiting: list[_Task] = field(default_factory=list)
    _running: list[_Task] = field(default_factory=list)
    _ended: list[int] = field(default_factory=list)

    def submit(self, resources: ResourceClass, indices: Sequence[int]) -> None:
        """Queue tasks; they start in this order, but one that fits may overtake one that does not fit yet.

        A task whose memory is not known counts with its cores' share of the memory.

        Parameters
        ----------
        resources : ResourceClass
            What each occupies.
        indices : sequence of int
            Numbers of the tasks.
        """
        share = (self.capacity.memory_bytes or 0) * resources.cores // self.capacity.cores
        known = resources.memory_bytes
        self._waiting += [_Task(index, resources, share if known is None else known) for index in indices]

    def states(self) -> dict[int, State]:
        """Note which tasks have ended, start those that fit, and return the state of each."""
        for task in [task for task in self._running if task.process and task.process.poll() is not None]:
            self._running.remove(task)
            self._ended.append(task.index)
        self._admit()
        found: dict[int, State] = dict.fromkeys(self._ended, "ended")
        found |= dict.fromkeys((task.index for task in self._running), "running")
        return found | dict.fromkeys((task.index for task in self._waiting), "waiting")

    def cancel(self) -> None:
        """Drop what waits; ask what runs to stop, and kill what has not stopped in half a minute."""
        self._ended += [task.index for task in self._waiting]
        self._waiting = []
        running = [task.process for task in self._running if task.process is not None]
        for process in running:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while any(process.poll() is None for process in running) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        for process in running:
            process.kill()
            process.wait()
        self.states()

    def logs(self, index: int) -> Path:
        """Return the file with what a task printed.

        Parameters
        ----------
        index : int
            Number of the task.
        """
        return self.log(index)

    def _admit(self) -> None:
        for task in list(self._waiting):
            if len(self._running) >= self.capacity.jobs:
                return
            if self._fits(task):
                self._waiting.remove(task)
                self._start(task)

    def _fits(self, task: _Task) -> bool:
        cores, memory = self.reserved()
        if not self._running and not cores:
            # A task that is larger than the machine may try it alone.
            return True
        cores += sum(running.resources.cores for running in self._running)
        memory += sum(running.memory_bytes for running in self._running)
        most = self.capacity.memory_bytes
        return (
            cores + task.resources.cores <= self.capacity.cores
            and (most is None or memory + task.memory_bytes <= most)
            and (not task.resources.gpu or bool(self._free_gpus()))
        )

    def _free_gpus(self) -> list[str]:
        taken = {task.gpu for task in self._running}
        return [gpu for gpu in self.capacity.gpus if gpu not in taken]

    def _start(self, task: _Task) -> None:
        task.gpu = next(iter(self._free_gpus()), "") if task.resources.gpu else ""
        environ = {**os.environ, VISIBLE: task.gpu} if task.gpu else None
        log = self.logs(task.index)
        with disk_full_named(log):
            make_folder(log.parent)
            # A session of its own: Ctrl-C on the terminal reaches the submitter alone, which stops each task in turn.
            with log.open("ab") as file:
                task.process = subprocess.Popen(
                    self.command(task.index),
                    stdin=subprocess.DEVNULL,
                    stdout=file,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    env=environ,
                )
        self._running.append(task)
