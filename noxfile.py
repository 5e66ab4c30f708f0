# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2026.4"]
# ///
"""Sessions: fast, slow, faults, catalogue, lint, types, bench, fuzz. All install the one lock."""

from __future__ import annotations

import os
from pathlib import Path

import nox

nox.needs_version = ">=2026.4"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.sessions = ["fast"]
# Elsewhere in the development container: what lies in the clone is the host's.
nox.options.envdir = os.environ.get("NOX_ENVDIR", ".nox")

HERE = Path(__file__).parent


def install(session: nox.Session) -> None:
    """Install the lock, then the project itself as it lies here."""
    # Compiled at once, as pip does it and uv does not by itself.
    session.install("--require-hashes", "-r", "requirements.lock", env={"UV_COMPILE_BYTECODE": "1"})
    session.install("--no-deps", "--no-build-isolation", "-e", ".")


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that need no engine and no network."""
    install(session)
    # In as many processes as there are processors.
    session.run("pytest", "tests/fast", "-n", "auto", "--dist", "worksteal", *session.posargs)


@nox.session(default=False)
def slow(session: nox.Session) -> None:
    """Run the tests on real engines, real sorters and real recordings."""
    install(session)
    # Made once, so that the tests do not make it at the same moment.
    session.run("spikecrate", "build", "--sorter", "ms4")
    # In two processes, which is what two processors have room for beside the engines; tests/slow/conftest.py says
    # what stays together. The time is what making the first image of a kind may take on a slow machine.
    words = ("-n", "2", "--no-loadscope-reorder", "--timeout=450", "--durations=15", "-m", "not faults")
    session.run("pytest", "tests/slow", *words, *session.posargs)
    if not session.posargs:
        # The main promises of the quickest sorters; all of them are in the session `catalogue`.
        session.run("pytest", "tests/catalogue", "--durations=5", "-m", "quick")


@nox.session(default=False)
def faults(session: nox.Session) -> None:
    """Kill runs, sorters and engines at every step, fill and break disks: the longest of the slow tests, 20 minutes."""
    install(session)
    session.run("pytest", "tests/slow", "-s", "--timeout=3600", "-m", "faults", *session.posargs)


@nox.session(default=False)
def catalogue(session: nox.Session) -> None:
    """Hold every sorter to its promises in every runtime, or one: `nox -s catalogue -- --sorter ms4`."""
    install(session)
    session.run("pytest", "tests/catalogue", "--timeout=3600", "--durations=15", *session.posargs)


@nox.session(default=False)
def lint(session: nox.Session) -> None:
    """Check style, formatting and shell scripts."""
    install(session)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    scripts = [*HERE.glob("ci/*.sh"), HERE / ".ci" / "run", *HERE.glob("docker/base/[ms]*[tl]")]
    scripts += [HERE / "src" / "spikecrate" / "environments" / "compiler.sh"]
    scripts += [HERE / ".devcontainer" / "entrypoint", HERE / "sorters" / "kilosort4" / "take-torch"]
    scripts += [HERE / "sorters" / "threshold-octave" / name for name in ("collect", "run")]
    session.run("shellcheck", *map(str, sorted(scripts)))


@nox.session(default=False)
def types(session: nox.Session) -> None:
    """Check the types, strictly."""
    install(session)
    session.run("mypy")


@nox.session(default=False)
def fuzz(session: nox.Session) -> None:
    """Throw mutated bytes at every parser, or at those named: `nox -s fuzz -- --runs 1000000 mda`."""
    install(session)
    session.install("--require-hashes", "-r", "fuzz/requirements.lock")
    session.run("python", "-m", "fuzz.every", *session.posargs)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure side by side against peers and floors, in one run; prints ratios."""
    install(session)
    session.run("python", "-m", "benchmarks", *session.posargs)


if __name__ == "__main__":
    nox.main()
