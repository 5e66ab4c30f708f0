"""What an image's archive is read as: layers one on another, packages, files."""

from __future__ import annotations

import gzip
import io
import json
import sys
import tarfile

import pytest

from spikecrate._util.progress import Silent
from spikecrate.errors import ImageInvalidError
from spikecrate.images.layers import debian_packages
from spikecrate.images.lockfile import read_contents

SITE = "opt/sorter/lib/python3.11/site-packages"
STATUS = """Package: adduser
Status: install ok installed
Architecture: all
Multi-Arch: foreign
Version: 3.134
Description: add users
 Version: 9 is not a field here

Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9+deb12u10

Package: gone
Status: deinstall ok config-files
Version: 1
"""


def tar(entries):
    """Write a tar of (path, content): bytes for a file, None for a folder, `-> x` for a link, `= x` for a hard link."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as opened:
        for path, content in entries:
            member = tarfile.TarInfo(path)
            if content is None:
                member.type = tarfile.DIRTYPE
            elif isinstance(content, str):
                member.type = tarfile.SYMTYPE if content.startswith("-> ") else tarfile.LNKTYPE
                member.linkname = content.partition(" ")[2]
            else:
                member.size = len(content)
            opened.addfile(member, io.BytesIO(content) if isinstance(content, bytes) else None)
    return packed.getvalue()


def archive(*layers, labels=None, pack=gzip.compress):
    names = [f"blobs/sha256/{number}" for number in range(len(layers))]
    config = {"architecture": "amd64", "os": "linux", "config": {"User": "65534", "Labels": labels or {}}}
    manifest = [{"Config": "config", "Layers": names}]
    return io.BytesIO(
        tar(
            [
                *((name, pack(tar(layer))) for name, layer in zip(names, layers, strict=True)),
                ("config", json.dumps(config).encode()),
                ("manifest.json", json.dumps(manifest).encode()),
            ]
        )
    )


RECORD_HASH = "sha256:70ce871f8a3d3fb449bc3c3ace6547cef02dfc74ffe48d912532a724bfdbe5b9"
"""Of `printf record | sha256sum`."""


def read(*layers, **options):
    return read_contents(archive(*layers, **options), Silent(), "an image")


def wheel(name, version, record=b"record"):
    folder = f"{SITE}/{name}-{version}.dist-info"
    return [
        (f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText".encode()),
        (f"{folder}/RECORD", record),
    ]


@pytest.mark.parametrize("pack", [gzip.compress, bytes], ids=["gzip", "plain"])
def test_debian_s_packages_are_those_that_are_installed_named_as_dpkg_does(pack):
    files = [("var/lib/dpkg/status", STATUS.encode()), ("var/lib/dpkg/info/libc6:amd64.md5sums", b"record")]
    found = read(files, pack=pack)
    assert found.debian == {
        "adduser": {"version": "3.134", "record": None},
        "libc6:amd64": {"version": "2.36-9+deb12u10", "record": RECORD_HASH},
    }


def test_packages_of_which_only_some_files_are_there_are_named_too():
    part = "Package: octave\nStatus: install ok installed\nVersion: 7.3.0-2\n"
    found = read([("var/lib/dpkg/status", STATUS.encode()), ("var/lib/dpkg/status.d/octave", part.encode())])
    assert found.debian["octave"] == {"version": "7.3.0-2", "record": None}
    assert len(found.debian) > 1


def test_an_image_without_dpkg_and_python_has_no_packages():
    found = read([("bin/tool", b"x")])
    assert (found.debian, found.python) == ({}, {})


def test_python_s_packages_are_those_installed_not_the_copies_inside_them():
    vendored = [(path.replace(SITE, f"{SITE}/setuptools/_vendor"), data) for path, data in wheel("six", "1")]
    found = read([*wheel("Some_Thing", "2.0"), *vendored])
    assert list(found.python) == [f"/{SITE}"]
    (package,) = found.python[f"/{SITE}"].items()
    name, said = package
    assert (name, said["version"]) == ("some-thing", "2.0")
    assert said["record"] == RECORD_HASH


def test_an_upper_layer_replaces_hides_and_empties():
    lower = [
        ("a", None),
        ("a/one", b"1"),
        ("a/two", b"2"),
        ("b", None),
        ("b/deep", b"3"),
        ("c", None),
        ("c/x", b"4"),
    ]
    upper = [
        ("a/one", b"new"),
        ("a/.wh.two", b""),
        ("b/.wh..wh..opq", b""),
        ("b/fresh", b"5"),
        ("c", b"a file now"),
    ]
    found = read(lower, upper).files
    assert sorted(found) == ["a", "a/one", "b", "b/fresh", "c"]
    assert found["a/one"] == read(upper).files["a/one"]
    assert found["c"].kind == "file"


def test_a_hidden_folder_takes_all_in_it_along():
    assert read(
        [("a", None), ("a/b", None), ("a/b/c", b"1"), ("ab", b"2")], [(".wh.a", b"")]
    ).files.keys() == {"ab"}


def test_a_package_that_an_upper_layer_upgrades_has_the_new_version():
    old = wheel("numpy", "1.0")
    found = read(
        old,
        [
            *((path.replace("/META", "/.wh.META").replace("/REC", "/.wh.REC"), b"") for path, _ in old),
            *wheel("numpy", "2.0"),
        ],
    )
    assert found.python[f"/{SITE}"]["numpy"]["version"] == "2.0"


def test_names_of_one_file_are_the_same_file():
    files = read([("./a", b"1"), ("./b", "= a"), ("./c", "-> a")]).files
    assert files["a"] == files["b"]
    assert (files["c"].kind, files["c"].content) == ("link", "a")


def test_labels_and_settings_are_read():
    assert read([("a", b"")], labels={"spikecrate.recipe": "x"}).settings["label spikecrate.recipe"] == '"x"'


@pytest.mark.parametrize("damage", [lambda data: data[:1500], lambda _: b"", lambda _: b"no tar" * 500])
def test_a_damaged_archive_is_refused_by_name(damage):
    data = damage(archive([("a", bytes(5000))]).getvalue())
    with pytest.raises(ImageInvalidError, match="an image"):
        read_contents(io.BytesIO(data), Silent(), "an image")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="its library reads zstd")
def test_a_layer_packed_with_zstd_is_refused_with_what_to_do_instead():
    packed = b"\x28\xb5\x2f\xfd" + bytes(600)
    with pytest.raises(ImageInvalidError, match="a layer of an image is packed with zstd") as caught:
        read([("a", b"1")], pack=lambda _: packed)
    assert "Python 3.14" in caught.value.next_step


def test_an_empty_status_file_has_no_packages():
    assert debian_packages("", {}) == {}
