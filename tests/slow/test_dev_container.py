"""The development container, for real: a user that no image knows, a fresh clone in a path with a space."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, last_json
from dev_person import UID, Person

from spikecrate.recordings.toy import write_toy


@pytest.fixture(scope="module")
def person():
    """A user with a fresh clone; every container of theirs is removed at the end."""
    person = Person()
    try:
        person.make_clone()
        yield person
    finally:
        person.remove()


@pytest.fixture(scope="module")
def opened(person):
    """The user's container, running; the first test that needs it builds the image."""
    done = person.dev("--cmd", "true")
    assert done.returncode == 0, done.stderr
    return person


@pytest.fixture
def recording(person, toy):
    """A recording in the user's clone."""
    place = person.clone / "toy"
    if not place.exists():
        shutil.copytree(toy, place)
        subprocess.run(["chown", "--recursive", f"{UID}:{UID}", place], check=True)
    return place


def status(person, cwd=None):
    done = person.run(person.invoke, "dev.status", "--json", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return last_json(done)


def not_the_user_s(folder):
    """List what lies in a folder and belongs to somebody else."""
    return [path for path in [folder, *folder.rglob("*")] if path.lstat().st_uid != UID]


def running(name, words):
    """Count the processes of a container whose command line holds these words."""
    shown = subprocess.run(
        ["docker", "top", name, "-eo", "pid,args"], capture_output=True, text=True, check=True
    )
    return sum(words in line for line in shown.stdout.splitlines()[1:])


def test_the_user_inside_is_the_user_outside_with_a_name_and_a_home(opened):
    done = opened.dev("--cmd", "id -u; id -g; whoami; echo ~; echo $HOME; test -w ~ && pwd")
    assert done.stdout.splitlines() == [
        str(UID),
        str(UID),
        "dev",
        "/home/dev",
        "/home/dev",
        str(opened.clone),
    ]


def test_what_is_needed_is_inside_and_works_at_once(opened):
    tools = "python uv nox git docker apptainer xauth xdpyinfo nano invoke spikecrate shellcheck make ssh"
    done = opened.dev("--cmd", f"for tool in {tools}; do command -v $tool || echo missing: $tool; done >&2")
    assert "missing" not in done.stderr
    done = opened.dev(
        "--cmd", "python --version && docker buildx version && docker info >/dev/null && git status --short"
    )
    assert (done.returncode, done.stdout.split()[:2][1][:5]) == (0, "3.11."), done.stderr
    done = opened.dev("--cmd", "invoke sorters && cd / && spikecrate sorters")
    assert done.stdout.count("MountainSort 4") == 2


def test_tab_completes_the_tasks(opened):
    # As an interactive shell does it: completion files are read when the first Tab is pressed.
    script = (
        "source /usr/share/bash-completion/bash_completion; _completion_loader {0}; complete -p {0};"
        "COMP_WORDS=({0} sor) COMP_CWORD=1 COMP_LINE='{0} sor'; $(complete -p {0} | sed 's/.*-F \\([^ ]*\\).*/\\1/');"
        'printf "%s " "${{COMPREPLY[@]}}"'
    )
    for program in ("invoke", "spikecrate"):
        done = opened.dev("--cmd", script.format(program))
        assert {"sort", "sorters.list"} <= set(done.stdout.split()), done.stderr


def test_the_fast_tests_run_inside_and_leave_the_host_s_environment_alone(opened):
    before = (opened.clone / ".venv" / "pyvenv.cfg").stat()
    done = opened.dev("--cmd", "nox -s fast -- -q -k quantities")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
    assert not (opened.clone / ".nox").exists()
    assert (opened.clone / ".venv" / "pyvenv.cfg").stat() == before


@pytest.mark.parametrize(
    ("command", "code"), [("true", 0), ("false", 1), ("exit 7", 7), ("no-such-command", 127)]
)
def test_the_exit_code_is_the_command_s(opened, command, code):
    assert opened.dev("--cmd", command).returncode == code


def test_a_command_reads_the_standard_input_and_its_quotes_survive(opened):
    command = """cat; printf '%s|' 'a b' "c'd" '$HOME'; echo err >&2"""
    done = subprocess.run(
        opened.words(opened.invoke, "dev", "--cmd", command),
        cwd=opened.clone, input="given\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "given\na b|c'd|$HOME|"
    assert done.stderr.endswith("err\n")


def test_a_terminal_is_handed_over(opened):
    words = shlex.join(opened.words(opened.invoke, "dev"))
    done = subprocess.run(
        ["script", "--quiet", "--return", "--command", words, "/dev/null"],
        cwd=opened.clone, input="tty; stty size; exit 9\n", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 9
    assert "/dev/pts/" in done.stdout


def test_what_is_made_inside_belongs_to_the_user(opened):
    done = opened.dev(
        "--cmd", "mkdir -p made/deep && touch made/deep/file && python -m compileall -q tasks.py"
    )
    assert done.returncode == 0
    assert not_the_user_s(opened.clone) == []
    assert not_the_user_s(opened.home / ".cache") == []


def test_a_second_dev_enters_the_running_container_from_where_the_user_is(opened):
    first = status(opened)
    done = opened.dev("--cmd", "pwd", cwd=opened.clone / "docs")
    assert done.stdout.strip() == str(opened.clone / "docs")
    assert (status(opened)["id"], first["state"]) == (first["id"], "running")
    assert "changed" not in done.stderr


def test_two_shells_at_once(opened):
    meet = "mkdir -p ~/meet; touch ~/meet/{0}; for n in $(seq 100); do [ -e ~/meet/{1} ] && exit 0; sleep 0.1; done; exit 1"
    both = [
        subprocess.Popen(
            opened.words(opened.invoke, "dev", "--cmd", meet.format(mine, other)), cwd=opened.clone
        )
        for mine, other in (("a", "b"), ("b", "a"))
    ]
    assert [child.wait() for child in both] == [0, 0]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_reaches_what_runs_inside(opened, number, code):
    name = status(opened)["name"]
    child = subprocess.Popen(
        opened.words(opened.invoke, "dev", "--cmd", "sleep 4321 & sleep 4321"),
        cwd=opened.clone,
        stderr=subprocess.PIPE,
    )
    while running(name, "sleep 4321") < 2:
        time.sleep(0.1)
    child.send_signal(number)
    _, said = child.communicate()
    assert child.returncode == code
    assert b"stopped" in said
    assert running(name, "sleep 4321") == 0


def test_the_history_outlives_the_shell(opened):
    words = shlex.join(opened.words(opened.invoke, "dev"))
    for typed in ("echo remember-me", "history"):
        done = subprocess.run(
            ["script", "--quiet", "--command", words, "/dev/null"],
            cwd=opened.clone, input=f"{typed}\nexit\n", capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert "echo remember-me" in done.stdout


def test_sorting_inside_starts_the_sorter_beside_and_is_a_hit_outside(opened, recording):
    sort = "sort --sorter ms4 --json --output"
    done = opened.dev("--cmd", f"invoke {sort} out {shlex.quote(str(recording))}")
    assert done.returncode == 0, done.stderr
    ran = last_json(done)
    assert (ran["status"], ran["runtime"]) == ("ran", "docker")
    outside = last_json(opened.run(opened.invoke, *sort.split(), "-", recording))
    assert (outside["status"], outside["key"], outside["folder"]) == ("cached", ran["key"], ran["folder"])
    assert not_the_user_s(opened.clone / "out") == []
    assert not_the_user_s(Path(ran["folder"])) == []


@pytest.mark.parametrize("without", ["", "env --unset=SPIKECRATE_HOST_PATHS"])
def test_paths_inside_are_told_to_the_daemon_as_the_host_has_them(opened, without):
    # Told by who made the container; or, without that, by the daemon.
    code = "import sys, pathlib, spikecrate.engines.host_paths as h; print(*map(h.host_path, map(pathlib.Path, sys.argv[1:])), sep=chr(10))"
    done = opened.dev("--cmd", f'{without} python -c "{code}" ~/.cache/new . ./docs/../src')
    cache = opened.home / ".cache" / "spikecrate-dev" / "cache"
    assert done.stdout.splitlines() == [
        str(cache / "new"),
        str(opened.clone),
        str(opened.clone / "src"),
    ], done.stderr


@pytest.mark.parametrize("without", ["", "env --unset=SPIKECRATE_HOST_PATHS"])
def test_a_folder_that_only_the_container_has_is_refused_and_not_bound_empty(opened, recording, without):
    sort = f"{without} invoke sort --json --force --output - --runtime docker /opt/../tmp/alone"
    done = opened.dev("--cmd", f"rm -rf /tmp/alone; cp -r {shlex.quote(str(recording))} /tmp/alone; {sort}")
    assert done.returncode == 63, done.stderr
    said = last_json(done)
    assert said["error"] == "HostPathError"
    assert "/tmp/alone" in said["message"]
    assert str(opened.clone) in said["message"]
    assert not Path("/tmp/alone").exists()


def test_a_changed_description_is_said_and_the_container_entered_all_the_same(opened):
    file = opened.clone / ".devcontainer" / "devcontainer.json"
    before, text = status(opened)["id"], file.read_text()
    try:
        file.write_text(text.replace("--shm-size=1g", "--shm-size=2g"))
        done = opened.dev("--cmd", "echo entered")
        assert (done.stdout, done.returncode) == ("entered\n", 0)
        assert "description has changed" in done.stderr
        assert "invoke dev --rebuild" in done.stderr
        assert (status(opened)["id"], status(opened)["stale"]) == (before, True)
    finally:
        file.write_text(text)


def test_what_a_running_container_cannot_give_is_said(opened, tmp_path):
    parents_may_be_entered(tmp_path)
    done = opened.dev("--cmd", "echo entered", "--mount", tmp_path, "--port", "8123")
    assert done.stdout == "entered\n"
    assert "made without --mount" in done.stderr
    assert "made without --port 8123" in done.stderr


def test_a_mount_that_does_not_exist_is_refused_and_nothing_is_made(opened):
    missing = opened.home / "missing"
    done = opened.dev("--cmd", "true", "--mount", missing)
    assert (done.returncode, missing.exists()) == (2, False)
    assert str(missing) in done.stderr


def test_dry_run_prints_the_commands_and_makes_nothing(opened):
    before = status(opened)
    done = opened.dev("--dry-run", "--rebuild", "--cmd", "echo 'a b'")
    assert done.returncode == 0, done.stderr
    programs = [shlex.split(line)[:2] for line in done.stdout.splitlines()]
    assert programs == [
        ["docker", "rm"], ["python3", ".devcontainer/prepare.py"], ["docker", "buildx"], ["docker", "run"],
        ["docker", "exec"],
    ]  # fmt: skip
    assert shlex.split(done.stdout.splitlines()[-1])[-1] == "echo 'a b'"
    assert "--privileged" not in done.stdout
    assert "--network" not in done.stdout.splitlines()[3]
    assert status(opened) == before


@pytest.mark.parametrize("host", ["unix:///nowhere/docker.sock", "tcp://127.0.0.1:1"])
def test_without_a_daemon_it_says_what_to_do_instead(opened, host):
    done = opened.dev("--cmd", "true", DOCKER_HOST=host)
    assert done.returncode in (31, 62)
    assert "next:" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_docker_it_says_what_to_do_instead(opened):
    done = opened.dev("--cmd", "true", DOCKER_HOST="unix:///nowhere/docker.sock", PATH="/bin/none")
    assert done.returncode == 30, done.stderr
    assert "install" in done.stderr


def test_inside_there_is_nothing_to_open(opened):
    done = opened.dev("--cmd", "invoke dev; invoke dev --cmd 'exit 5'")
    assert (done.returncode, done.stdout) == (5, "this is the development container already\n")


def test_stop_and_start_again(opened):
    before = status(opened)["id"]
    done = opened.run(opened.invoke, "dev.stop", "--json")
    assert last_json(done)["was"] == "running"
    assert status(opened)["state"] == "stopped"
    done = opened.dev("--cmd", "whoami; git status --short | wc -l")
    assert done.stdout.split()[0] == "dev", done.stderr
    assert (status(opened)["id"], status(opened)["state"]) == (before, "running")


def test_two_first_shells_make_one_container(opened):
    assert last_json(opened.run(opened.invoke, "dev.stop", "--remove", "--json"))["removed"]
    both = [
        subprocess.Popen(
            opened.words(opened.invoke, "dev", "--cmd", "whoami"), cwd=opened.clone, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    assert [child.communicate()[0] for child in both] == [b"dev\n", b"dev\n"]


def test_fresh_removes_the_caches_once_the_user_says_yes(opened):
    cache = opened.home / ".cache" / "spikecrate-dev" / "cache"
    (cache / "kept").touch()
    for answer, code, there in (("no\n", 130, True), ("", 130, True), ("yes\n", 0, False)):
        done = subprocess.run(
            opened.words(opened.invoke, "dev", "--fresh", "--cmd", "true"),
            cwd=opened.clone, input=answer, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (done.returncode, (cache / "kept").exists()) == (code, there), done.stderr
    assert (cache / "bash" / "history").exists()


def test_a_folder_that_is_gone_from_the_host_is_said_and_the_container_made_anew(opened, tmp_path):
    data = tmp_path / "data"
    parents_may_be_entered(data)
    data.mkdir(mode=0o755)
    assert opened.dev("--rebuild", "--mount", data, "--cmd", f"ls {data}").returncode == 0
    opened.run(opened.invoke, "dev.stop")
    data.rmdir()
    done = opened.dev("--cmd", "whoami")
    assert done.stdout == "dev\n", done.stderr
    assert f"{data} no longer exists" in done.stderr


def test_a_rebuild_makes_another_container_and_keeps_the_caches(opened, tmp_path):
    before = status(opened)["id"]
    tmp_path.chmod(0o755)
    (tmp_path / "data").write_text("seen")
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    opened.dev("--cmd", "touch ~/.cache/kept")
    command = f"cat {tmp_path}/data; touch {tmp_path}/new; ls ~/.cache/kept; python -m http.server {port} >/dev/null 2>&1 &"
    parents_may_be_entered(tmp_path)
    done = opened.dev("--rebuild", "--mount", tmp_path, "--port", str(port), "--cmd", command)
    assert done.stdout == "seen/home/dev/.cache/kept\n", done.stderr
    assert "Read-only" in done.stderr
    now = status(opened)
    assert now["id"] != before
    # The port is taken by this test: the next free one is given, on this machine's own address.
    address, at = now["ports"][str(port)].split(":")
    assert (address, int(at) > port) == ("127.0.0.1", True)
    assert f"http://127.0.0.1:{at}" in done.stderr
    taken.close()


def parents_may_be_entered(folder):
    """Let the user reach a folder of the test's, whose parents pytest makes for this user alone."""
    for parent in folder.parents:
        if parent.stat().st_uid == os.getuid() and parent.parts[:2] == ("/", "tmp") and len(parent.parts) > 2:
            parent.chmod(parent.stat().st_mode | 0o011)


def test_a_git_worktree_is_a_repository_inside_as_well(opened):
    tree = opened.home / "tree"
    assert opened.run("git", "worktree", "add", "--quiet", "-b", "other", tree).returncode == 0
    commit = "git -c user.name=A -c user.email=a@b.c commit --quiet --allow-empty -m inside"
    done = opened.dev("--cmd", f"git status --short; {commit} && git log -1 --format=%s", cwd=tree)
    assert done.stdout == "inside\n", done.stderr
    assert opened.run("git", "log", "-1", "--format=%s", "other").stdout == "inside\n"
    assert last_json(opened.run(opened.invoke, "dev.stop", "--remove", "--json", cwd=tree))["removed"]


def test_without_docker_a_sorter_runs_in_apptainer_inside(opened, recording):
    assert opened.run(opened.invoke, "convert", "--sorter", "ms4").returncode == 0
    words = f"sort --sorter ms4 --force --json --output - {shlex.quote(str(recording))}"
    done = opened.dev("--rebuild", "--no-docker", "--cmd", f"ls /var/run/docker.sock; invoke {words}")
    assert done.returncode == 0, done.stderr
    assert "/var/run/docker.sock" in done.stderr.splitlines()[-1] or "No such file" in done.stderr
    inside = last_json(done)
    assert (inside["runtime"], inside["status"]) == ("apptainer", "ran")


@pytest.fixture(scope="module")
def devcontainer():
    """The devcontainer CLI, as ci/devcontainer.sh installs it."""
    done = subprocess.run([ROOT / "ci" / "devcontainer.sh"], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1]


def test_the_devcontainer_cli_finds_the_container_that_invoke_dev_made(opened, devcontainer):
    opened.dev("--rebuild", "--cmd", "true")
    done = opened.run(
        devcontainer,
        "exec",
        "--workspace-folder",
        opened.clone,
        "bash",
        "-c",
        "whoami; hostname; pwd; exit 3",
    )
    assert done.returncode == 3, done.stderr
    assert done.stdout.split("\n")[:3] == ["dev", "spikecrate", str(opened.clone)]


def test_the_devcontainer_cli_opens_the_same_from_the_same_file(opened, devcontainer, recording):
    ours = read_container(status(opened)["name"])
    opened.run(opened.invoke, "dev.stop", "--remove")
    up = opened.run(devcontainer, "up", "--workspace-folder", opened.clone)
    assert up.returncode == 0, up.stderr
    started = json.loads(up.stdout.splitlines()[-1])
    theirs = read_container(started["containerId"])
    assert started["remoteUser"] == "dev"
    for name, value in theirs["mounts"].items():
        assert (
            ours["mounts"][str(Path(name).resolve()) if name.startswith(str(opened.home)) else name] == value
        )
    # Two hold paths: `invoke dev` names what a link leads to, and lists mounts of its own.
    env = theirs["environment"].keys() - {"SPIKECRATE_STORE", "SPIKECRATE_HOST_PATHS"}
    assert {name: ours["environment"].get(name) for name in env} == {
        name: theirs["environment"][name] for name in env
    }
    sort = f"spikecrate sort --json --output - {shlex.quote(str(recording))}"
    done = opened.run(
        devcontainer, "exec", "--workspace-folder", opened.clone, "bash", "-lc", f"id -u; whoami; {sort}"
    )
    assert done.stdout.splitlines()[:2] == [str(UID), "dev"], done.stderr
    assert last_json(done)["status"] == "cached"
    # And the other way round: `invoke dev` enters what the CLI made, and says so.
    done = opened.dev("--cmd", "whoami; pwd")
    assert done.stdout.splitlines() == ["dev", str(opened.clone)]
    assert "another program" in done.stderr
    assert not_the_user_s(opened.clone) == []


def read_container(name):
    """Read a container's mounts and variables."""
    shown = json.loads(subprocess.run(["docker", "inspect", name], capture_output=True, check=True).stdout)[0]
    return {
        "mounts": {mount["Destination"]: str(Path(mount["Source"]).resolve()) for mount in shown["Mounts"]},
        "environment": dict(line.split("=", 1) for line in shown["Config"]["Env"]),
    }


def test_root_is_served_too(opened, tmp_path):
    shutil.copytree(opened.place / "origin", tmp_path / "clone")
    invoke = Path(sys.executable).with_name("invoke")
    environ = {**os.environ, "HOME": str(tmp_path / "home")}
    (tmp_path / "home").mkdir()

    def run(*words):
        return subprocess.run(
            [invoke, *words], cwd=tmp_path / "clone", env=environ, capture_output=True, text=True, check=False
        )

    try:
        done = run(
            "dev", "--cmd", "id -u; echo $HOME; touch made; docker ps >/dev/null && git status --short"
        )
        assert done.stdout == "0\n/home/dev\n?? made\n", done.stderr
    finally:
        run("dev.stop", "--remove")


def test_a_data_folder_s_recording_is_sorted_from_inside(opened, tmp_path):
    parents_may_be_entered(tmp_path)
    tmp_path.chmod(0o755)
    recording = write_toy(tmp_path / "far away", duration_s=10, num_units=3, seed=5)
    words = f"invoke sort --json --output - {shlex.quote(str(recording))}"
    done = opened.dev("--rebuild", "--mount", tmp_path, "--cmd", words)
    assert done.returncode == 0, done.stderr
    assert last_json(done)["status"] == "ran"
