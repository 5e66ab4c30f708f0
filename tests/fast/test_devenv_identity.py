"""Who works in the development container: git's settings, the ssh agent, the hosts that ssh knows."""

from __future__ import annotations

import socket
import stat
import subprocess
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate_dev import identity, relay

AGENT_NOTE = "no ssh agent"
TEXT = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]))


def git(*words, cwd, config):
    """Run git with a file as the user's own settings, and nothing of this machine's."""
    environ = {"GIT_CONFIG_GLOBAL": str(config), "GIT_CONFIG_NOSYSTEM": "1", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(["git", *words], cwd=cwd, env=environ, capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository, and an empty file for the user's settings."""
    config = tmp_path / "gitconfig"
    config.touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    folder = tmp_path / "work" / "clone"
    folder.mkdir(parents=True)
    git("init", "--quiet", cwd=folder, config=config)
    return folder


@pytest.fixture
def shown(tmp_path):
    return identity.mounts(tmp_path / "run")


@pytest.fixture
def held(monkeypatch):
    """What relays were asked for."""
    asked = []
    monkeypatch.setattr(relay, "hold", lambda *words: asked.append(words))
    return asked


@given(st.dictionaries(st.from_regex(r"[a-z]+\.[a-z]+", fullmatch=True), TEXT, max_size=5), TEXT.filter(bool))
def test_settings_are_written_so_that_git_reads_the_same(tmp_path_factory, settings, subsection):
    subsection = subsection.replace("\n", " ")
    listed = [*settings.items(), (f"url.{subsection}.insteadof", "x"), ("user.on", None)]
    listed = [pair for pair in listed if not pair[0].startswith(identity.HOST_S_OWN)]
    text = "".join(f"{name}\n{value}\0" if value is not None else f"{name}\0" for name, value in listed)
    folder = tmp_path_factory.mktemp("git")
    (folder / "config").write_text(identity.write_config(text))
    assert git("config", "--global", "--null", "--list", cwd=folder, config=folder / "config") == text


def test_git_s_settings_hold_as_in_the_clone_with_all_that_they_include(clone, tmp_path, shown):
    (tmp_path / "lab").write_text("[user]\n\temail = me@lab\n")
    (tmp_path / "gitconfig").write_text(
        f'[user]\n\tname = "Ann \\"A\\" Ö; #1"\n\temail = me@home\n[includeIf "gitdir:{tmp_path}/work/"]\n'
        f"\tpath = {tmp_path}/lab\n[alias]\n\tst = status\n"
    )
    assert identity.attach({}, shown, clone).notes == ()
    handed = tmp_path / "run" / "git" / "config"
    assert stat.S_IMODE(handed.stat().st_mode) == 0o600
    read = {
        name: git("config", name, cwd=clone, config=handed).strip() for name in ("user.name", "user.email")
    }
    assert read == {"user.name": 'Ann "A" Ö; #1', "user.email": "me@lab"}
    assert git("st", cwd=clone, config=handed)


def test_settings_that_name_programs_and_files_of_the_host_stay_outside(clone, tmp_path, shown):
    (tmp_path / "gitconfig").write_text(
        "[core]\n\teditor = code --wait\n\tpager = delta\n\tautocrlf = input\n[credential]\n\thelper = osxkeychain\n"
        '[credential "https://lab"]\n\thelper = x\n[commit]\n\tgpgSign = true\n\tverbose = true\n[gpg]\n\tformat = ssh\n'
    )
    identity.attach({}, shown, clone)
    handed = tmp_path / "run" / "git" / "config"
    assert git("config", "--global", "--list", cwd=clone, config=handed).split() == [
        "core.autocrlf=input",
        "commit.verbose=true",
    ]


def test_settings_changed_outside_are_those_of_the_next_shell(clone, tmp_path, shown):
    for name in ("Ann", "Bea"):
        git("config", "--global", "user.name", name, cwd=clone, config=tmp_path / "gitconfig")
        identity.attach({}, shown, clone)
        handed = tmp_path / "run" / "git" / "config"
        assert git("config", "user.name", cwd=clone, config=handed).strip() == name
    (tmp_path / "gitconfig").unlink()
    identity.attach({}, shown, clone)
    assert handed.read_bytes() == b""


def test_hosts_that_ssh_knows_are_known_and_keys_stay_where_they_are(clone, tmp_path, shown):
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True)
    (ssh / "known_hosts").write_text("lab ssh-ed25519 AAAA\n")
    (ssh / "id_ed25519").write_text("secret")
    identity.attach({"HOME": str(tmp_path / "home")}, shown, clone)
    run = tmp_path / "run"
    assert (run / "git" / "known_hosts").read_text() == "lab ssh-ed25519 AAAA\n"
    assert {path.name for path in run.rglob("*")} == {"git", "agent", "config", "known_hosts"}


def test_what_is_handed_in_is_read_only_and_the_user_s_alone(shown):
    assert {str(mount.target) for mount in shown} == {"/run/spikecrate/git", "/run/spikecrate/agent"}
    assert all(mount.read_only for mount in shown)
    assert all(stat.S_IMODE(mount.source.stat().st_mode) == 0o700 for mount in shown)


def test_an_author_set_outside_is_the_author_inside_and_none_is_made_up(clone, shown):
    given = identity.attach({"GIT_AUTHOR_NAME": "Ann", "GIT_COMMITTER_EMAIL": ""}, shown, clone)
    assert given.environment == {"GIT_AUTHOR_NAME": "Ann"}
    assert identity.attach({}, shown, clone).environment == {}


def test_each_login_s_agent_has_a_relay_of_its_own(clone, tmp_path, shown, held):
    names = []
    for login in ("one", "two"):
        with socket.socket(socket.AF_UNIX) as agent:
            agent.bind(str(tmp_path / login))
            given = identity.attach({"SSH_AUTH_SOCK": str(tmp_path / login)}, shown, clone)
        assert given.notes == ()
        path = PurePosixPath(given.environment["SSH_AUTH_SOCK"])
        assert path.parent == PurePosixPath("/run/spikecrate/agent")
        assert held[-1] == (tmp_path / "run" / "agent" / path.name, str(tmp_path / login))
        names.append(path.name)
    assert names[0] != names[1]


def test_an_agent_that_is_gone_is_said(clone, tmp_path, shown, held):
    given = identity.attach({"SSH_AUTH_SOCK": str(tmp_path / "gone")}, shown, clone)
    assert AGENT_NOTE in given.notes[0]
    assert (given.environment, held) == ({}, [])


def test_a_container_that_cannot_reach_the_agent_is_said(clone, tmp_path, shown, held):
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        environ = {"SSH_AUTH_SOCK": str(tmp_path / "agent")}
        for seen in ([], [shown[0]]):
            given = identity.attach(environ, seen, clone)
            assert AGENT_NOTE in given.notes[0]
            assert (given.environment, held) == ({}, [])
        (tmp_path / "run" / "agent").rmdir()
        assert AGENT_NOTE in identity.attach(environ, shown, clone).notes[0]


def test_a_dry_run_tells_the_same_and_makes_nothing(clone, tmp_path, shown, held):
    with socket.socket(socket.AF_UNIX) as agent:
        agent.bind(str(tmp_path / "agent"))
        environ = {"SSH_AUTH_SOCK": str(tmp_path / "agent"), "GIT_AUTHOR_NAME": "Ann"}
        told = identity.attach(environ, shown, clone, make=False)
        assert held == []
        assert list((tmp_path / "run" / "git").iterdir()) == []
        assert identity.attach(environ, shown, clone).environment == told.environment
