"""What every sorter of the catalogue is held to, in every runtime: nothing here knows one sorter from another.

What takes long to make, environments and SIFs, is taken from the user's own store and left there for the next time;
results are the session's.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from inputs import Inputs
from matrix import CASES, PARAMETERS, QUICK, RUNTIMES, SORTERS, THREADS
from runs import Runs

from spikecrate.store import open_store

SESSION = pytest.StashKey()


def pytest_addoption(parser):
    parser.addoption("--sorter", action="append", choices=[*SORTERS], help="only this sorter, or these")
    parser.addoption("--runtime", action="append", choices=RUNTIMES, help="only this runtime, or these")


def pytest_generate_tests(metafunc):
    for name, values in (("case", CASES), ("parameter", PARAMETERS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values, ids=["-".join(value) for value in values])
    for name, values in (("sorter", SORTERS), ("threaded", THREADS)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values)


def pytest_collection_modifyitems(config, items):
    """Keep what is asked for, mark what is quick, put a sorter's tests together: it is known early which fails."""
    wanted = [item for item in items if is_wanted(item, config)]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    for item in wanted:
        item.add_marker("catalogue")
        if item.get_closest_marker("main") and sorter_of(item) in QUICK:
            item.add_marker("quick")
    items[:] = sorted(wanted, key=sorter_of)


def is_wanted(item, config):
    sorters, runtimes = config.getoption("--sorter"), config.getoption("--runtime")
    case = item.callspec.params.get("case")
    if sorters and sorter_of(item) not in sorters:
        return False
    return not (runtimes and case) or case.runtime in runtimes


def sorter_of(item):
    of_test = item.callspec.params
    for name in ("case", "parameter"):
        if name in of_test:
            return of_test[name].sorter
    return next(of_test[name] for name in ("sorter", "threaded", "floor") if name in of_test)


def pytest_terminal_summary(terminalreporter, config):
    """Say what it took, and how far those agree with themselves that do not give equal bytes."""
    runs, agreements, started = config.stash[SESSION]
    terminalreporter.section("the catalogue")
    for sorter, (count, spent_s) in (runs.spent_s if runs else {}).items():
        terminalreporter.write_line(f"{sorter}: {count} runs, {spent_s:.0f} s")
    for sorter, line in agreements.items():
        terminalreporter.write_line(f"{sorter}: {line}")
    terminalreporter.write_line(f"in all {(time.monotonic() - started) / 60:.1f} minutes")


def pytest_configure(config):
    config.stash[SESSION] = (None, {}, time.monotonic())


@pytest.fixture(scope="session")
def own_store(tmp_path_factory):
    """One store for all tests, with the environments and the SIFs of the user's own."""
    kept = open_store()
    store = tmp_path_factory.mktemp("store")
    store.chmod(0o700)
    for folder in (kept.environments, kept.sifs):
        folder.mkdir(exist_ok=True)
        (store / folder.name).symlink_to(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKECRATE_STORE", str(store))
        yield store


@pytest.fixture(scope="session")
def runs(own_store, tmp_path_factory, pytestconfig):  # noqa: ARG001
    made = Runs(Inputs(tmp_path_factory.mktemp("recordings")))
    _, agreements, started = pytestconfig.stash[SESSION]
    pytestconfig.stash[SESSION] = (made, agreements, started)
    return made


@pytest.fixture
def agreements(pytestconfig):
    """What the summary says of sorters that do not give equal bytes."""
    return pytestconfig.stash[SESSION][1]


@pytest.fixture(autouse=True)
def nothing_left(own_store, tmp_path, monkeypatch, containers_of):
    """Fail a test that leaves a container, a process or a scratch folder."""
    monkeypatch.chdir(tmp_path)
    yield
    left = containers_of(own_store)
    assert [container.name for container in left] == []
    assert list((own_store / "work").glob("*")) == []
    assert working_for(own_store) == []


def working_for(store):
    """Give the command lines of processes that work for a store, its workers' workers included."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words, environ = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"{store}/work/".encode() in words + environ:
            found.append(words.replace(b"\0", b" ").decode())
    return found
