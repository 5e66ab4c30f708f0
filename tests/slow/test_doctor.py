"""The doctor on a real machine: real engines, real displays, real faults, and nothing changed by looking."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import accounts
import pytest
from conftest import OTHER_UID, SPIKECRATE, last_json, started
from test_sort_docker import SLOW

from spikecrate.cli.doctor import every_check

NAMES = [check.name for check in every_check()]


@pytest.fixture
def doctor(command):
    """Run the doctor; give its exit code, and its lines by name."""

    def run(*words, **options):
        done = command("doctor", "--json", *words, **options)
        said = last_json(done)
        return done.returncode, {line["name"]: line for line in said["checks"]}

    return run


def states(lines, *names):
    return [lines[name]["state"] for name in names]


def test_a_machine_with_both_engines_is_well(command):
    done = command("doctor", "--json")
    said = last_json(done)
    lines = {line["name"]: line for line in said["checks"]}
    assert [line for line in said["checks"] if line["state"] == "fail"] == []
    assert (done.returncode, said["fail"]) == (0, 0)
    assert len(done.stdout.splitlines()) == 1
    made = [
        "docker.daemon",
        "docker.buildx",
        "docker.builder",
        "docker.storage",
        "apptainer.runs",
        "apptainer.fuse",
        "store.sibling",
    ]
    assert states(lines, *made) == ["ok"] * len(made)
    assert lines["runtime.auto"]["message"] == "docker; also apptainer"
    skipped = [line["name"] for line in said["skipped"]]
    assert sorted([*lines, *skipped]) == sorted(NAMES)
    assert list(lines) == [name for name in NAMES if name in lines]


def test_people_are_told_the_same_in_the_same_order(command):
    done = command("doctor")
    told = [
        line.split()[1] for line in done.stdout.splitlines() if line[:2] == "  " and line.split()[0] != "fix:"
    ]
    assert told == [name for name in NAMES if name in told]
    assert re.search(r"^\d+ ok", done.stdout, re.MULTILINE)


def test_looking_changes_nothing(command, own_store, docker):
    command("doctor")
    assert not own_store.exists()
    command("sorters.list")
    own_store.mkdir(mode=0o700)
    (own_store / "mine.txt").write_text("mine")
    before = {container.id for container in docker.containers.list(all=True, sparse=True)}
    command("doctor")
    assert [path.name for path in own_store.iterdir()] == ["mine.txt"]
    left = [
        container
        for container in docker.containers.list(all=True, ignore_removed=True)
        if container.id not in before and "/doctor/token" in str(container.attrs["Args"])
    ]
    assert left == []


def test_ctrl_c_leaves_nothing(tmp_path, own_store):
    own_store.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as hangs:
        hangs.bind(f"{tmp_path}/hangs.sock")
        hangs.listen()
        environ = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/hangs.sock"}
        with subprocess.Popen(
            [SPIKECRATE, "doctor"], env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as child:
            while "docker.permission" not in child.stdout.readline():
                pass
            child.send_signal(signal.SIGINT)
            assert child.wait(30) == 130
            assert child.stderr.read() == "spikecrate: stopped\n"
    assert list(own_store.iterdir()) == []


def test_a_user_who_may_not_talk_to_docker_is_told_what_to_do(other_user):
    _, run = other_user
    done = run("-m", "spikecrate", "doctor", "--json")
    lines = {line["name"]: line for line in last_json(done)["checks"]}
    assert done.returncode == 1, done.stderr
    assert lines["docker.permission"]["state"] == "fail"
    assert lines["docker.permission"]["fix"].startswith("sudo usermod -aG docker ")
    assert "docker.daemon" not in lines
    # Nor does Apptainer run for a uid that has no name.
    assert lines["apptainer.installed"]["fix"] == f"sudo useradd --uid {OTHER_UID} NAME"
    assert states(lines, "runtime.auto", "store.place") == ["warn", "ok"]
    refused = run("-m", "spikecrate", "build")
    assert refused.returncode == 32
    assert refused.stderr.endswith("why:  spikecrate doctor --check docker.permission\n")


@pytest.fixture
def member():
    """Give the other user a name, and put it into the group of Docker's socket: a login from before lacks it."""
    group = Path("/var/run/docker.sock").stat().st_gid
    words = ["useradd", "--uid", OTHER_UID, "--no-create-home", "--groups", group]
    accounts.change(*words, "spikecrate-member")
    yield "spikecrate-member"
    accounts.change("userdel", "spikecrate-member")


