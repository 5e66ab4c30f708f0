"""What the doctor makes of what it saw: facts in, a verdict out; this machine is looked at as little as possible."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from spikecrate.doctor import (
    apptainer,
    dev,
    display,
    docker,
    gpu,
    identity,
    images,
    machine,
    python,
    runtime,
    sibling,
    space,
    store,
)
from spikecrate.engines.apptainer import MENDS, Program
from spikecrate.errors import (
    EngineDownError,
    EngineMissingError,
    EnginePermissionError,
    EnvironmentBuildError,
    SorterInvalidError,
)
from spikecrate.images.inventory import Entry
from spikecrate.store.place import Store
from spikecrate_dev import x11
from spikecrate_dev.display import read_display

GIB = 1 << 30
SOCKET = Path("/var/run/docker.sock")


def judged(verdict, state, *words, mend=""):
    assert verdict.state == state, verdict
    assert all(word in verdict.seen for word in words), verdict
    assert mend in verdict.mend, verdict
    assert (verdict.mend == "") == (state == "ok"), verdict


# The machine


@pytest.mark.parametrize(
    ("kind", "there", "state", "word"),
    [
        ("x86_64", {"avx2", "fma", "sse4_1"}, "ok", "avx2, fma"),
        ("x86_64", {"fma"}, "warn", "without avx2"),
        ("x86_64", set(), "warn", "without avx2, fma"),
        ("aarch64", {"asimd"}, "ok", "aarch64"),
        ("riscv64", set(), "warn", "not pinned"),
    ],
)
def test_a_processor_without_what_is_pinned_is_named(kind, there, state, word):
    judged(machine.judge_processor((kind, frozenset(there))), state, word)


@pytest.mark.parametrize(
    ("seen", "state", "word"),
    [
        ("Linux 6.1.0-18-amd64", "ok", "6.1.0"),
        ("Linux 5.15.90.1-microsoft-standard-WSL2", "ok", "/mnt"),
        ("Linux 4.4.0-19041-Microsoft", "fail", "first WSL"),
        ("Darwin 23.1.0", "fail", "Linux"),
    ],
)
def test_a_kernel_without_containers_is_named(seen, state, word):
    judged(machine.judge_kernel(seen), state, word)


@pytest.mark.parametrize(
    ("now", "written", "state"),
    [(1.9e9, 1.8e9, "ok"), (1.8e9, 1.9e9, "warn"), (0.0, 1.8e9, "fail"), (1.8e9, 1.8e9 + 60, "ok")],
)
def test_a_clock_that_is_behind_is_seen(now, written, state):
    judged(machine.judge_clock((now, written)), state, "UTC", mend="" if state == "ok" else "set-ntp")


def test_programs_that_are_missing_are_named_with_their_packages():
    judged(machine.judge_programs([]), "ok", "git")
    judged(machine.judge_programs(["setpriv"]), "warn", "setpriv", mend="apt-get install util-linux")


def test_selinux_is_named_where_it_enforces():
    judged(machine.judge_selinux(True), "warn", "SELinux", mend="chcon")
    judged(machine.judge_selinux(False), "ok")


# Space


def room(free=100 * GIB, files=10**7, free_files=10**6):
    return space.Space(folder=Path("/store"), free_bytes=free, files=files, free_files=free_files)


@pytest.mark.parametrize(
    ("seen", "state"),
    [
        (room(), "ok"),
        (room(free=5 * GIB), "warn"),
        (room(free=GIB // 2), "fail"),
        (room(free_files=10), "fail"),
        (room(free_files=20_000), "warn"),
        (room(files=0, free_files=0), "ok"),
    ],
)
def test_little_room_is_a_warning_and_none_a_fail(seen, state):
    judged(store.judge_space(seen), state, "/store", mend="" if state == "ok" else "store.gc")


@pytest.mark.parametrize(
    ("seen", "options", "state"),
    [
        (room(), {"rw"}, "ok"),
        (room(), {"rw", "noexec"}, "warn"),
        (room(free=GIB // 2), {"rw"}, "warn"),
        (room(free=GIB // 100), {"rw"}, "fail"),
    ],
)
def test_a_small_temporary_folder_is_a_fail_only_where_nothing_fits(seen, options, state):
    system = space.FileSystem(kind="ext4", options=frozenset(options))
    judged(machine.judge_temporary((seen, system)), state, mend="" if state == "ok" else "TMPDIR")


def test_the_room_of_a_folder_that_is_not_there_is_that_of_the_one_above(tmp_path):
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
    found = space.file_system(Path(path), MOUNTS)
    assert (found.kind, option in found.options) == (kind, True)


# Python


def packages(installed, *, checkout=True, inside=False):
    pinned = {"blake3": "1.0", "uv": "0.9"}
    return python.Packages(pinned=pinned, installed=installed, checkout=checkout, inside=inside)


def test_packages_that_are_not_those_of_the_lock_are_named():
    judged(python.judge_lock(packages({"blake3": "1.0", "uv": "0.9", "more": "1"})), "ok", "all 2")
    judged(
        python.judge_lock(packages({"blake3": "2.0", "uv": "0.9"})), "warn", "blake3 2.0", mend="ci/venv.sh"
    )
    judged(python.judge_lock(packages({"blake3": "1.0"})), "warn", "uv is missing")
    judged(python.judge_lock(packages({}, inside=True)), "warn", mend="invoke dev --rebuild")


def test_an_installed_spikecrate_may_have_other_packages_than_the_lock():
    judged(python.judge_lock(packages({"blake3": "2.0"}, checkout=False)), "ok", "blake3 2.0")


def test_a_lock_is_read_for_this_machine_alone():
    text = (
        "# made\nblake3==1.0 \\\n    --hash=sha256:00\n    # via x\n"
        "Typing_Extensions==4 ; python_version >= '3' \\\n    --hash=sha256:00\n"
        "colorama==1 ; sys_platform == 'win32' \\\n    --hash=sha256:00\n"
    )
    assert python.read_lock(text) == {"blake3": "1.0", "typing-extensions": "4"}


def test_an_old_python_and_a_missing_uv_are_named():
    judged(python.judge_version(((3, 10, 1), "/usr/bin/python3")), "fail", "3.10.1", mend="python3.11")
    judged(python.judge_version(((3, 12, 1), "/usr/bin/python3")), "ok", "3.12.1")
    judged(python.judge_tools({"invoke": "3", "uv": None, "nox": None}), "fail", "uv", mend="pip install uv")
    judged(python.judge_tools({"invoke": "3", "uv": "1", "nox": None}), "ok", "invoke 3, uv 1")


# Docker


def access(**facts):
    usual = {
        "socket": SOCKET,
        "allowed": False,
        "group": "docker",
        "gid": 101,
        "user": "ada",
        "listed": False,
    }
    return docker.Access(**{**usual, **facts})


def test_who_may_not_talk_to_the_daemon_is_told_the_one_thing_to_do():
    judged(docker.judge_permission(access(allowed=True)), "ok", "ada")
    judged(docker.judge_permission(access()), "fail", "group docker", mend="sudo usermod -aG docker ada")
    judged(docker.judge_permission(access(listed=True)), "fail", "older", mend="log out and in again")
    judged(docker.judge_permission(access(gid=0, group="root")), "fail", "group root", mend="groupadd docker")
    judged(docker.judge_permission(None), "ok")


def test_docker_that_is_not_there_is_told_from_one_without_its_command():
    missing = docker.judge_installed(("unix:///x", None, False))
    judged(missing, "warn", "not installed", mend="apt-get install docker.io")
    assert missing.ends
    half = docker.judge_installed(("unix:///x", None, True))
    judged(half, "warn", "no docker command")
    assert not half.ends
    judged(docker.judge_installed(("unix:///x", "/usr/bin/docker", False)), "ok", "/usr/bin/docker")


def test_a_daemon_that_does_not_answer_is_told_with_the_error_s_own_next_step():
    judged(
        docker.judge_daemon(EngineDownError("it is down", next_step="start it")),
        "fail",
        "down",
        mend="start it",
    )


@pytest.mark.parametrize(
    ("version", "state"),
    [("26.1.5+dfsg1", "ok"), ("25.0.0", "ok"), ("24.0.7", "warn"), ("20.10.24+dfsg1", "fail"), ("", "fail")],
)
def test_an_old_daemon_is_named(version, state):
    judged(
        docker.judge_version({"Version": version, "ApiVersion": "1.45", "Components": None}), state, version
    )


def test_podman_is_told_from_docker():
    said = {"Version": "4.9.3", "Components": [{"Name": "Podman Engine"}]}
    judged(docker.judge_version(said), "warn", "Podman", mend="--runtime apptainer")


@pytest.mark.parametrize(
    ("info", "state", "word"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=builtin"]}, "ok", "own daemon"),
        ({"SecurityOptions": ["name=seccomp", "name=rootless"]}, "warn", "rootless"),
        ({"SecurityOptions": ["name=userns"]}, "warn", "remapped"),
        ({"SecurityOptions": None, "OperatingSystem": "Docker Desktop"}, "ok", "shares"),
    ],
)
def test_a_daemon_that_maps_users_is_named(info, state, word):
    judged(docker.judge_mode(info), state, word)


@pytest.mark.parametrize(
    ("info", "state", "mend"),
    [
        ({"Driver": "overlayfs", "DriverStatus": [["driver-type", docker.SNAPSHOTTER]]}, "ok", ""),
        (
            {"Driver": "overlay2", "DriverStatus": [["Backing Filesystem", "extfs"]]},
            "warn",
            "containerd-snapshotter",
        ),
        ({"Driver": "vfs", "DriverStatus": None}, "warn", "daemon.json"),
    ],
)
def test_how_images_are_kept_is_judged(info, state, mend):
    judged(docker.judge_storage(info), state, info["Driver"], mend=mend)


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("github.com/docker/buildx 0.13.1+ds1 0.13.1+ds1-3", "ok"),
        ("github.com/docker/buildx v0.29.1 1234abcd", "ok"),
        ("github.com/docker/buildx v0.8.2 1234abcd", "fail"),
        (None, "fail"),
    ],
)
def test_a_missing_or_old_buildx_is_a_fail(said, state):
    judged(docker.judge_buildx(said), state, mend="" if state == "ok" else "docker-buildx")


def test_a_builder_that_cannot_be_used_is_a_fail():
    running = "Name:   default\nDriver: docker\n\nNodes:\nName:     default\nStatus:           running\nLabels:\n x: y"
    judged(docker.judge_builder(("default", running)), "ok", "default is running")
    gone = 'ERROR: no builder "lab" found'
    judged(docker.judge_builder(("lab", gone)), "fail", "lab", gone, mend="docker context use default")
    half = "Name: default\nStatus: running\nError: listing workers failed"
    judged(docker.judge_builder(("default", half)), "fail", "listing workers failed")
    judged(docker.judge_builder(("default", "")), "fail", "said nothing")


def test_the_engine_s_fullest_folder_counts():
    judged(docker.judge_space([room(), room(free=GIB // 2)]), "fail", "512.0 MiB", mend="docker system df")
    judged(docker.judge_space([]), "ok", "not seen from here")


@pytest.mark.parametrize(
    ("info", "state", "word"),
    [
        (
            {"MemoryLimit": True, "SwapLimit": True, "PidsLimit": True, "CpuCfsQuota": True},
            "ok",
            "are obeyed",
        ),
        ({"MemoryLimit": False}, "warn", "memory limits are not"),
        ({"CgroupDriver": "none"}, "warn", "memory limits are not"),
        ({"MemoryLimit": True, "SwapLimit": False}, "warn", "swap limits are not"),
        ({"MemoryLimit": True, "PidsLimit": False}, "warn", "process limits are not"),
    ],
)
def test_limits_that_are_not_obeyed_are_named(info, state, word):
    judged(docker.judge_limits({"CgroupVersion": "2", "CgroupDriver": "systemd", **info}), state, word)


# Apptainer


def test_a_missing_apptainer_is_a_warning_and_a_forbidden_one_a_fail():
    missing = apptainer.judge_installed(EngineMissingError("none is here", next_step="module load apptainer"))
    judged(missing, "warn", "none is here", mend="module load")
    assert missing.ends
    judged(apptainer.judge_installed(EnginePermissionError("not you", next_step="ask")), "fail", mend="ask")


@pytest.mark.parametrize(
    ("engine", "version", "twice"),
    [("apptainer", "1.4.5", False), ("apptainer", "1.5.0", True), ("singularity-ce", "4.1.0", False)],
)
def test_an_apptainer_that_makes_the_same_sif_twice_is_told(engine, version, twice):
    verdict = apptainer.judge_installed(Program("/usr/bin/x", engine, version))
    judged(verdict, "ok", engine, version)
    assert ("twice" in verdict.seen) == twice


SETTINGS = {name: None for name, _, _ in MENDS}


@pytest.mark.parametrize(
    ("settings", "state", "mend"),
    [
        ({}, "ok", ""),
        ({"user/max_user_namespaces": "96365"}, "ok", ""),
        ({"user/max_user_namespaces": "0"}, "fail", "sysctl -w user.max_user_namespaces=15000"),
        ({"kernel/unprivileged_userns_clone": "0"}, "fail", "sysctl -w kernel.unprivileged_userns_clone=1"),
        (
            {"kernel/apparmor_restrict_unprivileged_userns": "1"},
            "warn",
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
    ],
)
def test_a_kernel_that_forbids_user_namespaces_is_named_with_its_mend(settings, state, mend):
    judged(
        apptainer.judge_namespaces(apptainer.Namespaces(settings={**SETTINGS, **settings}, setuid=False)),
        state,
        mend=mend,
    )


def test_a_setuid_apptainer_needs_no_user_namespace():
    forbidden = {**SETTINGS, "user/max_user_namespaces": "0"}
    judged(apptainer.judge_namespaces(apptainer.Namespaces(settings=forbidden, setuid=True)), "ok", "setuid")


def test_what_apptainer_needs_beside_it_is_named():
    judged(apptainer.judge_tools({"mksquashfs": True, "squashfuse": True}), "ok")
    judged(apptainer.judge_tools({"mksquashfs": False, "squashfuse": True}), "warn", mend="squashfs-tools")
    judged(apptainer.judge_tools({"mksquashfs": True, "squashfuse": False}), "warn", mend="squashfuse")


def test_an_apptainer_that_cannot_run_is_a_fail_but_not_in_the_development_container():
    error = EnginePermissionError("no fuse", next_step="chmod")
    judged(apptainer.judge_fuse(apptainer.Trial(error=error)), "fail", "no fuse", mend="chmod")
    inside = apptainer.judge_runs(apptainer.Trial(error=error, inside=True))
    judged(inside, "warn", "no fuse", mend="invoke dev --rebuild --no-docker")
    assert inside.ends
    judged(apptainer.judge_runs(apptainer.Trial()), "ok")


# Runtimes


def test_a_machine_without_an_engine_that_can_be_used_is_warned():
    judged(runtime.judge_auto(["docker", "apptainer"]), "ok", "docker; also apptainer")
    judged(runtime.judge_auto(["apptainer"]), "ok", "apptainer")
    judged(runtime.judge_auto([]), "warn", "isolates nothing")


def test_an_engine_counts_only_where_everything_about_it_is_well():
    assert runtime.look_auto({"docker.daemon": 1, "apptainer.runs": 1}) == ["docker"]
    assert runtime.look_auto({"apptainer.runs": None, "apptainer.fuse": None}) == ["apptainer"]


def test_what_the_host_s_runtime_lacks_is_named():
    def host(problems=(), compiler=None, to_compile=("ms4",), brings=True):
        return runtime.Host(problems=problems, compiler=compiler, to_compile=to_compile, brings=brings)

    problem = EnvironmentBuildError("no headers", next_step="sudo apt-get install libpython3.11-dev")
    judged(runtime.judge_host(host(problems=(problem,))), "warn", "no headers", mend="libpython3.11-dev")
    judged(runtime.judge_host(host()), "ok", "fetched")
    judged(runtime.judge_host(host(brings=False)), "warn", "no C++ compiler", mend="g++")
    judged(runtime.judge_host(host(compiler="/usr/bin/g++")), "ok", "/usr/bin/g++")


# The store


def place(**facts):
    usual = {
        "path": Path("/tmp/s"),
        "kind": "folder",
        "owner": 7,
        "user": 7,
        "mode": 0o700,
        "above": Path("/tmp/s"),
    }
    return store.Place(**{**usual, "writable": True, "schema": 1, **facts})


@pytest.mark.parametrize(
    ("facts", "state", "word"),
    [
        ({}, "ok", "yours, mode 700"),
        ({"kind": "", "schema": None}, "ok", "made by the first job"),
        ({"kind": "", "writable": False, "above": Path("/")}, "fail", "nothing can be written in /"),
        ({"kind": "link"}, "fail", "not a folder"),
        ({"kind": "other"}, "fail", "not a folder"),
        ({"owner": 8}, "fail", "belongs to user 8, you are 7"),
        ({"writable": False}, "fail", "nothing can be written"),
        ({"schema": 2}, "fail", "newer spikecrate"),
        ({"schema": -1}, "fail", "cannot be read"),
        ({"mode": 0o777}, "fail", "every user"),
        ({"mode": 0o2770}, "ok", "shared by its group"),
        ({"mode": 0o750}, "ok", "750"),
    ],
)
def test_a_store_that_cannot_be_used_is_told_with_the_reason(facts, state, word):
    judged(store.judge_place(place(**facts)), state, word)


def test_looking_at_a_store_makes_none():
    seen = store.look_place({})
    assert (seen.kind, seen.writable) == ("", True)
    assert not seen.path.exists()


def test_looking_at_a_store_sees_what_is_there(store):
    from spikecrate.doctor import store as checks

    (store.root / "store.json").write_text("{")
    assert checks.look_place({}).schema == -1
    (store.root / "store.json").write_text('{"schema": 99}')
    assert checks.look_place({}).schema == 99
    assert checks.look_place({}).owner == os.geteuid()


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
    judged(store.judge_file_system(space.FileSystem(kind=kind, options=frozenset(options))), state, kind)


@pytest.mark.parametrize(
    ("ahead", "state", "word"),
    [(0.0, "ok", ""), (-0.004, "ok", ""), (90.0, "warn", "90 s ahead"), (-90.0, "warn", "90 s behind")],
)
def test_a_file_server_s_clock_that_differs_is_seen(ahead, state, word):
    judged(store.judge_clock(ahead), state, word)


def test_locks_that_are_none_are_named():
    judged(store.judge_locks(store.Locks(refused="", free=0, strange=())), "ok")
    judged(store.judge_locks(store.Locks(refused="", free=3, strange=())), "ok", "3 of ended processes")
    judged(
        store.judge_locks(store.Locks(refused="no lock", free=0, strange=())), "fail", mend="SPIKECRATE_STORE"
    )
    judged(
        store.judge_locks(store.Locks(refused="", free=0, strange=("x",))), "fail", "x", mend="store.verify"
    )


def test_what_lies_among_the_locks_is_seen_and_left_alone(store):
    from spikecrate.doctor import store as checks

    (store.locks / "dead.lock").write_text("{}")
    (store.locks / "folder.lock").mkdir()
    seen = checks.look_locks({})
    assert (seen.refused, seen.free, seen.strange) == ("", 1, ("folder.lock",))
    assert sorted(path.name for path in store.locks.iterdir()) == ["dead.lock", "folder.lock"]
    assert not list(store.root.glob(f"{checks.PROBE}*"))


def test_a_token_that_a_killed_doctor_left_is_removed_by_a_later_one(store):
    from spikecrate.doctor import store as checks

    old, new = (store.root / f"{checks.PROBE}{name}" for name in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
    os.utime(old, (1e9, 1e9))
    checks.look_clock({})
    assert (old.exists(), new.exists()) == (False, True)


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
    judged(checks.judge_orphans(left), "warn", str(gone), mend="spikecrate store.gc")
    judged(checks.judge_orphans([]), "ok")


@pytest.mark.parametrize(
    ("facts", "state", "word", "mend"),
    [
        ({"image": "debian", "came_back": True, "owner": 7, "user": 7}, "ok", "as you", ""),
        (
            {"image": "debian", "came_back": True, "owner": 100007, "user": 7},
            "fail",
            "uid 100007",
            "context use",
        ),
        ({"image": "debian", "code": 1}, "fail", "exit code 1", "SPIKECRATE_STORE"),
        (
            {"image": "debian", "refused": "no such path", "mend": "mount it"},
            "fail",
            "no such path",
            "mount it",
        ),
        ({}, "warn", "no image", "spikecrate build"),
    ],
)
def test_what_comes_back_from_a_container_is_judged(facts, state, word, mend):
    judged(sibling.judge_sibling(sibling.RoundTrip(**facts)), state, word, mend=mend)


# Images and GPU


def test_a_machine_without_debian_s_image_is_told_how_to_get_it():
    judged(images.judge_base((True, False)), "ok")
    judged(images.judge_base((False, True)), "ok", "first build")
    judged(images.judge_base((False, False)), "warn", mend="docker pull debian:bookworm-slim")


def test_what_each_sorter_has_is_told_and_what_is_stale():
    entries = (
        Entry(name="ms4", recipe="a", digest="1", state="current", reference="spikecrate/ms4:1"),
        Entry(name="ms4", recipe="a", digest="1", state="current", sif=Path("/s/ms4.sif")),
        Entry(name="lab", recipe="b", digest="2", state="stale", sif=Path("/s/lab.sif")),
        Entry(name="gone", recipe="c", digest="3", state="unknown", reference="spikecrate/gone:1"),
    )
    stock = images.Stock(sorters=("lab", "ms4"), entries=entries)
    judged(images.judge_sorters(stock), "ok", "ms4: image and SIF", "lab: made by its first job")
    stale = images.look_stale({"images.sorters": stock})
    assert stale == ["/s/lab.sif"]
    judged(images.judge_stale(stale), "warn", "/s/lab.sif", mend="spikecrate image.prune")
    judged(images.judge_stale([]), "ok")


def test_a_catalogue_that_cannot_be_read_is_a_fail():
    error = SorterInvalidError("lab/sorter.json: no name")
    judged(images.judge_sorters(images.Stock(sorters=(), entries=(), error=error)), "fail", "lab/sorter.json")


def driver(**facts):
    usual = {"present": False, "devices": (), "visible": None, "required": (), "optional": ()}
    return gpu.Driver(**{**usual, **facts})


@pytest.mark.parametrize(
    ("facts", "state", "word"),
    [
        ({}, "ok", "no sorter uses one"),
        ({"optional": ("ks",)}, "ok", "ks runs on the processor"),
        ({"required": ("ks",)}, "warn", "ks cannot do without"),
        ({"present": True, "devices": ("H200, GPU-1",)}, "ok", "H200"),
        ({"present": True}, "fail", "nvidia-smi does not answer"),
        ({"present": True, "devices": ("H200",), "visible": ""}, "warn", "no job is shown one"),
    ],
)
def test_a_gpu_counts_only_where_a_sorter_wants_one(facts, state, word):
    verdict = gpu.judge_driver(driver(**facts))
    judged(verdict, state, word)
    assert verdict.ends == (not facts.get("present") or state == "fail")


def test_a_gpu_that_no_container_gets_is_a_warning():
    judged(gpu.judge_docker(()), "warn", mend="nvidia-container-toolkit")
    judged(gpu.judge_docker(("--gpus=all",)), "ok")
    judged(gpu.judge_apptainer(["libcuda.so.1"]), "warn", "libcuda.so.1", mend="ldconfig")
    judged(gpu.judge_apptainer([]), "ok")


# The display


def record(family, address, number, data=b"c" * 16, name=x11.COOKIE):
    fields = b"".join(struct.pack(">H", len(field)) + field for field in (address, number, name, data))
    return struct.pack(">H", family) + fields


def test_the_cookie_that_is_shown_is_one_for_the_display_and_of_the_kind_that_servers_know(
    monkeypatch, tmp_path
):
    here = os.uname().nodename.encode()
    other = record(x11.LOCAL, here, b"0", b"other", name=b"XDM-AUTHORIZATION-1")
    (tmp_path / "authority").write_bytes(
        other + record(x11.LOCAL, here, b"0") + record(x11.LOCAL, here, b"1")
    )
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / "authority"))

    def cookie(text):
        return display.look_cookie({"display.kind": kind(text)})

    assert cookie(":0").entry == x11.Entry(
        family=x11.LOCAL, address=here, number=b"0", name=x11.COOKIE, data=b"c" * 16
    )
    assert cookie(":2").entry is None
    monkeypatch.setenv("XAUTHORITY", str(tmp_path))
    assert (cookie(":0").there, cookie(":0").readable) == (True, False)
    monkeypatch.setenv("XAUTHORITY", str(tmp_path / "none"))
    assert (cookie(":0").there, cookie(":0").readable) == (False, False)


def test_an_authority_that_is_cut_off_is_read_as_far_as_it_goes():
    data = record(x11.WILD, b"", b"2", b"wild") * 2
    for end in range(len(data)):
        assert len(list(x11.read_entries(data[:end]))) == end // (len(data) // 2)


def kind(text, socket=True):
    return display.Kind(text=text, display=read_display(text, "here"), socket=socket)


def test_having_no_display_is_no_fault_and_one_that_is_gone_is_named():
    none = display.judge_kind(kind(""))
    judged(none, "ok", "no DISPLAY")
    assert none.ends
    judged(display.judge_kind(kind(":0", socket=True)), "ok", ":0")
    judged(display.judge_kind(kind(":0", socket=False)), "warn", "X0", mend="log in anew")
    judged(display.judge_kind(kind("localhost:10.0")), "ok", "localhost")
    judged(display.judge_kind(kind("nonsense")), "warn", "no display")
    mac = display.judge_kind(kind("/private/tmp/x:0"))
    judged(mac, "ok", "XQuartz")
    assert mac.ends


def test_a_cookie_that_is_not_there_is_told_from_one_that_cannot_be_read():
    entry = x11.Entry(family=x11.WILD, address=b"", number=b"0", name=x11.COOKIE, data=b"x")

    def cookie(**facts):
        usual = {
            "file": Path("/h/.Xauthority"),
            "there": True,
            "readable": True,
            "entry": entry,
            "number": 3,
        }
        return display.Cookie(**{**usual, **facts})

    judged(display.judge_cookie(cookie()), "ok", "/h/.Xauthority")
    judged(display.judge_cookie(cookie(entry=None)), "warn", "no cookie for display 3")
    judged(display.judge_cookie(cookie(there=False, entry=None)), "warn", "there is no")
    judged(display.judge_cookie(cookie(readable=False, entry=None)), "warn", "cannot be read")


def test_a_server_that_refuses_is_told_from_one_that_is_gone():
    judged(display.judge_accepts(("accepted", "")), "ok")
    judged(display.judge_accepts(("refused", "Invalid KEY")), "warn", "Invalid KEY", mend="never xhost +")
    judged(display.judge_accepts(("no answer", "gone")), "warn", "does not answer")
    judged(display.judge_wayland(("", False)), "ok")
    judged(display.judge_wayland(("wayland-0", False)), "warn", "wayland-0")


# Who works here


def test_git_without_an_identity_or_trust_is_named():
    judged(identity.judge_identity({"user.name": "Ada", "user.email": "a@b"}), "ok", "Ada <a@b>")
    judged(
        identity.judge_identity({"user.name": "", "user.email": ""}),
        "warn",
        mend="git config --global user.name",
    )
    assert identity.judge_identity(None).ends
    refused = "fatal: detected dubious ownership in repository at '/a b'"
    judged(identity.judge_trust(("/a b", refused)), "warn", "/a b", mend="safe.directory '/a b'")
    judged(identity.judge_trust(("/a", "fatal: bad config")), "warn", "bad config")
    judged(identity.judge_trust(("/a", "")), "ok", "/a")
    judged(identity.judge_trust(("", "")), "ok", "not in a clone")


@pytest.mark.parametrize(
    ("facts", "state", "word"),
    [
        ({"socket": "", "program": True}, "ok", "no SSH_AUTH_SOCK"),
        ({"socket": "/s", "program": True, "keys": 2}, "ok", "2 keys"),
        ({"socket": "/s", "program": True, "code": 1}, "warn", "no key"),
        ({"socket": "/s", "program": True, "code": 2}, "warn", "nobody answers"),
        ({"socket": "/s", "program": False}, "warn", "ssh-add is missing"),
    ],
)
def test_an_agent_that_does_not_answer_is_named(facts, state, word):
    judged(identity.judge_agent(identity.Agent(**facts)), state, word)


# The development container


def test_a_development_container_of_an_older_description_is_named():
    judged(dev.judge_container("not in a clone"), "ok")
    judged(dev.judge_container({"state": "absent"}), "ok", "invoke dev")
    running = {"state": "running", "name": "spikecrate-x", "stale": False}
    judged(dev.judge_container(running), "ok", "is running")
    judged(dev.judge_container({**running, "stale": True}), "warn", "older", mend="invoke dev --rebuild")
    judged(
        dev.judge_container(EngineDownError("down", next_step="start it")), "fail", "down", mend="start it"
    )


def test_the_store_s_path_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("SPIKECRATE_STORE", "/some/where")
    assert store.look_place({}).path == Store(Path("/some/where")).root
