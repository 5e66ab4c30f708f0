"""The console program, with the host runtime on this very interpreter: what `study.run` starts in fast tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from lab import Here

from spikecrate.cli.main import main
from spikecrate.runtimes import choice
from spikecrate.studies import run


def command(folder, index):
    """Return the command line of a worker that has this runtime too."""
    return [sys.executable, __file__, "study.work", str(folder), "--index", str(index), "--verbose"]


if __name__ == "__main__":
    choice._makers = lambda store, _needed=None: {"host": lambda: Here(store)}
    run.worker_command = command
    main()
