"""Images and SIFs, listed and pruned for real: only those of the test's own sorters are ever removed."""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict

import pytest
from conftest import SPIKECRATE, last_json
from docker.errors import NotFound

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import find
from spikecrate.errors import EngineError, ImageBuildError
from spikecrate.images import sif
from spikecrate.images.build import build
from spikecrate.images.inventory import inventory, on_disk
from spikecrate.images.prune import prune
from spikecrate.runtimes.apptainer import Apptainer
from spikecrate.runtimes.docker import Docker
from spikecrate.steps.job import build_request, recipe
from spikecrate.steps.listing import sorters_running
from spikecrate.store import open_store

HEAD = "import numpy as np\ndef sort(recording, parameters, resources):\n"
ANSWER = "    return np.array([10.0, 20.0]), np.array([1, 2])\n"
WAITS = (
    HEAD
    + "    import time\n    from pathlib import Path\n"
    + "    print('started', flush=True)\n"
    + "    while not Path('/out/go').exists():\n        time.sleep(0.1)\n"
    + "    read = sum(path.stat().st_size for path in Path('/usr').rglob('*') if path.is_file() and path.read_bytes())\n"
    + "    assert read > 50e6\n"
    + ANSWER
)
"""Runs until it is told to go on, and then reads all of its image's /usr."""


def asked(name):
    found = find(name)
    return build_request(found, recipe(found))


def edit(name):
    """Change a sorter's recipe: what was made of it is stale."""
    path = find(name).folder / "run.py"
    path.write_text(f"{path.read_text()}# edited\n")


def pruned(name, **options):
    """Prune what is of one sorter, as `image.prune --sorter` does."""
    store = open_store()
    busy = sorters_running(store, "apptainer")
    done = prune(store, {name: recipe(find(name))}, Silent(), only=name, busy=busy, **options)
    return asdict(done)


