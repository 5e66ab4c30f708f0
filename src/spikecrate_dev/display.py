"""The display: windows of programs in the development container open where its user sits.

The container sees two folders for this. In its own `/tmp/.X11-unix` are, as they are asked for, links into the host's
folder of that name, and relays to displays that are reached by network, as over ssh. The other holds the cookie of each
display, valid on any machine, and Wayland's socket. Both are brought up to date at every attach. `xhost` is not used.
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
from spikecrate_dev import cookie, relay
from spikecrate_dev.attached import Attached, source_of
from spikecrate_dev.x11 import read_entries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SOCKETS: Final = Path("/tmp/.X11-unix")
FOLDER: Final = PurePosixPath("/run/spikecrate/x11")
HOST_SOCKETS: Final = PurePosixPath("/run/spikecrate/x11-host")
"""Where the container sees the host's folder of sockets: not in place of its own, which has relays as well."""
DEVICES: Final = Path("/dev/dri")

FIRST_PORT: Final = 6000
ADDRESS: Final = re.compile(
    r"(?P<host>[a-z0-9._-]*|\[[0-9a-f:]+\]|unix/):(?P<number>\d{1,5})(?:\.\d+)?", re.ASCII | re.IGNORECASE
)
LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
AGAIN: Final = "invoke dev.stop, then invoke dev"
XQUARTZ: Final = "in XQuartz allow connections from network clients; where windows are refused, xhost +localhost there is your choice"

Kind = Literal["local", "loopback", "remote", "xquartz"]


@dataclass(frozen=True, kw_only=True)
class Display:
    """Where a display is.

    Attributes
    ----------
    kind : str
        `local`: a socket of this machine; `loopback`: a port of it, as sshd forwards; `remote`: a port of another;
        `xquartz`: a socket that only macOS itself can reach.
    host : str
        As DISPLAY names it; empty for `local`.
    number : int
        The display's.
    """

    kind: Kind
    host: str
    number: int

    @property
    def inside(self) -> str:
        """What the container's DISPLAY says."""
        match self.kind:
            case "local":
                return f":{self.number}"
            case "loopback":
                # The port's number: no local display has it.
                return f":{FIRST_PORT + self.number}"
            case "remote":
                return f"{self.host}:{self.number}"
            case "xquartz":
                return f"host.docker.internal:{self.number}"

    @property
    def inside_number(self) -> int:
        """The number of the display's cookie inside."""
        return int(self.inside.rpartition(":")[2])

    @property
    def cookie_file(self) -> str:
        """Name of the file with its cookie: one for each display, for two sessions may have two."""
        return f"Xauthority-{re.sub('[^A-Za-z0-9.-]', '-', self.inside.removeprefix(':'))}"


def read_display(text: str, host_name: str) -> Display | None:
    """Read a DISPLAY.

    Parameters
    ----------
    text : str
        As the variable says it.
    host_name : str
        Of this machine.

    Returns
    -------
    Display or None
        None where it names no display.
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
    """Give what a container needs to see in order to open windows, on whatever display its user comes from later.

    Parameters
    ----------
    folder : Path
        The container's run folder on the host; what is mounted of it is made.
    """
    own = folder / "x11"
    for place in (own, own / "sockets"):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = [Mount(source=SOCKETS, target=HOST_SOCKETS)] if SOCKETS.is_dir() else []
    return (
        Mount(source=own, target=FOLDER),
        Mount(source=own / "sockets", target=PurePosixPath(SOCKETS)),
        *there,
    )


def device_words() -> tuple[str, ...]:
    """Give the words that let windows be drawn by the graphics card, where there is one."""
    return (f"--device={DEVICES}",) if DEVICES.is_dir() else ()


def expected(environ: Mapping[str, str], shown: Sequence[Mount]) -> Attached:
    """Give what a shell gets of this session's display; nothing is made.

    Parameters
    ----------
    environ : mapping
        The caller's variables.
    shown : sequence of Mount
        What the container sees.
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
            notes=(f"this container was started in an earlier login and sees no display: {AGAIN}",)
        )
    environment: dict[str, str] = {}
    notes: list[str] = []
    display = read_display(text, socket.gethostname())
    if display is not None:
        environment |= {
            "DISPLAY": display.inside,
            "XAUTHORITY": str(FOLDER / display.cookie_file),
            # Shared memory with the server, which another container cannot have: windows would be garbled.
            "QT_X11_NO_MITSHM": "1",
            "QT_QPA_PLATFORM": "xcb",
        }
        notes += _doubts(display, shown)
    elif text:
        notes.append(f"DISPLAY={text} is no display")
    if wayland is not None:
        environment["WAYLAND_DISPLAY"] = str(FOLDER / wayland.name)
    return Attached(environment=environment, notes=tuple(notes))