def test_a_login_from_before_the_membership_is_told_to_log_in_again(other_user, member):
    _, run = other_user
    done = run("-m", "spikecrate", "doctor", "--json")
    lines = {line["name"]: line for line in last_json(done)["checks"]}
    assert done.returncode == 1
    assert lines["docker.permission"]["message"].startswith(member)
    assert lines["docker.permission"]["fix"] == "log out and in again"
    ours = [f"apptainer.{what}" for what in ("installed", "fuse", "runs")]
    assert states(lines, *ours) == ["ok"] * 3
    # Whether its disk has much room or only enough is the machine's affair.
    assert lines["apptainer.temp"]["state"] in {"ok", "warn"}
    assert lines["runtime.auto"]["message"] == "apptainer"


def test_a_user_of_the_socket_s_group_sorts_in_docker(other_user):
    _, run = other_user
    group = Path("/var/run/docker.sock").stat().st_gid
    done = run("-m", "spikecrate", "doctor", "--json", "--check", "store.sibling", groups=[group])
    lines = {line["name"]: line for line in last_json(done)["checks"]}
    assert done.returncode == 0, done.stdout
    assert states(lines, "docker.permission", "store.sibling") == ["ok", "ok"]


def test_a_daemon_that_is_gone_hides_nothing_else(doctor, tmp_path):
    code, lines = doctor(env={"DOCKER_HOST": f"unix://{tmp_path}/gone.sock"})
    assert code == 1
    assert lines["docker.daemon"]["state"] == "fail"
    assert lines["docker.daemon"]["fix"].startswith("unset DOCKER_HOST")
    assert lines["runtime.auto"]["message"] == "apptainer"
    assert {"store.space", "apptainer.runs", "dev.container", "docker.version"} & set(lines) == {
        "store.space",
        "apptainer.runs",
    }


def test_a_daemon_that_hangs_hides_nothing_else(doctor, tmp_path):
    with socket.socket(socket.AF_UNIX) as hangs:
        hangs.bind(f"{tmp_path}/hangs.sock")
        hangs.listen()
        code, lines = doctor(env={"DOCKER_HOST": f"unix://{tmp_path}/hangs.sock"})
    assert code == 1
    assert lines["docker.daemon"]["message"] == "no answer within 10 s"
    assert states(lines, "store.space", "apptainer.runs", "git.identity") != []


def test_a_machine_without_engines_is_warned_and_still_sorts(doctor, tmp_path):
    code, lines = doctor(env={"PATH": str(tmp_path), "DOCKER_HOST": f"unix://{tmp_path}/gone.sock"})
    names = ("docker.installed", "apptainer.installed", "runtime.auto", "git.identity", "machine.programs")
    assert states(lines, *names) == ["warn"] * 5
    assert code == 0
    assert all(line["fix"] for line in lines.values() if line["state"] != "ok")


def test_a_daemon_without_a_command_is_named(doctor, tmp_path):
    code, lines = doctor("--check", "docker", env={"PATH": str(tmp_path)})
    assert states(lines, "docker.installed", "docker.daemon", "docker.buildx") == ["warn", "ok", "fail"]
    assert code == 1


def test_a_context_that_is_not_there_is_named_before_a_build_fails_of_it(doctor, command, lab_sorter):
    name = lab_sorter("edited = True\n")
    code, lines = doctor("--check", "docker", env={"DOCKER_CONTEXT": "nowhere"})
    assert code == 1
    assert (lines["docker.builder"]["state"], "nowhere" in lines["docker.builder"]["message"]) == (
        "fail",
        True,
    )
    failed = command("build", "--sorter", name, env={"DOCKER_CONTEXT": "nowhere"})
    assert failed.returncode == 34
    assert "why:  spikecrate doctor --check docker.builder" in failed.stderr


def test_a_store_of_another_user_is_refused(doctor, own_store, other_uid):
    own_store.mkdir()
    os.chown(own_store, other_uid, other_uid)
    code, lines = doctor("--check", "store")
    assert code == 1
    assert lines["store.place"]["state"] == "fail"
    assert f"user {other_uid}" in lines["store.place"]["message"]
    assert lines["store.place"]["fix"].startswith("set SPIKECRATE_STORE")
    assert "store.space" not in lines


@pytest.fixture
def small_store(own_store):
    """Give a store in memory, of a few megabytes, from which nothing can be run."""
    own_store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m,mode=700", "tmpfs", own_store], check=True)
    yield own_store
    subprocess.run(["umount", own_store], check=True)


