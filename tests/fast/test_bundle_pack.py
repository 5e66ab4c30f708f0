"""A bundle is checked against its manifest: what is flipped, cut, added or missing is refused, by name."""

from __future__ import annotations

import ast
import dataclasses
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate._util.progress import Silent
from spikecrate.bundles import install, pack
from spikecrate.bundles.manifest import (
    MANIFEST,
    SUMS,
    Manifest,
    read_manifest,
    require_paths,
)
from spikecrate.errors import BundleError, DiskFullError

NAME = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=120).filter(
    lambda name: not {"/", "\\"} & set(name) and name not in (".", "..") and name.isprintable()
)
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)


def manifest_of(members, **changed):
    said = {
        "spikecrate": "0.1.0",
        "sorter": "lab",
        "version": "1",
        "recipe": "ab" * 32,
        "reference": "spikecrate/lab:1-abababababab",
        "image_digest": "",
        "architecture": "amd64",
        "python": "3.11",
        "parts": ("host",),
        "members": members,
    }
    return Manifest(**{**said, **changed})


@pytest.fixture
def made(tmp_path):
    """Write a small bundle; return its path and its files."""
    contents = {
        "a.txt": b"first",
        "wheels/b.whl": os.urandom(100),
        "sorter/lab/run.py": b"",
        "z": b"x" * 512,
    }
    files = {}
    for number, (name, data) in enumerate(contents.items()):
        files[name] = tmp_path / f"source-{number}"
        files[name].write_bytes(data)
    files["z"].chmod(0o755)
    manifest = manifest_of(pack.describe(files, Silent()))
    pack.write(tmp_path / "made.tar", manifest, files, Silent())
    return tmp_path / "made.tar", files


def read(data, folder):
    stream = io.BytesIO(data)
    archive, manifest = pack.open_bundle(stream)
    pack.unpack(stream, archive, manifest, folder, Silent())
    return manifest


