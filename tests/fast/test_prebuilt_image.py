"""A sorter that runs only in its image: what names the image, and what refuses to run it elsewhere."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest
from lab import ANSWER, TWO_EVENTS

from spikecrate._util.progress import Silent
from spikecrate.bundles.bundle import _default_parts
from spikecrate.catalogue.tools import check, find, read
from spikecrate.environments.environment import place
from spikecrate.errors import EnvironmentBuildError, SorterInvalidError
from spikecrate.images.inventory import _recipe_of
from spikecrate.images.lookup import digest_of
from spikecrate.steps.job import build_request, recipe

DIGEST = "sha256:" + "0a" * 32
OTHER = "sha256:" + "0b" * 32


@pytest.fixture
def prebuilt(sorter):
    """Make a sorter of an image at an address; give what is read of it."""

    def make(reference=f"registry.example.org/lab/tiny@{DIGEST}", **fields):
        sorter(ANSWER + TWO_EVENTS, image={"reference": reference}, entrypoint=["/run"], **fields)
        folder = find("lab").folder
        (folder / "Dockerfile").unlink()
        return read(folder)

    return make


def test_a_prebuilt_image_is_read_and_passes_the_check(prebuilt):
    found = prebuilt()
    check(found.folder)
    assert digest_of(found.image) == DIGEST


def test_an_image_and_a_dockerfile_are_one_too_many(prebuilt):
    found = prebuilt()
    (found.folder / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(SorterInvalidError, match="Dockerfile"):
        check(found.folder)


@pytest.mark.parametrize(
    "reference", ["lab/tiny:1", f"--all@{DIGEST}", f"lab/tiny {DIGEST}", f"lab/tiny@{DIGEST[:-1]}"]
)
def test_what_is_no_reference_by_digest_is_refused(prebuilt, reference):
    with pytest.raises(SorterInvalidError, match=r"image\.reference"):
        check(prebuilt(reference).folder)


def test_its_recipe_is_its_digest_and_what_it_runs_and_no_file(prebuilt):
    first = recipe(prebuilt())
    (find("lab").folder / "run.py").write_text("anything else")
    assert recipe(find("lab")) == first
    assert recipe(prebuilt(f"elsewhere.example.org/tiny@{DIGEST}")) == first
    assert recipe(prebuilt(f"registry.example.org/lab/tiny@{OTHER}")) != first
    assert recipe(prebuilt(version="2")) != first
    assert recipe(dataclasses.replace(prebuilt(), entrypoint=("/other",))) != first


def test_the_host_refuses_what_the_harness_does_not_call(prebuilt, sorter, store):
    found = prebuilt()
    with pytest.raises(EnvironmentBuildError, match="only in its image"):
        place(build_request(found, recipe(found)), store)
    sorter(ANSWER + TWO_EVENTS, "own", entrypoint=["/run"])
    own = find("own")
    with pytest.raises(EnvironmentBuildError, match="only in its image"):
        place(build_request(own, recipe(own)), store)


def test_a_bundle_of_it_has_no_part_for_the_host_by_default(prebuilt):
    found = prebuilt()
    assert "host" not in _default_parts(build_request(found, recipe(found)), Silent())


@pytest.mark.parametrize(
    ("labels", "tag", "expected"),
    [
        (
            {"spikecrate.recipe": "0123456789ab" + "c" * 52},
            "spikecrate/lab:1-0123456789ab",
            "0123456789ab" + "c" * 52,
        ),
        ({"spikecrate.base": "0123456789ab" + "c" * 52}, "spikecrate/base:0123456789ab", None),
        ({}, "spikecrate/lab:1-0123456789ab", "0123456789ab" + "d" * 52),
        ({}, "spikecrate/lab:1-ba9876543210", "ba9876543210"),
        ({"spikecrate.recipe": "e" * 64}, "spikecrate/lab:1-0123456789ab", "0123456789ab" + "d" * 52),
        ({}, "someone/else:1-0123456789ab", None),
    ],
)
def test_an_image_that_was_not_built_here_is_known_by_its_tag(labels, tag, expected):
    assert _recipe_of(SimpleNamespace(labels=labels), tag, "0123456789ab" + "d" * 52) == expected


def test_the_catalogue_names_it(prebuilt):
    from spikecrate.cli.sorters import sorter_as_dict

    assert json.loads(json.dumps(sorter_as_dict(prebuilt())))["image"].endswith(DIGEST)
