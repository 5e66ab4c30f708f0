"""What each check of the doctor promises: for these facts this state, the culprit's name, and the next command.

The sentences around the names are free to change.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from spikecrate._util.file_systems import FileSystem, file_system
from spikecrate.doctor import apptainer, docker, gpu, images, runtime, sibling, space, store
from spikecrate.doctor import doctor as library
from spikecrate.engines.apptainer import Program
from spikecrate.errors import (
    EngineDownError,
    EngineMissingError,
    EnginePermissionError,
    EnvironmentBuildError,
    SorterInvalidError,
    StoreError,
)
from spikecrate.images.inventory import Entry
from spikecrate.store.place import Store

GIB = 1 << 30
CHECKS = {check.name: check for check in library.CHECKS}


def judged(name, facts, state, names=(), fix=""):
    """Judge facts with a check, and hold the verdict to its state, to what it names and to the fix it shows."""
    verdict = CHECKS[name].judge(facts)
    assert verdict.state == state, verdict
    assert [word for word in names if word not in verdict.message] == [], verdict
    assert fix in verdict.fix, verdict
    assert (verdict.fix == "") == (state == "ok"), verdict
    return verdict


def refused(name, error, state, names=(), fix=""):
    """Let the look of a check raise an error, and hold the verdict to it as `judged` does."""

    def look(_):
        raise error

    (line,) = library.examine([replace(CHECKS[name], look=look, needs=(), after=())])
    assert line.verdict.state == state
    assert [word for word in names if word not in line.verdict.message] == []
    assert fix in line.verdict.fix
    return line.verdict


# The machine


@pytest.mark.parametrize(
    ("kind", "available", "state", "names"),
    [
        ("x86_64", {"avx2", "fma", "sse4_1"}, "ok", ["avx2", "fma"]),
        ("x86_64", {"fma"}, "warn", ["avx2"]),
        ("x86_64", set(), "warn", ["avx2", "fma"]),
        ("aarch64", {"asimd"}, "ok", ["aarch64"]),
        ("riscv64", set(), "warn", ["riscv64"]),
    ],
)
def test_a_processor_without_the_pinned_instructions_is_named(kind, available, state, names):
    judged("machine.processor", (kind, frozenset(available)), state, names)


@pytest.mark.parametrize(
    ("kernel", "state", "names", "fix"),
    [
        ("Linux 6.1.0-18-amd64", "ok", ["6.1.0"], ""),
        ("Linux 5.15.90.1-microsoft-standard-WSL2", "ok", ["/mnt"], ""),
        ("Linux 4.4.0-19041-Microsoft", "fail", ["WSL 1"], "wsl --set-version"),
        ("Darwin 23.1.0", "fail", ["Linux"], "virtual machine"),
    ],
)
def test_a_kernel_without_containers_fails(kernel, state, names, fix):
    judged("machine.kernel", kernel, state, names, fix)


@pytest.mark.parametrize(
    ("now", "installed", "state"),
    [(1.9e9, 1.8e9, "ok"), (1.8e9, 1.9e9, "warn"), (0.0, 1.8e9, "fail"), (1.8e9, 1.8e9 + 60, "ok")],
)
def test_a_clock_that_is_behind_is_seen(now, installed, state):
    judged("machine.clock", (now, installed), state, ["UTC"], "" if state == "ok" else "set-ntp")


def test_missing_programs_are_named_with_their_packages():
    judged("machine.programs", [], "ok", ["git", "setpriv"])
    judged("machine.programs", ["setpriv"], "warn", ["setpriv"], "apt-get install util-linux")


def test_selinux_is_named_where_it_enforces():
    judged("machine.selinux", True, "warn", ["SELinux"], "chcon")
    judged("machine.selinux", False, "ok")


# Space


def free_space(free=100 * GIB, files=10**7, free_files=10**6):
    return space.Space(folder=Path("/store"), free_bytes=free, files=files, free_files=free_files)


@pytest.mark.parametrize(
    ("found", "state"),
    [
        (free_space(), "ok"),
        (free_space(free=5 * GIB), "warn"),
        (free_space(free=GIB // 2), "fail"),
        (free_space(free_files=10), "fail"),
        (free_space(free_files=20_000), "warn"),
        (free_space(files=0, free_files=0), "ok"),
    ],
)
def test_little_space_is_a_warning_and_almost_none_a_fail(found, state):
    judged("store.space", found, state, ["/store"], "" if state == "ok" else "store.gc")
    judged("apptainer.temp", found, state, ["/store"], "" if state == "ok" else "SPIKECRATE_STORE")


@pytest.mark.parametrize(
    ("found", "options", "state"),
    [
        (free_space(), {"rw"}, "ok"),
        (free_space(), {"rw", "noexec"}, "warn"),
        (free_space(free=GIB // 2), {"rw"}, "warn"),
        (free_space(free=GIB // 100), {"rw"}, "fail"),
    ],
)
def test_a_small_temporary_folder_is_a_fail_only_where_nothing_fits(found, options, state):
    system = FileSystem(kind="ext4", options=frozenset(options))
    judged("machine.temp", (found, system), state, fix="" if state == "ok" else "TMPDIR")


def test_the_space_of_a_missing_folder_is_that_of_its_nearest_parent(tmp_path):
    assert space.look(tmp_path / "not" / "there").folder == tmp_path


MOUNTS = r"""
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 21 0:25 / /tmp rw,nosuid,noexec - tmpfs tmpfs rw,size=4096k
31 21 0:26 / /data/my\040store ro,relatime shared:1 - nfs4 server:/x rw,vers=4.2
32 30 0:27 / /tmp rw,nodev - xfs /dev/sdb rw
""".strip()


@pytest.mark.parametrize(
    ("path", "kind", "option"),
    [
        ("/home/me", "ext4", "relatime"),
        ("/tmp/store", "xfs", "nodev"),
        ("/data/my store/results", "nfs4", "ro"),
        ("/tmpx", "ext4", "rw"),
    ],
)
def test_a_file_system_is_that_of_the_last_mount_above(path, kind, option):
    found = file_system(Path(path), MOUNTS)
    assert (found.kind, option in found.options) == (kind, True)


# Python


def test_a_missing_uv_fails():
    judged("python.tools", {"invoke": "3"}, "fail", ["uv"], "pip install uv")
    names = [platform.python_version(), sys.executable, "invoke 3", "uv 1"]
    judged("python.tools", {"invoke": "3", "uv": "1"}, "ok", names)


# Docker


def access(**facts):
    usual = {
        "socket": Path("/var/run/docker.sock"),
        "allowed": False,
        "group": "docker",
        "gid": 101,
        "user": "ada",
        "listed": False,
    }
    return docker.Access(**{**usual, **facts})


@pytest.mark.parametrize(
    ("facts", "state", "names", "fix"),
    [
        (access(allowed=True), "ok", ["ada"], ""),
        (access(), "fail", ["ada", "docker"], "sudo usermod -aG docker ada"),
        (access(listed=True), "fail", ["ada", "older"], "log out and in again"),
        (access(gid=0, group="root"), "fail", ["root"], "groupadd docker"),
        (None, "ok", [], ""),
    ],
)
def test_a_user_without_access_to_docker_gets_the_one_command_that_gives_it(facts, state, names, fix):
    judged("docker.permission", facts, state, names, fix)


def test_a_missing_docker_ends_the_checks_that_need_it_and_a_missing_command_does_not():
    assert judged(
        "docker.installed", ("unix:///x", None, False), "warn", fix="apt-get install docker.io"
    ).ends
    assert not judged("docker.installed", ("unix:///x", None, True), "warn", ["unix:///x"]).ends
    judged("docker.installed", ("unix:///x", "/usr/bin/docker", False), "ok", ["/usr/bin/docker"])


def test_a_daemon_that_does_not_answer_fails_with_the_error_s_own_next_step():
    refused(
        "docker.daemon", EngineDownError("is down", next_step="start it"), "fail", ["is down"], "start it"
    )


@pytest.mark.parametrize(
    ("version", "state"),
    [("26.1.5+dfsg1", "ok"), ("25.0.0", "ok"), ("24.0.7", "warn"), ("20.10.24+dfsg1", "fail"), ("", "fail")],
)
def test_an_old_daemon_is_named(version, state):
    facts = {"Version": version, "ApiVersion": "1.45", "Components": None}
    judged("docker.version", facts, state, [version, "1.45"], "" if state == "ok" else "upgrade Docker")


def test_podman_is_told_from_docker():
    facts = {"Version": "4.9.3", "Components": [{"Name": "Podman Engine"}]}
    judged("docker.version", facts, "warn", ["Podman"], "--runtime apptainer")


@pytest.mark.parametrize(
    ("info", "state", "names"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=builtin"]}, "ok", []),
        ({"SecurityOptions": ["name=seccomp", "name=rootless"]}, "warn", ["rootless"]),
        ({"SecurityOptions": ["name=userns"]}, "warn", ["userns-remap"]),
        ({"SecurityOptions": None, "OperatingSystem": "Docker Desktop"}, "ok", ["Docker Desktop"]),
    ],
)
def test_a_daemon_that_maps_users_is_named(info, state, names):
    judged("docker.mode", info, state, names, "" if state == "ok" else "docker context use default")


@pytest.mark.parametrize(
    ("info", "state", "fix"),
    [
        ({"Driver": "overlayfs", "DriverStatus": [["driver-type", docker.SNAPSHOTTER]]}, "ok", ""),
        ({"Driver": "overlay2", "DriverStatus": [["x", "extfs"]]}, "warn", "containerd-snapshotter"),
        ({"Driver": "vfs", "DriverStatus": None}, "warn", "daemon.json"),
    ],
)
def test_a_storage_driver_that_changes_digests_is_named(info, state, fix):
    judged("docker.storage", info, state, [info["Driver"]], fix)


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", "ok"),
        ("github.com/docker/buildx v0.29.1 1234abcd", "ok"),
        ("github.com/docker/buildx v0.8.2 1234abcd", "fail"),
        (None, "fail"),
    ],
)
def test_a_missing_or_old_buildx_fails(line, state):
    judged("docker.buildx", line, state, fix="" if state == "ok" else "docker-buildx")


RUNNING = (
    "Name:   default\nDriver: docker\n\nNodes:\nName:     default\nStatus:           running\nLabels:\n x: y"
)


@pytest.mark.parametrize(
    ("name", "output", "state", "names"),
    [
        ("default", RUNNING, "ok", ["default"]),
        ("lab", 'ERROR: no builder "lab" found', "fail", ["lab", 'no builder "lab" found']),
        (
            "default",
            "Name: default\nStatus: running\nError: listing workers failed",
            "fail",
            ["workers failed"],
        ),
        ("default", "", "fail", ["default"]),
    ],
)
def test_a_builder_that_cannot_be_used_fails(name, output, state, names):
    judged(
        "docker.builder", (name, output), state, names, "" if state == "ok" else "docker context use default"
    )


def test_the_engine_s_fullest_folder_counts():
    full = [free_space(), free_space(free=GIB // 2)]
    judged("docker.space", full, "fail", ["512.0 MiB"], "docker system df")
    judged("docker.space", [], "ok")


@pytest.mark.parametrize(
    ("info", "state", "names"),
    [
        ({"MemoryLimit": True, "SwapLimit": True, "PidsLimit": True, "CpuCfsQuota": True}, "ok", []),
        ({"MemoryLimit": False}, "warn", ["memory"]),
        ({"CgroupDriver": "none"}, "warn", ["memory"]),
        ({"MemoryLimit": True, "SwapLimit": False}, "warn", ["swap"]),
        ({"MemoryLimit": True, "PidsLimit": False}, "warn", ["process"]),
    ],
)
def test_limits_that_are_not_enforced_are_named(info, state, names):
    info = {"CgroupVersion": "2", "CgroupDriver": "systemd", **info}
    judged("docker.limits", info, state, ["cgroup 2", *names], "" if state == "ok" else "boot with")


# Apptainer


def test_a_missing_apptainer_is_a_warning_and_a_forbidden_one_a_fail():
    missing = EngineMissingError("none is here", next_step="module load apptainer")
    assert refused("apptainer.installed", missing, "warn", ["none is here"], "module load apptainer").ends
    refused(
        "apptainer.installed", EnginePermissionError("not you", next_step="ask"), "fail", ["not you"], "ask"
    )


@pytest.mark.parametrize(
    ("engine", "version", "reproducible"),
    [("apptainer", "1.4.5", False), ("apptainer", "1.5.0", True), ("singularity-ce", "4.1.0", False)],
)
def test_an_apptainer_that_makes_reproducible_sifs_is_named(engine, version, reproducible):
    verdict = judged("apptainer.installed", Program("/usr/bin/x", engine, version), "ok", [engine, version])
    assert ("reproducible" in verdict.message) == reproducible


def test_missing_programs_of_apptainer_are_named_with_their_packages():
    judged("apptainer.tools", {"mksquashfs": True, "squashfuse": True}, "ok")
    for missing, package in (("mksquashfs", "squashfs-tools"), ("squashfuse", "squashfuse")):
        tools = {"mksquashfs": True, "squashfuse": True, missing: False}
        judged("apptainer.tools", tools, "warn", [missing], f"apt-get install {package}")


@pytest.mark.parametrize("name", ["apptainer.fuse", "apptainer.runs"])
def test_an_apptainer_that_cannot_run_fails_but_not_in_the_development_container(name, monkeypatch):
    error = EnginePermissionError("no fuse", next_step="chmod")
    with pytest.raises(EnginePermissionError, match="no fuse"):
        apptainer._by_design(error)
    refused(name, error, "fail", ["no fuse"], "chmod")
    monkeypatch.setenv("SPIKECRATE_DEV", "1")
    inside = apptainer._by_design(error)
    assert judged(name, inside, "warn", ["no fuse"], "invoke dev --rebuild --no-docker").ends
    judged(name, None, "ok")


# Runtimes


def test_a_machine_without_a_working_engine_is_warned():
    judged("runtime.auto", ["docker", "apptainer"], "ok", ["docker", "apptainer"])
    judged("runtime.auto", ["apptainer"], "ok", ["apptainer"])
    judged("runtime.auto", [], "warn", ["host"], "install Docker or Apptainer")


def test_an_engine_counts_only_where_all_its_checks_pass():
    assert runtime.look_auto({"docker.daemon": 1, "apptainer.runs": 1}) == ["docker"]
    assert runtime.look_auto({"apptainer.runs": None, "apptainer.fuse": None}) == ["apptainer"]


def host(problems=(), compiler=None, to_compile=("ms4",), brings=True):
    return runtime.Host(problems=problems, compiler=compiler, to_compile=to_compile, brings=brings)


def test_what_the_host_runtime_lacks_is_named():
    problem = EnvironmentBuildError("no headers", next_step="sudo apt-get install libpython3.11-dev")
    judged("runtime.host", host(problems=(problem,)), "warn", ["no headers"], "libpython3.11-dev")
    judged("runtime.host", host(), "ok", ["ms4"])
    judged("runtime.host", host(brings=False), "warn", ["ms4"], "g++")
    judged("runtime.host", host(compiler="/usr/bin/g++"), "ok", ["/usr/bin/g++"])


# The store


def place(**facts):
    return store.Place(**{"path": Path("/tmp/s"), "nearest": Path("/tmp/s"), **facts})


@pytest.mark.parametrize(
    ("facts", "state", "names", "fix"),
    [
        ({}, "ok", ["700", "yours"], ""),
        ({"mode": 0o750}, "ok", ["750", "yours"], ""),
        ({"mode": 0o2770}, "ok", ["group"], ""),
        ({"nearest": Path("/tmp")}, "ok", ["first job"], ""),
        ({"nearest": Path("/"), "writable": False}, "fail", ["/ is not writable"], "SPIKECRATE_STORE"),
        ({"writable": False}, "fail", ["not writable"], "SPIKECRATE_STORE"),
    ],
)
def test_a_store_that_cannot_be_used_fails_with_the_reason(facts, state, names, fix):
    judged("store.place", place(**facts), state, ["/tmp/s", *names], fix)


def test_looking_at_a_store_makes_none():
    found = store.look_place({})
    assert (found.nearest == found.path, found.writable) == (False, True)
    assert not found.path.exists()


@pytest.mark.parametrize(
    ("change", "names", "fix"),
    [
        (lambda root: (root / "store.json").write_text("{"), ["store.json"], "SPIKECRATE_STORE"),
        (
            lambda root: (root / "store.json").write_text('{"schema": 99}'),
            ["newer spikecrate", "99"],
            "upgrade spikecrate",
        ),
        (lambda root: root.chmod(0o777), ["every user", "777"], "chmod -R o-w"),
        (lambda root: root.chmod(0o2772), ["every user"], "chmod -R o-w"),
        (
            lambda root: (root.rename(f"{root}-away"), root.write_text("")),
            ["not a folder"],
            "SPIKECRATE_STORE",
        ),
    ],
)
def test_a_store_that_a_job_refuses_fails(store, change, names, fix):
    from spikecrate.doctor import store as checks

    change(store.root)
    with pytest.raises(StoreError) as raised:
        checks.look_place({})
    refused("store.place", raised.value, "fail", [str(store.root), *names], fix)


@pytest.mark.parametrize(
    ("mode", "state", "names", "fix"),
    [
        (0o700, "fail", ["you are 7"], "SPIKECRATE_STORE"),
        (0o2770, "ok", ["group"], ""),
        (0o770, "fail", ["you are 7"], "chmod g+s"),
    ],
)
def test_a_store_of_another_user_is_well_only_where_it_is_shared(store, monkeypatch, mode, state, names, fix):
    store.root.chmod(mode)
    monkeypatch.setattr(os, "geteuid", lambda: 7)
    (line,) = library.examine([replace(CHECKS["store.place"])])
    assert line.verdict.state == state
    assert [word for word in names if word not in line.verdict.message] == []
    assert fix in line.verdict.fix


def test_the_store_s_path_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("SPIKECRATE_STORE", "/some/where")
    assert store.look_place({}).path == Store(Path("/some/where")).root


@pytest.mark.parametrize(
    ("kind", "options", "state"),
    [
        ("ext4", (), "ok"),
        ("nfs4", (), "ok"),
        ("tmpfs", (), "warn"),
        ("cifs", (), "warn"),
        ("overlay", (), "warn"),
        ("ext4", ("noexec",), "warn"),
    ],
)
def test_a_file_system_that_cannot_hold_a_store_is_named(kind, options, state):
    system = FileSystem(kind=kind, options=frozenset(options))
    judged("store.filesystem", system, state, [kind, *options], "" if state == "ok" else "SPIKECRATE_STORE")


def test_a_file_system_without_locks_fails(store, monkeypatch):
    from spikecrate.doctor import store as checks

    judged("store.locks", checks.look_locks({}), "ok")
    assert not list(store.root.glob(".new-*"))

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StoreError) as raised:
        checks.look_locks({})
    refused("store.locks", raised.value, "fail", ["has no locks"], "SPIKECRATE_STORE")


def test_what_a_stopped_run_left_is_named_and_left_alone(store):
    from spikecrate.doctor import store as checks
    from spikecrate.store.lock import Lock

    gone, runs = (store.work / f"{key * 64}-1234abcd" for key in "ab")
    for folder in (gone, runs, store.sifs / ".new-0123456789abcdef-99999999"):
        folder.mkdir(parents=True)
    with Lock(store.lock("b" * 64)):
        left = checks.look_orphans({})
    assert left == [str(gone), str(store.sifs / ".new-0123456789abcdef-99999999")]
    assert gone.is_dir()
    judged("store.orphans", left, "warn", [str(gone)], "spikecrate store.gc")
    judged("store.orphans", [], "ok")


@pytest.mark.parametrize(
    ("facts", "state", "names", "fix"),
    [
        ({"image": "debian", "came_back": True, "owner": 7, "user": 7}, "ok", ["debian"], ""),
        ({"image": "debian", "came_back": True, "owner": 100007}, "fail", ["uid 100007"], "context use"),
        ({"image": "debian", "code": 1}, "fail", ["debian", "exit code 1"], "SPIKECRATE_STORE"),
        ({}, "warn", [], "spikecrate build"),
    ],
)
def test_a_token_that_does_not_come_back_from_a_container_fails(facts, state, names, fix):
    judged("store.sibling", sibling.RoundTrip(**facts), state, names, fix)


# Images and GPU


def test_a_machine_without_debian_s_image_is_told_how_to_get_it():
    judged("images.base", (True, False), "ok")
    judged("images.base", (False, True), "ok", ["debian:bookworm-slim"])
    judged("images.base", (False, False), "warn", fix="docker pull debian:bookworm-slim")


def test_current_images_are_listed_and_stale_ones_left_out():
    entries = (
        Entry(name="ms4", recipe="a", digest="1", state="current", reference="spikecrate/ms4:1"),
        Entry(name="ms4", recipe="a", digest="1", state="current", sif=Path("/s/ms4.sif")),
        Entry(name="lab", recipe="b", digest="2", state="stale", sif=Path("/s/lab.sif")),
        Entry(name="gone", recipe="c", digest="3", state="unknown", reference="spikecrate/gone:1"),
    )
    stock = images.Stock(sorters=("lab", "ms4"), entries=entries)
    judged("images.sorters", stock, "ok", ["ms4: image and SIF", "lab: made by its first job"])


def test_a_catalogue_that_cannot_be_read_fails():
    error = SorterInvalidError("lab/sorter.json: no name")
    refused("images.sorters", error, "fail", ["lab/sorter.json"])


@pytest.mark.parametrize(
    ("facts", "state", "names", "fix"),
    [
        ({}, "ok", ["none"], ""),
        ({"optional": ("ks",)}, "ok", ["ks"], ""),
        ({"required": ("ks",)}, "warn", ["ks"], "NVIDIA GPU"),
        ({"present": True, "devices": ("H200, GPU-1",)}, "ok", ["H200"], ""),
        ({"present": True}, "fail", ["nvidia-smi"], "reboot"),
        ({"present": True, "devices": ("H200",), "visible": ""}, "warn", [gpu.gpu.VISIBLE], "unset"),
    ],
)
def test_a_gpu_counts_only_where_a_sorter_wants_one(facts, state, names, fix):
    usual = {"present": False, "devices": (), "visible": None, "required": (), "optional": ()}
    verdict = judged("gpu.driver", gpu.Driver(**{**usual, **facts}), state, names, fix)
    assert verdict.ends == (not facts.get("present") or state == "fail")


def test_a_gpu_that_no_container_gets_is_a_warning():
    judged("gpu.docker", (), "warn", fix="nvidia-container-toolkit")
    judged("gpu.docker", ("--gpus=all",), "ok", ["--gpus=all"])
    judged("gpu.apptainer", ["libcuda.so.1"], "warn", ["libcuda.so.1"], "ldconfig")
    judged("gpu.apptainer", [], "ok")
