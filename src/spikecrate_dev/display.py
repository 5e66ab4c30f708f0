"""The display: programs in the development container open windows on the user's display.

The container mounts two folders. Its `/tmp/.X11-unix` contains links into the host's folder of that name, and relays to
displays that are reached over the network, as with ssh. The other folder contains each display's cookie, valid on any host,
and Wayland's socket. Every attach updates both. `xhost` is not used.
"""

from __future__ import annotations

import os
import re
import socket
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, Literal

from spikecrate._util.files import write_atomically
from spikecrate.runtimes.contract import Mount
from spikecrate_dev import relay, x11
from spikecrate_dev.attached import AGAIN, Attached, source_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOCKETS: Final = Path("/tmp/.X11-unix")
FOLDER: Final = PurePosixPath("/run/spikecrate/x11")
HOST_SOCKETS: Final = PurePosixPath("/run/spikecrate/x11-host")
"""The mount of the host's folder of sockets; the container's own folder also contains relays."""

FIRST_PORT: Final = 6000
ADDRESS: Final = re.compile(
    r"(?P<host>[a-z0-9._-]*|\[[0-9a-f:]+\]|unix/):(?P<number>\d{1,5})(?:\.\d+)?", re.ASCII | re.IGNORECASE
)
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
XQUARTZ: Final = "in XQuartz, allow connections from network clients; if it still refuses windows, xhost +localhost there admits them"

Kind = Literal["local", "loopback", "remote", "xquartz"]


@dataclass(frozen=True, kw_only=True)
class Display:
    """The address of a display.

    Attributes
    ----------
    kind : str
        `local`: a socket of this machine; `loopback`: a port of it, as sshd forwards; `remote`: a port of another;
        `xquartz`: a socket that only macOS itself can reach.
    host : str
        The host in DISPLAY; empty for `local`.
    number : int
        The display's number.
    """

    kind: Kind
    host: str
    number: int

    @property
    def socket(self) -> Path:
        """The socket of a `local` display."""
        return SOCKETS / f"X{self.number}"

    @property
    def inside_number(self) -> int:
        """The display's number in the container; of a port its own number, which no local display uses."""
        return FIRST_PORT + self.number if self.kind == "loopback" else self.number

    @property
    def inside(self) -> str:
        """The value of DISPLAY in the container."""
        hosts = {"remote": self.host, "xquartz": "host.docker.internal"}
        return f"{hosts.get(self.kind, '')}:{self.inside_number}"

    @property
    def cookie_file(self) -> str:
        """The name of the cookie file: one per display, because two sessions may use two displays."""
        return f"Xauthority-{re.sub('[^A-Za-z0-9.-]', '-', self.inside.removeprefix(':'))}"


def read_display(text: str, host_name: str) -> Display | None:
    """Parse the value of DISPLAY.

    Parameters
    ----------
    text : str
        The variable's value.
    host_name : str
        This machine's name.

    Returns
    -------
    Display or None
        None where the text names no display.
    """
    if text.startswith("/") and text.rpartition(":")[2].isdecimal():
        return Display(kind="xquartz", host="", number=int(text.rpartition(":")[2]))
    found = ADDRESS.fullmatch(text)
    if found is None or int(found["number"]) > 65535 - FIRST_PORT:
        return None
    host, number = found["host"].removeprefix("[").removesuffix("]"), int(found["number"])
    if host in ("", "unix", "unix/"):
        return Display(kind="local", host="", number=number)
    kind: Kind = "loopback" if host in (*LOOPBACK, host_name) else "remote"
    return Display(kind=kind, host=host, number=number)


def mounts(folder: Path) -> tuple[Mount, ...]:
    """Return the mounts that a container needs to open windows on any display its user has later.

    Parameters
    ----------
    folder : Path
        The container's run folder on the host; the mounted folders in it are made.
    """
    own = folder / "x11"
    targets = {own: FOLDER, own / "sockets": PurePosixPath(SOCKETS)}
    for place in targets:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if SOCKETS.is_dir():
        targets[SOCKETS] = HOST_SOCKETS
    return tuple(Mount(source=source, target=target) for source, target in targets.items())


