"""Pictures of real sortings: equal bytes in every runtime, of the right size, with the text that they promise."""

from __future__ import annotations

import json
import re
import shutil
import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import DATA, last_json

import spikecrate
from spikecrate.errors import JobFailedError
from spikecrate.recordings.toy import write_toy
from spikecrate.sortings import compare, read_firings
from spikecrate.steps.request import StepRequest
from spikecrate_harness import mda

MEAREC = DATA / "mearec_tetrode"
SAMPLES = 640_000
"""Of the MEArec tetrode: 20 s at 32 kHz."""
SVG = "{http://www.w3.org/2000/svg}"
TRUE_COLUMNS = "sorting,unit,events,found,accuracy\n"
FOUND_COLUMNS = "sorting,unit,events\n"
AGREEMENT_COLUMNS = "first,first_unit,second,second_unit,matched,agreement,assigned\n"

pytestmark = pytest.mark.usefixtures("shared_environments")


def step(tool, inputs, *, store=None, **options):
    """Run a tool on the host, which is the quickest."""
    request = StepRequest(tool=tool, inputs=inputs, **{"runtime": "host", **options})
    return spikecrate.run(request, store=store)


def drawn(what, inputs, form="svg", params=None, **options):
    """Draw, and return the file."""
    done = step("plot", inputs, params={"what": what, "format": form, **(params or {})}, **options)
    return done.folder / "figures" / f"{what}.{form}"


def texts(path):
    """Return every text of an SVG."""
    return ["".join(text.itertext()) for text in ElementTree.parse(path).iter(f"{SVG}text")]


