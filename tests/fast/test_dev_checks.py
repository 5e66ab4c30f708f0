"""What the checks of a clone promise: display, git, ssh agent, development container. As test_doctor_judgments."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from test_doctor_judgments import CHECKS as OF_THE_LIBRARY

from spikecrate_dev import x11
from spikecrate_dev.checks import CHECKS as OF_A_CLONE
from spikecrate_dev.checks import clone, login, windows
from spikecrate_dev.display import read_display

CHECKS = {check.name: check for check in OF_A_CLONE}


def judged(name, facts, state, names=(), fix=""):
    verdict = CHECKS[name].judge(facts)
    assert verdict.state == state, verdict
    assert [word for word in names if word not in verdict.message] == [], verdict
    assert fix in verdict.fix, verdict
    assert (verdict.fix == "") == (state == "ok"), verdict
    return verdict


def test_the_checks_of_a_clone_are_none_of_the_library_s():
    assert CHECKS.keys() & OF_THE_LIBRARY.keys() == set()


# The display


def record(family, address, number, data=b"c" * 16, name=x11.COOKIE):
    fields = b"".join(struct.pack(">H", len(field)) + field for field in (address, number, name, data))
    return struct.pack(">H", family) + fields


def kind(text, socket=True):
    return windows.Kind(text=text, display=read_display(text, "here"), socket=socket)


def test_the_cookie_that_is_shown_is_one_for_the_display_and_of_the_kind_that_servers_know(
    monkeypatch, tmp_path
):
    here = os.uname().nodename.encode()
    other = record(x11.LOCAL, here, b"0", b"other", name=b"XDM-AUTHORIZATION-1")
    (tmp_path / "authority").write_bytes(
        other + record(x11.LOCAL, here, b"0") + record(x11.LOCAL, here, b"1")
    )
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / "authority"))

    def cookie(text):
        return windows.look_cookie({"display.kind": kind(text)})

    assert cookie(":0").entry == x11.Entry(
        family=x11.LOCAL, address=here, number=b"0", name=x11.COOKIE, data=b"c" * 16
    )
    assert cookie(":2").entry is None
    monkeypatch.setenv("XAUTHORITY", str(tmp_path))
    assert isinstance(cookie(":0").error, IsADirectoryError)
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / "none"))
    assert isinstance(cookie(":0").error, FileNotFoundError)


def test_an_authority_that_is_cut_off_is_read_as_far_as_it_goes():
    data = record(x11.WILD, b"", b"2", b"wild") * 2
    for end in range(len(data)):
        assert len(list(x11.read_entries(data[:end]))) == end // (len(data) // 2)


@pytest.mark.parametrize(
    ("facts", "state", "names", "fix"),
    [
        (kind(""), "ok", ["no DISPLAY"], ""),
        (kind(":0"), "ok", [":0"], ""),
        (kind(":0", socket=False), "warn", ["X0"], "log in again"),
        (kind("localhost:10.0"), "ok", ["localhost"], ""),
        (kind("nonsense"), "warn", ["nonsense"], "unset DISPLAY"),
        (kind("/private/tmp/x:0"), "ok", ["XQuartz"], ""),
    ],
)
def test_a_missing_display_is_well_and_one_that_has_ended_is_named(facts, state, names, fix):
    verdict = judged("display.kind", facts, state, names, fix)
    assert verdict.ends == (facts.text in ("", "nonsense", "/private/tmp/x:0"))


ENTRY = x11.Entry(family=x11.WILD, address=b"", number=b"0", name=x11.COOKIE, data=b"x")


@pytest.mark.parametrize(
    ("facts", "state", "names", "fix"),
    [
        ({}, "ok", [], ""),
        ({"entry": None}, "warn", ["no cookie for display 3"], "ssh -X"),
        ({"error": FileNotFoundError(), "entry": None}, "warn", ["does not exist"], "ssh -X"),
        ({"error": PermissionError(), "entry": None}, "warn", ["not readable"], "ls -l /h/.Xauthority"),
    ],
)
def test_a_missing_cookie_is_told_from_an_unreadable_file(facts, state, names, fix):
    usual = {"file": Path("/h/.Xauthority"), "error": None, "entry": ENTRY, "number": 3}
    cookie = windows.Cookie(**{**usual, **facts})
    judged("display.cookie", cookie, state, ["/h/.Xauthority", *names], fix)


def test_a_server_that_refuses_is_told_from_one_that_has_ended():
    judged("display.accepts", ("accepted", ""), "ok")
    judged("display.accepts", ("refused", "Invalid KEY"), "warn", ["Invalid KEY"], "never xhost +")
    judged("display.accepts", ("no answer", "gone"), "warn", ["gone"], "unset DISPLAY")
    judged("display.wayland", ("", False), "ok")
    judged("display.wayland", ("wayland-0", True), "ok", ["wayland-0"])
    judged("display.wayland", ("wayland-0", False), "warn", ["wayland-0"], "unset WAYLAND_DISPLAY")


# git and ssh


def test_git_without_an_identity_is_named():
    judged("git.identity", {"user.name": "Ada", "user.email": "a@b"}, "ok", ["Ada <a@b>"])
    missing = {"user.name": "", "user.email": ""}
    judged("git.identity", missing, "warn", missing, "git config --global user.name")
    assert judged("git.identity", None, "warn", ["git"], "apt-get install git").ends


@pytest.mark.parametrize(
    ("clone", "error", "state", "names", "fix"),
    [
        ("/a b", "fatal: detected dubious ownership in '/a b'", "warn", ["/a b"], "safe.directory '/a b'"),
        ("/a", "fatal: bad config", "warn", ["/a", "bad config"], "git -C /a status"),
        ("/a", "", "ok", ["/a"], ""),
        ("", "", "ok", [], ""),
    ],
)
def test_a_clone_that_git_refuses_is_named_with_the_command_that_git_wants(clone, error, state, names, fix):
    judged("git.trust", (clone, error), state, names, fix)


@pytest.mark.parametrize(
    ("facts", "state", "names", "fix"),
    [
        ({"socket": "", "program": True}, "ok", ["SSH_AUTH_SOCK"], ""),
        ({"socket": "/s", "program": True, "keys": 2}, "ok", ["2 keys"], ""),
        ({"socket": "/s", "program": True, "keys": 1}, "ok", ["1 key"], ""),
        ({"socket": "/s", "program": True, "code": 1}, "warn", ["no key"], "ssh-add"),
        ({"socket": "/s", "program": True, "code": 2}, "warn", ["SSH_AUTH_SOCK=/s"], "ssh-agent"),
        ({"socket": "/s", "program": False}, "warn", ["ssh-add"], "openssh-client"),
    ],
)
def test_an_agent_that_does_not_answer_is_named(facts, state, names, fix):
    judged("ssh.agent", login.Agent(**facts), state, names, fix)


# The development container


def packages(installed, *, inside=False):
    pinned = {"blake3": "1.0", "uv": "0.9"}
    return clone.Packages(pinned=pinned, installed=installed, inside=inside)


def test_packages_that_differ_from_the_lock_are_named():
    judged("dev.packages", packages({"blake3": "1.0", "uv": "0.9", "more": "1"}), "ok", ["2"])
    judged("dev.packages", packages({"blake3": "2.0", "uv": "0.9"}), "warn", ["blake3 2.0"], "ci/venv.sh")
    judged("dev.packages", packages({"blake3": "1.0"}), "warn", ["uv is missing"], "ci/venv.sh")
    judged("dev.packages", packages({}, inside=True), "warn", ["blake3"], "invoke dev --rebuild")


def test_a_lock_is_read_for_this_machine_alone():
    text = (
        "# made\nblake3==1.0 \\\n    --hash=sha256:00\n    # via x\n"
        "Typing_Extensions==4 ; python_version >= '3' \\\n    --hash=sha256:00\n"
        "colorama==1 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    )
    assert clone.read_lock(text) == {"blake3": "1.0", "typing-extensions": "4"}


def test_a_development_container_of_an_older_description_is_named():
    running = {"state": "running", "name": "spikecrate-x", "stale": False}
    judged("dev.container", "not in a clone", "ok")
    judged("dev.container", {"state": "absent"}, "ok", ["invoke dev"])
    judged("dev.container", running, "ok", ["spikecrate-x", "running"])
    judged("dev.container", {**running, "stale": True}, "warn", ["spikecrate-x"], "invoke dev --rebuild")