def test_a_small_store_in_memory_is_named(doctor, small_store):
    code, lines = doctor("--check", "store")
    assert code == 1
    assert lines["store.space"]["state"] == "fail"
    assert str(small_store) in lines["store.space"]["message"]
    assert (lines["store.filesystem"]["state"], "tmpfs" in lines["store.filesystem"]["message"]) == (
        "warn",
        True,
    )
    assert states(lines, "store.place", "store.locks") == ["ok", "ok"]
    subprocess.run(["mount", "-o", "remount,noexec", small_store], check=True)
    assert "noexec" in doctor("--check", "store.filesystem")[1]["store.filesystem"]["message"]


def test_a_full_store_is_named_and_hides_nothing(doctor, small_store):
    with pytest.raises(OSError, match="No space"):
        (small_store / "full").write_bytes(bytes(5 << 20))
    code, lines = doctor("--check", "store")
    assert code == 1
    assert lines["store.space"]["message"].startswith("0 B and ")
    assert all(line["fix"] for line in lines.values() if line["state"] != "ok")


def test_what_a_killed_job_left_is_named_and_left_alone(
    toy, lab_sorter, containers_of, own_store, doctor, command
):
    with started(toy, "--sorter", lab_sorter(SLOW), "--runtime", "docker") as child:
        running = doctor("--check", "store.orphans")[1]["store.orphans"]
        child.kill()
    (container,) = containers_of(own_store)
    code, lines = doctor("--check", "store.orphans")
    assert running["state"] == "ok"
    assert (code, lines["store.orphans"]["state"]) == (0, "warn")
    assert f"container {container.name}" in lines["store.orphans"]["message"]
    assert lines["store.orphans"]["fix"] == "spikecrate store.gc"
    assert containers_of(own_store) == [container]
    assert container.status == "running"
    assert command("store.gc").returncode == 0
    assert doctor("--check", "store.orphans")[1]["store.orphans"]["state"] == "ok"


def test_a_stale_image_and_a_stale_sif_do_not_count(lab_sorter, own_store, doctor, command, tmp_path):
    name = lab_sorter(SLOW)
    command("build", "--sorter", name)
    sif = last_json(command("convert", "--sorter", name, "--json"))["path"]
    lines = doctor("--check", "images")[1]
    assert f"{name}: image and SIF" in lines["images.sorters"]["message"]
    (tmp_path / "sorters" / name / "run.py").write_text(f"{SLOW}\n# edited\n")
    lines = doctor("--check", "images")[1]
    assert f"{name}: made by its first job" in lines["images.sorters"]["message"]
    assert own_store.joinpath("sif").joinpath(sif.rpartition("/")[2]).exists()


@pytest.fixture
def x_server(tmp_path):
    """Start an X server that wants a cookie; give its DISPLAY and the file with the cookie."""
    authority, log = tmp_path / "Xauthority", tmp_path / "x.log"
    authority.touch(mode=0o600)
    # By number, not by name: the server takes the first that is free and says which.
    reader, writer = os.pipe()
    cookie = secrets.token_hex(16)
    subprocess.run(
        ["xauth", "-q", "-f", authority, "add", ":0", ".", cookie], check=True, capture_output=True
    )
    screen = ("-screen", "0", "320x200x24")
    words = ["Xvfb", "-displayfd", str(writer), "-auth", authority, "-listen", "tcp", *screen]
    with log.open("w") as written:
        server = subprocess.Popen(words, pass_fds=[writer], stderr=written)
    os.close(writer)
    with os.fdopen(reader) as said:
        number = said.readline().strip()
    assert number, log.read_text()
    subprocess.run(
        ["xauth", "-q", "-f", authority, "add", f":{number}", ".", cookie], check=True, capture_output=True
    )
    yield f":{number}", authority
    server.terminate()
    server.wait(10)


def test_a_display_lets_in_who_has_its_cookie(x_server, doctor):
    display, authority = x_server
    code, lines = doctor("--check", "display", env={"DISPLAY": display, "XAUTHORITY": str(authority)})
    assert code == 0
    assert states(lines, "display.kind", "display.cookie", "display.accepts") == ["ok"] * 3
    # As sshd forwards one: a port of this machine, under the same cookie.
    environ = {"DISPLAY": f"localhost{display}.0", "XAUTHORITY": str(authority)}
    lines = doctor("--check", "display", env=environ)[1]
    assert states(lines, "display.kind", "display.cookie", "display.accepts") == ["ok"] * 3
    assert "localhost" in lines["display.kind"]["message"]


