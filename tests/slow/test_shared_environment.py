"""A sorter and a tool of SpikeInterface hold one copy of their packages on disk."""

from __future__ import annotations

import spikecrate
from spikecrate._util.progress import Terminal
from spikecrate.catalogue.tools import find
from spikecrate.images.build import build
from spikecrate.images.lookup import layers_of
from spikecrate.steps.job import build_request, recipe


def layers(name, docker):
    tool = find(name)
    image = docker.images.get(build(build_request(tool, recipe(tool)), Terminal()).digest)
    return [identity for identity, size in layers_of(image)], [size for _, size in layers_of(image)]


def test_their_images_differ_in_the_last_layer_alone(docker):
    (sorter, sizes), (tool, _) = layers("tridesclous2", docker), layers("import", docker)
    assert sorter[:-1] == tool[:-1]
    assert sorter[-1] != tool[-1]
    # The code; the packages are hundreds of megabytes.
    assert sizes[-1] < 1e6
    assert max(sizes) > 3e8


def test_on_the_host_they_run_in_one_folder(toy, own_store):
    spikecrate.sort(toy, sorter="tridesclous2", runtime="host").analyze(runtime="host")
    assert len(list((own_store / "environments").glob("lock-*"))) == 1
