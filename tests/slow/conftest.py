"""What the slow tier stands on: real engines, real sorters, real recordings.

Nothing is skipped here: a missing engine is a failure, and its error names the command that mends it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import accounts
import pytest
from uv import find_uv_bin
from xdist.scheduler import LoadScopeScheduling

from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import find
from spikecrate.engines.docker import docker_client
from spikecrate.images import sif
from spikecrate.recordings.toy import write_toy
from spikecrate.steps.job import build_request, recipe
from spikecrate.store import open_store

ROOT = Path(__file__).parents[2]
OTHER_UID = 54321
DATA = Path(__file__).parents[1] / "data"
SPIKECRATE = Path(sys.executable).with_name("spikecrate")
ANY = """
def sort(recording, parameters, resources):
    scope = {}
    exec(parameters["value"], scope)
    return scope["sort"](recording, parameters, resources)
"""
"""A sorter that runs the code of its parameter: one image for all tests."""
TOGETHER = {
    "any": ("test_real_recordings", "test_sort_apptainer"),
    "dev": (
        "test_dev_container",
        "test_dev_display",
        "test_dev_relay",
        "test_docs_run",
        "test_doctor",
        "test_doctor_inside",
    ),
    "images": (
        "test_image_inventory",
        "test_image_lock",
        "test_images",
        "test_import",
        "test_new_sorter",
        "test_prebuilt",
    ),
}
"""Files that one process of several takes, one after the other: what they look at or make, the machine has one of."""


class Together(LoadScopeScheduling):
    """Gives a process a file, or files that stand together, at a time."""

    def _split_scope(self, nodeid):
        file = Path(nodeid.partition("::")[0]).stem
        return next((group for group, files in TOGETHER.items() if file in files), file)


def pytest_xdist_make_scheduler(config, log):
    return Together(config, log)


def pytest_sessionfinish(session):
    """Remove the image that several processes may have used, once none does."""
    if not hasattr(session.config, "workerinput") and not session.config.option.collectonly:
        for image in docker_client().images.list("spikecrate/any"):
            docker_client().images.remove(image.id, force=True)


@pytest.fixture(scope="session")
def environments(tmp_path_factory):
    """One folder of virtual environments for all tests: making one takes a minute."""
    return tmp_path_factory.mktemp("environments")


@pytest.fixture(scope="session")
def readers(tmp_path_factory):
    """Give the Python of an environment with what other people read exports with: phylib, SpikeInterface, pynwb."""
    place = tmp_path_factory.mktemp("readers") / "venv"
    uv = find_uv_bin()
    subprocess.run([uv, "venv", "--quiet", "--python", "3.11", place], check=True)
    install = [uv, "pip", "install", "--quiet", "--python", place / "bin" / "python", "--require-hashes"]
    subprocess.run([*install, "-r", Path(__file__).with_name("readers.lock")], check=True)
    return place / "bin" / "python"


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    """Give every test a store of its own."""
    monkeypatch.setenv("SPIKECRATE_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "store"


@pytest.fixture
def shared_environments(own_store, environments):
    """Let the test's store use the session's environments."""
    own_store.mkdir(mode=0o700, exist_ok=True)
    (own_store / "environments").symlink_to(environments)


@pytest.fixture(autouse=True)
def nothing_left(containers_of, own_store):
    """Fail a test that leaves a container or a scratch folder."""
    yield
    left = containers_of(own_store)
    assert [container.name for container in left] == []
    assert list((own_store / "work").glob("*")) == []


@pytest.fixture
def spikerbox():
    """A real recording of one channel, 47 s."""
    return DATA / "spikerbox_neuron"


@pytest.fixture(scope="session")
def toy(tmp_path_factory):
    """A small synthetic recording of four channels."""
    return write_toy(tmp_path_factory.mktemp("toy") / "recording", duration_s=10, num_units=3)


def last_json(done):
    """Read the one JSON object that `--json` prints last."""
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def started(recording, *words):
    """Sort with the console program until the sorter prints that it has started; nothing waits for its end."""
    child = subprocess.Popen(
        [SPIKECRATE, "sort", recording, "-v", *words],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert any(line.strip() == "started" for line in child.stderr), "the sorter did not start"
        yield child
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


# A name of this process: the tests of another one remove their images by name.
LAB = f"lab{os.getpid()}"


@pytest.fixture
def lab_sorter(tmp_path, monkeypatch):
    """Make a sorter, or with a `kind` another tool, of ms4's environment with a run.py of the test's own.

    It builds in seconds.
    """
    root = tmp_path / "sorters"

    def make(body, name=LAB, **fields):
        folder = root / name
        folder.mkdir(parents=True)
        ms4 = find("ms4").folder
        for part in ("Dockerfile", "requirements.lock", "build.lock"):
            shutil.copyfile(ms4 / part, folder / part)
        described = json.loads((ms4 / "sorter.json").read_text())
        properties = {"value": {"type": "string", "default": "", "description": "Anything."}}
        described |= {
            "name": name,
            "aliases": [],
            "version": "1",
            "parameters": {"type": "object", "additionalProperties": False, "properties": properties},
            **fields,
        }
        description = "tool.json" if "kind" in fields else "sorter.json"
        (folder / description).write_text(json.dumps(described))
        (folder / "run.py").write_text(body)
        monkeypatch.setenv("SPIKECRATE_SORTERS", str(root))
        return name

    yield make
    for folder in root.glob("*"):
        for image in docker_client().images.list(f"spikecrate/{folder.name}"):
            docker_client().images.remove(image.id, force=True)


@pytest.fixture
def other_uid():
    """Hold the uid that no image knows: while one test gives it a name, no other may count on its having none."""
    with (Path(tempfile.gettempdir()) / "spikecrate-other-uid.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield OTHER_UID


@pytest.fixture
def known_user(other_uid):
    """Give the other user a name: Apptainer runs for nobody without."""
    name = "spikecrate-other"
    accounts.change("useradd", "--uid", other_uid, "--no-create-home", name)
    yield name
    accounts.change("userdel", name)


@pytest.fixture
def other_user(other_uid):  # noqa: ARG001
    """Run a Python program as a user that no image knows, from a wheel of this project installed where all can read.

    Gives a folder that belongs to the user, and a function that runs.
    """
    place = Path(tempfile.mkdtemp(prefix="spikecrate-other-user-"))
    place.chmod(0o755)
    python = place / "venv" / "bin" / "python"
    uv = find_uv_bin()
    install = [uv, "pip", "install", "--quiet", "--python", python]
    subprocess.run([uv, "venv", "--quiet", "--python", "/usr/bin/python3", place / "venv"], check=True)
    subprocess.run([*install, "--require-hashes", "-r", ROOT / "requirements.lock"], check=True)
    subprocess.run([*install, "--no-deps", "--no-build-isolation", ROOT], check=True)
    home = place / "home"
    home.mkdir()

    def run(*words, groups=(), **environ):
        os.chown(home, OTHER_UID, OTHER_UID)
        belongs = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
        variables = {"PATH": os.environ["PATH"], "HOME": home, "SPIKECRATE_STORE": home / "store", **environ}
        return subprocess.run(
            [
                *("setpriv", f"--reuid={OTHER_UID}", f"--regid={OTHER_UID}", belongs, "--inh-caps=-all"),
                *("env", "-i", *(f"{name}={value}" for name, value in variables.items())),
                *(python, *map(str, words)),
            ],
            cwd=home,
            capture_output=True,
            text=True,
            check=False,
        )

    yield home, run
    shutil.rmtree(place)


def asked(name):
    found = find(name)
    return build_request(found, recipe(found))


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A store with the SIFs of ms4 and of the sorter `any`, and the folder that holds the latter."""
    root = tmp_path_factory.mktemp("apptainer")
    folder = root / "sorters" / "any"
    folder.mkdir(parents=True)
    ms4 = find("ms4").folder
    for part in ("Dockerfile", "requirements.lock", "build.lock"):
        shutil.copyfile(ms4 / part, folder / part)
    described = json.loads((ms4 / "sorter.json").read_text())
    value = {"type": "string", "default": "", "description": "The body of run.py."}
    described |= {
        "name": "any",
        "aliases": [],
        "version": "1",
        "parameters": {"type": "object", "additionalProperties": False, "properties": {"value": value}},
    }
    (folder / "sorter.json").write_text(json.dumps(described))
    (folder / "run.py").write_text(ANY)
    store = open_store(root / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKECRATE_SORTERS", str(root / "sorters"))
        for name in ("ms4", "any"):
            sif.convert(asked(name), store, Silent())
        yield root


@pytest.fixture
def sifs(shared, own_store, monkeypatch):
    """Let the test's store use the session's SIFs."""
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(shared / "sorters"))
    own_store.mkdir(mode=0o700)
    (own_store / "sif").symlink_to(shared / "store" / "sif")
