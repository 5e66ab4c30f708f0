"""Two images, or locks, compared; and what `image.diff` prints of it."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from spikecrate._util.progress import Silent
from spikecrate.catalogue.tools import catalogue
from spikecrate.cli.images import show_differences
from spikecrate.cli.text import as_json
from spikecrate.errors import ImageInvalidError, UsageError
from spikecrate.images import lockfile
from spikecrate.images.layers import File
from spikecrate.images.lockfile import Contents, compare, read, read_lock
from spikecrate.images.recipe import NOT_IN_IMAGE

FOLDER = "/opt/sorter/lib/python3.11/site-packages"


def package(version):
    return {"version": version, "record": f"sha256:{version}"}


LOCK = {
    "schema": 1,
    "sorter": "ms4",
    "digest": "sha256:1",
    "debian": {"adduser": package("3.134")},
    "python": {FOLDER: {"numpy": {"version": "1.26.4", "record": "sha256:aa"}}},
}


def contents(**changes):
    start = {
        "title": "spikecrate/ms4:1",
        "digest": "sha256:1",
        "debian": {"adduser": package("3.134"), "libc6:amd64": package("2.36")},
        "python": {FOLDER: {"numpy": {"version": "1.26.4", "record": "sha256:aa"}}},
        "settings": {"User": '"65534"'},
        "files": {"a": File("file", 0o644, "0:0", 1.0, "11"), "b": File("file", 0o644, "0:0", 1.0, "22")},
    }
    return Contents(**{**start, **changes})


def write(tmp_path, **changes):
    path = tmp_path / "image.lock"
    path.write_text(json.dumps({**LOCK, **changes}))
    return path


def test_an_image_does_not_differ_from_itself(capsys):
    found = compare(contents(), contents())
    assert [getattr(found, kind) for kind in ("debian", "python", "settings", "files")] == [[], [], [], []]
    show_differences(asdict(found))
    assert capsys.readouterr().out.splitlines()[-1] == "nothing differs"


def test_every_difference_is_named_from_both_sides(capsys):
    other = contents(
        debian={"adduser": package("3.135"), "zlib1g:amd64": package("1")},
        python={FOLDER: {"numpy": {"version": "1.26.4", "record": "sha256:bb"}}},
        settings={"User": '"0"'},
        files={"a": File("file", 0o755, "0:0", 1.0, "33"), "c": File("folder", 0o755, "0:0", 1.0, "")},
    )
    found = compare(contents(), other)
    assert [(row.name, row.first, row.second) for row in found.debian] == [
        ("adduser", package("3.134"), package("3.135")),
        ("libc6:amd64", package("2.36"), None),
        ("zlib1g:amd64", None, package("1")),
    ]
    assert [row.name for row in found.python] == [f"{FOLDER}/numpy"]
    assert [row.name for row in found.settings] == ["User"]
    assert [(row.name, row.difference) for row in found.files] == [
        ("/a", "mode 644 and 755, content"),
        ("/b", "only in the first"),
        ("/c", "only in the second"),
    ]
    show_differences(asdict(found))
    said = capsys.readouterr().out
    assert "adduser: 3.134 (sha256:3.134) | 3.135 (sha256:3.135)" in said
    assert "numpy: 1.26.4 (sha256:aa) | 1.26.4 (sha256:bb)" in said
    assert "nothing differs" not in said


def test_many_files_are_cut_short_for_people_and_complete_for_programs(capsys):
    many = {f"f{number}": File("file", 0o644, "0:0", 1.0, "") for number in range(100)}
    found = compare(contents(), contents(files={**contents().files, **many}))
    show_differences(asdict(found))
    assert "and 60 more files" in capsys.readouterr().out
    as_json(asdict(found))
    assert len(json.loads(capsys.readouterr().out)["files"]) == 100


def test_against_a_lock_the_packages_are_compared_and_the_rest_is_said_to_be_left_out(tmp_path, capsys):
    locked = read(str(write(tmp_path)), Silent())
    found = compare(locked, contents())
    assert [row.name for row in found.debian] == ["libc6:amd64"]
    assert found.python == []
    assert found.files is None
    show_differences(asdict(found))
    assert "a lock lists packages only" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema": 2}, "newer"),
        ({"debian": []}, "debian"),
        ({"python": None}, "python"),
        ({"schema": "x"}, "lock"),
    ],
)
def test_what_is_not_a_lock_is_refused_with_its_path_and_field(tmp_path, changes, said):
    path = write(tmp_path, **changes)
    with pytest.raises(ImageInvalidError, match=said) as caught:
        read_lock(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"spike-sorter==1.0 \\"])
def test_a_file_of_another_kind_is_refused(tmp_path, data):
    path = tmp_path / "some.lock"
    path.write_bytes(data)
    with pytest.raises(ImageInvalidError, match=r"some\.lock"):
        read(str(path), Silent())


def test_a_name_that_is_no_file_is_asked_of_the_engine(monkeypatch):
    monkeypatch.setattr(lockfile, "docker_client", lambda: None)
    monkeypatch.setattr(lockfile, "find_image", lambda _client, _name: None)
    with pytest.raises(UsageError, match="spikecrate/ms4:1 is neither"):
        read("spikecrate/ms4:1", Silent())


def test_the_lock_is_no_part_of_the_recipe():
    assert "image.lock" in NOT_IN_IMAGE


FOLDERS = [sorter.folder for sorter in catalogue().values()]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_every_image_of_the_catalogue_is_locked(folder):
    lock = json.loads((folder / "image.lock").read_text())
    assert lock["sorter"] == folder.name
    assert len(lock["debian"]) > 50


@pytest.mark.parametrize(
    "folder",
    [folder for folder in FOLDERS if (folder / "requirements.lock").exists()],
    ids=lambda path: path.name,
)
def test_its_lock_names_every_package_of_requirements_lock(folder):
    (packages,) = json.loads((folder / "image.lock").read_text())["python"].values()
    wanted = [
        line.split()[0]
        for line in (folder / "requirements.lock").read_text().splitlines()
        if "==" in line[:60]
    ]
    assert {f"{name}=={said['version']}" for name, said in packages.items()} >= set(wanted)
