"""The container contract in Apptainer's words, and its refusals in ours."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from pathlib import Path, PurePosixPath

import pytest

from spikecrate.engines import apptainer
from spikecrate.engines.apptainer import (
    Program,
    failed_itself,
    find_program,
    lacks_capabilities,
    refusal,
    require_fuse,
)
from spikecrate.errors import EngineError, EngineMissingError, EnginePermissionError, ImageInvalidError
from spikecrate.runtimes import apptainer as runtime
from spikecrate.runtimes.apptainer import environment, exec_argv, probe_argv
from spikecrate.runtimes.contract import ContainerSpec, Image, Limits, Mount
from spikecrate.store.file_hashes import FileHashCache

TASK = ContainerSpec(
    name="spikecrate-abc",
    labels={"spikecrate.key": "abc"},
    image=Image(
        reference="spikecrate/ms4:1-f00",
        digest="sha256:f00",
        entrypoint=("/opt/sorter/bin/python", "-I", "/opt/spikecrate"),
        facts={"sif": {"path": "/store/sif/ms4.sif"}},
    ),
    mounts=(
        Mount(source=Path('/data/my "rec", a:b'), target=PurePosixPath("/inputs/recording")),
        Mount(source=Path("/store/out"), target=PurePosixPath("/out"), read_only=False),
        Mount(source=Path("/store/scratch"), target=PurePosixPath("/tmp"), read_only=False),
    ),
    limits=Limits(cores=2, memory_bytes=2**30, timeout_s=60),
    user=(1000, 1001),
)
ARGV = [
    "/usr/bin/apptainer",
    "--quiet",
    "--nocolor",
    "exec",
    "--no-privs",
    "--containall",
    "--cleanenv",
    "--no-home",
    "--home",
    "/tmp",
    "--no-mount",
    "tmp,bind-paths",
    "--net",
    "--network",
    "none",
    "--pwd",
    "/tmp",
    "--mount",
    'type=bind,"source=/data/my ""rec"", a:b",target=/inputs/recording,readonly',
    "--mount",
    "type=bind,source=/store/out,target=/out",
    "--mount",
    "type=bind,source=/store/scratch,target=/tmp",
    "/store/sif/ms4.sif",
    "/opt/sorter/bin/python",
    "-I",
    "/opt/spikecrate",
]


def program(folder, name, output, code=0):
    path = folder / name
    path.write_text(f"#!/bin/sh\nprintf '%s\\n' '{output}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_the_command_line_of_a_task_is_this():
    assert exec_argv(TASK, "/usr/bin/apptainer", in_user_namespace=False) == ARGV


def test_a_root_who_lacks_a_capability_runs_in_a_user_namespace():
    argv = exec_argv(TASK, "/usr/bin/apptainer", in_user_namespace=True)
    assert argv == [*ARGV[:4], "--userns", *ARGV[4:]]


def test_root_gets_the_settings_of_the_kernel_read_only():
    argv = exec_argv(dataclasses.replace(TASK, user=(0, 0)), "/usr/bin/apptainer", in_user_namespace=True)
    assert argv[argv.index("--no-mount") + 1] == "tmp,sys,bind-paths"
    for place in ("/proc/sys", "/sys"):
        assert f"type=bind,source={place},target={place},readonly" in argv


def test_no_mount_is_written_in_the_form_that_splits_at_colons():
    argv = exec_argv(TASK, "apptainer", in_user_namespace=False)
    assert not {"--bind", "-B", "--scratch", "--workdir", "--writable", "--writable-tmpfs"} & set(argv)
    mounts = [argv[at + 1] for at, word in enumerate(argv) if word == "--mount"]
    (fields,) = csv.reader(io.StringIO(mounts[0]))
    assert fields == ["type=bind", 'source=/data/my "rec", a:b', "target=/inputs/recording", "readonly"]


def test_nothing_of_the_users_settings_for_the_program_gets_in(monkeypatch, tmp_path):
    for name in ("APPTAINER_BIND", "SINGULARITY_BIND", "APPTAINERENV_X", "APPTAINER_NV"):
        monkeypatch.setenv(name, "1")
    assert set(environment(tmp_path)) == {"PATH", "HOME"}


def test_the_trial_run_is_as_contained_as_a_task(tmp_path, monkeypatch):
    monkeypatch.setattr(runtime.os, "geteuid", lambda: 1000)
    argv = probe_argv("/usr/bin/apptainer", tmp_path, in_user_namespace=False)
    assert argv[:15] == ARGV[:15]
    assert argv[-2:] == [str(tmp_path), "/usr/bin/true"]
    assert "type=bind,source=/usr,target=/usr,readonly" in argv
    assert all(word.endswith("readonly") for word in argv if word.startswith("type="))
    assert (tmp_path / "usr").is_dir()
    assert (tmp_path / "bin").is_symlink() == Path("/bin").is_symlink()


def test_a_gpu_is_shown_only_to_a_task_that_runs_on_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    without = exec_argv(TASK, "apptainer", in_user_namespace=False)
    line = exec_argv(dataclasses.replace(TASK, gpu=True), "apptainer", in_user_namespace=False)
    assert [word for word in line if word not in without] == ["--nv", "--env", "CUDA_VISIBLE_DEVICES=0,1"]


@pytest.mark.parametrize(
    ("name", "said", "engine", "version"),
    [
        ("apptainer", "apptainer version 1.4.5", "apptainer", "1.4.5"),
        ("singularity", "apptainer version 1.3.4-1.el8", "apptainer", "1.3.4-1.el8"),
        ("singularity", "singularity-ce version 4.1.0-jammy", "singularity-ce", "4.1.0-jammy"),
        ("singularity", "singularity version 3.8.7", "singularity", "3.8.7"),
    ],
)
def test_the_program_is_found_under_either_name(tmp_path, monkeypatch, name, said, engine, version):
    path = program(tmp_path, name, said)
    monkeypatch.setenv("PATH", str(tmp_path))
    # spython would believe this variable instead.
    monkeypatch.setenv("SPYTHON_SINGULARITY_VERSION", "singularity version 2.0")
    assert find_program() == Program(str(path), engine, version)


@pytest.mark.parametrize("said", [None, "Endgame: Singularity 1.00", ""])
def test_no_program_and_a_game_of_that_name_are_told_as_missing(tmp_path, monkeypatch, said):
    if said is not None:
        program(tmp_path, "singularity", said)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissingError, match="neither apptainer nor singularity") as caught:
        find_program()
    assert "--runtime host" in caught.value.next_step


def test_a_program_that_does_not_start_for_this_user_says_why(tmp_path, monkeypatch):
    said = "FATAL:   Couldn`t determine user account information: user: unknown userid 54321"
    program(tmp_path, "apptainer", said, code=255)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnginePermissionError, match="unknown userid 54321") as caught:
        find_program()
    assert f"useradd --uid {os.geteuid()}" in caught.value.next_step


@pytest.mark.parametrize(("binary", "asked"), [(True, 1), (False, 2)], ids=["binary", "script"])
def test_the_version_of_a_binary_is_asked_once_and_that_of_a_script_every_time(
    tmp_path, monkeypatch, binary, asked
):
    """A script may start another program the next day without having changed."""
    path = program(tmp_path, "apptainer", "apptainer version 1.4.5")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(runtime, "ELF", b"#!/b" if binary else b"\x7fELF")
    monkeypatch.setattr("spikecrate.store.file_hashes.SETTLED_S", 0.0)
    calls = []
    monkeypatch.setattr(
        "spikecrate.engines.apptainer.find_program", lambda: calls.append(1) or find_program()
    )
    memo = FileHashCache(tmp_path / "memo")
    for _ in range(2):
        assert runtime.find_program(memo) == Program(str(path), "apptainer", "1.4.5")
    assert len(calls) == asked
    program(tmp_path, "apptainer", "apptainer version 1.4.66")
    assert runtime.find_program(memo).version == "1.4.66"


USERNS = (
    "ERROR  : Failed to create user namespace: maximum number of user namespaces exceeded, "
    "check /proc/sys/user/max_user_namespaces\n"
)
APPARMOR = (
    "ERROR  : Could not write info to setgroups: Permission denied\n"
    "ERROR  : Error while waiting event for user namespace mappings: no event received\n"
)


@pytest.mark.parametrize(
    ("said", "settings", "mend"),
    [
        (USERNS, {"user/max_user_namespaces": "0"}, "sudo sysctl -w user.max_user_namespaces=15000"),
        (
            APPARMOR,
            {"kernel/apparmor_restrict_unprivileged_userns": "1"},
            "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or install",
        ),
        (
            "ERROR  : Failed to create user namespace: not allowed to create user namespace: Operation not permitted",
            {"kernel/unprivileged_userns_clone": "0", "user/max_user_namespaces": "9"},
            "sudo sysctl -w kernel.unprivileged_userns_clone=1",
        ),
        (USERNS, {}, "ask the administrator"),
    ],
)
def test_forbidden_user_namespaces_are_named_with_the_setting_that_mends_it(said, settings, mend):
    error = refusal(said, settings.get)
    assert isinstance(error, EnginePermissionError)
    assert "user namespaces are forbidden" in str(error)
    assert error.next_step.startswith(mend)


@pytest.mark.parametrize(
    ("said", "kind", "mend"),
    [
        (
            "FATAL:   container creation failed: squashfuse_ll exited: fuse: failed to open /dev/fuse: denied",
            EnginePermissionError,
            "chmod 666 /dev/fuse",
        ),
        ("FATAL:   squashfuse not found, cannot mount", EngineError, "apt-get install squashfuse"),
        (
            "FATAL:   While checking image: the image's architecture (arm64) could not run on the host's (amd64)",
            ImageInvalidError,
            "convert the image on this machine",
        ),
        ("FATAL:   stat /bin/nope: no such file or directory", EngineError, "--debug"),
        ("", EngineError, "--debug"),
    ],
)
def test_what_the_program_refuses_is_one_of_our_errors_with_a_next_step(said, kind, mend):
    error = refusal(said, lambda _name: None)
    assert isinstance(error, kind)
    assert mend in error.next_step
    assert "FATAL" not in str(error)


def test_only_the_programs_own_words_with_its_own_code_are_its_failure():
    assert failed_itself(255, "FATAL:   container creation failed\n")
    assert failed_itself(255, "WARNING: x\nERROR  : Failed to create user namespace\n")
    assert not failed_itself(255, "the sorter says: FATAL: no spikes\n")
    assert not failed_itself(1, "FATAL:   container creation failed\n")


def test_a_user_who_cannot_open_fuse_is_told_before_anything_runs(tmp_path):
    plain = program(tmp_path, "plain", "APPTAINER_SUID_INSTALL=0")
    setuid = program(tmp_path, "setuid", "APPTAINER_SUID_INSTALL=1")
    missing = tmp_path / "fuse"
    require_fuse(Program(str(setuid), "apptainer", "1"), missing)
    with pytest.raises(EnginePermissionError, match="/dev/fuse: No such file"):
        require_fuse(Program(str(plain), "apptainer", "1"), missing)
    missing.touch()
    require_fuse(Program(str(plain), "apptainer", "1"), missing)


def test_a_user_who_is_not_root_never_lacks_roots_capabilities(monkeypatch):
    monkeypatch.setattr(apptainer.os, "geteuid", lambda: 1000)
    assert not lacks_capabilities()


def test_labels_of_a_sif_are_read_and_an_unreadable_one_is_named(tmp_path):
    inspected = {"data": {"attributes": {"labels": {"spikecrate.recipe": "f00"}}}, "type": "container"}
    path = program(tmp_path, "apptainer", json.dumps(inspected))
    labels = apptainer.read_labels(Program(str(path), "apptainer", "1"), tmp_path / "a.sif")
    assert labels == {"spikecrate.recipe": "f00"}
    for said, code in (("FATAL: not a SIF", 255), ("no JSON", 0), ("{}", 0)):
        broken = program(tmp_path, "broken", said, code)
        with pytest.raises(ImageInvalidError, match=r"cannot read .*a\.sif"):
            apptainer.read_labels(Program(str(broken), "apptainer", "1"), tmp_path / "a.sif")
