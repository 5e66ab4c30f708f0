"""The display: where it is, the cookie for it, whether its server lets us in; Wayland's socket."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from spikecrate.doctor.check import Check, ok, warn
from spikecrate_dev import x11
from spikecrate_dev.cookie import of_display
from spikecrate_dev.display import FIRST_PORT, SOCKETS, XQUARTZ, addresses, read_display, wayland_socket

if TYPE_CHECKING:
    from collections.abc import Mapping

    from spikecrate.doctor.check import Verdict
    from spikecrate_dev.display import Display
    from spikecrate_dev.x11 import Entry


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What DISPLAY says, and what is there.

    Attributes
    ----------
    text : str
        DISPLAY; empty where it is not set.
    display : Display or None
        The same, read; None where it names none.
    socket : bool
        Whether the socket of a display of this machine is there.
    """

    text: str
    display: Display | None
    socket: bool = True


@dataclass(frozen=True, kw_only=True)
class Cookie:
    """The cookie for a display.

    Attributes
    ----------
    file : Path
        Where cookies are.
    there, readable : bool
        Whether that file is there, and this user's to read.
    entry : Entry or None
        The display's.
    number : int
        Which display.
    """

    file: Path
    there: bool
    readable: bool
    entry: Entry | None
    number: int


def look_kind(_: Mapping[str, Any]) -> Kind:
    """See what DISPLAY says."""
    text = os.environ.get("DISPLAY", "")
    display = read_display(text, socket.gethostname())
    if display is None or display.kind != "local":
        return Kind(text=text, display=display)
    return Kind(text=text, display=display, socket=_socket(display).exists())


def judge_kind(seen: Kind) -> Verdict:
    """Judge whether windows have somewhere to open; having none is no fault."""
    if not seen.text:
        return ok("no DISPLAY: no windows, all else works", ends=True)
    if seen.display is None:
        return warn(f"DISPLAY={seen.text} is no display", "unset DISPLAY, or set it to :0", ends=True)
    if not seen.socket:
        return warn(
            f"DISPLAY={seen.text}: {_socket(seen.display)} is not there",
            "log in anew, or unset DISPLAY: that display is gone",
        )
    if seen.display.kind == "xquartz":
        return ok(f"XQuartz: {XQUARTZ}", ends=True)
    where = f"by network, from {seen.display.host}" if seen.display.host else "on this machine"
    return ok(f"DISPLAY={seen.text}, {where}")


def look_cookie(seen: Mapping[str, Any]) -> Cookie:
    """See the cookie for the display."""
    display: Display = seen["display.kind"].display
    file = Path(os.environ.get("XAUTHORITY") or Path.home() / ".Xauthority")
    try:
        entries = list(x11.read_entries(file.read_bytes()))
        there = readable = True
    except FileNotFoundError:
        entries, there, readable = [], False, False
    except OSError:
        entries, there, readable = [], True, False
    is_local = display.kind in ("local", "loopback")
    found = of_display(entries, display.number, addresses(display), is_local=is_local)
    return Cookie(
        file=file,
        there=there,
        readable=readable,
        entry=next((entry for entry in found if entry.name == x11.COOKIE), None),
        number=display.number,
    )


def judge_cookie(seen: Cookie) -> Verdict:
    """Judge whether there is a cookie; some servers need none."""
    if seen.there and not seen.readable:
        return warn(f"{seen.file} cannot be read", f"ls -l {seen.file}: it should be yours, mode 600")
    if seen.entry is None:
        return warn(
            f"{seen.file} has no cookie for display {seen.number}"
            if seen.there
            else f"there is no {seen.file}",
            "log in anew (over ssh: ssh -X), so that one is made",
        )
    return ok(f"in {seen.file}")


def look_accepts(seen: Mapping[str, Any]) -> tuple[str, str]:
    """Ask the display's server to let us in."""
    cookie: Cookie | None = seen.get("display.cookie")
    display: Display = seen["display.kind"].display
    address = _socket(display) if display.kind == "local" else (display.host, FIRST_PORT + display.number)
    return x11.connect(address, None if cookie is None else cookie.entry)


def judge_accepts(seen: tuple[str, str]) -> Verdict:
    """Judge whether windows open."""
    answer, said = seen
    if answer == "accepted":
        return ok("the display's server lets us in")
    why = f" ({said})" if said else ""
    if answer == "no answer":
        return warn(f"the display's server does not answer{why}", "log in anew, or unset DISPLAY")
    return warn(
        f"the display's server refuses us{why}",
        "log in anew (over ssh: ssh -X), so that a new cookie is made; never xhost +",
    )


def look_wayland(_: Mapping[str, Any]) -> tuple[str, bool]:
    """See Wayland's socket."""
    return os.environ.get("WAYLAND_DISPLAY", ""), wayland_socket(os.environ) is not None


def judge_wayland(seen: tuple[str, bool]) -> Verdict:
    """Judge whether Wayland's socket is there, where Wayland is spoken of."""
    name, there = seen
    if not name:
        return ok("no WAYLAND_DISPLAY")
    if not there:
        return warn(
            f"WAYLAND_DISPLAY={name}: its socket is not there", "unset WAYLAND_DISPLAY; or log in anew"
        )
    return ok(f"WAYLAND_DISPLAY={name}")


def _socket(display: Display) -> Path:
    return SOCKETS / f"X{display.number}"


CHECKS: Final = (
    Check(
        name="display.kind",
        about="where windows open, and its socket",
        look=look_kind,
        judge=judge_kind,
    ),
    Check(
        name="display.cookie",
        about="there is a cookie for the display",
        look=look_cookie,
        judge=judge_cookie,
        needs=("display.kind",),
    ),
    Check(
        name="display.accepts",
        about="the display's server lets us in",
        look=look_accepts,
        judge=judge_accepts,
        needs=("display.kind",),
        after=("display.cookie",),
    ),
    Check(
        name="display.wayland",
        about="Wayland's socket",
        look=look_wayland,
        judge=judge_wayland,
    ),
)