@pytest.fixture
def tiny(lab_sorter):
    """Make a sorter whose image is the base and one file: it can be listed and pruned, if not run."""

    def make(name):
        lab_sorter(f"# {name}\n", name)
        (find(name).folder / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nCOPY run.py /opt/run.py\n")
        return name

    return make


def tags(docker, beginning="spikecrate/inventory"):
    """Give the references that begin so, as Docker itself lists them: by default those of the tests here."""
    while True:
        # While it removes an image, another test's say, it gives no list.
        with suppress(NotFound):
            rows = docker.api.images()
            return {tag for row in rows for tag in row["RepoTags"] or () if tag.startswith(beginning)}


@pytest.fixture
def stale(tiny):
    """A sorter, edited since its image was made; and that."""
    name = tiny("inventory1")
    built = build(asked(name), Silent())
    edit(name)
    return name, built


@pytest.fixture
def stale_sif(tiny):
    """A sorter, edited since its image and its SIF were made; and the latter."""
    name = tiny("inventory1")
    made = sif.convert(asked(name), open_store(), Silent())
    edit(name)
    return name, made


def test_the_list_says_what_docker_and_the_store_say(lab_sorter, tiny, docker, toy, command):
    first = lab_sorter(HEAD + ANSWER, "inventory1")
    second = tiny("inventory2")
    spikecrate.sort(toy, sorter=first, runtime="docker", output="-")
    made = sif.convert(asked(first), open_store(), Silent())
    old, old_recipe = build(asked(second), Silent()), recipe(find(second))
    edit(second)
    new = build(asked(second), Silent())
    done = command("image.list", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["reference"]: row for row in last_json(done) if row["name"] in (first, second)}
    assert rows.keys() == {made.reference, old.reference, new.reference}
    for reference, row in rows.items():
        image = docker.images.get(reference)
        assert row["digest"] == image.id
        assert row["size_bytes"] == sum(layer["Size"] for layer in image.history())
        assert row["recipe"] == image.labels["spikecrate.recipe"]
    assert [rows[of.reference]["state"] for of in (made, old, new)] == ["current", "stale", "current"]
    assert [rows[of.reference]["results"] for of in (made, old, new)] == [1, 0, 0]
    assert rows[made.reference]["sif"] == str(made.path)
    assert rows[made.reference]["sif_bytes"] == made.path.stat().st_size
    assert rows[old.reference]["sif"] is None
    assert rows[old.reference]["recipe"] == old_recipe
    printed = command("image.list").stdout.splitlines()
    assert [line.split()[-1] for line in printed if line.startswith(second)] == ["current", "stale"]
    # The two have nearly all layers in common.
    together = on_disk([old.digest, new.digest], Silent())
    assert old.size_bytes <= together < 1.01 * old.size_bytes
    assert printed[-1].startswith("all images together: ")


def test_the_list_has_every_base_and_image_that_docker_has(docker):
    before = tags(docker, "spikecrate/")
    listed = {row.reference for row in inventory(open_store(), {}, Silent())}
    after = tags(docker, "spikecrate/")
    # Other tests may make and remove some at this moment.
    assert before
    assert before & after <= listed <= before | after


def test_images_that_come_and_go_meanwhile_disturb_neither_a_list_nor_a_prune(docker):
    with io.BytesIO() as archive:
        with tarfile.open(fileobj=archive, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("empty"))
        data = archive.getvalue()
    ends = time.monotonic() + 10

    def come_and_go():
        rounds = 0
        while time.monotonic() < ends:
            label = f"LABEL spikecrate.recipe={rounds:064x}"
            docker.api.import_image_from_data(data, "spikecrate/inventory3", "1", changes=[label])
            docker.images.remove("spikecrate/inventory3:1")
            rounds += 1
        return rounds

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(come_and_go)
        store = open_store()
        while not coming.done():
            inventory(store, {}, Silent())
            prune(store, {}, Silent(), only="inventory3")
        assert coming.result() > 10


def test_a_dry_run_changes_nothing_and_a_prune_removes_the_stale_image_and_sif_alone(
    stale_sif, tiny, docker, command, own_store
):
    name, old = stale_sif
    current = sif.convert(asked(name), open_store(), Silent())
    other = build(asked(tiny("inventory2")), Silent())
    edit("inventory2")
    before, files = tags(docker), set((own_store / "sif").iterdir())
    words = ("image.prune", "--sorter", name, "--json")
    said = last_json(command(*words, "--dry-run"))
    assert said["dry_run"]
    assert (tags(docker), set((own_store / "sif").iterdir())) == (before, files)
    done = last_json(command(*words))
    assert done == {**said, "dry_run": False}
    assert [row["what"] for row in done["removed"]] == [old.reference, str(old.path)]
    # Its layers but the last are those of the base.
    assert old.size_bytes <= done["freed_bytes"] < old.size_bytes + 1e6
    assert before - tags(docker) == {old.reference}
    assert tags(docker) >= {current.reference, other.reference}
    assert files - set((own_store / "sif").iterdir()) == {old.path, old.path.with_suffix(".json")}
    assert last_json(command(*words))["removed"] == []


def test_of_everything_a_dry_run_keeps_what_is_current_and_says_why_it_keeps_the_rest(
    stale_sif, command, docker
):
    name, old = stale_sif
    before = tags(docker)
    said = last_json(command("image.prune", "--dry-run", "--json"))
    assert {old.reference, str(old.path)} <= {row["what"] for row in said["removed"]}
    assert tags(docker) == before
    unknown = last_json(command("image.prune", "--dry-run", "--json", env={"SPIKECRATE_SORTERS": ""}))
    why = {row["what"]: row["why"] for row in unknown["kept"]}
    assert f"no sorter {name} is in the catalogue" in why[old.reference]


def test_an_image_with_a_stopped_container_stays_until_that_is_removed(stale, docker):
    name, old = stale
    container = docker.containers.create(old.digest)
    try:
        kept = {row["what"]: row["why"] for row in pruned(name)["kept"]}
        assert kept[old.reference] == "a container uses it"
        assert old.reference in tags(docker)
    finally:
        container.remove()
    assert [row["what"] for row in pruned(name)["removed"]] == [old.reference]


def test_an_image_with_a_name_of_the_user_s_own_loses_ours_alone(stale, docker):
    name, old = stale
    docker.images.get(old.digest).tag("mine/kept", "1")
    try:
        done = pruned(name)
        assert old.reference in {row["what"] for row in done["removed"]}
        assert done["freed_bytes"] == 0
        assert docker.images.get("mine/kept:1").id == old.digest
        assert old.reference not in tags(docker)
    finally:
        docker.images.remove("mine/kept:1")


@pytest.fixture
def running(lab_sorter, toy, own_store):
    """Start a job that waits, its recipe edited since; give its sorter, and a function that lets it end."""
    children = []

    def start(runtime):
        name = lab_sorter(WAITS, "inventory1")
        child = subprocess.Popen(
            [SPIKECRATE, "sort", toy, "--sorter", name, "--runtime", runtime, "--output", "-", "-v"],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        children.append(child)
        said = []
        for line in child.stderr:
            said.append(line)
            if line.strip() == "started":
                break
        else:
            pytest.fail(f"the sorter did not start:\n{''.join(said)}")
        edit(name)

        def let_end():
            (out,) = own_store.glob("work/*/out")
            (out / "go").touch()
            _, said = child.communicate(timeout=120)
            assert child.returncode == 0, said

        return name, let_end

    yield start
    for child in children:
        child.terminate()
        child.wait()


def test_what_a_job_in_docker_is_running_in_stays(running, docker):
    name, let_end = running("docker")
    (reference,) = (tag for tag in tags(docker) if tag.startswith(f"spikecrate/{name}:"))
    done = pruned(name)
    assert {row["what"]: row["why"] for row in done["kept"]} == {reference: "a container uses it"}
    assert done["removed"] == []
    let_end()
    assert [row["what"] for row in pruned(name)["removed"]] == [reference]


def test_what_a_job_in_apptainer_is_running_in_stays(running, own_store):
    name, let_end = running("apptainer")
    (path,) = (own_store / "sif").glob("*.sif")
    done = pruned(name)
    assert {row["what"]: row["why"] for row in done["kept"]} == {
        str(path): f"a job of {name} is running in a SIF"
    }
    let_end()
    assert [row["what"] for row in pruned(name)["removed"]] == [str(path)]


def test_a_sif_that_is_removed_under_a_running_job_is_read_to_the_end(running, own_store):
    """By hand, or by a prune that looked a moment too early."""
    _, let_end = running("apptainer")
    (path,) = (own_store / "sif").glob("*.sif")
    path.unlink()
    let_end()


@pytest.mark.parametrize(("runtime", "kind"), [("docker", Docker), ("apptainer", Apptainer)])
def test_a_job_whose_image_goes_while_it_starts_says_so_and_runs_the_next_time(
    runtime, kind, lab_sorter, toy, docker, own_store, monkeypatch
):
    name = lab_sorter(HEAD + ANSWER, "inventory1")
    prepare = kind.prepare

    def prepare_then_lose(self, request, progress):
        image = prepare(self, request, progress)
        docker.images.remove(image.reference)
        for path in (own_store / "sif").glob("*"):
            path.unlink()
        return image

    options = {"sorter": name, "runtime": runtime, "output": "-"}
    with monkeypatch.context() as patch:
        patch.setattr(kind, "prepare", prepare_then_lose)
        with pytest.raises(EngineError, match="was removed") as caught:
            spikecrate.sort(toy, **options)
    assert caught.value.next_step.startswith("run it again")
    assert spikecrate.sort(toy, **options).status == "ran"


def test_prunes_and_jobs_at_once_leave_every_job_done_or_told_to_run_again(lab_sorter, toy, command):
    """Two checkouts, one with an older recipe, at the same store."""
    name = lab_sorter(HEAD + ANSWER, "inventory1")
    build(asked(name), Silent())
    words = [SPIKECRATE, "sort", toy, "--sorter", name, "--runtime", "apptainer", "--force", "--output", "-"]
    child = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    store, newer = open_store(), {name: "f" * 64}
    while child.poll() is None:
        busy = sorters_running(store, "apptainer")
        prune(store, newer, Silent(), only=name, busy=busy)
        time.sleep(0.05)
    said = child.stderr.read()
    child.stderr.close()
    assert child.returncode in (0, EngineError.exit_code, ImageBuildError.exit_code), said
    assert child.returncode == 0 or "run it again" in said, said
    assert command(*words[1:]).returncode == 0
