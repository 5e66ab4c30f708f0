"""A laboratory: the host runtime on this very interpreter, and the beginnings of small sorters."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import spikecrate_harness
from spikecrate._util.progress import Silent
from spikecrate.runtimes.contract import Image
from spikecrate.runtimes.host import Host

ANSWER = "import numpy as np\ndef sort(recording, parameters, resources):\n"
TWO_EVENTS = "    return np.array([10.0, 20.0]), np.array([1, 2])\n"


def write_sorter(catalogue, body, name="lab", **fields):
    """Write a sorter of a test's own into a catalogue; with a `kind` another tool."""
    folder = catalogue / name
    folder.mkdir(parents=True, exist_ok=True)
    properties = {"value": {"type": "number", "default": 1, "description": "Anything."}}
    described = {
        "name": name,
        "title": "A sorter of the test's",
        "version": "1",
        "license": "MIT",
        "reference": {},
        "url": "https://example.org",
        "description": "It answers what the test wants.",
        "gpu": "none",
        "deterministic": True,
        "cores_change_result": False,
        "python": ">=3.11",
        "parameters": {"type": "object", "additionalProperties": False, "properties": properties},
        **fields,
    }
    (folder / ("tool.json" if "kind" in fields else "sorter.json")).write_text(json.dumps(described))
    (folder / "Dockerfile").write_text("FROM scratch\n")
    (folder / "requirements.lock").write_text("")
    (folder / "run.py").write_text(body)


class Notes(Silent):
    """Keeps what people are told."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


class Here(Host):
    """The host runtime with this very interpreter in place of an environment of its own."""

    def prepare(self, request, progress):  # noqa: ARG002
        code = self.store.root / f"code-{request.recipe[:12]}"
        if not code.exists():
            shutil.copytree(Path(spikecrate_harness.__file__).parent, code / "spikecrate_harness")
            shutil.copyfile(code / "spikecrate_harness" / "__main__.py", code / "__main__.py")
            for module in request.folder.glob("*.py"):
                shutil.copyfile(module, code / module.name)
        return Image(reference=sys.prefix, digest="", entrypoint=(sys.executable, "-I", str(code)), facts={})

    preview = None