def attach(environ: Mapping[str, str], shown: Sequence[Mount]) -> Attached:
    """Hand this session's display to a shell: its cookie, a way to it, Wayland's socket.

    Parameters
    ----------
    environ, shown
        As `expected`.

    Returns
    -------
    Attached
        What cannot be had is a note, never an error.
    """
    given = expected(environ, shown)
    own = source_of(FOLDER, shown)
    if own is None or not given.environment:
        return given
    notes = list(given.notes)
    environment = dict(given.environment)
    display = read_display(environ.get("DISPLAY", ""), socket.gethostname())
    if display is not None:
        try:
            notes += hand_cookie(display, environ, own)
            lead(display, own / "sockets")
        except OSError as error:
            notes.append(f"DISPLAY={environ['DISPLAY']} cannot be handed in: {error}")
    wayland = wayland_socket(environ)
    if wayland is not None and not _link_socket(wayland, own / wayland.name):
        del environment["WAYLAND_DISPLAY"]
        if display is None:
            notes.append(f"Wayland's {wayland} cannot be linked into {own}: programs cannot open windows")
    return Attached(environment=environment, notes=tuple(notes), asides=given.asides)


def hand_cookie(display: Display, environ: Mapping[str, str], own: Path) -> list[str]:
    """Write the display's cookie for the container; give what is to be said of it.

    Raises
    ------
    OSError
        Where it cannot be written.
    """
    place = own / display.cookie_file
    file = Path(environ.get("XAUTHORITY") or Path(environ.get("HOME") or Path.home()) / ".Xauthority")
    try:
        entries = list(read_entries(file.read_bytes()))
    except OSError as error:
        found, why = [], f"{file}: {error.strerror}"
    else:
        found = cookie.of_display(
            entries, display.number, addresses(display), is_local=display.kind in ("local", "loopback")
        )
        why = f"{file} has none"
    content = cookie.write_entries(cookie.anywhere(found, display.inside_number))
    write_atomically(place, content, flush=False, mode=0o600)
    if found or display.kind == "xquartz":
        return []
    return [f"no cookie for DISPLAY={environ['DISPLAY']} ({why}): its server may refuse windows"]


def addresses(display: Display) -> list[bytes]:
    """Give the addresses under which a display's cookie may stand."""
    if display.kind != "remote":
        return [socket.gethostname().encode()]
    with suppress(OSError):
        found = socket.getaddrinfo(display.host, None, type=socket.SOCK_STREAM)
        return [socket.inet_pton(family, str(address[0])) for family, *_, address in found]
    return []


def lead(display: Display, sockets: Path) -> None:
    """Make the display's socket in the container's `/tmp/.X11-unix`.

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
    """Find Wayland's socket; None where there is none."""
    name = environ.get("WAYLAND_DISPLAY", "")
    path = Path(environ.get("XDG_RUNTIME_DIR") or "/nonexistent") / name
    return path if name and path.is_socket() else None


def _doubts(display: Display, shown: Sequence[Mount]) -> list[str]:
    if display.kind == "xquartz":
        return [XQUARTZ]
    if display.kind != "local":
        return []
    if not (SOCKETS / f"X{display.number}").exists():
        return [f"DISPLAY=:{display.number}: {SOCKETS}/X{display.number} is not there"]
    if source_of(HOST_SOCKETS, shown) is None:
        return ["this container was made before this machine had a display: invoke dev --rebuild"]
    return []


def _link_socket(path: Path, place: Path) -> bool:
    """Give a socket a second name in a folder that the container sees: the one it has lies among much that it must not."""
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        fresh.unlink(missing_ok=True)
        fresh.hardlink_to(path)
        fresh.replace(place)
    except OSError:  # another file system
        return False
    finally:
        # Of two names for one file, rename leaves both.
        fresh.unlink(missing_ok=True)
    return True
