"""A sorter with a lock of its own for a GPU has two images, which are never taken for each other."""

from __future__ import annotations

import json

import pytest

from spikecrate._util.data import data_path
from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import catalogue, read
from spikecrate.environments import environment
from spikecrate.errors import EnvironmentBuildError
from spikecrate.images.base import Bases
from spikecrate.images.build import sorter_argv
from spikecrate.images.inventory import state_of
from spikecrate.images.recipe import gpu_recipe
from spikecrate.steps.job import build_request, recipe
from spikecrate.store import open_store

BASES = Bases(runtime="spikecrate/base:1", builder="spikecrate/builder:1", runtime_digest="sha256:12")


@pytest.fixture
def sorter(tmp_path):
    """A sorter of the catalogue with a second lock."""
    folder = tmp_path / "double"
    folder.mkdir()
    fields = json.loads((data_path("sorters") / "ms4" / "sorter.json").read_text())
    (folder / "sorter.json").write_text(json.dumps({**fields, "name": "double", "aliases": []}))
    (folder / "requirements.lock").write_text("numpy==1.26.4\n")
    (folder / "requirements.gpu.lock").write_text("numpy==1.26.4\ntorch==2.8.0\n")
    return read(folder)


def both(sorter):
    ours = recipe(sorter)
    return build_request(sorter, ours), build_request(sorter, ours, gpu=True)


def test_two_images_of_a_sorter_have_neither_name_nor_recipe_nor_lock_in_common(sorter):
    plain, on_gpu = both(sorter)
    assert on_gpu.reference == f"spikecrate/double:1.0.7-gpu-{on_gpu.recipe[:12]}"
    assert plain.recipe == recipe(sorter) != on_gpu.recipe == gpu_recipe(plain.recipe)
    assert (plain.lock.name, on_gpu.lock.name) == ("requirements.lock", "requirements.gpu.lock")


def test_the_build_is_told_which_lock_only_where_it_is_not_the_only_one(sorter):
    plain, on_gpu = (sorter_argv(request, BASES, output="") for request in both(sorter))
    assert not [word for word in plain if word.startswith("--build-arg=LOCK=")]
    assert "--build-arg=LOCK=requirements.gpu.lock" in on_gpu


def test_both_images_are_current_and_those_of_another_recipe_are_not(sorter):
    now = {"double": recipe(sorter)}
    assert [state_of("double", request.recipe, now) for request in both(sorter)] == ["current"] * 2
    assert state_of("double", gpu_recipe("0" * 64), now) == "stale"


def test_on_the_host_each_has_an_environment_of_its_own(sorter, tmp_path):
    store = open_store(tmp_path / "store")
    plain, on_gpu = (environment.place(request, store) for request in both(sorter))
    assert plain.python != on_gpu.python
    assert plain.code != on_gpu.code


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_a_sorter_with_one_lock_has_one_image_whatever_it_runs_on(name):
    found = catalogue()[name]
    if not (found.folder / "requirements.gpu.lock").exists():
        plain, on_gpu = both(found)
        assert plain == on_gpu


def test_the_host_names_the_debian_packages_that_only_the_image_has(sorter, tmp_path):
    (sorter.folder / "debian.lock").write_text("libopenblas0-pthread=0.3.21\npython3-torch=1.13.1\n")
    plain, _ = both(sorter)
    with pytest.raises(
        EnvironmentBuildError, match="libopenblas0-pthread and python3-torch from Debian"
    ) as refused:
        environment.make(plain, open_store(tmp_path / "store"), Silent())
    assert "--runtime docker" in str(refused.value.next_step)
    assert "--gpu on" in str(refused.value.next_step)
