"""The command lines of the development container, and what is decided before one is run."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate._util.progress import Silent
from spikecrate.cli.as_invoke import collection
from spikecrate.engines.docker import gpu_words
from spikecrate.errors import DevContainerError, UsageError
from spikecrate.runtimes.contract import Mount
from spikecrate_dev import command, options, session, state
from spikecrate_dev.command import Machine
from spikecrate_dev.definition import read
from spikecrate_dev.image import build_command
from spikecrate_dev.options import Options

ROOT = Path(__file__).parents[2]
DEFINITION = read(ROOT, {"HOME": "/home/me"})
MACHINE = Machine(socket=Path("/run/user/5/docker.sock"), user=(5, 6))
DATA = Mount(source=Path("/nas/a, b"), target=PurePosixPath("/data/a, b"))


def after(words, flag):
    """Give the words that follow each of a flag."""
    return [words[at + 1] for at, word in enumerate(words) if word == flag]


def test_the_terminal_gets_what_devcontainer_json_says_and_more():
    words = command.run_argv(DEFINITION, Options(mounts=(DATA,)), MACHINE)
    variables = dict(text.split("=", 1) for text in after(words, "--env"))
    assert DEFINITION.environment.items() <= variables.items()
    assert (variables["HOST_UID"], variables["HOST_GID"]) == ("5", "6")
    mounts = after(words, "--mount")
    for mount in DEFINITION.mounts:
        source = MACHINE.socket if mount.target == command.SOCKET else mount.source
        assert f"type=bind,source={source},target={mount.target}" in mounts
    assert 'type=bind,"source=/nas/a, b","target=/data/a, b",readonly' in mounts
    assert set(DEFINITION.run_arguments) <= set(words)
    labels = dict(text.split("=", 1) for text in after(words, "--label"))
    assert labels["devcontainer.local_folder"] == str(ROOT)
    assert labels["devcontainer.config_file"] == str(ROOT / ".devcontainer" / "devcontainer.json")
    assert labels["spikecrate.config"] == DEFINITION.config()
    assert words[-1] == f"spikecrate/dev:{DEFINITION.recipe()[:12]}"


@pytest.mark.parametrize("docker", [True, False])
@pytest.mark.parametrize("fuse", [True, False])
def test_a_container_has_no_privileges_and_a_network_of_its_own(docker, fuse):
    words = command.run_argv(DEFINITION, Options(docker=docker), replace(MACHINE, fuse=fuse, apparmor=True))
    assert not any(
        word.startswith(("--privileged", "--net", "--ipc", "--pid", "--userns", "-v")) for word in words
    )
    loosened = [word for word in words if "unconfined" in word]
    assert bool(loosened) == (fuse and not docker)


def test_without_docker_its_socket_stays_outside():
    words = command.run_argv(DEFINITION, Options(docker=False), MACHINE)
    assert not any("docker.sock" in word for word in words[words.index("--mount") :])


def test_where_each_folder_is_on_the_host_is_handed_in():
    words = command.run_argv(DEFINITION, Options(mounts=(DATA,)), MACHINE)
    (said,) = [text for text in after(words, "--env") if text.startswith("SPIKECRATE_HOST_PATHS=")]
    paths = json.loads(said.partition("=")[2])
    assert (paths[str(ROOT)], paths["/data/a, b"]) == (str(ROOT), "/nas/a, b")


def test_a_folder_is_mounted_once():
    twice = (DATA, replace(DATA, read_only=False), Mount(source=ROOT, target=PurePosixPath(ROOT)))
    found = command.mounts(DEFINITION, Options(mounts=twice), MACHINE, [DATA])
    targets = [mount.target for mount in found]
    assert len(targets) == len(set(targets))
    assert DATA in found


def test_ports_are_reached_on_this_machine_alone():
    words = command.run_argv(DEFINITION, Options(), MACHINE, ports={80: 81})
    assert "--publish=127.0.0.1:81:80" in words


def enter(**more):
    asked = {
        "command": "",
        "folder": PurePosixPath("/w"),
        "environment": {},
        "environ": {},
        "terminal": False,
        **more,
    }
    return command.exec_argv(DEFINITION, "name", **asked)


def test_a_terminal_is_asked_for_only_where_there_is_one():
    assert "--tty" not in enter()
    assert "--tty" in enter(terminal=True)
    assert "--detach-keys=ctrl-@" in enter(terminal=True)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_a_command_is_one_word_and_survives_the_dry_run_s_quotes(text):
    words = enter(command=text)
    assert words[-4:] == ["bash", "-l", "-c", text]
    assert shlex.split(shlex.join(words)) == words


def test_the_caller_s_variables_go_in_by_name_alone():
    words = enter(
        environ={"TERM": "xterm", "HTTPS_PROXY": "http://me:secret@proxy", "OTHER": "x"},
        environment={"DISPLAY": ":0"},
    )
    assert after(words, "--env") == ["TERM", "HTTPS_PROXY", "DISPLAY=:0"]
    assert "secret" not in " ".join(words)


@pytest.mark.parametrize(
    ("working", "seen"),
    [("/a/p/x/y", "/p/x/y"), ("/a/p", "/p"), ("/a/p/q/z", "/q/z"), ("/a/pp", "/home"), ("/", "/home")],
)
def test_the_shell_starts_where_the_caller_is(working, seen):
    shown = [
        Mount(source=Path("/a/p"), target=PurePosixPath("/p")),
        Mount(source=Path("/a/p/q"), target=PurePosixPath("/q")),
    ]
    assert command.inside(Path(working), shown, PurePosixPath("/home")) == PurePosixPath(seen)


@pytest.mark.parametrize(
    ("name", "asked", "steps"),
    [
        ("absent", {"has_image": False}, ("prepare", "build", "create")),
        ("absent", {}, ("prepare", "create")),
        ("running", {}, ()),
        ("running", {"has_image": False}, ()),
        ("paused", {}, ("unpause",)),
        ("stopped", {"has_image": False}, ("prepare", "start")),
        ("stopped", {"lacks_source": True}, ("remove", "prepare", "create")),
        ("stopped", {"rebuild": True}, ("remove", "prepare", "build", "create")),
        ("running", {"rebuild": True}, ("remove", "prepare", "build", "create")),
        ("absent", {"rebuild": True}, ("prepare", "build", "create")),
    ],
)
def test_what_is_done_before_the_container_is_entered(name, asked, steps):
    assert state.decide(name, **{"has_image": True, "rebuild": False, **asked}) == steps


@given(st.sampled_from(["absent", "stopped", "paused", "running"]), st.booleans(), st.booleans())
def test_a_container_that_could_be_entered_is_removed_only_when_asked(name, has_image, rebuild):
    assert ("remove" in state.decide(name, has_image=has_image, rebuild=rebuild)) == (
        rebuild and name != "absent"
    )


def found(**more):
    facts = {
        "Name": "/spikecrate-x", "State": {"Running": True},
        "Config": {"Labels": {"spikecrate.config": DEFINITION.config()}},
        "HostConfig": {"PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "81"}]}},
        "Mounts": [
            {"Type": "bind", "Source": "/nas/a, b", "Destination": "/data/a, b", "RW": False},
            {"Type": "volume", "Source": "/v", "Destination": "/v", "RW": True},
        ],
    }  # fmt: skip
    return replace(state.read_facts(facts), **more)


def test_a_running_container_whose_mounted_folder_is_gone_is_told_at_once(tmp_path, monkeypatch):
    lost = found(mounts=(Mount(source=tmp_path / "gone", target=PurePosixPath("/data")),))
    monkeypatch.setattr(session, "read", lambda *_: DEFINITION)
    monkeypatch.setattr(session.container, "find", lambda _: lost)
    asked = session.Request(project=tmp_path, working=tmp_path, command="true", options=Options())
    with pytest.raises(DevContainerError, match=r"gone, which spikecrate-x mounts") as raised:
        session.enter(asked, Silent())
    assert raised.value.next_step == "invoke dev --rebuild"


def test_the_daemon_s_answer_is_read():
    assert (found().name, found().state, found().ports, found().mounts) == (
        "spikecrate-x",
        "running",
        {80: 81},
        (DATA,),
    )


def test_nothing_is_said_where_nothing_differs():
    assert state.remarks(found(), DEFINITION, Options(mounts=(DATA,), ports=(80,))) == []


@pytest.mark.parametrize(
    ("have", "asked", "said"),
    [
        ({"config": "other"}, Options(), "has changed"),
        ({"config": ""}, Options(), "another program"),
        ({}, Options(mounts=(replace(DATA, read_only=False),)), "without --mount /data/a, b:rw"),
        ({"mounts": ()}, Options(mounts=(DATA,)), "without --mount /data/a, b"),
        ({}, Options(ports=(82,)), "without --port 82"),
        (
            {"mounts": (Mount(source=Path("/s"), target=command.SOCKET),)},
            Options(docker=False),
            "--no-docker",
        ),
    ],
)
def test_what_differs_is_said_in_one_line(have, asked, said):
    (line,) = state.remarks(found(**have), DEFINITION, asked)
    assert said in line


def test_a_data_folder_that_is_writable_will_do_for_reading():
    writable = replace(DATA, read_only=False)
    assert state.remarks(found(mounts=(writable,)), DEFINITION, Options(mounts=(DATA,))) == []


@pytest.mark.parametrize("name", ["data", "a b", "a,b", 'a"b', "ä", "a:b", "-rw", "a\nb"])
@pytest.mark.parametrize(("ending", "read_only"), [("", True), (":ro", True), (":rw", False)])
def test_a_data_folder_is_read_with_its_ending(tmp_path, name, ending, read_only):
    (tmp_path / name).mkdir()
    expected = Mount(source=tmp_path / name, target=PurePosixPath(tmp_path / name), read_only=read_only)
    assert options.read_mount(f"{tmp_path / name}{ending}", Path("/")) == expected
    assert options.read_mount(f"./{name}/../{name}{ending}", tmp_path) == expected


def test_a_data_folder_whose_name_has_an_ending_is_named_with_another(tmp_path):
    (tmp_path / "x:rw").mkdir()
    assert options.read_mount("x:rw:ro", tmp_path).source == tmp_path / "x:rw"


def test_a_data_folder_keeps_the_name_by_which_it_is_known(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    found = options.read_mount("link", tmp_path)
    assert (found.source, found.target) == (tmp_path / "real", PurePosixPath(tmp_path / "link"))


@pytest.mark.parametrize("text", ["missing", "", ":rw", "file", "/", "/etc", "/usr/lib", "/home", "/tmp"])
def test_what_cannot_be_mounted_is_refused_and_not_made(tmp_path, text):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="--mount"):
        options.read_mount(text, tmp_path)
    assert not (tmp_path / "missing").exists()


@pytest.mark.parametrize("text", ["0", "65536", "-1", "a", "", "1.5", "٣"])
def test_what_is_no_port_is_refused(text):
    with pytest.raises(UsageError, match="--port"):
        options.read_port(text)


@given(st.lists(st.integers(1, 60000), max_size=5), st.sets(st.integers(1, 65535), max_size=20))
def test_each_port_gets_a_free_one_of_its_own(ports, taken):
    chosen = options.publish(ports, lambda port: port not in taken)
    assert chosen.keys() == set(ports)
    assert len(set(chosen.values())) == len(chosen)
    assert not taken & set(chosen.values())
    assert all(outside >= inside for inside, outside in chosen.items())


@pytest.mark.parametrize(
    ("info", "words"),
    [
        ({}, ()),
        ({"Runtimes": None, "DiscoveredDevices": None}, ()),
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, ("--gpus=all",)),
        ({"DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=all"}], "Runtimes": {"nvidia": {}}}, ("--device=nvidia.com/gpu=all",)),
    ],
)  # fmt: skip
def test_gpus_are_given_as_the_daemon_can(info, words):
    assert gpu_words(info) == words


def test_the_image_is_built_from_this_folder_alone_and_named_by_its_recipe():
    words = build_command(DEFINITION)
    assert words[-1] == str(ROOT)
    assert f"--file={ROOT / '.devcontainer' / 'Dockerfile'}" in words
    assert "--target=dev" in words
    assert [word for word in words if word.startswith("--secret=id=ca,")] == [
        "--secret=id=ca,src=/home/me/.cache/spikecrate-dev/cache/ca.pem"
    ]


def test_every_option_is_in_the_page_s_table():
    (context,) = [
        context for context in collection().to_contexts() if "dev" in (context.name, *context.aliases)
    ]
    flags = {name for name in context.flags if name.startswith("--")}
    page = (ROOT / "docs" / "dev.md").read_text().split("## Options of `invoke dev`")[1].split("\n## ")[0]
    said = set(re.findall(r"^\| `(--[\w-]+)", page, re.MULTILINE))
    # --no-x11 is there for --x11.
    assert said == {name for name in flags if name not in ("--x11", "--docker")} | {"--no-x11", "--no-docker"}


def test_inside_the_container_the_host_s_environment_is_not_made_anew(tmp_path):
    environ = {**os.environ, "SPIKECRATE_DEV": "1"}
    done = subprocess.run(
        [ROOT / "ci" / "venv.sh"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "development container" in done.stderr


def prepare(home, **environ):
    script = ROOT / ".devcontainer" / "prepare.py"
    variables = {"PATH": os.environ["PATH"], "HOME": str(home), **environ}
    return subprocess.run(
        [sys.executable, "-I", script], env=variables, capture_output=True, text=True, check=False
    )


def test_what_is_mounted_is_made_before_and_for_its_owner_alone(tmp_path):
    (tmp_path / "ca.pem").write_text("trusted")
    for store in ("one", "two", "two"):
        done = prepare(
            tmp_path, SPIKECRATE_STORE=str(tmp_path / store), SSL_CERT_FILE=str(tmp_path / "ca.pem")
        )
        assert (done.returncode, done.stderr) == (0, "")
        place = tmp_path / ".cache" / "spikecrate-dev"
        assert (place / "store").readlink() == tmp_path / store
        assert (place / "scratch").readlink() == Path(f"/tmp/spikecrate-{os.getuid()}")
        assert (tmp_path / store).stat().st_mode & 0o777 == 0o700
    assert (place / "cache" / "ca.pem").read_text() == "trusted"
    assert sorted(path.name for path in place.iterdir()) == ["cache", "scratch", "store"]
    assert sorted(path.name for path in (place / "cache").iterdir()) == ["bash", "ca.pem"]


@pytest.mark.parametrize(
    ("caches", "store"),
    [("", ".cache/spikecrate"), ("elsewhere", "elsewhere/spikecrate")],
)
def test_the_container_mounts_the_default_store_and_keeps_nothing_of_its_own_in_it(tmp_path, caches, store):
    done = prepare(tmp_path, **({"XDG_CACHE_HOME": str(tmp_path / caches)} if caches else {}))
    assert done.returncode == 0, done.stderr
    link = tmp_path / ".cache" / "spikecrate-dev" / "store"
    assert link.readlink() == tmp_path / store
    assert list((tmp_path / store).iterdir()) == []


def test_a_relative_cache_folder_is_ignored(tmp_path):
    assert prepare(tmp_path, XDG_CACHE_HOME="relative").returncode == 0
    assert (tmp_path / ".cache" / "spikecrate-dev" / "store").readlink() == tmp_path / ".cache" / "spikecrate"


def test_the_caches_of_an_earlier_version_are_kept_and_moved_out_of_the_store(tmp_path):
    old = tmp_path / ".cache" / "spikecrate" / "dev"
    (old / "cache" / "bash").mkdir(parents=True)
    (old / "cache" / "bash" / "history").write_text("ls")
    (old / "store").symlink_to(tmp_path)
    assert prepare(tmp_path).returncode == 0
    assert not old.exists()
    assert (tmp_path / ".cache" / "spikecrate-dev" / "cache" / "bash" / "history").read_text() == "ls"


def test_store_and_scratch_are_mounted_at_their_own_paths(tmp_path):
    assert prepare(tmp_path).returncode == 0
    found = read(ROOT, {"HOME": str(tmp_path)})
    own = {mount.target: mount.source for mount in found.mounts}
    for path in (tmp_path / ".cache" / "spikecrate", Path(f"/tmp/spikecrate-{os.getuid()}")):
        assert own[PurePosixPath(path)] == path
    assert found.environment["SPIKECRATE_STORE"] == str(tmp_path / ".cache" / "spikecrate")


def test_what_cannot_be_made_is_said_in_a_line(tmp_path):
    (tmp_path / ".cache").touch()
    done = prepare(tmp_path)
    assert done.returncode == 1
    assert "cannot be prepared" in done.stderr
    assert "Traceback" not in done.stderr