def pixels(path):
    """Decode a PNG of 8 bits a sample; return its rows x columns x channels."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        body = data[place + 8 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0] == zlib.crc32(
            kind + body
        )
        chunks[kind] = chunks.get(kind, b"") + body
        place += length + 12
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert depth == 8
    channels = {2: 3, 6: 4}[colour]
    assert len(zlib.decompress(chunks[b"IDAT"])) == height * (1 + width * channels)
    return width, height, chunks


def sorting(folder, times, labels):
    """Write a sorting whose channels are not known."""
    folder.mkdir()
    mda.write(folder / "firings.mda", np.array([np.zeros(len(times)), times, labels], dtype=np.float64))
    return folder


@pytest.fixture(scope="module")
def analyzed(tmp_path_factory, environments):
    """Analyze sortings in a store of the module: each is drawn several times."""
    store = tmp_path_factory.mktemp("analyses")
    store.chmod(0o700)
    (store / "environments").symlink_to(environments)

    def analyze(recording, sorting):
        done = step("analyze", {"recording": recording, "sorting": sorting}, store=store)
        return done.folder / "analysis"

    return analyze


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    """The true sorting of the tetrode."""
    folder = tmp_path_factory.mktemp("truth")
    shutil.copyfile(MEAREC / "firings_true.mda", folder / "firings.mda")
    return folder


@pytest.fixture(scope="module")
def analysis(truth, analyzed):
    """Its analysis."""
    return analyzed(MEAREC, truth)


@pytest.fixture
def inputs(truth, analysis):
    """The inputs of each picture of it."""
    of_units = {"analysis": analysis}
    return {"units": of_units, "metrics": of_units, "traces": {"recording": MEAREC, "sorting": truth}}


def test_every_runtime_draws_the_same_bytes(inputs):
    chosen = [("units", "png"), ("units", "pdf"), ("traces", "svg"), ("metrics", "png")]
    seen = {}
    for runtime in ("docker", "apptainer", "host"):
        for what, form in chosen:
            path = drawn(what, inputs[what], form, runtime=runtime, force=True)
            data = path.read_bytes()
            assert data == seen.setdefault(path.name, data), (runtime, path.name)
    for name, data in seen.items():
        assert not re.search(rb"D:20\d\d|20\d\d-\d\d-\d\d", data), name


def test_the_units_are_named_with_their_numbers(inputs, analysis):
    found = texts(drawn("units", inputs["units"]))
    rows = (analysis / "units.csv").read_text().splitlines()[1:]
    cells = {int(row.split(",")[0]): row.split(",") for row in rows}
    assert "6 units" in found
    named = [int(text.removeprefix("unit ")) for text in found if re.fullmatch(r"unit \d+", text)]
    assert named == sorted(cells, key=lambda unit: -abs(float(cells[unit][6])))
    for unit in named:
        _, events, rate, _, snr, *_ = cells[unit]
        head = f"{events} events · {float(rate):.2f} Hz · SNR {float(snr):.3g} · "
        assert sum(text.startswith(head) for text in found) == 1, head
    assert "lag (ms)" in found
    assert any(text.strip().endswith("µV") for text in found)


def test_a_png_opens_and_has_the_size_that_its_units_need(inputs):
    width, height, chunks = pixels(drawn("units", inputs["units"], "png"))
    # Two rows of three cells of 3.1 x 2.1 inches, at 150 dots an inch.
    assert (width, height) == (1395, int((2 * 2.1 + 0.75) * 150))
    assert chunks[b"tEXt"] == b"Software\0spikecrate"
    assert pixels(drawn("metrics", inputs["metrics"], "png"))[:2] == (1650, 1035)


def test_an_svg_brings_the_glyphs_of_its_text(inputs):
    text = drawn("metrics", inputs["metrics"]).read_text()
    assert text.count("@font-face") == 2
    assert "font/ttf;base64," in text
    assert set(re.findall(r"font: [^;\"]*?('[^']*'|[\w-]+)[;\"]", text)) <= {"'DejaVu Sans'"}


def test_a_pdf_has_its_fonts_inside(inputs):
    data = drawn("units", inputs["units"], "pdf").read_bytes()
    assert data.startswith(b"%PDF-")
    assert b"/FontFile2" in data
    assert b"DejaVuSans" in data
    assert b"/CreationDate" not in data


def test_each_event_of_the_stretch_is_drawn_in_the_colour_of_its_unit(inputs, truth):
    _, times, labels = mda.read(truth / "firings.mda")[:3]
    inside = (times >= 32_000) & (times < 48_000)
    path = drawn("traces", inputs["traces"], params={"start": 1, "end": 1.5})
    found = texts(path)
    units = np.unique(labels[inside]).astype(int)
    assert f"1 to 1.5 s, 4 channels by depth; {inside.sum()} events of {len(units)} units" in found
    assert {str(unit) for unit in units} <= {*found}
    assert {"depth (µm)", "time (s)"} <= {*found}
    strokes = re.findall(r"stroke: (#[0-9a-f]{6})", path.read_text())
    colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"]
    for colour, unit in zip(colours, units, strict=False):
        assert strokes.count(colour) >= (labels[inside] == unit).sum() > 0


def test_few_events_have_pictures_that_say_so(tmp_path, analyzed):
    cases = {"empty": ([], []), "one": ([5000], [3]), "borders": ([0, 3, SAMPLES - 1], [1, 1, 2])}
    found = {}
    for name, events in cases.items():
        folder = sorting(tmp_path / name, *events)
        done = analyzed(MEAREC, folder)
        found[name] = {what: texts(drawn(what, {"analysis": done})) for what in ("units", "metrics")}
        found[name]["traces"] = texts(drawn("traces", {"recording": MEAREC, "sorting": folder}))
    for what in ("units", "metrics"):
        assert found["empty"][what] == ["No units", "the sorting is empty"]
    assert "Traces, no events" in found["empty"]["traces"]
    assert "0 to 1 s, 4 channels by depth" in found["empty"]["traces"]
    assert "no intervals < 25 ms" in found["one"]["units"]
    assert any(text.startswith("1 event · 0.05 Hz") for text in found["one"]["units"])
    assert {"1 unit", "unit 3"} <= {*found["one"]["units"]}
    assert "Metrics of 1 unit" in found["one"]["metrics"]
    assert "0 to 1 s, 4 channels by depth; 1 event of 1 unit" in found["one"]["traces"]
    assert {"unit 1", "unit 2"} <= {*found["borders"]["units"]}
    assert sum(text.startswith("no waveform") for text in found["borders"]["units"]) == 2
    assert found["borders"]["metrics"].count("2 without a value") == 2


@pytest.fixture
def probe(tmp_path, analyzed):
    """A probe of 64 channels with 45 units, and its analysis."""
    toy = write_toy(tmp_path / "toy", duration_s=12, num_channels=64, num_units=45)
    (tmp_path / "true").mkdir()
    shutil.copyfile(toy / "firings_true.mda", tmp_path / "true" / "firings.mda")
    return toy, tmp_path / "true", analyzed(toy, tmp_path / "true")


def test_many_units_are_on_pages_and_of_many_channels_the_busiest_are_shown(probe):
    toy, true, done = probe
    pages = [texts(drawn("units", {"analysis": done}, params={"page": page})) for page in (1, 2, 3)]
    assert ["Units 1 to 20 of 45" in pages[0], "Units 41 to 45 of 45" in pages[2]] == [True, True]
    named = [text for page in pages for text in page if re.fullmatch(r"unit \d+", text)]
    assert (len(named), len({*named})) == (45, 45)
    with pytest.raises(JobFailedError, match="there is no page 4: the 45 units are on 3"):
        drawn("units", {"analysis": done}, params={"page": 4})
    shown = texts(drawn("traces", {"recording": toy, "sorting": true}))
    assert any("32 of 64 channels by depth" in text for text in shown)
    assert "Metrics of 45 units" in texts(drawn("metrics", {"analysis": done}))


def test_a_stretch_without_samples_and_an_empty_band_end_with_the_reason(inputs):
    with pytest.raises(
        JobFailedError, match=r"no samples from start 30 s to end 31 s: the recording has 20 s"
    ):
        drawn("traces", inputs["traces"], params={"start": 30})
    with pytest.raises(JobFailedError, match=r"freq_min \(500 Hz\) must be below freq_max \(400 Hz\)"):
        drawn("traces", inputs["traces"], params={"freq_min": 500, "freq_max": 400})


def test_a_comparison_shows_the_agreements_and_the_accuracy_against_the_snr(truth, analysis, tmp_path):
    true = read_firings(truth / "firings.mda", 32_000)
    found = compare(true, true)
    folder = tmp_path / "comparison"
    folder.mkdir()
    units = true.unit_ids.tolist()
    rows = [f"my $orter,{unit.unit},{unit.events},{unit.found},{unit.accuracy}" for unit in found.assigned]
    pairs = [f"truth,{unit},my $orter,{unit},1,1.0,true" for unit in units]
    found_rows = [f"my $orter,{unit},1" for unit in units]
    for name, head, lines in (
        ("truth.csv", TRUE_COLUMNS, rows),
        ("units.csv", FOUND_COLUMNS, found_rows),
        ("agreement.csv", AGREEMENT_COLUMNS, pairs),
    ):
        (folder / name).write_text(head + "\n".join(lines) + "\n")
    shown = texts(drawn("comparison", {"comparison": folder, "analysis": analysis}))
    assert {"truth and my $orter", "6 units of truth", "6 units of my $orter", "accuracy"} <= {*shown}
    assert shown.count("1.00") == 6
    assert "SNR of the true unit" in shown
    assert "the truth and 1 sorting; white is 0, the darkest blue 1" in shown
    without = texts(drawn("comparison", {"comparison": folder}))
    assert "true units, the best first" in without


def test_the_command_writes_the_picture_of_a_sorting(command, tmp_path):
    key = last_json(
        command("sort", MEAREC, "--sorter", "ms5", "--output", "-", "--runtime", "host", "--json")
    )["key"]
    for name in ("units.svg", "traces.png"):
        what = name.partition(".")[0]
        done = command(
            "plot", key[:12], "--what", what, "--runtime", "host", "--output", tmp_path / name, "--json"
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["picture"] == str(tmp_path / name)
    assert "unit 1" in texts(tmp_path / "units.svg")
    assert pixels(tmp_path / "traces.png")[0] == 1800
