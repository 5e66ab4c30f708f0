"""What every fast test gets: a store of its own, and no network."""

from __future__ import annotations

import os
import shutil
import socket

import pytest
from hypothesis import settings
from lab import Here, write_sorter

from spikecrate.recordings.toy import write_toy
from spikecrate.runtimes import choice
from spikecrate.store import open_store

# A machine that is busy is no failure.
settings.register_profile("spikecrate", deadline=None)
settings.load_profile("spikecrate")


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    """Point the store to a folder of the test, and out of the user's."""
    monkeypatch.setenv("SPIKECRATE_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("SPIKECRATE_SORTERS", raising=False)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fail any test of this tier that opens a connection."""

    def refuse(_socket, address):
        message = f"a fast test tried to connect to {address}"
        raise AssertionError(message)

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.fixture(autouse=True)
def no_flush(request, monkeypatch):
    """Skip the wait for the disk, which is most of the time of thousands of small results.

    A flush matters when a machine dies, which no fast test tries; the slow tests, which kill and fill real disks, keep
    it. The descriptor is still used, so that flushing a closed file fails. A test that needs the flush uses `flushed`.
    """
    if "flushed" not in request.fixturenames:
        monkeypatch.setattr(os, "fsync", os.fstat)


@pytest.fixture
def flushed():
    """Keep the real fsync: the test depends on when the system writes pages and times."""


@pytest.fixture
def store():
    return open_store()


@pytest.fixture
def here(monkeypatch):
    """Let the host runtime use this interpreter: jobs run, and no environment is made."""
    monkeypatch.setattr(choice, "_makers", lambda store, _needed=None: {"host": lambda: Here(store)})


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A second of four channels."""
    return write_toy(tmp_path_factory.mktemp("toy") / "recording", duration_s=1, num_units=2)


@pytest.fixture
def recording(toy, tmp_path):
    """A copy of the toy recording that a test may change."""
    return shutil.copytree(toy, tmp_path / "rec")


@pytest.fixture
def sorter(tmp_path, monkeypatch):
    """Make a sorter of the test's own, in a catalogue of its own."""

    def make(body, name="lab", **fields):
        write_sorter(tmp_path / "sorters", body, name, **fields)
        monkeypatch.setenv("SPIKECRATE_SORTERS", str(tmp_path / "sorters"))
        return name

    return make
