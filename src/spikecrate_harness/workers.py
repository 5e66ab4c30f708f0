"""Worker processes that a sorter starts."""

from __future__ import annotations

import ctypes
import signal


def end_with_parent() -> None:
    """Make the calling worker process end with its parent, whatever ends the parent.

    Call it in the worker: as a pool's initializer, or by ``os.register_at_fork(after_in_child=end_with_parent)``.
    A signal that stops the sorter stops the worker at once, even if the parent handles it.
    """
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
