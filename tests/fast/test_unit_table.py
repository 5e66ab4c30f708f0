"""The table of units that every sorting has: what may be written, what is read, and what the user sees of it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from lab import ANSWER, TWO_EVENTS

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.cli import main
from spikecrate.cli.show_units import MOST
from spikecrate.errors import ResultInvalidError, UsageError
from spikecrate.sortings.units import SORTED, Unit, read_units
from spikecrate.steps.diff import difference
from spikecrate.steps.rerun import rerun
from spikecrate.steps.resolve import find_job
from spikecrate.store import results
from spikecrate_harness import unit_table

HEAD = ",".join(SORTED) + "\n"
TRUE = """
from spikecrate_harness import mda
def sort(recording, parameters, resources):
    channels, times, labels = mda.read(PATH)
    return times, labels
"""
MANY = ANSWER + "    return np.arange(1000.0, 29000.0, 10), 1 + np.arange(2800) % COUNT\n"
WITHOUT = (
    "    import atexit, os, sys\n"
    "    atexit.register(os.remove, sys.argv[sys.argv.index('--out') + 1] + '/units.csv')\n"
)
"""Remove the table at the end, as a tool with an entry point of its own never writes it."""

pytestmark = pytest.mark.usefixtures("here")


@pytest.fixture
def true(recording, sorter):
    """Make a sorter that finds the true units."""
    return sorter(TRUE.replace("PATH", repr(str(recording / "firings_true.mda"))))


def writes(text):
    """Return a sorter of two events whose table is a text."""
    body = ANSWER + "    from spikecrate_harness import unit_table\n"
    body += f"    unit_table.write_unit_table = lambda path, *_: path.write_text({text!r})\n"
    return body + TWO_EVENTS


def table_of(text):
    """Split a printed table."""
    return [re.split(" {2,}", line.strip()) for line in text]


def test_a_sorting_comes_with_a_table_of_its_units(recording, true):
    done = spikecrate.sort(recording, sorter=true)
    assert [unit.unit for unit in done.units] == done.sorting.unit_ids.tolist()
    for unit in done.units:
        train = done.sorting.trains()[unit.unit]
        assert (unit.events, unit.rate) == (len(train), len(train) / done.recording.duration_s)
        assert unit.snr > 5
        assert unit.amplitude < 0
        assert (unit.x, unit.y, unit.waveforms) == (None, None, None)
        assert done.channel_id(unit) == done.recording.channel_ids[unit.channel]
    assert done.units == read_units(done.folder / "units.csv", SORTED)
    assert set(done.record["files"]) == {"firings.mda", "units.csv", "log.txt"}
    assert done.record["inside"]["unit_table_s"] >= 0
    assert spikecrate.load(done.folder).units == done.units


def test_the_columns_that_the_harness_writes_are_those_that_the_library_reads():
    assert unit_table.Row._fields == SORTED
    assert Unit(unit=1, events=2, rate=0.5).amplitude is None


def test_the_command_prints_the_table_and_again_at_a_cache_hit(recording, true, capsys, tmp_path):
    words = ["sort", str(recording), "--sorter", true, "--output", str(tmp_path / "out")]
    assert main.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    units = read_units(tmp_path / "out" / "units.csv", SORTED)
    assert told["units"] == len(told["units_table"]) == len(units)
    assert list(told["units_table"][0]) == [*SORTED, "channel_id"]
    assert [unit["snr"] for unit in told["units_table"]] == [unit.snr for unit in units]
    names = spikecrate.open_recording(recording).channel_ids
    assert [unit["channel_id"] for unit in told["units_table"]] == [names[unit.channel] for unit in units]
    assert main.run(words) == 0
    head, *rows, counts, key, place = capsys.readouterr().out.splitlines()
    assert table_of([head]) == [["unit", "events", "rate (Hz)", "channel", "SNR", "ISI viol.", "ampl. (uV)"]]
    assert table_of(rows) == [
        [
            *(str(unit.unit), str(unit.events), f"{unit.rate:.2f}", names[unit.channel]),
            *(f"{value:.2f}" for value in (unit.snr, unit.isi_violations, unit.amplitude)),
        ]
        for unit in units
    ]
    assert "cache hit" in counts
    assert (key.split()[0], place.split()[1]) == ("key", str(tmp_path / "out"))
    assert main.run([*words, "-q"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert main.run(["job.show", key.split()[1]]) == 0
    assert capsys.readouterr().out.splitlines()[-1 - len(rows) :] == [head, *rows]


@pytest.mark.parametrize(("count", "more"), [(MOST, None), (MOST + 12, "and 12 more units in ")])
def test_a_long_table_is_cut_and_the_rest_is_in_the_file(recording, sorter, capsys, tmp_path, count, more):
    words = ["--sorter", sorter(MANY.replace("COUNT", str(count))), "--output", str(tmp_path / "out")]
    assert main.run(["sort", str(recording), *words]) == 0
    lines = capsys.readouterr().out.splitlines()
    rest = [line for line in lines if line.startswith("and ")]
    assert rest == ([f"{more}{tmp_path / 'out' / 'units.csv'}"] if more else [])
    assert len(lines) == 1 + MOST + len(rest) + 3
    assert len(read_units(tmp_path / "out" / "units.csv", SORTED)) == count


def test_groups_share_one_table(recording, sorter, capsys, tmp_path):
    (recording / "geom.csv").write_text("0,0\n0,20\n0,2000\n0,2020\n")
    words = ["sort", str(recording), "--sorter", sorter(ANSWER + TWO_EVENTS), "--by-group"]
    words += ["--output", str(tmp_path / "out")]
    assert main.run(words) == 0
    rows = table_of(capsys.readouterr().out.splitlines()[1:5])
    assert [row[:2] for row in rows] == [["1", "1"], ["2", "1"], ["1001", "1"], ["1002", "1"]]
    assert main.run([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [unit["group"] for unit in told["units_table"]] == ["0", "0", "1", "1"]
    assert [len(group["units_table"]) for group in told["groups"].values()] == [2, 2]
    assert main.run([*words, "-q"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5


def test_an_empty_sorting_has_no_rows(recording, sorter, capsys):
    empty = sorter(ANSWER + "    return np.zeros(0), np.zeros(0)\n")
    done = spikecrate.sort(recording, sorter=empty)
    assert (done.units, (done.folder / "units.csv").read_text()) == ((), HEAD)
    assert main.run(["sort", str(recording), "--sorter", empty, "--output", "-"]) == 0
    assert capsys.readouterr().out.startswith("lab 1: 0 units, 0 events")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the columns are , not unit, events, rate, channel"),
        (HEAD.replace("snr", "SNR") + "1,1,1.0,0,,0.0,\n2,1,1.0,0,,0.0,\n", "the columns are"),
        (HEAD + "1,1,1.0,0,,0.0,\n", "units.csv and /out/firings.mda are of different units or events"),
        (HEAD + "1,1,1.0,0,,0.0,\n2,2,1.0,0,,0.0,\n", "are of different units or events"),
        (HEAD + "1,1,1.0,0,,0.0,\n2,1,1.0,0,,0.0,\n2,1,1.0,0,,0.0,\n", "are of different units or events"),
        (HEAD + "1,1,1.0,4,,0.0,\n2,1,1.0,0,,0.0,\n", "a channel beyond the 4 of the recording"),
        (HEAD + "1,1,1.0,0,nan,0.0,\n2,1,1.0,0,,0.0,\n", "/out/units.csv: line 2: a value is not finite"),
        (HEAD + "1,1,,0,,0.0,\n2,1,1.0,0,,0.0,\n", "line 2: a rate is missing"),
    ],
)
def test_a_table_of_other_units_breaks_the_contract(recording, sorter, text, message):
    with pytest.raises(ResultInvalidError, match=message) as caught:
        spikecrate.sort(recording, sorter=sorter(writes(text)))
    assert "contract.md" in caught.value.next_step


def test_a_link_in_the_place_of_the_table_breaks_the_contract(recording, sorter):
    body = WITHOUT.replace("os.remove", "lambda path: (os.remove(path), os.symlink('firings.mda', path))")
    with pytest.raises(ResultInvalidError, match=r"/out/units\.csv is a symbolic link"):
        spikecrate.sort(recording, sorter=sorter(ANSWER + body + TWO_EVENTS))


def test_without_a_table_the_events_tell_rate_and_violations(recording, sorter, capsys):
    times = "    return np.array([9000.0, 9010.0, 20000.0]), np.array([1, 1, 2])\n"
    done = spikecrate.sort(recording, sorter=sorter(ANSWER + WITHOUT + times))
    assert set(done.record["files"]) == {"firings.mda", "log.txt"}
    assert [(unit.unit, unit.events, unit.rate) for unit in done.units] == [(1, 2, 2.0), (2, 1, 1.0)]
    assert [round(unit.isi_violations, 2) for unit in done.units] == [83.33, 0]
    assert {(unit.channel, unit.snr, unit.amplitude) for unit in done.units} == {(None, None, None)}
    assert main.run(["sort", str(recording), "--sorter", "lab", "--output", "-"]) == 0
    assert table_of(capsys.readouterr().out.splitlines()[1:2]) == [["1", "2", "2.00", "–", "–", "83.33", "–"]]
    assert spikecrate.load(done.folder).units == done.units


def test_a_result_made_before_there_were_tables_is_found_shown_and_proved(recording, sorter, store, capsys):
    name = sorter(ANSWER + WITHOUT + TWO_EVENTS)
    earlier = spikecrate.sort(recording, sorter=name)
    again = spikecrate.sort(recording, sorter=name)
    assert (again.status, again.key) == ("cached", earlier.key)
    options = {"runtime": "", "recording": None, "cores": None, "keep": False}
    assert rerun(find_job(earlier.key, store, Silent()), **options, store=store, progress=Silent()).equal
    for words in (["job.list"], ["job.show", earlier.key[:12]]):
        assert main.run(words) == 0
        assert earlier.key[:12] in capsys.readouterr().out


def test_a_changed_table_is_another_result(recording, sorter, store):
    first = spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))
    rows = "1,1,1.0,0,,0.0,\n2,1,1.0,0,,0.0,\n"
    second = spikecrate.sort(recording, sorter=sorter(writes(HEAD + rows)))
    found = difference(*(find_job(done.key, store, Silent()) for done in (first, second)), store)
    assert not found.equal
    assert [line.partition(":")[0] for line in found.result[:-1]] == ["units.csv"]
    (first.folder / "units.csv").write_bytes(b"unit\n")
    assert results.find(store, first.key, lambda _: None) is None


def test_another_step_on_the_sorting_is_given_its_table_in_every_runtime(recording, sorter):
    tool = sorter(
        "def run(inputs, parameters, out, resources):\n"
        "    (out / 'seen').write_text(' '.join(sorted(path.name for path in inputs['sorting'].glob('*.csv'))))\n",
        name="counts",
        kind="command",
        inputs={"sorting": "folder"},
    )
    for body, table in ((ANSWER + TWO_EVENTS, ["units.csv"]), (ANSWER + WITHOUT + TWO_EVENTS, [])):
        done = spikecrate.sort(recording, sorter=sorter(body))
        step = spikecrate.run(spikecrate.StepRequest(tool=tool, inputs={"sorting": done.key}))
        assert (step.folder / "output" / "seen").read_text().split() == table
        # What the host shows of the folder is what a container is given.
        mounted = [Path(mount["source"]).name for mount in step.record["mounts"]]
        assert [name for name in mounted if name.endswith(".csv")] == table


def test_without_spikeinterface_the_error_names_the_package(recording, true, monkeypatch):
    monkeypatch.setitem(sys.modules, "spikeinterface", None)
    with pytest.raises(UsageError, match="SpikeInterface cannot be imported") as caught:
        spikecrate.sort(recording, sorter=true).to_spikeinterface()
    assert "pip install spikeinterface" in caught.value.next_step
