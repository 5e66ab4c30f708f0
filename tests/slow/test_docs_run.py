"""The commands of the README and the task pages, run as they stand."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess

import pytest
from conftest import ROOT, SPIKECRATE

PAGES = [
    "README.md",
    "docs/sort.md",
    "docs/recordings.md",
    "docs/results.md",
    "docs/reproduce.md",
    "docs/preprocess.md",
    "docs/analyze.md",
    "docs/compare.md",
    "docs/plot.md",
    "docs/curate.md",
    "docs/export.md",
    "docs/studies.md",
    "docs/store.md",
    "docs/troubleshoot.md",
    "docs/doctor.md",
    "docs/images.md",
    "docs/quality.md",
    "docs/sorters.md",
]

MAKES_KEY = {"docs/preprocess.md": "spikecrate preprocess rec/ --step common_reference"}
"""The command whose job key a page speaks of, where that is not one of a sorting."""

ELSEWHERE = {
    "make demo": "run by hand on a bare machine; `demo` is run below",
    "make test": "is the fast tier itself",
    "invoke dev": "test_dev_container.py",
    "spikecrate build --sorter ms4 --verify": "test_images.py",
    "spikecrate compare 0123abcd 4567cdef": "test_compare.py; needs a second sorting",
    "spikecrate plot 89abcdef": "test_plot.py; needs a comparison",
    "spikecrate export 0123abcd --to nwb": "test_export_nwb.py; needs the session's facts and file",
    "spikecrate image.prune": "test_image_inventory.py; here it would take images of others",
    "spikecrate image.lock": "test_image_lock.py; here it would write into this repository",
    "spikecrate image.diff": "test_image_lock.py",
    "spikecrate sorters.quality --toys": "the whole catalogue: test_floors.py, in nox -s catalogue",
    "spikecrate image.pull": "test_prebuilt.py",
    "spikecrate sort rec/ --sorter labsorter": "test_prebuilt.py",
    "pip install": "needs the package index",
    "spikecrate recording.import session": "test_import.py; needs a recording of that format",
    "spikecrate sort session": "as recording.import",
    "spikecrate sort run_g0": "test_streams.py; needs a recording of that format",
    'spikecrate recording.info "2023-05-04_12-00-00/"': "as sort run_g0/",
    "export": "sets a variable of the shell",
    "chgrp": "needs a group of the lab: test_store_place.py shares a store",
    "chmod": "as chgrp",
    "find": "as chgrp",
}


def commands(page):
    """Give the lines that a page's console blocks begin with `$`."""
    text = (ROOT / page).read_text()
    for block in re.findall(r"^```console\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
        yield from (line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ "))


def place(tmp_path, toy):
    """Lay out what the pages speak of: recordings, a file of parameters, a folder of wheels, an image."""
    for name in ("rec", "day1", "day2", "data/day3/rec", "more/mouse7/rec"):
        shutil.copytree(toy, tmp_path / name)
    (tmp_path / "mine.json").write_text('{"detect_threshold": 5}')
    (tmp_path / "chain.json").write_text(
        '[{"operation": "highpass_filter"}, {"operation": "common_reference"}]'
    )
    (tmp_path / "curation.json").write_text('{"labelsByUnit": {"1": ["accept"]}, "mergeGroups": [[1, 2]]}')
    (tmp_path / "wheels").mkdir()
    reference = json.loads(run("spikecrate build --json", "").splitlines()[-1])["reference"]
    subprocess.run(["docker", "save", reference, "--output", tmp_path / "ms4.tar"], check=True)


def run(line, key):
    words = shlex.split(line.replace("0123abcd", key))
    assert words[0] == "spikecrate", line
    done = subprocess.run([SPIKECRATE, *words[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize("page", PAGES)
def test_every_command_of_a_page_works(page, tmp_path, toy):
    place(tmp_path, toy)
    key = re.search(r"^key +(\w+)", run(MAKES_KEY.get(page, "spikecrate sort rec/"), ""), flags=re.MULTILINE)[
        1
    ]
    ran = [run(line, key[:8]) for line in commands(page) if not line.startswith(tuple(ELSEWHERE))]
    assert ran


def test_the_demonstration_finds_its_units(tmp_path):
    *_, last = (shown := run("spikecrate demo", "")).splitlines()
    accuracies = [float(row.split()[4]) for row in shown.splitlines()[1:] if row[:4].strip().isdigit()]
    assert len(accuracies) == 4
    assert min(accuracies) > 0.9
    assert (tmp_path / "demo" / "ms4" / "firings.mda").exists()
    assert last == f"picture {tmp_path / 'demo' / 'units.png'}"
    assert (tmp_path / "demo" / "units.png").read_bytes().startswith(b"\x89PNG")
