"""A picture: what its tool is given, where the file goes, and what of the drawing needs no matplotlib."""

from __future__ import annotations

import importlib.util
import json
import signal
import sys
from importlib import import_module

import numpy as np
import pytest
from lab import ANSWER, TWO_EVENTS, Notes
from ms4_run import noise, recording_of

import spikecrate
from spikecrate._util.data import data_path
from spikecrate.catalogue.tools import catalogue, check, find
from spikecrate.cli import main
from spikecrate.errors import OutputError, ParameterUnknownError, StoppedError, UsageError
from spikecrate.sortings.units import NAMES

ANALYSIS, PLOT = import_module("spikecrate.api.analyze"), import_module("spikecrate.api.plot")
"""The modules; the package has the functions of these names."""
COUNTS = f"""
import numpy as np
from spikecrate_harness import mda
def run(inputs, parameters, out, resources):
    (path,) = inputs["sorting"].glob("firings*.mda")
    units = np.unique(mda.read(path)[2].astype(int))
    rows = [f"{{unit}},1,1.0,0,5.5,0.0,-60.25,1.0,2.0,1" for unit in units]
    (out / "units.csv").write_text("\\n".join([{",".join(NAMES)!r}, *rows, ""]))
    (out / "metrics.csv").write_text("\\n".join(["unit", *map(str, units), ""]))
"""
DRAWS = """
import json
def run(inputs, parameters, out, resources):
    told = {"parameters": parameters, "inputs": sorted(inputs)}
    if "analysis" in inputs:
        told["units"] = (inputs["analysis"] / "units.csv").read_text().splitlines()[1:]
    (out / "{what}.{format}".format(**parameters)).write_text(json.dumps(told))
"""
"""A tool that tells what it was given, in the place of the one that has matplotlib."""


@pytest.fixture
def result(recording, sorter, here, monkeypatch):  # noqa: ARG001
    """A sorting, where the tools that analyze and draw it are the test's own."""
    for name, tool, body in (("ANALYSIS_TOOL", "analyze", COUNTS), ("TOOL", "plot", DRAWS)):
        described = json.loads((data_path("tools") / tool / "tool.json").read_text())
        fields = {field: described[field] for field in ("kind", "inputs", "parameters")}
        monkeypatch.setattr(PLOT, name, sorter(body, name=f"my{tool}", **fields))
    monkeypatch.setattr(ANALYSIS, "TOOL", "myanalyze")
    return spikecrate.sort(recording, sorter=sorter(ANSWER + TWO_EVENTS))


@pytest.fixture
def comparison(result):
    """A comparison of the sorting with the truth beside its recording."""
    return result.compare(truth="auto").result


@pytest.fixture(scope="module")
def tool():
    """The modules of the true tool that need no matplotlib when they are imported."""
    folder = data_path("tools") / "plot"
    loaded = {}
    for name in ("drawing", "draw_units", "draw_traces", "draw_metrics", "draw_comparison"):
        specification = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
        loaded[name] = sys.modules[name] = importlib.util.module_from_spec(specification)
        specification.loader.exec_module(loaded[name])
    yield type("Tool", (), loaded)
    for name in loaded:
        del sys.modules[name]


def told(picture):
    return json.loads(picture.path.read_text())


def test_units_are_drawn_of_an_analysis_that_is_made_first_and_found_the_second_time(result):
    first = result.plot()
    assert first.path == first.result.folder / "figures" / "units.png"
    assert [row[0] for row in told(first)["units"]] == ["1", "2"]
    assert told(first)["inputs"] == ["analysis"]
    assert result.analyze().result.status == "cached"
    assert spikecrate.plot(result.key[:12]).result.status == "cached"


def test_an_analysis_is_drawn_as_it_is(result):
    done = result.analyze(params={"freq_min": 500}).result
    picture = done.plot(what="metrics")
    assert picture.result.record["inputs"]["analysis"]["key"] == done.key
    with pytest.raises(UsageError, match="is a result of myanalyze, not a sorting"):
        done.plot(what="traces")


