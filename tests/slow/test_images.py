"""Images, really built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spikecrate._util.progress import Silent, Terminal
from spikecrate.catalogue.tools import find
from spikecrate.errors import ImageBuildError, ImageNotReproducibleError
from spikecrate.images.base import ensure_bases
from spikecrate.images.build import build, verify
from spikecrate.images.lookup import layers_of
from spikecrate.steps.job import build_request, recipe
from spikecrate_harness.job import CONTRACT

WHEELS = """
import importlib.metadata as metadata
print(sum(file.size or 0 for found in metadata.distributions() for file in found.files or ()))
"""


def request_for(name):
    sorter = find(name)
    return build_request(sorter, recipe(sorter))


@pytest.fixture
def ms4():
    return build(request_for("ms4"), Terminal())


def unpacked(image):
    return sum(layer["Size"] for layer in image.history())


def test_building_what_is_there_returns_at_once(ms4):
    again = build(request_for("ms4"), Silent())
    assert not again.built
    assert again.seconds < 2
    assert (again.reference, again.digest) == (ms4.reference, ms4.digest)


def test_two_builds_from_nothing_have_the_digest_of_the_image_that_jobs_run_in(ms4):
    verified = verify(request_for("ms4"), Terminal())
    assert verified.first == verified.second == ms4.digest


def test_a_build_that_writes_the_time_is_found_out(lab_sorter, docker):
    name = lab_sorter("def sort(): ...")
    folder = find(name).folder
    (folder / "Dockerfile").write_text("ARG BASE\nFROM ${BASE}\nUSER 0\nRUN date +%N >/opt/built\n")
    with pytest.raises(ImageNotReproducibleError, match="/opt"):
        verify(request_for(name), Silent())
    assert docker.images.list(f"spikecrate/{name}") == []


def test_the_image_says_what_it_is(ms4, docker):
    labels = docker.images.get(ms4.digest).labels
    asked = request_for("ms4")
    assert labels["spikecrate.recipe"] == asked.recipe
    assert labels["spikecrate.sorter"] == "ms4"
    assert labels["spikecrate.contract"] == str(CONTRACT)
    assert labels["org.opencontainers.image.version"] == asked.version
    assert labels["org.opencontainers.image.base.digest"] == ensure_bases(Silent()).runtime_digest


def test_it_runs_read_only_without_network_and_rights_as_an_unknown_user(ms4, docker):
    code = "import numpy, scipy, h5py, isosplit5, mountainsort4, os; print(os.getuid(), numpy.__version__)"
    said = docker.containers.run(
        ms4.digest,
        ["-c", code],
        entrypoint=["/opt/sorter/bin/python"],
        user="54321:54321",
        read_only=True,
        network_mode="none",
        cap_drop=["ALL"],
        security_opt=["no-new-privileges"],
        remove=True,
    )
    assert said.decode().split() == ["54321", "1.26.4"]


def test_it_is_hardly_larger_than_the_base_and_its_wheels(ms4, docker):
    python = ["/opt/sorter/bin/python"]
    said = docker.containers.run(
        ms4.digest, ["-c", WHEELS], entrypoint=python, network_mode="none", remove=True
    )
    wheels = int(said)
    base = unpacked(docker.images.get(ensure_bases(Silent()).runtime))
    assert wheels > 100e6
    assert ms4.size_bytes <= 1.10 * (base + wheels)


def test_a_changed_line_of_code_is_built_in_seconds_and_makes_no_other_layer_anew(ms4, lab_sorter, docker):
    lab = build(request_for(lab_sorter("def sort(): ...")), Terminal())
    assert lab.built
    assert lab.digest != ms4.digest
    assert lab.seconds < 30
    first, second = (layers_of(docker.images.get(image.digest)) for image in (ms4, lab))
    differ = [size for (one, size), (other, _) in zip(first, second, strict=True) if one != other]
    assert 0 < sum(differ) < 1e6


def test_a_build_that_fails_shows_the_last_lines_and_leaves_its_log(lab_sorter, docker):
    name = lab_sorter("def sort(): ...")
    folder = find(name).folder
    (folder / "Dockerfile").write_text(
        "ARG BASE\nFROM ${BASE}\nRUN seq 100; echo 'the compiler is unhappy' >&2; exit 3\n"
    )
    with pytest.raises(ImageBuildError, match="the compiler is unhappy") as caught:
        build(request_for(name), Silent())
    log = Path(caught.value.details["log"])
    assert " 57\n" in log.read_text()
    log.unlink()
    assert docker.images.list(f"spikecrate/{name}") == []


def test_the_command_line_builds_and_says_where(command, ms4):
    done = command("build", "--sorter", "ms4", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["digest"] == ms4.digest
