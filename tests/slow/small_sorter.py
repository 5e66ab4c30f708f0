"""A sorter with NumPy alone: its image and its environment are made in seconds, and copied in as many."""

from __future__ import annotations

import json
import re
import shutil

from spikecrate.catalogue.tools import find

PACKAGE = "numpy"


def write_small_sorter(folder, body):
    """Write a sorter's folder with a run.py of the test's own, and one parameter, `value`; give its name."""
    folder.mkdir(parents=True)
    ms4 = find("ms4").folder
    lock = (ms4 / "requirements.lock").read_text()
    # One package with its hashes, as it stands in the lock of ms4.
    (entry,) = re.findall(rf"^{PACKAGE}==.*(?:\n .*)*\n", lock, re.MULTILINE)
    (folder / "requirements.lock").write_text(entry)
    dockerfile = (ms4 / "Dockerfile").read_text()
    (folder / "Dockerfile").write_text(re.sub(r" ?(?:/build/)?build\.lock", "", dockerfile))
    shutil.copyfile(ms4 / "sorter.json", folder / "sorter.json")
    described = json.loads((folder / "sorter.json").read_text())
    properties = {"value": {"type": "string", "default": "", "description": "Anything."}}
    described |= {
        "name": folder.name,
        "aliases": [],
        "version": "1",
        "parameters": {"type": "object", "additionalProperties": False, "properties": properties},
    }
    (folder / "sorter.json").write_text(json.dumps(described))
    (folder / "run.py").write_text(body)
    return folder.name
