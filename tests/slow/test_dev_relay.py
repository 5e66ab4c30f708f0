"""The relay between a socket that a container sees and one that it does not."""

from __future__ import annotations

import socket
import stat
import struct
import subprocess
import sys
import textwrap
import time
from contextlib import ExitStack, contextmanager

import pytest

from spikecrate_dev import relay

HOLD = textwrap.dedent("""
    import sys
    from pathlib import Path
    from spikecrate_dev import relay
    relay.hold(Path(sys.argv[1]), sys.argv[2])
    print("held", flush=True)
    sys.stdin.read()
""")


@contextmanager
def session(path, target):
    """A process that holds a relay until the block ends."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), target],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert child.stdout.readline() == "held\n"
        yield
    finally:
        child.communicate()


@pytest.fixture
def echo():
    """A server on loopback that answers each connection with what it was sent, in capitals."""
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent("""
            import socketserver
            class Handler(socketserver.StreamRequestHandler):
                def handle(self):
                    self.wfile.write(self.rfile.read().upper())
            with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
                print(server.server_address[1], flush=True)
                server.serve_forever()
        """)],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    yield f"127.0.0.1:{int(child.stdout.readline())}"
    child.kill()
    child.communicate()


def ask(path, data):
    """Send something and read all of the answer."""
    with relay.connect(path) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def gone(path):
    """Wait until nobody listens any more; for a minute at most."""
    ends = time.monotonic() + 60
    while relay.listens(path) and time.monotonic() < ends:
        time.sleep(0.02)
    return not path.exists()


def test_a_relay_passes_all_on_for_its_owner_alone(tmp_path, echo):
    place = tmp_path / "X6010"
    sent = struct.pack("<I", 7) + b"abc" * 100_000
    with session(place, echo):
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert ask(place, sent) == sent.upper()
    assert gone(place)


def test_a_relay_lasts_as_long_as_one_of_its_sessions(tmp_path, echo):
    place = tmp_path / "X6010"
    with session(place, echo):
        with session(place, echo):
            assert ask(place, b"both") == b"BOTH"
        assert ask(place, b"still") == b"STILL"
    assert gone(place)
    with session(place, echo):
        assert ask(place, b"again") == b"AGAIN"


def test_the_session_that_began_a_relay_may_end_first(tmp_path, echo):
    place = tmp_path / "X6010"
    with ExitStack() as later:
        with session(place, echo):
            later.enter_context(session(place, echo))
        assert ask(place, b"still") == b"STILL"
    assert gone(place)


def test_a_relay_outlives_the_change_of_its_session_into_another_program(tmp_path, echo):
    place = tmp_path / "X6010"
    become = HOLD.replace("sys.stdin.read()", 'import os; os.execvp("cat", ["cat"])')
    child = subprocess.Popen(
        [sys.executable, "-c", become, str(place), echo],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    child.stdout.readline()
    child.stdin.write("cat\n")
    child.stdin.flush()
    assert child.stdout.readline() == "cat\n"
    assert ask(place, b"here") == b"HERE"
    child.communicate()
    assert gone(place)


def test_what_a_killed_relay_left_is_no_hindrance(tmp_path, echo):
    place = tmp_path / "X6010"
    relay.listener(place).close()
    with session(place, echo):
        assert ask(place, b"here") == b"HERE"


def test_a_relay_s_path_may_be_longer_than_a_socket_s_name(tmp_path, echo):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    with session(folder / "X6010", echo):
        assert ask(folder / "X6010", b"far") == b"FAR"


def test_a_relay_s_target_that_is_gone_ends_the_connection(tmp_path):
    place = tmp_path / "agent"
    with session(place, str(tmp_path / "nobody")), relay.connect(place) as connection:
        assert connection.recv(1) == b""
