"""Which display a shell in the development container gets, with which cookie, and what is said where it gets none."""

from __future__ import annotations

import socket
import stat
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate_dev import display, machine, relay, x11
from spikecrate_dev.display import read_display
from spikecrate_dev.options import Options
from spikecrate_dev.x11 import LOCAL, WILD, Entry, read_entries

HOST = socket.gethostname().encode()
BYTES = st.binary(max_size=40)
ENTRY = st.builds(
    Entry, family=st.sampled_from([0, 6, LOCAL, WILD]), address=BYTES, number=BYTES, name=BYTES, data=BYTES
)


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A run folder, as it is before a container is made, on a machine with a folder of X sockets."""
    monkeypatch.setattr(display, "SOCKETS", tmp_path / "X11-unix")
    (tmp_path / "X11-unix").mkdir()
    return tmp_path / "run"


def entry(number, data=b"k" * 16, family=LOCAL, address=HOST):
    return Entry(family=family, address=address, number=number, name=b"MIT-MAGIC-COOKIE-1", data=data)


def listening(path):
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    return server


@pytest.mark.parametrize(
    ("text", "kind", "inside"),
    [
        (":0", "local", ":0"),
        (":1.0", "local", ":1"),
        ("unix:2", "local", ":2"),
        ("unix/:2.1", "local", ":2"),
        ("localhost:10.0", "loopback", ":6010"),
        ("127.0.0.1:10", "loopback", ":6010"),
        ("[::1]:11.0", "loopback", ":6011"),
        ("this:10.0", "loopback", ":6010"),
        ("other.lab.org:0", "remote", "other.lab.org:0"),
        ("/private/tmp/com.apple.launchd.x/org.xquartz:0", "xquartz", "host.docker.internal:0"),
    ],
)
def test_a_display_is_told_by_what_it_is(text, kind, inside):
    found = read_display(text, "this")
    assert found is not None
    assert (found.kind, found.inside) == (kind, inside)


@pytest.mark.parametrize(
    "text", ["", "0", ":", ":x", "a b:0", "::0", "host::0", ":0;x", ":99999", "/tmp/x", ":0.x"]
)
def test_what_is_no_display_is_none(text):
    assert read_display(text, "this") is None


@given(st.text())
def test_no_display_has_a_cookie_file_outside_of_its_folder(text):
    found = read_display(text, "this")
    assert found is None or "/" not in found.cookie_file


@given(st.lists(ENTRY))
def test_cookies_are_read_as_they_were_written(entries):
    assert list(read_entries(x11.write_entries(entries))) == entries


@given(st.lists(ENTRY), st.integers(0, 9))
def test_a_cookie_for_a_container_is_valid_on_any_machine_and_is_the_same(entries, number):
    made = x11.anywhere(entries, number)
    assert [(one.name, one.data) for one in made] == [(one.name, one.data) for one in entries]
    assert all((one.family, one.number) == (WILD, str(number).encode()) for one in made)


def test_the_surest_cookie_comes_first_and_other_displays_cookies_stay_outside():
    old, wild, sure = entry(b"0", address=b"old-name"), entry(b"", b"w", WILD, b""), entry(b"0", b"s")
    others = [entry(b"1"), entry(b"0", family=0, address=b"\x0a\0\0\1")]
    assert x11.of_display([old, wild, *others, sure], 0, [HOST], is_local=True) == [sure, wild, old]


def test_a_remote_display_s_cookie_stands_under_its_address():
    remote = entry(b"0", family=0, address=b"\x0a\0\0\1")
    assert x11.of_display([entry(b"0"), remote], 0, [b"\x0a\0\0\1"], is_local=False) == [remote]


def test_a_container_sees_what_later_displays_need(own):
    targets = {str(mount.target): mount for mount in display.mounts(own)}
    assert targets.keys() == {"/run/spikecrate/x11", str(display.SOCKETS), "/run/spikecrate/x11-host"}
    assert all(mount.read_only for mount in targets.values())
    assert targets["/run/spikecrate/x11-host"].source == display.SOCKETS
    for folder in (own / "x11", own / "x11" / "sockets"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_machine_without_a_display_s_folder_mounts_what_there_is(own):
    display.SOCKETS.rmdir()
    assert PurePosixPath("/run/spikecrate/x11-host") not in [mount.target for mount in display.mounts(own)]


def test_a_local_display_is_reached_through_a_link_with_its_cookie(own, tmp_path):
    shown = display.mounts(own)
    file = tmp_path / "cookies"
    file.write_bytes(x11.write_entries([entry(b"7"), entry(b"8", b"other")]))
    with listening(display.SOCKETS / "X7"):
        given = display.attach({"DISPLAY": ":7.0", "XAUTHORITY": str(file)}, shown)
    assert given.notes == ()
    assert given.environment == {
        "DISPLAY": ":7",
        "XAUTHORITY": "/run/spikecrate/x11/Xauthority-7",
        "QT_X11_NO_MITSHM": "1",
        "QT_QPA_PLATFORM": "xcb",
    }
    handed = own / "x11" / "Xauthority-7"
    assert stat.S_IMODE(handed.stat().st_mode) == 0o600
    assert list(read_entries(handed.read_bytes())) == [entry(b"7", family=WILD, address=b"")]
    assert str((own / "x11" / "sockets" / "X7").readlink()) == "/run/spikecrate/x11-host/X7"


def test_a_new_login_s_cookie_replaces_the_old_one_s(own, tmp_path):
    shown = display.mounts(own)
    file = tmp_path / "cookies"
    with listening(display.SOCKETS / "X7"):
        for data in (b"first", b"second"):
            file.write_bytes(x11.write_entries([entry(b"7", data)]))
            display.attach({"DISPLAY": ":7", "XAUTHORITY": str(file)}, shown)
    (handed,) = read_entries((own / "x11" / "Xauthority-7").read_bytes())
    assert handed.data == b"second"
    assert {path.name for path in (own / "x11").iterdir()} == {"Xauthority-7", "sockets"}


def test_the_cookie_is_looked_for_in_the_home_where_no_variable_names_it(own, tmp_path):
    (tmp_path / ".Xauthority").write_bytes(x11.write_entries([entry(b"7")]))
    with listening(display.SOCKETS / "X7"):
        given = display.attach({"DISPLAY": ":7", "HOME": str(tmp_path)}, display.mounts(own))
    assert given.notes == ()


@pytest.mark.parametrize("content", [None, b"", b"\x01\x00\x00"])
def test_without_a_cookie_it_goes_on_and_says_so(own, tmp_path, content):
    if content is not None:
        (tmp_path / "cookies").write_bytes(content)
    with listening(display.SOCKETS / "X7"):
        given = display.attach(
            {"DISPLAY": ":7", "XAUTHORITY": str(tmp_path / "cookies")}, display.mounts(own)
        )
    assert given.environment["DISPLAY"] == ":7"
    (note,) = given.notes
    assert "no cookie" in note
    assert str(tmp_path / "cookies") in note
    # The one of an earlier login would be refused.
    assert (own / "x11" / "Xauthority-7").read_bytes() == b""


def test_without_a_display_it_goes_on(own):
    given = display.attach({}, display.mounts(own))
    assert (given.environment, given.notes) == ({}, ())
    assert given.asides == ("no display: programs cannot open windows",)


@pytest.mark.parametrize(
    ("environ", "said"),
    [({"DISPLAY": "nonsense"}, "DISPLAY=nonsense"), ({"DISPLAY": ":7"}, "X7 does not exist")],
)
def test_a_display_that_is_not_there_is_said(own, environ, said):
    given = display.attach(environ | {"HOME": "/nonexistent"}, display.mounts(own))
    assert said in given.notes[0]


def test_a_container_that_cannot_show_windows_is_said(own):
    environ = {"DISPLAY": ":7"}
    given = display.attach(environ, [])
    assert given.environment == {}
    assert "invoke dev --rebuild" in given.notes[0]
    shown = display.mounts(own)
    (own / "x11" / "sockets").rmdir()
    given = display.attach(environ, shown)
    assert given.environment == {}
    assert "earlier login" in given.notes[0]
    assert not (own / "x11" / "Xauthority-7").exists()


def test_a_dry_run_tells_the_same_and_makes_nothing(own, tmp_path):
    shown = display.mounts(own)
    (tmp_path / "cookies").write_bytes(x11.write_entries([entry(b"7")]))
    environ = {"DISPLAY": ":7", "XAUTHORITY": str(tmp_path / "cookies")}
    with listening(display.SOCKETS / "X7"):
        told = display.attach(environ, shown, make=False)
        assert [path.name for path in (own / "x11").iterdir()] == ["sockets"]
        assert list((own / "x11" / "sockets").iterdir()) == []
        assert display.attach(environ, shown) == told


def test_wayland_s_socket_is_handed_in_alone(own, tmp_path):
    shown = display.mounts(own)
    environ = {"WAYLAND_DISPLAY": "wayland-1", "XDG_RUNTIME_DIR": str(tmp_path)}
    for _ in range(2):
        # A compositor that starts again has another socket of the same name.
        with listening(tmp_path / "wayland-1"):
            given = display.attach(environ, shown)
            handed = own / "x11" / "wayland-1"
            assert handed.samefile(tmp_path / "wayland-1")
            (tmp_path / "wayland-1").unlink()
    assert given.environment == {"WAYLAND_DISPLAY": "/run/spikecrate/x11/wayland-1"}
    assert {path.name for path in (own / "x11").iterdir()} == {"sockets", "wayland-1"}


def test_a_graphics_card_is_handed_in_only_where_there_is_one(tmp_path, monkeypatch):
    monkeypatch.setattr(machine.daemon, "info", dict)
    monkeypatch.setattr(machine.daemon, "engine_socket", lambda: tmp_path / "socket")
    monkeypatch.setattr(machine, "GRAPHICS", tmp_path / "dri")

    def devices(**choices):
        return machine.ask(None, Options(gpu="off", **choices)).devices

    assert devices() == ()
    (tmp_path / "dri").mkdir()
    assert devices() == (f"--device={tmp_path}/dri",)
    assert devices(x11=False) == ()


def test_a_display_by_ssh_is_relayed_under_the_number_of_its_port(own, tmp_path):
    (tmp_path / "cookies").write_bytes(x11.write_entries([entry(b"10", b"key")]))
    held = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relay, "hold", lambda *words: held.append(words))
        given = display.attach(
            {"DISPLAY": "localhost:10.0", "XAUTHORITY": str(tmp_path / "cookies")}, display.mounts(own)
        )
    assert given.environment["DISPLAY"] == ":6010"
    assert held == [(own / "x11" / "sockets" / "X6010", "localhost:6010")]
    (handed,) = read_entries((own / "x11" / "Xauthority-6010").read_bytes())
    assert (handed.number, handed.data) == (b"6010", b"key")
