"""A path inside a container is told to the host's daemon as the host has it, or refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate.engines import host_paths as hostpaths
from spikecrate.engines.host_paths import host_path, own_id, read_mounts, read_variable, translate
from spikecrate.errors import EngineError, HostPathError
from spikecrate.runtimes.contract import INPUTS, ContainerSpec, Image, Limits, Mount
from spikecrate.runtimes.docker import Docker, create_arguments, run_argv
from spikecrate.steps.record import _mount

ID = "0123456789abcdef" * 4
NAME = st.text("ab .", min_size=1, max_size=3).filter(lambda name: name.strip(".") != "")
PATH = st.lists(NAME, max_size=4).map(lambda names: Path("/", *names))
ROOTS = st.dictionaries(PATH, PATH.map(lambda path: Path("/host", *path.parts[1:])), min_size=1)


def inside(monkeypatch, roots):
    said = {str(target): str(source) for target, source in roots.items()}
    monkeypatch.setenv("SPIKECRATE_HOST_PATHS", json.dumps(said))


@given(ROOTS, PATH)
def test_the_longest_mount_that_holds_a_path_says_where_it_is(roots, path):
    holding = [root for root in roots if root == path or root in path.parents]
    if not holding:
        with pytest.raises(HostPathError):
            translate(path, roots)
        return
    longest = max(holding, key=lambda root: len(root.parts))
    assert translate(path, roots) == roots[longest] / path.relative_to(longest)


@given(ROOTS, PATH)
def test_what_lies_below_a_path_lies_below_it_on_the_host(roots, path):
    root = next(iter(roots))
    below = root / path.relative_to("/")
    nearer = [other for other in roots if other != root and root in other.parents]
    if not nearer:
        assert translate(below, roots).relative_to(roots[root]) == path.relative_to("/")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/data", "/nas"),
        ("/data/", "/nas"),
        ("/data/rec", "/nas/rec"),
        ("/data/x/../rec", "/nas/rec"),
        ("/data/nested", "/ssd"),
        ("/data/nested/rec", "/ssd/rec"),
        ("/data/nested2", "/nas/nested2"),
        ("/data/nested/../../data/rec", "/nas/rec"),
    ],
)
def test_a_path_is_looked_up_on_the_borders_of_its_folders(monkeypatch, path, found):
    inside(monkeypatch, {"/data": "/nas", "/data/nested": "/ssd"})
    assert host_path(Path(path)) == Path(found)


@pytest.mark.parametrize("path", ["/database", "/dat", "/", "/data/../etc"])
def test_a_path_that_no_mount_holds_is_refused_by_name(monkeypatch, path):
    inside(monkeypatch, {"/data": "/nas", "/work": "/home/me"})
    with pytest.raises(HostPathError) as raised:
        host_path(Path(path))
    assert raised.value.exit_code == 63
    assert str(Path(path).resolve()) in str(raised.value)
    assert raised.value.details["mounted"] == ["/data", "/work"]
    assert "--mount" in raised.value.next_step


def test_links_are_followed_before_a_path_is_looked_up(monkeypatch, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "out").symlink_to(tmp_path / "outside")
    # The mount's own name may be a link as well.
    inside(monkeypatch, {tmp_path / "link": "/nas"})
    assert host_path(tmp_path / "link" / "rec") == Path("/nas/rec")
    assert host_path(tmp_path / "data" / "rec") == Path("/nas/rec")
    with pytest.raises(HostPathError):
        host_path(tmp_path / "data" / "out" / "rec")


def test_outside_of_a_container_a_path_is_itself(monkeypatch, tmp_path):
    monkeypatch.delenv("SPIKECRATE_HOST_PATHS", raising=False)
    monkeypatch.setattr(hostpaths, "MOUNT_TABLE", tmp_path / "none")
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data")
    assert host_path(tmp_path / "link" / ".." / "data") == tmp_path / "data"


@pytest.mark.parametrize("text", ["{", "[]", '{"a": "/b"}', '{"/a": "b"}', '{"/a": null}', '"/a"', "3"])
def test_a_variable_that_says_nothing_of_use_is_refused(text):
    with pytest.raises(HostPathError, match="SPIKECRATE_HOST_PATHS"):
        read_variable(text)


@pytest.mark.parametrize(
    "engine_file",
    [
        f"/var/lib/docker/containers/{ID}/hostname /etc/hostname",
        f"/docker/containers/{ID}/resolv.conf /etc/resolv.conf",
        f"/user/storage/overlay-containers/{ID}/userdata/hosts /etc/hosts",
    ],
)
def test_a_container_knows_its_own_id_by_what_the_engine_mounts_in_it(engine_file):
    table = f"1 0 0:1 / / rw - overlay overlay rw\n2 1 8:1 {engine_file} rw - ext4 /dev/sda1 rw\n"
    assert own_id(table) == ID


def test_the_host_is_not_taken_for_one_of_its_containers():
    table = (
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"2 1 0:5 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n"
        "3 1 8:1 /etc/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
    )
    assert own_id(table) is None


def test_a_file_system_in_memory_is_nobody_else_s():
    mounts = [
        {"Type": "bind", "Source": "/nas", "Destination": "/data"},
        {"Type": "volume", "Name": "v", "Source": "/var/lib/docker/volumes/v/_data", "Destination": "/v"},
        {"Type": "tmpfs", "Source": "", "Destination": "/data/tmp"},
    ]
    roots = {Path(inside): outside for inside, outside in read_mounts(mounts).items()}
    assert translate(Path("/v/x"), roots) == Path("/var/lib/docker/volumes/v/_data/x")
    with pytest.raises(HostPathError):
        translate(Path("/data/tmp/x"), roots)


def spec(source):
    return ContainerSpec(
        name="name",
        labels={},
        image=Image(reference="image", digest="", entrypoint=("run",)),
        mounts=(Mount(source=source, target=INPUTS / "recording"),),
        limits=Limits(cores=1),
        user=(1, 1),
    )


def test_the_daemon_is_told_the_host_s_path_and_the_record_tells_both(monkeypatch):
    inside(monkeypatch, {"/data": "/nas"})
    asked = spec(Path("/data/rec"))
    assert create_arguments(asked)["mounts"][0]["Source"] == "/nas/rec"
    assert "type=bind,source=/nas/rec,target=/inputs/recording,readonly" in run_argv(asked)
    described = _mount(asked.mounts[0], by_daemon=True)
    assert (described["source"], described["host"]) == ("/data/rec", "/nas/rec")
    # A runtime of this very machine, inside, uses the path as it is.
    assert "host" not in _mount(asked.mounts[0], by_daemon=False)


def test_a_job_on_a_folder_that_the_daemon_does_not_see_is_refused(monkeypatch):
    inside(monkeypatch, {"/data": "/nas"})
    with pytest.raises(HostPathError, match="/elsewhere/rec"):
        create_arguments(spec(Path("/elsewhere/rec")))


@pytest.mark.parametrize("url", ["tcp://elsewhere:2376", "ssh://me@elsewhere"])
def test_a_daemon_on_another_machine_is_refused_with_the_next_step(monkeypatch, url):
    monkeypatch.setenv("DOCKER_HOST", url)
    with pytest.raises(EngineError, match="cannot mount folders of this machine") as raised:
        Docker()
    assert "DOCKER_HOST" in raised.value.next_step
