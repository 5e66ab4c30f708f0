"""The display: its address, its cookie, whether its server accepts a window; Wayland's socket."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from spikecrate.doctor.check import Checks, Facts, Verdict, ok, warn
from spikecrate_dev import x11
from spikecrate_dev.display import FIRST_PORT, XQUARTZ, Display, cookies_of, read_display, wayland_socket

if TYPE_CHECKING:
    from pathlib import Path

CHECKS: Final = Checks()
KIND: Final = ("display.kind",)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """The value of DISPLAY, the display it names (None for none), and whether a local one has its socket."""

    text: str
    display: Display | None
    socket: bool = True


@dataclass(frozen=True, kw_only=True)
class Cookie:
    """The cookie of a display.

    Attributes
    ----------
    file : Path
        The file of cookies.
    error : OSError or None
        The error of reading it.
    entry : Entry or None
        The display's cookie.
    number : int
        The display's number.
    """

    file: Path
    error: OSError | None
    entry: x11.Entry | None
    number: int


def look_kind(_: Facts) -> Kind:
    """Return the display that DISPLAY names."""
    text = os.environ.get("DISPLAY", "")
    display = read_display(text, socket.gethostname())
    exists = display is None or display.kind != "local" or display.socket.exists()
    return Kind(text=text, display=display, socket=exists)


@CHECKS.add("display.kind", "where windows open, and its socket", look_kind)
def judge_kind(kind: Kind) -> Verdict:
    """Judge whether windows can open; a display is optional.

    Parameters
    ----------
    kind : Kind
        As `look_kind` returns it.
    """
    if not kind.text:
        return ok("no DISPLAY: programs cannot open windows, all else works", ends=True)
    if kind.display is None:
        fix = "unset DISPLAY, or set it to :0"
        return warn(f"DISPLAY={kind.text} does not name a display", fix, ends=True)
    if not kind.socket:
        fix = "log in again, or unset DISPLAY: that display has ended"
        return warn(f"DISPLAY={kind.text}: {kind.display.socket} does not exist", fix)
    if kind.display.kind == "xquartz":
        return ok(f"XQuartz: {XQUARTZ}", ends=True)
    where = f"over the network, from {kind.display.host}" if kind.display.host else "on this machine"
    return ok(f"DISPLAY={kind.text}, {where}")


def look_cookie(facts: Facts) -> Cookie:
    """Return the display's cookie.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    display: Display = facts["display.kind"].display
    file, found, error = cookies_of(display, os.environ)
    entry = next((entry for entry in found if entry.name == x11.COOKIE), None)
    return Cookie(file=file, error=error, entry=entry, number=display.number)


@CHECKS.add("display.cookie", "a cookie for the display exists", look_cookie, needs=KIND)
def judge_cookie(cookie: Cookie) -> Verdict:
    """Judge whether there is a cookie; some servers need none.

    Parameters
    ----------
    cookie : Cookie
        As `look_cookie` returns it.
    """
    exists = not isinstance(cookie.error, FileNotFoundError)
    if exists and cookie.error is not None:
        return warn(f"{cookie.file} is not readable", f"ls -l {cookie.file}: it should be yours, mode 600")
    if cookie.entry is None:
        lack = f"has no cookie for display {cookie.number}" if exists else "does not exist"
        return warn(f"{cookie.file} {lack}", "log in again, which makes a cookie (over ssh: ssh -X)")
    return ok(f"in {cookie.file}")


def look_accepts(facts: Facts) -> tuple[str, str]:
    """Connect to the display's server; return its answer.

    Parameters
    ----------
    facts : mapping
        The facts of the checks before this one, by name.
    """
    cookie: Cookie | None = facts.get("display.cookie")
    display: Display = facts["display.kind"].display
    address = display.socket if display.kind == "local" else (display.host, FIRST_PORT + display.number)
    return x11.connect(address, None if cookie is None else cookie.entry)


@CHECKS.add(
    "display.accepts",
    "the display's server accepts windows",
    look_accepts,
    needs=KIND,
    after=("display.cookie",),
)
def judge_accepts(facts: tuple[str, str]) -> Verdict:
    """Judge whether the display's server accepts windows.

    Parameters
    ----------
    facts : tuple
        As `look_accepts` returns it.
    """
    answer, reason = facts
    if answer == "accepted":
        return ok("the display's server accepts windows")
    why = f" ({reason})" if reason else ""
    if answer == "no answer":
        return warn(f"the display's server does not answer{why}", "log in again, or unset DISPLAY")
    fix = "log in again, which makes a new cookie (over ssh: ssh -X); never xhost +"
    return warn(f"the display's server refuses windows{why}", fix)


@CHECKS.add(
    "display.wayland",
    "Wayland's socket exists",
    lambda _: (os.environ.get("WAYLAND_DISPLAY", ""), wayland_socket(os.environ) is not None),
)
def judge_wayland(facts: tuple[str, bool]) -> Verdict:
    """Judge whether the socket that WAYLAND_DISPLAY names exists.

    Parameters
    ----------
    facts : tuple
        The value of WAYLAND_DISPLAY, and whether its socket exists.
    """
    name, exists = facts
    if not name:
        return ok("no WAYLAND_DISPLAY")
    if not exists:
        fix = "unset WAYLAND_DISPLAY; or log in again"
        return warn(f"WAYLAND_DISPLAY={name}: its socket does not exist", fix)
    return ok(f"WAYLAND_DISPLAY={name}")
