"""A new sorter's folder: everything but the sorter."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from ms4_run import noise, recording_of

from spikecrate._util.data import data_path
from spikecrate.catalogue import scaffold as folder
from spikecrate.catalogue.tools import check, read
from spikecrate.errors import UsageError
from spikecrate_harness.answer import as_firings
from spikecrate_harness.resources import Resources

FILLED = "    return np.flatnonzero(traces[:, 0] < -50 * given['threshold']), np.ones((traces[:, 0] < -50 * given['threshold']).sum())\n"


def test_a_new_folder_keeps_the_schema_and_has_the_files_of_the_catalogue_s_own(tmp_path):
    made = folder.make("threshold", tmp_path)
    check(made)
    assert read(made).name == "threshold"
    files = {path.name for path in made.iterdir()}
    assert files == {"sorter.json", "run.py", "requirements.in", "Dockerfile", "README.md"}
    assert not re.search(r"\$(name|\$)", "".join(path.read_text() for path in made.iterdir()))


def test_its_dockerfile_is_the_catalogue_s_but_for_what_is_compiled(tmp_path):
    made = folder.make("threshold", tmp_path)
    of_ms4 = (data_path("sorters") / "ms4" / "Dockerfile").read_text().splitlines()[1:]
    compiles_nothing = [
        line.replace(" build.lock", "").replace(" /build/build.lock", "")
        for line in of_ms4
        if not line.startswith("# The packages' own tests")
    ]
    assert (made / "Dockerfile").read_text().splitlines()[1:] == compiles_nothing


def test_it_sorts_once_the_body_of_sort_is_there(tmp_path):
    made = folder.make("threshold", tmp_path)
    code = (made / "run.py").read_text()
    filled = re.sub(r"    raise NotImplementedError.*\n", lambda _: FILLED, code)
    assert filled != code
    names = {}
    exec(compile(filled, "run.py", "exec"), names)  # noqa: S102
    recording = recording_of(noise(3000, 2) * 100)
    answer = names["sort"](recording, read(made).defaults, Resources(tmp_path, 1, None, 0))
    firings = as_firings(answer, recording.num_samples, recording.num_channels)
    assert firings.shape[1] == np.count_nonzero(recording.traces()[:, 0] < -250) > 0


def test_until_then_it_says_so(tmp_path):
    made = folder.make("threshold", tmp_path)
    names = {}
    exec(compile((made / "run.py").read_text(), "run.py", "exec"), names)  # noqa: S102
    with pytest.raises(NotImplementedError, match="threshold"):
        names["sort"](recording_of(noise(100, 1)), read(made).defaults, Resources(tmp_path, 1, None, 0))


@pytest.mark.parametrize("name", ["Upper", "a b", "../up", "", "-a", "a--b"])
def test_a_name_that_no_image_can_have_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="name"):
        folder.make(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    with pytest.raises(UsageError, match="already"):
        folder.make("mine", tmp_path)
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_lab_s_own_folder_is_written_to_before_the_clone_s(tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(tmp_path))
    assert folder.make("mine") == tmp_path / "mine"


def test_a_clone_s_catalogue_is_written_to_from_within_the_clone_alone(monkeypatch, tmp_path):
    clone = tmp_path / "clone"
    (clone / "sorters").mkdir(parents=True)
    (clone / "tasks.py").touch()
    monkeypatch.setattr(folder, "data_path", lambda name: clone / name)
    monkeypatch.chdir(clone)
    assert folder.make("mine") == clone / "sorters" / "mine"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no folder is given") as refused:
        folder.make("yours")
    assert "--into DIR" in refused.value.next_step
    assert not (clone / "sorters" / "yours").exists()


def test_the_installed_package_is_never_written_to(monkeypatch, tmp_path):
    package = tmp_path / "site-packages" / "spikecrate"
    (package / "share" / "sorters").mkdir(parents=True)
    (tmp_path / "link").symlink_to(package / "share" / "sorters")
    monkeypatch.setattr(folder, "PACKAGE", package)
    for into in (package / "share" / "sorters", tmp_path / "link"):
        with pytest.raises(UsageError, match="lies in the installed package") as refused:
            folder.make("mine", into)
        assert "--into DIR" in refused.value.next_step
    assert list((package / "share" / "sorters").iterdir()) == []


def test_where_there_is_no_folder_of_sorters_one_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.delenv("SPIKECRATE_SORTERS", raising=False)
    monkeypatch.setattr(folder, "data_path", lambda _: tmp_path / "sorters")
    with pytest.raises(UsageError) as refused:
        folder.make("mine")
    assert "--into DIR" in refused.value.next_step


def test_names_are_those_of_the_schema():
    schema = json.loads(
        (data_path("sorters").parent / "src/spikecrate/catalogue/sorter.schema.json").read_text()
    )
    assert schema["properties"]["name"]["pattern"] == f"^{folder.NAME.pattern}$"