def contents(folder):
    """Return the bytes of every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_packed_comes_out_with_its_mode(made, tmp_path):
    bundle, files = made
    manifest = read(bundle.read_bytes(), tmp_path / "out")
    assert [member.path for member in manifest.members] == sorted(files)
    for name, path in files.items():
        assert (tmp_path / "out" / name).read_bytes() == path.read_bytes()
    assert os.access(tmp_path / "out" / "z", os.X_OK)
    assert not os.access(tmp_path / "out" / "a.txt", os.X_OK)


@given(
    contents_of=st.dictionaries(PATH, st.tuples(st.binary(max_size=1100), st.booleans()), max_size=5).filter(
        # Two names are the bundle's own.
        lambda found: (
            not {path.split("/")[0] for path in found} & {"manifest.json", "SHA256SUMS"}
            and not any(one != two and two.startswith(f"{one}/") for one in found for two in found)
        )
    )
)
def test_any_names_and_contents_are_read_back(contents_of, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    files = {}
    for number, (name, (data, executable)) in enumerate(contents_of.items()):
        files[name] = folder / str(number)
        files[name].write_bytes(data)
        files[name].chmod(0o755 if executable else 0o600)
    manifest = manifest_of(pack.describe(files, Silent()))
    pack.write(folder / "made.tar", manifest, files, Silent())
    assert read((folder / "made.tar").read_bytes(), folder / "out") == manifest
    expected = {name: data for name, (data, _) in contents_of.items()}
    assert {name: data for name, data in contents(folder / "out").items() if name != SUMS} == expected
    with tarfile.open(folder / "made.tar") as opened:
        members = {entry.name: opened.extractfile(entry).read() for entry in opened.getmembers()[2:]}
    assert members == expected


def test_the_same_files_give_the_same_bytes_whatever_their_dates_and_owners(made, tmp_path):
    bundle, files = made
    for path in files.values():
        os.utime(path, (1, 1))
        path.chmod(path.stat().st_mode & 0o700)
    again = manifest_of(pack.describe(dict(reversed(files.items())), Silent()))
    pack.write(tmp_path / "again.tar", again, files, Silent())
    assert (tmp_path / "again.tar").read_bytes() == bundle.read_bytes()


def test_tar_and_sha256sum_read_it_too(made, tmp_path):
    (tmp_path / "out").mkdir()
    subprocess.run(["tar", "-xf", made[0], "-C", tmp_path / "out"], check=True)
    subprocess.run(["sha256sum", "--check", "--strict", SUMS], cwd=tmp_path / "out", check=True)


def test_a_flipped_byte_in_any_member_is_refused(made):
    data = made[0].read_bytes()
    with tarfile.open(made[0]) as opened:
        spans = [(found.offset_data, found.offset_data + found.size) for found in opened]
    assert len(spans) == 6
    # Every byte of the small members, every bit in turn of the large ones.
    places = [range(start, end, 1 if end - start < 200 else 7) for start, end in spans]
    for at in [at for place in places for at in place]:
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        with pytest.raises(BundleError):
            checked(bytes(flipped))


def test_a_flipped_byte_between_members_is_refused_or_changes_no_file(made, tmp_path):
    data = made[0].read_bytes()
    read(data, tmp_path / "sound")
    sound = contents(tmp_path / "sound")
    with tarfile.open(made[0]) as opened:
        (header,) = [found.offset for found in opened if found.name == "wheels/b.whl"]
    refused = 0
    for at in range(header, header + 512):
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        with tempfile.TemporaryDirectory() as folder:
            try:
                read(bytes(flipped), Path(folder))
            except BundleError:
                refused += 1
            else:
                assert contents(Path(folder)) == sound
    # Every byte of a header is in its checksum; the checksum's own end is not.
    assert refused > 500


def checked(data):
    """Check a bundle in a folder that is then removed."""
    with tempfile.TemporaryDirectory() as folder:
        read(data, Path(folder))


def test_a_bundle_that_is_cut_short_is_refused_wherever_it_is_cut(made):
    data = made[0].read_bytes()
    with tarfile.open(made[0]) as opened:
        last = opened.getmembers()[-1]
    for length in [*range(0, last.offset_data + last.size, 61), last.offset_data + last.size - 1]:
        with pytest.raises(BundleError):
            checked(data[:length])
    with pytest.raises(BundleError, match="truncated or damaged: it lacks 'z'"):
        checked(data[: last.offset_data + last.size - 1])


def test_data_after_the_end_are_refused(made):
    data = made[0].read_bytes()
    with pytest.raises(BundleError, match="data after its end"):
        checked(data + data)


def entry(name, data=b"", **changed):
    """Return a member as tar header and bytes."""
    found = tarfile.TarInfo(name)
    found.size = len(data)
    for field, value in changed.items():
        setattr(found, field, value)
    return found, data


def rebuilt(data, change):
    """Write a bundle anew with the members that `change` makes of the present ones."""
    with tarfile.open(fileobj=io.BytesIO(data)) as opened:
        entries = {found.name: (found, opened.extractfile(found).read()) for found in opened}
    change(entries)
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.GNU_FORMAT) as target:
        for found, content in entries.values():
            target.addfile(found, io.BytesIO(content))
    return written.getvalue()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda entries: entries.pop("wheels/b.whl"), "lacks 'wheels/b.whl'"),
        (lambda entries: entries.pop("z"), "lacks 'z'"),
        (
            lambda entries: entries.update(more=entry("planted", b"x")),
            "'planted' twice, or its manifest does not",
        ),
        (lambda entries: entries.update(more=entry("z", b"x" * 512)), "'z' twice"),
        (lambda entries: entries.update(more=entry(MANIFEST, b"x")), "its manifest does not name it"),
        (
            lambda entries: entries.update(z=entry("../z", b"x" * 512)),
            r"'../z' twice, or its manifest does not",
        ),
        (lambda entries: entries.update(z=entry("/z", b"x" * 512)), "its manifest does not name it"),
        (lambda entries: entries.update(z=entry("./z", b"x" * 512)), "its manifest does not name it"),
        (lambda entries: entries.update(z=entry("z", type=tarfile.SYMTYPE, linkname="/etc/passwd")), "link"),
        (lambda entries: entries.update(z=entry("z", type=tarfile.LNKTYPE, linkname="a.txt")), "link"),
        (lambda entries: entries.update(z=entry("z", type=tarfile.DIRTYPE)), "not a regular file"),
        (lambda entries: entries.update(z=entry("z", type=tarfile.FIFOTYPE)), "not a regular file"),
        (lambda entries: entries.update(z=entry("z", type=tarfile.CHRTYPE)), "not a regular file"),
        (lambda entries: entries.update(z=entry("z", type=tarfile.BLKTYPE)), "not a regular file"),
        (lambda entries: entries.update(z=entry("z", b"x" * 511)), "z in the bundle is damaged"),
        (lambda entries: entries.update(z=entry("z", b"y" * 512)), "z in the bundle is damaged"),
        (lambda entries: entries.pop(SUMS), SUMS),
        (lambda entries: entries.update({SUMS: entry(SUMS, b"x")}), f"{SUMS} in the bundle is damaged"),
        (lambda entries: entries.pop(MANIFEST), "not a spikecrate bundle"),
    ],
)
def test_a_member_missing_too_many_or_of_another_kind_is_named(made, tmp_path, change, message):
    (tmp_path / "in").mkdir()
    with pytest.raises(BundleError, match=message):
        read(rebuilt(made[0].read_bytes(), change), tmp_path / "in" / "out")
    # Nothing lies beside the staging folder.
    assert {path.name for path in (tmp_path / "in").iterdir()} <= {"out"}


def test_a_mode_in_the_archive_changes_nothing(made, tmp_path):
    setuid = rebuilt(made[0].read_bytes(), lambda entries: setattr(entries["z"][0], "mode", 0o4777))
    read(setuid, tmp_path / "out")
    assert (tmp_path / "out" / "z").stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "/etc/passwd",
        "a/../../x",
        "a//b",
        "",
        "a/",
        "./a",
        "a/.",
        "a\\b",
        "a\nb",
        "a\0b",
        "..",
        MANIFEST,
        SUMS,
    ],
)
def test_a_path_that_leads_out_is_refused(path):
    with pytest.raises(BundleError):
        require_paths([path])


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b"]), min_size=1, max_size=5).map("/".join))
def test_no_accepted_path_leaves_its_folder(path):
    try:
        require_paths([path])
    except BundleError:
        return
    assert os.path.normpath(f"/inside/{path}") == f"/inside/{path}"


@pytest.mark.parametrize(
    "paths", [["a", "a"], ["a", "a/b"], ["a/b", "a"], ["a/b/c", "a/b"], ["manifest.json/x"]]
)
def test_two_files_in_one_place_are_refused(paths):
    with pytest.raises(BundleError, match="twice"):
        require_paths(paths)


def test_a_newer_schema_is_refused_with_the_way_out():
    said = json.loads(manifest_of(()).as_bytes())
    with pytest.raises(BundleError, match="newer") as caught:
        read_manifest(json.dumps({**said, "schema": 2, "another": 1}).encode())
    assert "install.py" in caught.value.next_step


@pytest.mark.parametrize(
    "change",
    [
        {"sorter": "../x"},
        {"sorter": 5},
        {"recipe": "../../x"},
        {"image_digest": "sha256:.."},
        {"parts": ["sif", "planted"]},
        {"members": [{"path": "a", "size": -1, "sha256": "ab" * 32, "executable": False}]},
        {"members": [{"path": "a", "size": 1, "sha256": "ab", "executable": False}]},
        {"members": [{"path": "\ud800", "size": 1, "sha256": "ab" * 32, "executable": False}]},
        {"members": [{"path": "../a", "size": 1, "sha256": "ab" * 32, "executable": False}]},
        {"members": 3},
        {"planted": 1},
    ],
)
def test_a_manifest_with_a_field_of_the_wrong_kind_is_refused(change):
    said = {**json.loads(manifest_of(()).as_bytes()), **change}
    with pytest.raises(BundleError):
        read_manifest((json.dumps(said, indent=1, sort_keys=True) + "\n").encode())


def test_a_manifest_that_is_nested_too_deep_is_refused():
    with pytest.raises(BundleError):
        read_manifest(b"[" * 100_000)


@given(st.binary(max_size=3000))
def test_no_bytes_at_all_do_worse_than_a_refusal(data):
    with pytest.raises(BundleError):
        checked(data)
    with pytest.raises(BundleError):
        read_manifest(data)


def test_too_little_space_is_said_before_anything_is_written(made, tmp_path):
    members = pack.describe(made[1], Silent())
    huge = manifest_of((*members, dataclasses.replace(members[0], path="zz", size=1 << 60)))
    with pytest.raises(DiskFullError):
        pack.write(tmp_path / "huge.tar", huge, made[1], Silent())
    assert not (tmp_path / "huge.tar").exists()


def test_a_file_that_changes_while_it_is_bundled_is_noticed(made, tmp_path):
    _, files = made
    manifest = manifest_of(pack.describe(files, Silent()))
    files["a.txt"].write_bytes(b"other")
    with pytest.raises(BundleError, match="changed"):
        pack.write(tmp_path / "other.tar", manifest, files, Silent())


def test_the_installer_that_travels_along_refuses_the_same(made, tmp_path):
    data = made[0].read_bytes()
    broken = tmp_path / "broken.tar"
    with tarfile.open(made[0]) as opened:
        assert install.check(opened)["sorter"] == "lab"
        places = [found.offset_data for found in opened.getmembers() if found.size]
    for at in places:
        broken.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        done = subprocess.run(
            [sys.executable, "-I", install.__file__, broken, "--into", tmp_path / "venv"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == BundleError.exit_code, done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "venv").exists()


@pytest.mark.parametrize(
    ("words", "code"), [([], 2), (["--help"], 0), (["nothing.tar"], 2), (["."], 2), ([__file__], 39)]
)
def test_the_installer_says_what_it_wants(tmp_path, words, code):
    done = subprocess.run(
        [sys.executable, "-I", install.__file__, *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False)
    assert done.stderr


def test_the_installer_can_be_read_by_an_old_python_which_it_then_refuses():
    ast.parse(Path(install.__file__).read_text(), feature_version=(3, 7))
    with pytest.raises(install.Refusal, match="PATH has no python0"):
        install.require_python("0")
