"""What every fast test gets: a store of its own, and no network."""

from __future__ import annotations

import socket

import pytest
from hypothesis import settings

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


@pytest.fixture
def store():
    return open_store()
