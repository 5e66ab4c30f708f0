"""devcontainer.json: read as the specification says, one description for every way of opening it."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from spikecrate.errors import DevContainerError
from spikecrate.runtimes.contract import Mount
from spikecrate_dev import definition

ROOT = Path(__file__).parents[2]
SCHEMA = Path(__file__).with_name("devcontainer.schema.json")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def write(project, **properties):
    """Write a small description with all that is needed."""
    folder = project / ".devcontainer"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (project / "lock").write_text("one\n")
    (folder / "Dockerfile.dockerignore").write_text("*\n!.devcontainer/Dockerfile\n!lock\n")
    described = {
        "build": {"dockerfile": "Dockerfile", "context": ".."},
        "workspaceFolder": "${localWorkspaceFolder}",
        "workspaceMount": "type=bind,source=${localWorkspaceFolder},target=${localWorkspaceFolder}",
        "remoteUser": "dev",
        **properties,
    }
    (folder / "devcontainer.json").write_text(json.dumps(described))
    return project


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": 1} // end', {"a": 1}),
        ('{/* one */ "a": /* two\nlines */ 1,}', {"a": 1}),
        ('{"a": "http://x/*y*/", "b": [1, 2, ], }', {"a": "http://x/*y*/", "b": [1, 2]}),
        (r'{"a": "\"// no, }"}', {"a": '"// no, }'}),
    ],
)
def test_comments_and_trailing_commas_are_read(text, value):
    assert definition.parse(text) == value


@given(st.dictionaries(st.text(), VALUES))
def test_what_has_no_comments_is_read_as_json(value):
    assert definition.parse(json.dumps(value)) == value
    assert definition.parse(json.dumps(value, indent=1, ensure_ascii=False)) == value


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a" 1}', "// nothing"])
def test_what_is_not_json_is_refused_and_the_file_named(tmp_path, text):
    write(tmp_path)
    (tmp_path / definition.FILE).write_text(text)
    with pytest.raises(DevContainerError, match=r"devcontainer\.json"):
        definition.read(tmp_path, {})


def test_variables_are_filled_in(tmp_path):
    project = write(
        tmp_path / "my project",
        containerEnv={
            "A": "${localEnv:A}", "B": "${localEnv:B:x:y}", "C": "${localEnv:C}", "D": "${containerWorkspaceFolder}/d",
            "E": "${localWorkspaceFolderBasename}", "F": "$HOME ${env:A}",
        },
        workspaceFolder="/w",
    )  # fmt: skip
    found = definition.read(project, {"A": "1 2"})
    assert found.environment == {
        "A": "1 2",
        "B": "x:y",
        "C": "",
        "D": "/w/d",
        "E": "my project",
        "F": "$HOME 1 2",
    }
    assert found.folder == PurePosixPath("/w")


@pytest.mark.parametrize("name", ["${nope}", "${localEnv:}", "${containerEnv:A}"])
def test_a_variable_that_is_not_known_is_refused(tmp_path, name):
    write(tmp_path, containerEnv={"A": name})
    with pytest.raises(DevContainerError, match="not a variable"):
        definition.read(tmp_path, {})


@pytest.mark.parametrize(
    "more", [{"features": {}}, {"postCreateCommand": "x"}, {"build": {"dockerfile": "D", "cacheFrom": ""}}]
)
def test_what_invoke_dev_would_not_obey_is_refused(tmp_path, more):
    write(tmp_path, **more)
    with pytest.raises(DevContainerError, match="does not support"):
        definition.read(tmp_path, {})


@given(name=st.text(st.characters(exclude_characters="\0/\n\r", exclude_categories=["Cs"]), min_size=1))
def test_a_mount_survives_any_path(name):
    path = f"/data/{name}x"
    text = "type=bind,source=${a},target=${a},readonly"
    found = definition.read_mount(text, lambda text: definition.expand(text, {"a": path}, {}))
    assert found == Mount(source=Path(path), target=PurePosixPath(path))
    found = definition.read_mount(
        {"type": "bind", "source": "${a}", "target": "/t"}, lambda text: text.replace("${a}", path)
    )
    assert (str(found.source), found.read_only) == (path, False)


@pytest.mark.parametrize("text", ["type=volume,source=a,target=/b", "type=bind,source=/a", "/a:/b"])
def test_a_mount_that_is_no_bind_is_refused(text):
    with pytest.raises(DevContainerError, match="bind mount"):
        definition.read_mount(text, str)


def test_a_link_that_both_sides_of_a_mount_name_is_followed(tmp_path):
    store, link = tmp_path / "store", tmp_path / "link"
    store.mkdir()
    link.symlink_to(store)
    both = "type=bind,source=${localEnv:LINK},target=${localEnv:LINK}"
    one = "type=bind,source=${localEnv:LINK},target=/elsewhere"
    write(tmp_path, mounts=[both, one], containerEnv={"STORE": "${localEnv:LINK}", "OTHER": "x"})
    found = definition.read(tmp_path, {"LINK": str(link)})
    assert found.mounts[1] == Mount(source=store, target=PurePosixPath(store), read_only=False)
    assert found.mounts[2] == Mount(source=link, target=PurePosixPath("/elsewhere"), read_only=False)
    assert found.environment == {"STORE": str(store), "OTHER": "x"}


CHANGES = {
    "a file of the image": lambda project: (project / "lock").write_text("two\n"),
    "the Dockerfile": lambda project: (project / ".devcontainer/Dockerfile").write_text("FROM other\n"),
    "a file's mode": lambda project: (project / "lock").chmod(0o755),
    "a variable": lambda project: write(project, containerEnv={"A": "1"}),
    "a mount": lambda project: write(project, mounts=["type=bind,source=/a,target=/b"]),
    "an argument": lambda project: write(project, runArgs=["--shm-size=1g"]),
    "the user": lambda project: write(project, remoteUser="other"),
    "a build argument": lambda project: write(
        project, build={"dockerfile": "Dockerfile", "context": "..", "args": {"A": "1"}}
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_hash_changes_with_each_input(tmp_path, what):
    before = definition.read(write(tmp_path), {}).config()
    assert definition.read(tmp_path, {}).config() == before
    CHANGES[what](tmp_path)
    assert definition.read(tmp_path, {}).config() != before


def test_the_hash_does_not_change_with_what_the_image_is_not_made_from(tmp_path):
    before = definition.read(write(tmp_path), {})
    (tmp_path / "notes").write_text("new")
    text = (tmp_path / definition.FILE).read_text()
    (tmp_path / definition.FILE).write_text(f"// a comment\n{text}")
    after = definition.read(tmp_path, {})
    assert (after.recipe(), after.config()) == (before.recipe(), before.config())


def test_a_file_that_the_image_needs_and_is_not_there_is_named(tmp_path):
    write(tmp_path)
    (tmp_path / "lock").unlink()
    with pytest.raises(DevContainerError, match="lock"):
        definition.read(tmp_path, {})


def test_a_project_is_found_from_any_folder_below(tmp_path):
    deep = write(tmp_path) / "a" / "b"
    deep.mkdir(parents=True)
    assert definition.find_project(deep) == tmp_path
    with pytest.raises(DevContainerError, match="or a folder above"):
        definition.find_project(Path("/"))


@pytest.mark.parametrize("folder", ["a b", "ä,ö", "-x", "...", "x" * 200, "(1)"])
def test_a_container_s_name_is_one_that_the_engine_takes(tmp_path, folder):
    name = definition.read(write(tmp_path / folder), {}).name
    assert name.startswith("spikecrate-")
    assert len(name) < 64
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def test_two_projects_of_one_name_have_two_containers(tmp_path):
    one, two = (definition.read(write(tmp_path / parent / "clone"), {}).name for parent in ("a", "b"))
    assert one != two


def test_the_identity_is_the_specification_s():
    # As the devcontainer CLI gave it for this folder.
    assert (
        definition.identity(definition.labels(Path("/home/me/clone")))
        == "0q487i1181e9dd6icpfnbcdu09909f0vebkae1pqdqc0r7ka20q9"
    )


def test_this_project_s_description_is_obeyed_whole():
    found = definition.read(ROOT, {"HOME": "/home/me"})
    by_target = {str(mount.target): mount for mount in found.mounts}
    assert by_target[str(ROOT)].source == ROOT
    assert found.folder == PurePosixPath(ROOT)
    assert by_target["/home/dev/.cache"].source == Path("/home/me/.cache/spikecrate-dev/cache")
    store = found.environment["SPIKECRATE_STORE"]
    assert str(by_target[store].source) == store
    assert not any(mount.read_only for mount in found.mounts)
    words = " ".join(found.run_arguments)
    assert "--privileged" not in words
    assert "--net" not in words
    assert found.user == "dev"
    text = (ROOT / definition.FILE).read_text()
    assert "DISPLAY" not in text
    listed = {path.relative_to(ROOT).as_posix() for path in found.inputs}
    assert {"requirements.lock", ".devcontainer/entrypoint", ".devcontainer/Dockerfile"} <= listed


@pytest.mark.parametrize(
    "wrong",
    [{}, {"init": "yes"}, {"dockerFile": "Dockerfile"}, {"mounts": "type=bind"}, {"workspaceMount": None}],
    ids=str,
)
def test_this_project_s_description_has_the_properties_that_the_specification_names(wrong):
    schema = Draft202012Validator(json.loads(SCHEMA.read_text()))
    described = definition.parse((ROOT / definition.FILE).read_text())
    assert schema.is_valid(described | wrong) == (wrong == {})


def test_the_dockerfile_pulls_no_frontend_and_has_no_sudo():
    lines = (ROOT / ".devcontainer" / "Dockerfile").read_text().splitlines()
    assert not any(line.replace(" ", "").startswith("#syntax=") for line in lines)
    assert not any("sudo" in line or "passwd" in line for line in lines)
