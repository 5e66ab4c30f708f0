"""What a session hands to the development container, for real: its display, its ssh agent, git's identity."""

from __future__ import annotations

import os
import secrets
import shlex
import socket
import struct
import subprocess
import sys
import textwrap
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import last_json
from dev_person import UID, Person

from spikecrate_dev import relay
from spikecrate_dev.x11 import WILD, Entry, write_entries

FORWARDER = textwrap.dedent("""
    import socketserver, sys, threading
    from pathlib import Path
    from spikecrate_dev import relay

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            with relay.connect(Path(sys.argv[1])) as far:
                threading.Thread(target=relay.pump, args=(far, self.request), daemon=True).start()
                relay.pump(self.request, far)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()
""")
"""What sshd does for `ssh -X`: a port of this machine's own address that leads to a display."""


class Screen:
    """A real X server without a screen, which lets in whoever has its cookie.

    Attributes
    ----------
    number : int
        The display's.
    cookie : bytes
        The present server's.
    """

    def __init__(self, folder):
        self.folder = folder
        self.number = None
        self.start()

    def start(self):
        """Start it with a new cookie; under the number that it had before, if any.

        A server that starts anew when its last window closes turns away who comes at that moment.
        """
        self.cookie = secrets.token_bytes(16)
        (self.folder / "server").write_bytes(
            write_entries(
                [Entry(family=WILD, address=b"", number=b"", name=b"MIT-MAGIC-COOKIE-1", data=self.cookie)]
            )
        )
        words = [
            "-screen",
            "0",
            "800x600x24",
            "-noreset",
            "-nolisten",
            "tcp",
            "-auth",
            self.folder / "server",
        ]
        said, answer = os.pipe()
        numbered = [] if self.number is None else [f":{self.number}"]
        self.server = subprocess.Popen(
            ["Xvfb", *numbered, *words, "-displayfd", str(answer)],
            pass_fds=[answer],
            stderr=subprocess.DEVNULL,
        )
        os.close(answer)
        with os.fdopen(said) as told:
            self.number = int(told.readline())

    def stop(self):
        self.server.terminate()
        self.server.wait()

    def session(self, folder, *, number=None, cookie=None):
        """Give the variables of a login on this display, its cookie added as a login adds it."""
        number = self.number if number is None else number
        file = folder / f"cookies-{secrets.token_hex(4)}"
        value = (self.cookie if cookie is None else cookie).hex()
        add = ["xauth", "-q", "-f", file, "add", f"{socket.gethostname()}/unix:{number}", ".", value]
        subprocess.run(add, check=True, stderr=subprocess.DEVNULL)
        os.chown(file, UID, UID)
        return {"DISPLAY": f":{number}", "XAUTHORITY": str(file)}

    def outside(self, *words):
        """Run an X program on the host."""
        environ = {
            "DISPLAY": f":{self.number}",
            "XAUTHORITY": str(self.folder / "server"),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(words, env=environ, capture_output=True, check=False)
        assert b"open display" not in done.stderr, done.stderr
        return done

    def colours(self, window):
        """Count the pixel values of a photograph of a window."""
        taken = self.outside("xwd", "-silent", "-id", window)
        assert taken.returncode == 0, taken.stderr
        size, *_ = struct.unpack_from(">I", taken.stdout)
        entries = struct.unpack_from(">25I", taken.stdout)[19]
        pixels = taken.stdout[size + 12 * entries :]
        return len({pixels[at : at + 4] for at in range(0, len(pixels), 4)})


@pytest.fixture(scope="module")
def person():
    """A user with a fresh clone, without a container yet."""
    person = Person()
    try:
        person.make_clone()
        yield person
    finally:
        person.remove()


@pytest.fixture(scope="module")
def screen(tmp_path_factory):
    screen = Screen(tmp_path_factory.mktemp("screen"))
    yield screen
    screen.stop()


@pytest.fixture(scope="module")
def opened(person, screen):  # noqa: ARG001  (the screen is there first)
    """The user's container, running; made by a login without a display, as over plain ssh."""
    done = person.dev("--cmd", "true")
    assert done.returncode == 0, done.stderr
    return person


@pytest.fixture
def login(opened, screen):
    """The variables of a login on the screen."""
    return screen.session(opened.home)


def until(comes, child=None):
    """Wait for something to come, and give it; for a minute at most, and while the one who brings it lives."""
    ends = time.monotonic() + 60
    while not (come := comes()):
        assert child is None or child.poll() is None, (child.stdout or child.stderr).read()
        assert time.monotonic() < ends
        time.sleep(0.05)
    return come


@contextmanager
def window(person, screen, session):
    """A window opened from inside; gives its id on the display outside."""
    title = f"spikes {secrets.token_hex(4)}"
    command = f"exec xmessage -title {shlex.quote(title)} 'from inside'"
    child = subprocess.Popen(
        person.words(person.invoke, "dev", "--cmd", command, **session),
        cwd=person.clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        search = ("xdotool", "search", "--onlyvisible", "--name", title)
        yield until(lambda: screen.outside(*search).stdout, child).split()[0].decode()
    finally:
        child.terminate()
        child.communicate()


@contextmanager
def forwarded(screen):
    """A port of this machine that leads to the screen, as sshd opens it for `ssh -X`; gives its display number."""
    child = subprocess.Popen(
        [sys.executable, "-c", FORWARDER, f"/tmp/.X11-unix/X{screen.number}"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield int(child.stdout.readline()) - 6000
    finally:
        child.kill()
        child.communicate()


def container(person):
    done = person.run(person.invoke, "dev.status", "--json")
    assert done.returncode == 0, done.stderr
    return last_json(done)


def test_a_window_opened_inside_is_on_the_display_outside(opened, screen, login):
    with window(opened, screen, login) as found:
        assert screen.colours(found) > 1


def test_a_wrong_cookie_is_refused(opened, screen):
    wrong = screen.session(opened.home, cookie=bytes(16))
    done = opened.dev("--cmd", "xdpyinfo", **wrong)
    assert done.returncode == 1
    assert "Authorization" in done.stderr or "Invalid MIT-MAGIC-COOKIE" in done.stderr


def test_no_cookie_is_said_and_refused(opened, screen):
    done = opened.dev("--cmd", "xdpyinfo", DISPLAY=f":{screen.number}")
    assert done.returncode == 1
    assert f"no cookie for DISPLAY=:{screen.number}" in done.stderr


def test_a_server_that_starts_again_with_a_new_cookie_is_the_next_shell_s(opened, screen, login):
    before = container(opened)["id"]
    assert opened.dev("--cmd", "xdpyinfo", **login).returncode == 0
    screen.stop()
    screen.start()
    assert opened.dev("--cmd", "xdpyinfo", **login).returncode == 1
    session = screen.session(opened.home)
    with window(opened, screen, session) as found:
        assert screen.colours(found) > 1
    assert container(opened)["id"] == before


def test_a_new_cookie_serves_shells_that_are_open_already(opened, screen, login):
    # As after a new login to the same display: what was opened before reads the same file.
    wait = "touch ready; while [ ! -e go ]; do sleep 0.1; done; rm ready go; xdpyinfo >/dev/null"
    child = subprocess.Popen(
        opened.words(opened.invoke, "dev", "--cmd", wait, **login), cwd=opened.clone, stderr=subprocess.PIPE
    )
    until((opened.clone / "ready").exists, child)
    screen.stop()
    screen.start()
    assert opened.dev("--cmd", "touch go", **screen.session(opened.home)).returncode == 0
    _, said = child.communicate()
    assert child.returncode == 0, said


def test_without_a_display_it_goes_on_and_says_so_to_who_types(opened):
    done = opened.dev("--cmd", "echo ${DISPLAY-none} ${XAUTHORITY-none}")
    assert (done.stdout, done.stderr, done.returncode) == ("none none\n", "", 0)
    words = shlex.join(opened.words(opened.invoke, "dev"))
    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", words, "/dev/null"],
        cwd=opened.clone, input="exit 4\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "no display: programs cannot open windows" in done.stdout


def test_a_display_can_be_left_outside(opened, login):
    done = opened.dev("--no-x11", "--cmd", "echo ${DISPLAY-none}", **login)
    assert (done.stdout, done.stderr) == ("none\n", "")


def test_a_display_by_ssh_shows_windows_and_ends_with_its_session(opened, screen):
    with forwarded(screen) as number:
        session = screen.session(opened.home, number=number) | {"DISPLAY": f"localhost:{number}.0"}
        with window(opened, screen, session) as found:
            assert screen.colours(found) > 1
            (place,) = opened.home.glob(f".cache/spikecrate-dev/run/*/x11/sockets/X{6000 + number}")
            assert place.stat().st_uid == UID
        until(lambda: not relay.listens(place))
        wrong = screen.session(opened.home, number=number, cookie=bytes(16))
        done = opened.dev("--cmd", "xdpyinfo", **(wrong | {"DISPLAY": f"localhost:{number}.0"}))
        assert done.returncode == 1


def test_two_logins_with_a_display_each_at_once(opened, screen, login):
    with forwarded(screen) as number:
        session = screen.session(opened.home, number=number) | {"DISPLAY": f"localhost:{number}.0"}
        with window(opened, screen, login) as here, window(opened, screen, session) as there:
            assert here != there
            for variables in (login, session):
                done = opened.dev("--cmd", "xdpyinfo", **variables)
                assert done.returncode == 0, done.stderr


def test_a_dry_run_tells_the_display_and_hands_nothing_in(opened, screen):
    session = screen.session(opened.home, number=screen.number + 1000)
    done = opened.dev("--dry-run", "--cmd", "true", **session)
    assert f"--env DISPLAY=:{screen.number + 1000}" in done.stdout
    assert list(opened.home.glob(f".cache/spikecrate-dev/run/*/x11/*{screen.number + 1000}")) == []


# Who works there --------------------------------------------------------------------------------------


@contextmanager
def agent(person):
    """An ssh agent of the user's, with a key; gives the variable of its login, and the key's fingerprint."""
    place = person.home / f"agent-{secrets.token_hex(4)}"
    key = Path(f"{place}-key")
    person.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    child = subprocess.Popen(
        person.words("ssh-agent", "-D", "-a", place), stdout=subprocess.DEVNULL, cwd=person.home
    )
    try:
        until(lambda: relay.listens(place))
        session = {"SSH_AUTH_SOCK": str(place)}
        assert person.run("ssh-add", "-q", key, **session).returncode == 0
        yield session, person.run("ssh-keygen", "-l", "-f", key).stdout.split()[1]
    finally:
        child.terminate()
        child.wait()


def test_the_agent_of_each_login_answers_inside_one_running_container(opened):
    before = container(opened)["id"]
    for _ in range(2):
        with agent(opened) as (session, fingerprint):
            done = opened.dev("--cmd", "ssh-add -l", **session)
            assert done.stdout.split()[1:2] == [fingerprint], done.stderr
    done = opened.dev("--cmd", "echo ${SSH_AUTH_SOCK-none}", **session)
    assert done.stdout == "none\n"
    assert "no ssh agent" in done.stderr
    assert container(opened)["id"] == before


def test_a_commit_inside_is_the_user_s_and_follows_the_settings_outside(opened):
    for name in ("Ann", "Bea"):
        assert opened.run("git", "config", "--global", "user.name", name).returncode == 0
        assert opened.run("git", "config", "--global", "user.email", f"{name}@lab").returncode == 0
        commit = "git commit --quiet --allow-empty --message inside && git log -1 --format='%an %ae %cn'"
        done = opened.dev("--cmd", commit)
        assert done.stdout == f"{name} {name}@lab {name}\n", done.stderr
    # Settings made inside stay there, and win there.
    done = opened.dev("--cmd", "git config --global user.name Inside && git config user.name")
    assert done.stdout == "Inside\n"
    assert opened.run("git", "config", "--global", "user.name").stdout == "Bea\n"
    assert opened.dev("--cmd", "git config --global --unset user.name").returncode == 0


def test_hosts_that_ssh_knows_outside_are_known_inside(opened):
    (opened.home / ".ssh").mkdir(mode=0o700, exist_ok=True)
    (opened.home / ".ssh" / "known_hosts").write_text("lab ssh-ed25519 AAAA\n")
    for path in (opened.home / ".ssh", opened.home / ".ssh" / "known_hosts"):
        os.chown(path, UID, UID)
    done = opened.dev("--cmd", "cat $(ssh -G lab | sed -n 's/^globalknownhostsfile //p'); ls ~/.ssh")
    assert "lab ssh-ed25519 AAAA" in done.stdout
    assert "id_" not in done.stdout
