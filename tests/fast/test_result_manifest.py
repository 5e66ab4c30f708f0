"""The manifest of a result: hashes of files of any size, and Ctrl-C while they are computed."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from blake3 import blake3

from spikecrate.store import result_manifest


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_a_file_of_any_size_has_the_hash_of_its_bytes(tmp_path, monkeypatch, size):
    """Sizes around a multiple of the piece."""
    monkeypatch.setattr(result_manifest, "PIECE_BYTES", 2**20)
    path, content = tmp_path / "file", bytes(range(256)) * (size // 256 + 1)
    path.write_bytes(content[:size])
    assert result_manifest.hash_file(path) == blake3(content[:size]).hexdigest()


def test_ctrl_c_is_obeyed_while_a_large_file_is_hashed(tmp_path):
    """A sparse terabyte would take minutes to hash."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(2**40)
    started = time.monotonic()
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    with pytest.raises(KeyboardInterrupt):
        result_manifest.hash_file(path)
    interrupt.join()
    assert time.monotonic() - started < 30