def attach(environ: Mapping[str, str], shown: Sequence[Mount], *, make: bool = True) -> Attached:
    """Hand this session's display to a shell: its cookie, its socket or a relay, and Wayland's socket.

    Parameters
    ----------
    environ : mapping
        The caller's variables.
    shown : sequence of Mount
        The container's mounts.
    make : bool
        Whether to make cookies and sockets, or only name them.

    Returns
    -------
    Attached
        A failure is a note, never an error.
    """
    text = environ.get("DISPLAY", "")
    wayland = wayland_socket(environ)
    if not text and wayland is None:
        return Attached(asides=("no display: programs cannot open windows",))
    own = source_of(FOLDER, shown)
    if own is None:
        return Attached(notes=("this container was made without a display: invoke dev --rebuild",))
    if not (own / "sockets").is_dir():
        return Attached(
            notes=(f"this container was started in an earlier login and cannot reach this display: {AGAIN}",)
        )
    environment: dict[str, str] = {}
    notes: list[str] = []
    display = read_display(text, socket.gethostname())
    if display is not None:
        environment |= {
            "DISPLAY": display.inside,
            "XAUTHORITY": str(FOLDER / display.cookie_file),
            # X shared memory does not work across containers and garbles windows:
            # https://github.com/osrf/docker_images/issues/21
            "QT_X11_NO_MITSHM": "1",
            "QT_QPA_PLATFORM": "xcb",
        }
        notes += _doubts(display, shown)
        if make:
            try:
                notes += hand_cookie(display, environ, own)
                lead(display, own / "sockets")
            except OSError as error:
                notes.append(f"DISPLAY={text} is not available inside: {error}")
    elif text:
        notes.append(f"DISPLAY={text} does not name a display")
    if wayland is not None:
        if not make or _link_socket(wayland, own / wayland.name):
            environment["WAYLAND_DISPLAY"] = str(FOLDER / wayland.name)
        elif display is None:
            notes.append(f"Wayland's {wayland} does not link into {own}: programs cannot open windows")
    return Attached(environment=environment, notes=tuple(notes))


def hand_cookie(display: Display, environ: Mapping[str, str], own: Path) -> list[str]:
    """Write the display's cookie for the container; return notes on it.

    Parameters
    ----------
    display : Display
        The display.
    environ : mapping
        The caller's variables.
    own : Path
        The folder of cookies and sockets on the host.

    Raises
    ------
    OSError
        Where the file is not writable.
    """
    file, found, error = cookies_of(display, environ)
    content = x11.write_entries(x11.anywhere(found, display.inside_number))
    write_atomically(own / display.cookie_file, content, flush=False, mode=0o600)
    if found or display.kind == "xquartz":
        return []
    why = f"{file} has none" if error is None else f"{file}: {error.strerror}"
    return [f"no cookie for DISPLAY={environ['DISPLAY']} ({why}): its server may refuse windows"]


def cookies_of(display: Display, environ: Mapping[str, str]) -> tuple[Path, list[x11.Entry], OSError | None]:
    """Return the file of cookies, the cookies of a display in it, and the error of reading it.

    Parameters
    ----------
    display : Display
        The display.
    environ : mapping
        The caller's variables.
    """
    file = Path(environ.get("XAUTHORITY") or Path(environ.get("HOME") or Path.home()) / ".Xauthority")
    try:
        entries = list(x11.read_entries(file.read_bytes()))
    except OSError as error:
        return file, [], error
    is_local = display.kind in ("local", "loopback")
    return file, x11.of_display(entries, display.number, addresses(display), is_local=is_local), None


def addresses(display: Display) -> list[bytes]:
    """Return the addresses that a display's cookie may have.

    Parameters
    ----------
    display : Display
        The display.
    """
    if display.kind != "remote":
        return [socket.gethostname().encode()]
    with suppress(OSError):
        found = socket.getaddrinfo(display.host, None, type=socket.SOCK_STREAM)
        return [socket.inet_pton(family, str(address[0])) for family, *_, address in found]
    return []


def lead(display: Display, sockets: Path) -> None:
    """Make the display's socket, or a relay to it, in the container's `/tmp/.X11-unix`.

    Parameters
    ----------
    display : Display
        The display.
    sockets : Path
        The host folder that the container mounts as `/tmp/.X11-unix`.

    Raises
    ------
    OSError
    """
    if display.kind == "local":
        name = f"X{display.number}"
        with suppress(FileExistsError):
            (sockets / name).symlink_to(HOST_SOCKETS / name)
    elif display.kind == "loopback":
        port = FIRST_PORT + display.number
        relay.hold(sockets / f"X{display.inside_number}", f"{display.host}:{port}")


def wayland_socket(environ: Mapping[str, str]) -> Path | None:
    """Return Wayland's socket; None where there is none.

    Parameters
    ----------
    environ : mapping
        The caller's variables.
    """
    name = environ.get("WAYLAND_DISPLAY", "")
    path = Path(environ.get("XDG_RUNTIME_DIR") or "/nonexistent") / name
    return path if name and path.is_socket() else None


def _doubts(display: Display, shown: Sequence[Mount]) -> list[str]:
    if display.kind == "xquartz":
        return [XQUARTZ]
    if display.kind != "local":
        return []
    if not display.socket.exists():
        return [f"DISPLAY=:{display.number}: {display.socket} does not exist"]
    if source_of(HOST_SOCKETS, shown) is None:
        return ["this container was made before this machine had a display: invoke dev --rebuild"]
    return []


def _link_socket(path: Path, place: Path) -> bool:
    """Hard-link a socket into a mounted folder; its own folder has files that the container must not see."""
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        fresh.hardlink_to(path)
        fresh.replace(place)
    except OSError:  # another file system
        return False
    finally:
        # rename(2) keeps both names where they are the same file.
        fresh.unlink(missing_ok=True)
    return True
