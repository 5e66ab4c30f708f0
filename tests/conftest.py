"""What every tier that needs engines has: the engine, and the console program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Python's default, which some build machines turn off: modules are compiled once, not in each of the hundreds of
# processes that tests start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

SPIKECRATE = Path(sys.executable).with_name("spikecrate")


class Failures:
    """Says at once what failed: of a run that is cut short, nobody sees the summary."""

    def __init__(self, terminal):
        self.terminal = terminal

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self.terminal.write_line(f"\n{report.when} of {report.nodeid}:\n{report.longreprtext}")


def pytest_sessionstart(session):
    """A worker of several has no terminal, and tells the one that has."""
    if terminal := session.config.pluginmanager.get_plugin("terminalreporter"):
        session.config.pluginmanager.register(Failures(terminal))


@pytest.fixture(scope="session")
def docker():
    from spikecrate.engines.docker import docker_client

    return docker_client()


@pytest.fixture(scope="session")
def containers_of(docker):
    """Give the containers of a store's jobs, ended ones as well; not those that are removed at this moment."""

    def listed(store):
        wanted = {"label": f"spikecrate.store={store}"}
        return docker.containers.list(all=True, filters=wanted, ignore_removed=True)

    return listed


@pytest.fixture
def command():
    """Run the console program as a user does; give its exit code, standard output and standard error."""

    def run(*words, **options):
        environ = {**os.environ, **options.pop("env", {})}
        return subprocess.run(
            [SPIKECRATE, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            env=environ,
            **options,
        )

    return run
