"""The log of a build: a file with every line, and one progress line with the step at hand."""

from __future__ import annotations

import os
import re
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from spikecrate._util.files import disk_full_named
from spikecrate.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from spikecrate._util.progress import Progress

STEP: Final = re.compile(r"#\d+ \[(?P<stage>(?!internal\b)[^\]]+)\] ", re.ASCII)
"""How buildx begins a step with `--progress=plain`: `#9 [environment 2/3] RUN make-environment`."""


@dataclass(frozen=True)
class BuildLog:
    """The log of a running build.

    Attributes
    ----------
    path : Path
        The file.
    on_line : callable
        Takes each line of the build.
    """

    path: Path
    on_line: Callable[[str], None]


@contextmanager
def build_log(name: str, title: str, folder: Path, progress: Progress) -> Iterator[BuildLog]:
    """Keep the log of a build in a file that stays only where a command of the build fails.

    Parameters
    ----------
    name : str
        Begins the file's name.
    title : str
        Shown as progress, followed by the step of `docker buildx` that is running.
    folder : Path
        Where the file goes: the store's `logs/`.
    progress : Progress
        Gets the title, the step and every line.

    Yields
    ------
    BuildLog

    Raises
    ------
    DiskFullError
    """
    with disk_full_named(folder):
        prefix = f"{re.sub(r'[^A-Za-z0-9_.+-]+', '-', name)}-"
        descriptor, path = tempfile.mkstemp(prefix=prefix, suffix=".txt", dir=folder)
    log = Path(path)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file, ExitStack() as shown:
            shown.enter_context(progress.bar(title, 0))

            def on_line(line: str) -> None:
                print(line, file=file, flush=True)
                progress.line(line)
                step = STEP.match(line)
                if step is not None:
                    shown.close()
                    shown.enter_context(progress.bar(f"{title}: {step['stage']}", 0))

            yield BuildLog(log, on_line)
    except CommandError:
        raise
    except BaseException:
        log.unlink(missing_ok=True)
        raise
    log.unlink(missing_ok=True)
