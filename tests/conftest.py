"""What every tier that needs engines has: the engine, and the console program."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SPIKECRATE = Path(sys.executable).with_name("spikecrate")


@pytest.fixture(scope="session")
def docker():
    from spikecrate.engine import docker_client

    return docker_client()


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
