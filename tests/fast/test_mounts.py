"""Read-only mounts: all that is mounted below them is read-only as well."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from spikecrate.runtimes.contract import Mount
from spikecrate.runtimes.mounts import mount_points, read_only_throughout


def mount_table(tmp_path, *points):
    table = tmp_path / "mountinfo"
    lines = [b"%d 1 8:1 / %s rw - ext4 /dev/sda1 rw\n" % (n, point) for n, point in enumerate(points)]
    table.write_bytes(b"".join(lines))
    return table


def test_what_is_mounted_below_a_read_only_mount_is_mounted_read_only_too(tmp_path):
    (tmp_path / "rec" / "day 1" / "raw").mkdir(parents=True)
    (tmp_path / "record").mkdir()
    escaped = os.fsencode(tmp_path / "rec" / "day 1").replace(b" ", rb"\040")
    table = mount_table(tmp_path, b"/", escaped + b"/raw", escaped, os.fsencode(tmp_path / "record"))
    recording = Mount(source=tmp_path / "rec", target=PurePosixPath("/inputs/recording"))
    out = Mount(source=tmp_path, target=PurePosixPath("/out"), read_only=False)
    assert read_only_throughout([recording, out], table) == [
        recording,
        Mount(source=tmp_path / "rec" / "day 1", target=PurePosixPath("/inputs/recording/day 1")),
        Mount(source=tmp_path / "rec" / "day 1" / "raw", target=PurePosixPath("/inputs/recording/day 1/raw")),
        out,
    ]


def test_a_mount_that_is_covered_by_a_later_one_is_left_out(tmp_path):
    (tmp_path / "rec").mkdir()
    table = mount_table(tmp_path, os.fsencode(tmp_path / "rec" / "covered"))
    recording = Mount(source=tmp_path / "rec", target=PurePosixPath("/inputs/recording"))
    assert read_only_throughout([recording], table) == [recording]


def test_names_in_the_mount_table_are_bytes_with_octal_escapes(tmp_path):
    table = mount_table(tmp_path, rb"/a\134b\012c", b"/\xff")
    assert mount_points(table) == sorted([Path("/a\\b\nc"), Path(os.fsdecode(b"/\xff"))])
    assert mount_points(tmp_path / "none") == []