def test_a_display_refuses_who_has_a_wrong_cookie_or_none(x_server, doctor, tmp_path):
    display, _ = x_server
    wrong = tmp_path / "wrong"
    subprocess.run(
        ["xauth", "-q", "-f", wrong, "add", display, ".", secrets.token_hex(16)],
        check=True,
        capture_output=True,
    )
    lines = doctor("--check", "display", env={"DISPLAY": display, "XAUTHORITY": str(wrong)})[1]
    assert states(lines, "display.kind", "display.cookie", "display.accepts") == ["ok", "ok", "warn"]
    assert "refuses" in lines["display.accepts"]["message"]
    none = tmp_path / "none"
    code, lines = doctor("--check", "display", env={"DISPLAY": display, "XAUTHORITY": str(none)})
    assert states(lines, "display.cookie", "display.accepts") == ["warn", "warn"]
    assert code == 0


def test_a_display_that_is_gone_is_named(doctor, tmp_path):
    lines = doctor("--check", "display", env={"DISPLAY": ":987", "XAUTHORITY": str(tmp_path / "none")})[1]
    assert states(lines, "display.kind", "display.accepts") == ["warn", "warn"]
    assert "does not answer" in lines["display.accepts"]["message"]


def test_an_agent_is_asked_for_its_keys(doctor, tmp_path):
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", tmp_path / "agent"], stdout=subprocess.DEVNULL)
    try:
        environ = {"SSH_AUTH_SOCK": str(tmp_path / "agent")}
        while not (tmp_path / "agent").exists():
            time.sleep(0.05)
        assert "no key" in doctor("--check", "ssh", env=environ)[1]["ssh.agent"]["message"]
        subprocess.run(["ssh-keygen", "-q", "-N", "", "-f", tmp_path / "key"], check=True)
        subprocess.run(["ssh-add", "-q", tmp_path / "key"], check=True, env={**os.environ, **environ})
        assert doctor("--check", "ssh", env=environ)[1]["ssh.agent"]["message"] == "1 key"
    finally:
        agent.terminate()
        agent.wait(10)
    assert "no agent answers" in doctor("--check", "ssh", env=environ)[1]["ssh.agent"]["message"]


def test_a_clone_of_another_user_is_named_with_what_git_wants(doctor, tmp_path):
    clone = tmp_path / "a clone"
    subprocess.run(["git", "init", "-q", clone], check=True)
    plain = {"HOME": str(tmp_path), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    assert doctor("--check", "git.trust", cwd=clone, env=plain)[1]["git.trust"]["state"] == "ok"
    for path in (clone, *clone.rglob("*")):
        os.chown(path, OTHER_UID, OTHER_UID)
    line = doctor("--check", "git.trust", cwd=clone, env=plain)[1]["git.trust"]
    assert line["state"] == "warn"
    assert line["fix"] == f"git config --global --add safe.directory '{clone}'"
    assert doctor("--check", "git", env=plain)[1]["git.identity"]["state"] == "warn"


def test_a_check_that_does_not_exist_is_a_usage_error(command):
    done = command("doctor", "--check", "docker.deamon")
    assert done.returncode == 2
    assert "did you mean docker.daemon?" in done.stderr


def test_an_error_of_the_machine_ends_with_the_check_that_explains_it(command, toy, tmp_path):
    gone = {"DOCKER_HOST": f"unix://{tmp_path}/gone.sock"}
    words = ("sort", toy, "--runtime", "docker")
    done = command(*words, env=gone)
    assert done.returncode == 31
    why = done.stderr.splitlines()[-1]
    assert why == "why:  spikecrate doctor --check docker.daemon"
    assert last_json(command(*words, "--json", env=gone))["doctor"] == why.removeprefix("why:  ")
    assert command(*why.split()[2:], env=gone).returncode == 1


def test_the_doctor_of_a_container_says_where_it_is(doctor, tmp_path):
    outside = {"SPIKECRATE_HOST_PATHS": '{"/nowhere": "/nowhere"}'}
    code, lines = doctor("--check", "store.sibling", env=outside)
    assert code == 1
    assert "exists only in this container" in lines["store.sibling"]["message"]
    mapped = tmp_path / "mapped"
    mapped.mkdir()
    here = {"SPIKECRATE_HOST_PATHS": f'{{"{tmp_path}": "{mapped}"}}'}
    # The engine is given the folder's path on its own side, where there is none.
    code, lines = doctor("--check", "store.sibling", env=here)
    assert (code, lines["store.sibling"]["state"]) == (1, "fail")


def test_every_program_that_the_tests_of_the_doctor_need_is_here():
    needed = ("Xvfb", "xauth", "ssh-agent", "ssh-add", "ssh-keygen", "git", "mount", sys.executable)
    assert [name for name in needed if shutil.which(name) is None] == []
