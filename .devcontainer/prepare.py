"""Make, on the host and as the caller, the folders that the development container mounts; run before every start.

It needs the standard library alone, and runs on any Python of the host. Docker would make a missing folder as root.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

BUNDLES = [
    *(os.environ.get(name, "") for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")),
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
]
"""Places of the certificates that this machine trusts; the first that exists is used."""


def main() -> None:
    """Make the folders of the caches, the store and the scratch, and a copy of the certificates."""
    # Not inside ~/.cache/spikecrate, which is the store.
    home = Path.home() / ".cache" / "spikecrate-dev"
    cache = home / "cache"
    take_over(Path.home() / ".cache" / "spikecrate" / "dev", cache)
    (cache / "bash").mkdir(mode=0o700, parents=True, exist_ok=True)
    store = Path(os.environ.get("SPIKECRATE_STORE") or default_store()).expanduser().resolve()
    store.mkdir(mode=0o700, parents=True, exist_ok=True)
    link(home / "store", store)
    scratch = Path(f"/tmp/spikecrate-{os.getuid()}")
    scratch.mkdir(mode=0o700, exist_ok=True)
    status = scratch.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise FileExistsError(errno.EEXIST, "is not a folder of your own: remove it", str(scratch))
    link(home / "scratch", scratch)
    bundle = next((Path(name) for name in BUNDLES if name and Path(name).is_file()), None)
    replace(cache / "ca.pem", bundle.read_bytes() if bundle is not None else b"")


def default_store() -> Path:
    """Return where spikecrate keeps its store on this machine."""
    cache = os.environ.get("XDG_CACHE_HOME", "")
    # A relative path is ignored, as the XDG Base Directory Specification demands.
    return (Path(cache) if cache.startswith("/") else Path("~/.cache")) / "spikecrate"


def take_over(old: Path, cache: Path) -> None:
    """Move the caches from the folder that earlier versions used, which is inside the store now."""
    if not (old / "cache").is_dir() or cache.exists():
        return
    cache.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    (old / "cache").rename(cache)
    (old / "store").unlink(missing_ok=True)
    with suppress(OSError):  # something else is in it
        old.rmdir()


def link(place: Path, target: Path) -> None:
    """Make a link, or change its target, in one step."""
    if place.is_symlink() and place.readlink() == target:
        return
    fresh = beside(place)
    fresh.symlink_to(target)
    fresh.replace(place)


def replace(place: Path, content: bytes) -> None:
    """Write a file in one step, where its content differs."""
    if place.is_file() and place.read_bytes() == content:
        return
    fresh = beside(place)
    fresh.write_bytes(content)
    fresh.replace(place)


def beside(place: Path) -> Path:
    """Return a name for this process alone in the same folder; remove the file that a killed run left there."""
    fresh = place.with_name(f".new-{os.getpid()}-{place.name}")
    fresh.unlink(missing_ok=True)
    return fresh


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"the development container cannot be prepared: {error}")
