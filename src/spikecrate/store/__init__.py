"""What is kept: finished results, failures, memos, images and environments, in plain folders."""

from spikecrate.store.place import Store, open_store

__all__ = ["Store", "open_store"]
