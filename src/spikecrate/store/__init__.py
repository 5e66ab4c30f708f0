"""The store: finished results, failures, file hashes, images and environments, in plain folders."""

from spikecrate.store.place import Store, open_store

__all__ = ["Store", "open_store"]
