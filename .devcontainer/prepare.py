"""Makes, on the host and as the caller, what the development container mounts; run before every start.

With the standard library alone, on whatever Python the host has. Docker would make a missing folder as root.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

BUNDLES = [
    *(os.environ.get(name, "") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")),
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
]
"""Where the certificates are that this machine trusts; the first that is there."""


def main() -> None:
    """Make the folders of the caches and the store, and a copy of the certificates."""
    home = Path.home() / ".cache" / "spikecrate" / "dev"
    cache = home / "cache"
    (cache / "bash").mkdir(mode=0o700, parents=True, exist_ok=True)
    store = Path(os.environ.get("SPIKECRATE_STORE") or default_store()).expanduser().resolve()
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    link(home / "store", store)
    bundle = next((Path(name) for name in BUNDLES if name and Path(name).is_file()), None)
    replace(cache / "ca.pem", bundle.read_bytes() if bundle is not None else b"")


def default_store() -> Path:
    """Return where spikecrate keeps its store on this machine."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(cache) if cache.startswith("/") else Path("~/.cache")) / "spikecrate"


def link(place: Path, target: Path) -> None:
    """Make a link, or lead it elsewhere, in one step."""
    if place.is_symlink() and place.readlink() == target:
        return
    fresh = beside(place)
    fresh.symlink_to(target)
    fresh.replace(place)


def replace(place: Path, content: bytes) -> None:
    """Write a file in one step, where it is not so already."""
    if place.is_file() and place.read_bytes() == content:
        return
    fresh = beside(place)
    fresh.write_bytes(content)
    fresh.replace(place)


def beside(place: Path) -> Path:
    """Name a file for this process alone, in the same folder; one that a killed run left is removed."""
    fresh = place.with_name(f".new-{os.getpid()}-{place.name}")
    fresh.unlink(missing_ok=True)
    return fresh


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"the development container cannot be prepared: {error}")