def test_traces_are_drawn_of_the_recording_without_an_analysis(result):
    picture = result.plot(what="traces", start=0.25, end=0.5)
    assert told(picture)["inputs"] == ["recording", "sorting"]
    parameters = told(picture)["parameters"]
    assert (parameters["start"], parameters["end"], parameters["page"]) == (0.25, 0.5, 1)


def test_a_comparison_is_drawn_with_an_analysis_of_its_truth(comparison, recording):
    notes = Notes()
    picture = comparison.plot(what="comparison", progress=notes)
    assert not [note for note in notes.notes if "no SNR" in note]
    assert told(picture)["inputs"] == ["analysis", "comparison"]
    assert len(told(picture)["units"]) == 2
    recording.rename(recording.with_name("moved"))
    without = comparison.plot(what="comparison", progress=notes)
    assert told(without)["inputs"] == ["comparison"]
    assert any("the picture has no SNR" in note for note in notes.notes)


def test_only_a_comparison_is_drawn_as_one(result):
    with pytest.raises(UsageError, match="is a result of lab, not a comparison") as caught:
        result.plot(what="comparison")
    assert "spikecrate compare" in caught.value.next_step


def test_a_comparison_is_drawn_as_one_without_its_name_and_is_a_method_of_it(result):
    compared = result.compare(truth="auto")
    picture = compared.plot()
    assert told(picture)["parameters"]["what"] == "comparison"
    assert spikecrate.plot(compared.result.key).result.key == picture.result.key


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"page": 7}, "there is no page 7: the 2 units of [0-9a-f]{12} fill 1 page$"),
        ({"page": 0}, "there is no page 0"),
        ({"what": "traces", "start": 100, "end": 130}, "is beyond the recording, which has 1 s"),
        ({"what": "traces", "start": 5, "end": 2}, "from 5 s to 2 s is empty"),
        ({"what": "traces", "start": 0, "end": 61}, "longer than 60 s"),
        ({"start": 0.5}, "--start is for a picture of traces, not of units"),
        ({"what": "metrics", "page": 1}, "--page is for a picture of units, not of metrics"),
        ({"what": "traces", "page": 1}, "--page is for a picture of units, not of traces"),
    ],
)
def test_a_page_or_stretch_that_is_not_there_and_an_option_of_another_picture_are_refused(
    result, options, reason
):
    with pytest.raises(UsageError, match=reason) as caught:
        result.plot(**options)
    assert caught.value.next_step


def test_a_page_of_an_analysis_is_refused_too(result):
    with pytest.raises(UsageError, match="there is no page 2"):
        result.analyze().result.plot(page=2)


def test_a_file_of_an_unknown_suffix_is_refused_and_a_folder_may_have_one(result, tmp_path):
    with pytest.raises(UsageError, match=r"a.gif ends in .gif, which is no format of a picture"):
        result.plot(output=tmp_path / "a.gif")
    assert not (tmp_path / "a.gif").exists()
    assert result.plot(output=f"{tmp_path}/my.pictures/").path.is_file()
    assert result.plot(output=tmp_path / "v1.2").path.parent == tmp_path / "v1.2" / "figures"


def test_a_file_gets_the_picture_in_the_format_of_its_name_and_a_folder_the_result(result, tmp_path):
    picture = result.plot(output=tmp_path / "made" / "units.SVG")
    assert picture.path == tmp_path / "made" / "units.SVG"
    assert told(picture)["parameters"]["format"] == "svg"
    assert picture.path.read_bytes() == (picture.result.folder / "figures" / "units.svg").read_bytes()
    again = result.plot(what="metrics", output=picture.path)
    assert told(again)["parameters"]["what"] == "metrics"
    folder = result.plot(format="pdf", output=tmp_path / "all")
    assert folder.path == tmp_path / "all" / "figures" / "units.pdf"
    assert (tmp_path / "all" / "run.json").is_file()


