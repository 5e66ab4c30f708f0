"""How images, what was removed of them, and what differs between them are printed."""

from __future__ import annotations

import shlex
from typing import Any, Final

from spikecrate._util.quantities import format_bytes
from spikecrate.cli.text import as_json, fields, say, table

FILES_SHOWN: Final = 40


def images(rows: list[dict[str, Any]], on_disk: int | None, *, to_json: bool) -> None:
    """Print the images and SIFs, and what the images take together: they share layers."""
    if to_json:
        as_json(rows)
        return
    table(
        ("image", "recipe", "digest", "size", "SIF", "results", "state"),
        (
            (
                row["name"],
                row["recipe"][:12],
                row["digest"].removeprefix("sha256:")[:12],
                _size(row["size_bytes"]),
                _size(row["sif_bytes"]),
                row["results"],
                row["state"],
            )
            for row in rows
        ),
    )
    if on_disk:
        say(f"all images together: {_size(on_disk)} unpacked, a layer that several have counted once")


def pruned(done: dict[str, Any], *, to_json: bool) -> None:
    """Print what was removed, what was kept and why, and the space."""
    if to_json:
        as_json(done)
        return
    word, words = ("would remove", "would free") if done["dry_run"] else ("removed", "freed")
    for row in done["removed"]:
        say(f"{word} {row['what']}  {_size(row['size_bytes'])}")
    for row in done["kept"]:
        say(f"kept {row['what']}: {row['why']}")
    say(f"{words} {_size(done['freed_bytes'])}")


def unbundled(done: dict[str, Any], *, to_json: bool) -> None:
    """Print what a bundle brought, and what to do next."""
    if to_json:
        as_json(done)
        return
    fields({name: value for name, value in done.items() if value is not None}, to_json=False)
    if done["sorters"] is not None:
        say(
            f"{done['sorter']} is not in the catalogue; it is found after: "
            f"export SPIKECRATE_SORTERS={shlex.quote(done['sorters'])}"
        )
    runtimes = {"apptainer": done["sif"], "host": done["wheels"], "docker": done["docker"]}
    ready = [name for name, brought in runtimes.items() if brought is not None]
    if ready:
        say(f"next: spikecrate sort RECORDING --sorter {done['sorter']} --runtime {' | '.join(ready)}")


def differences(found: dict[str, Any], *, to_json: bool) -> None:
    """Print what differs between two images: packages, settings, and the first files."""
    if to_json:
        as_json(found)
        return
    for side in ("first", "second"):
        say(f"{side.ljust(6)}  {found[side]['title']}  {found[side]['digest'] or ''}".rstrip())
    for kind in ("debian", "python", "settings"):
        for row in found[kind] or []:
            say(f"{kind}  {row['name']}: {_version(row['first'])} | {_version(row['second'])}")
    if found["files"] is None:
        say("files and settings are not compared: a lock has packages alone")
    for row in (found["files"] or [])[:FILES_SHOWN]:
        say(f"file  {row['name']}: {row['difference']}")
    if len(found["files"] or []) > FILES_SHOWN:
        say(f"and {len(found['files']) - FILES_SHOWN} more files; --json names all")
    if not any(found[kind] for kind in ("debian", "python", "settings", "files")):
        say("nothing differs")


def _size(number: int | None) -> str | None:
    return None if number is None else format_bytes(number)


def _version(value: Any) -> str:
    """Write a package as one side has it: version and the first digits of the hash of its list of files."""
    if isinstance(value, dict):
        return f"{value['version']} ({(value['record'] or 'no list of files')[:15]})"
    return "–" if value is None else str(value)
