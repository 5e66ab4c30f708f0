"""Runs of sorters: made once however many tests look at them, or started by the contract alone."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from matrix import SORTERS

from spikecrate._util.files import remove_tree
from spikecrate._util.progress import Silent
from spikecrate.api import find_or_run
from spikecrate.errors import SpikecrateError
from spikecrate.runtimes import choose
from spikecrate.steps.job import build_request
from spikecrate.steps.paths import WorkPaths
from spikecrate.steps.request import SortRequest
from spikecrate.steps.run import job_document, make_spec
from spikecrate.store import open_store

SETTINGS = "settings: "
"""How the one line begins in which a sorter says what its tool is told."""


@dataclass(frozen=True)
class Run:
    """What a run of a sorter gave: its bytes, its record, and what it did to the recording's folder."""

    firings: bytes
    record: dict[str, Any]
    log: str
    sorting: Any
    before: dict[str, Any]
    after: dict[str, Any]


class Runs:
    """Every run of the session, by sorter, runtime, kind of recording and options."""

    def __init__(self, inputs):
        self.inputs = inputs
        self.made = {}
        self.images = {}
        self.spent_s = {}

    def recording(self, sorter, kind):
        return self.inputs.of(kind, SORTERS[sorter].requires)

    def asked(self, case, kind="plain", **options):
        sorter = SORTERS[case.sorter]
        # A GPU sums in another order than a processor, and not every runtime or machine has one.
        gpu = "off" if sorter.gpu == "optional" else "auto"
        recording = self.recording(case.sorter, kind)
        return SortRequest(recording=recording, sorter=case.sorter, runtime=case.runtime, gpu=gpu, **options)

    def of(self, case, kind="plain", **options):
        """Sort a kind of recording; an error is remembered as a run is."""
        question = (case, kind, *sorted(options.items()))
        if question not in self.made:
            started = time.monotonic()
            try:
                self.made[question] = self._run(case, kind, options)
            except SpikecrateError as error:
                self.made[question] = error
            self.spend(case.sorter, started)
        answer = self.made[question]
        if isinstance(answer, SpikecrateError):
            raise answer
        return answer

    def spend(self, sorter, started):
        count, spent = self.spent_s.get(sorter, (0, 0))
        self.spent_s[sorter] = (count + 1, spent + time.monotonic() - started)

    def _run(self, case, kind, options):
        asked = self.asked(case, kind, force=True, **options)
        before = state(asked.recording)
        result = find_or_run(asked, open_store(), Silent())
        return Run(
            firings=(result.folder / "firings.mda").read_bytes(),
            record=result.record,
            log=(result.folder / "log.txt").read_text(),
            sorting=result.sorting,
            before=before,
            after=state(asked.recording),
        )

    @contextmanager
    def attempt(self, case, **options):
        """Lay out a job as the contract says; give its runtime, its step and its folders."""
        asked, store = self.asked(case, **options), open_store()
        job = asked.job(store, Silent())
        if case not in self.images:
            request = build_request(job.tool, job.parts.recipe, gpu=job.gpu)
            engine = choose(case.runtime, store, Silent())
            self.images[case] = engine, engine.prepare(request, Silent())
        engine, image = self.images[case]
        paths = WorkPaths.fresh(store.work, job.key)
        paths.make()
        try:
            paths.job_json.write_text(json.dumps(job_document(job, asked.limits)))
            yield engine, make_spec(job, image, asked.limits, paths, store), paths
        finally:
            remove_tree(paths.root)

    def told(self, case, **parameters):
        """Start a sorter, and end it when it has said what its tool is told."""
        with self.attempt(case, params=parameters) as (engine, spec, _):
            listener = Listener()
            try:
                ended = engine.run(spec, listener)
            except Told as seen:
                return seen.settings
        raise AssertionError(f"it ended with {ended.code} and without a line {SETTINGS!r}:\n{listener.text}")


class Told(Exception):
    """The line has come."""

    def __init__(self, settings):
        super().__init__()
        self.settings = settings


class Listener:
    """Takes what a sorter prints until it has said what its tool is told."""

    def __init__(self):
        self.text = ""

    def __call__(self, chunk):
        self.text += chunk.decode(errors="replace")
        for line in self.text.splitlines(keepends=True):
            if line.startswith(SETTINGS) and line.endswith("\n"):
                raise Told(json.loads(line.removeprefix(SETTINGS)))


def state(folder):
    """Everything about a folder that a run could change."""
    return {
        path.relative_to(folder).as_posix(): (
            path.read_bytes() if path.is_file() else None,
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in [folder, *folder.rglob("*")]
    }