def test_a_picture_that_cannot_be_made_or_written_is_refused(result, recording, tmp_path):
    with pytest.raises(UsageError, match="there is no picture 'unit'; did you mean 'units'") as caught:
        result.plot(what="unit")
    assert "units, traces, metrics, comparison" in caught.value.next_step
    with pytest.raises(UsageError, match="there is no format 'gif'"):
        result.plot(format="gif")
    with pytest.raises(UsageError, match=r"units.png does not end in .svg"):
        result.plot(format="svg", output=tmp_path / "units.png")
    with pytest.raises(OutputError, match="is inside the recording"):
        result.plot(output=recording / "units.png")
    (tmp_path / "units.png").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        result.plot(output=tmp_path / "units.png")
    with pytest.raises(ParameterUnknownError, match="colour"):
        result.plot(params={"colour": "red"})


def test_the_command_prints_where_the_picture_is(result, capsys, tmp_path):
    file = tmp_path / "units.png"
    assert main.run(["plot", result.key[:12], "--output", str(file)]) == 0
    how, key, place = capsys.readouterr().out.splitlines()
    assert how.startswith("drawn in")
    assert place.split() == ["picture", str(file)]
    assert main.run(["plot", result.key[:12], "--output", str(file), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["status"], shown["key"], shown["picture"]) == ("cached", key.split()[1], str(file))
    assert main.run(["plot", result.key[:12], "--what", "traces", "--start", "0.2", "--end", "0.4"]) == 0
    assert main.run(["plot", result.key[:12], "--what", "spectrum"]) != 0


def test_the_catalogue_has_the_tool_with_the_pictures_that_the_library_names():
    found = find(PLOT.TOOL, kind="figure")
    check(found.folder)
    assert [*catalogue(kind="figure")] == ["plot"]
    properties = found.parameters["properties"]
    assert tuple(properties["what"]["enum"]) == PLOT.SUBJECTS
    assert tuple(properties["format"]["enum"]) == PLOT.FORMATS


def test_the_library_refuses_at_the_limits_of_the_tool(tool):
    assert (tool.draw_units.PER_PAGE, tool.draw_traces.LONGEST_S) == (PLOT.PER_PAGE, PLOT.LONGEST_S)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (13.94, "13.9"), (0.0421, "0.0421"), (-85.4, "−85.4"), (-163.7, "−164"), (12345.6, "12,346")],
)
def test_numbers_are_short_and_have_a_true_minus(tool, value, text):
    assert tool.drawing.number(value) == text


@pytest.mark.parametrize(
    ("value", "scale"), [(1, 1), (0.03, 0.02), (7, 5), (99.9, 50), (250, 200), (1000, 1000)]
)
def test_a_scale_bar_is_a_round_number_that_fits(tool, value, scale):
    assert tool.drawing.nice(value) == pytest.approx(scale)


def test_what_is_left_out_is_said(tool):
    assert tool.drawing.of_all(1, 1, "unit") == "1 unit"
    assert tool.drawing.of_all(32, 64, "channel") == "32 of 64 channels"
    assert tool.drawing.of_all(1200, 1200, "event") == "1,200 events"


def test_the_stretch_is_a_second_with_the_most_units_or_what_is_asked_for(tool):
    recording = recording_of(noise(40_000, 2), rate=10_000.0)
    times, labels = np.array([5, 10, 15, 20_100, 20_200]), np.array([1, 1, 1, 1, 2])

    def found(start=None, end=None):
        return tool.draw_traces.stretch(recording, times, labels, {"start": start, "end": end})

    assert found() == (20_000, 30_000)
    assert found(start=0.5) == (5_000, 15_000)
    assert found(end=0.5) == (0, 5_000)
    assert found(start=3.5, end=9) == (35_000, 40_000)
    with pytest.raises(ValueError, match="the recording has 4 s"):
        found(start=4)
    with pytest.raises(ValueError, match="no samples from start 2 s to end 1 s"):
        found(start=2, end=1)
    with pytest.raises(ValueError, match="longer than 60 s"):
        found(start=0, end=61)
    assert tool.draw_traces.stretch(recording, times[:0], labels[:0], {"start": None, "end": None}) == (
        0,
        10_000,
    )


