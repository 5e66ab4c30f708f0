"""Text is UTF-8 in every file, whatever the locale, and can be printed in any."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab import ANSWER, TWO_EVENTS

SOURCE = Path(__file__).parents[2] / "src"
LATIN = {
    "LC_ALL": "C",
    "LANG": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "PYTHONIOENCODING": "latin-1",
}
ASCII = {**LATIN, "PYTHONIOENCODING": "ascii"}

SORTED = """
import sys
sys.path.insert(0, sys.argv[1])
from lab import Here
from spikecrate.runtimes import choice
from spikecrate.cli.main import main
choice._makers = lambda store, _needed=None: {"host": lambda: Here(store)}
sys.argv[1:] = sys.argv[2:]
main()
"""


def run(locale, *argv, code=SORTED):
    argv = [sys.executable, "-c", code, str(Path(__file__).parent), *map(str, argv)]
    return subprocess.run(argv, check=False, capture_output=True, env={**os.environ, **locale})


def test_every_text_file_is_read_and_written_as_utf_8():
    missing = []
    # The harness pins its own locale to UTF-8 before it reads anything.
    for path in [*(SOURCE / "spikecrate").rglob("*.py"), *(SOURCE / "spikecrate_dev").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            if name in ("read_text", "write_text") or any(
                word.arg == "text" for word in node.keywords if name == "Popen"
            ):
                missing.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert missing == []


@pytest.mark.parametrize("locale", [LATIN, ASCII])
def test_a_job_with_a_title_in_any_script_is_run_kept_and_listed_in_any_locale(
    recording, sorter, store, locale
):
    name = sorter(ANSWER + '    print("Größe")\n' + TWO_EVENTS, title="Größe und 神経")
    done = run(locale, "sort", recording, "--sorter", name, "--runtime", "host", "--output", "-")
    assert done.returncode == 0, done.stderr
    (record,) = store.results.glob("*/*/run.json")
    assert "Größe und 神経" in record.read_bytes().decode()
    listed = run(locale, "job.list")
    assert listed.returncode == 0, listed.stderr
    shown = run(locale, "job.list", "--json")
    assert json.loads(shown.stdout)[0]["sorter"] == name