def test_a_unit_is_drawn_on_one_channel_that_of_its_table_or_of_most_of_its_events(tool, tmp_path):
    labels, channels = np.array([1, 1, 1, 2, 2, 3]), np.array([0, 3, 3, 2, -1, -1])
    found = tool.draw_traces.primary_channels(tmp_path, channels, labels)
    assert found.tolist() == [3, 3, 3, 2, 2, -1]
    (tmp_path / "units.csv").write_text("unit,channel\n1,5\n2,\n")
    found = tool.draw_traces.primary_channels(tmp_path, channels, labels)
    assert found.tolist() == [5, 5, 5, 2, 2, -1]
    none = np.array([], dtype=int)
    assert len(tool.draw_traces.primary_channels(tmp_path, none, none)) == 0


@pytest.mark.parametrize("rates", [[0.693], [4.99, 5.0], [0.01, 300.0], [99.0, np.nan]])
def test_an_axis_of_rates_has_all_of_them_and_room_for_a_tick(tool, rates):
    low, high = tool.draw_metrics.widened(np.array(rates))
    assert low < np.nanmin(rates) <= np.nanmax(rates) < high
    assert any(low <= step * 10.0**decade <= high for decade in range(-3, 4) for step in (1, 2, 5))
    assert high / low >= tool.draw_metrics.LEAST_SPAN * 0.999


def test_a_thinned_line_keeps_the_least_and_the_largest_value(tool):
    values = np.random.default_rng(0).normal(size=100_003)
    values[77] = 50
    times, thin = tool.draw_traces.thinned(10, values, 1000.0)
    assert len(times) == len(thin) <= 2 * tool.draw_traces.COLUMNS * 1.1
    assert (thin.min(), thin.max()) == (values[:100_000].min(), 50)
    assert times[int(thin.argmax())] == pytest.approx((10 + 77) / 1000, abs=0.05)
    few = tool.draw_traces.thinned(0, values[:100], 1000.0)
    assert few[1] is not None
    np.testing.assert_array_equal(few[1], values[:100])


def test_places_are_counted_in_their_least_distance_and_fit_in_five_rows(tool):
    np.testing.assert_allclose(tool.draw_units.in_pitches(np.array([20.0, 40.0, 20.0, 80.0])), [0, 1, 0, 3])
    assert tool.draw_units.in_pitches(np.array([3.0, 3.0])).tolist() == [0, 0]
    assert tool.draw_units.in_pitches(np.array([0.0, 0.1, 1000.0])).max() == pytest.approx(4)


@pytest.fixture
def demo(result, recording, monkeypatch, tmp_path):  # noqa: ARG001
    """Run the demonstration with the test's own tools; the toy of a second is there already."""
    from spikecrate import api

    place = tmp_path / "demo"
    place.mkdir()
    recording.rename(place / "recording")
    sort = api.sort
    monkeypatch.setattr(api, "sort", lambda *words, **options: sort(*words, **{**options, "sorter": "lab"}))
    return lambda: main.run(["demo", "--folder", str(place)]), place


def test_the_demonstration_ends_with_the_path_of_the_picture(demo, capsys):
    run, place = demo
    assert run() == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == f"picture {place / 'units.png'}", shown.err
    assert (place / "units.png").is_file()


@pytest.mark.parametrize("ending", [OutputError("no room"), StoppedError(signal=signal.SIGINT)])
def test_a_picture_that_fails_or_is_stopped_leaves_the_demonstration_its_result(
    demo, capsys, monkeypatch, ending
):
    def fail(*_words, **_options):
        raise ending

    monkeypatch.setattr(spikecrate.Result, "plot", fail)
    run, place = demo
    assert run() == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == f"result  {place / 'ms4'}"
    assert f"no picture of the units: {ending}" in shown.err


def test_a_demonstration_that_is_terminated_ends_so(demo, monkeypatch):
    def fail(*_words, **_options):
        raise StoppedError(signal=signal.SIGTERM)

    monkeypatch.setattr(spikecrate.Result, "plot", fail)
    assert demo[0]() == 128 + signal.SIGTERM
