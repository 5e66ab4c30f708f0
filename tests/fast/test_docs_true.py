"""What the pages say is so: commands, links, exit codes, fields, and the examples."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from ci import docs_tables
from invoke.parser import Parser
from invoke.program import Program
from recording_files import samples, write_spikeglx

from spikecrate.cli.as_invoke import collection
from spikecrate.cli.command import find
from spikecrate.cli.parse import parse
from spikecrate.errors import UsageError
from spikecrate.recordings import open_recording
from spikecrate.recordings.toy import write_toy
from spikecrate.steps.recording_input import RecordingInput
from spikecrate.store.file_hashes import FileState
from spikecrate_harness.answer import as_firings
from spikecrate_harness.layout import Layout, Part
from spikecrate_harness.traces import open_traces

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *DOCS.rglob("*.md"),
        *(ROOT / "sorters").rglob("*.md"),
        *(ROOT / "tools").rglob("*.md"),
    ]
)
NAMESPACE = collection()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[[^]]*\]\(([^)\s]+)\)")


def blocks(page, language):
    return [text for kind, text in FENCE.findall(page.read_text(encoding="utf-8")) if kind == language]


def commands():
    """Every command of ours in a `console` block."""
    found = []
    for page in PAGES:
        for block in blocks(page, "console"):
            for line in block.replace("\\\n", " ").splitlines():
                words = line.removeprefix("$ ").split()
                while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
                    words = words[1:]
                if words and Path(words[0]).name in PARSERS:
                    found.append(pytest.param(" ".join(words), id=f"{page.stem}: {' '.join(words)}"))
    return found


GENERAL = ("--help", "--version", "--list")


def parse_command(_program, words):
    """Parse as spikecrate would; an unknown command or option, or a missing argument, raises."""
    assert words, "names no command"
    if words[0] in GENERAL:
        assert len(words) < 3
        for name in words[1:]:
            find(name)
        return
    command = find(words[0])
    if "--help" not in words:
        parse(command, [word for word in words[1:] if word != "--debug"])


def parse_task(program, words):
    """Parse as invoke would; an unknown step or flag, or a missing argument, raises."""
    bundled = Program(name=program)
    options, *contexts = Parser(contexts=NAMESPACE.to_contexts(), initial=bundled.initial_context).parse_argv(
        words
    )
    wanted = options.args["help"].value
    assert contexts or wanted or options.args["version"].value or words == ["--list"], "names no step"
    if isinstance(wanted, str):
        assert wanted in NAMESPACE.task_names, f"--help {wanted}"


def parse_make(_program, words):
    targets = re.findall(r"^([\w.-]+)\s*:(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(words) <= set(targets), f"the Makefile has {targets}"


def parse_nox(_program, words):
    tree = ast.parse((ROOT / "noxfile.py").read_text())
    sessions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.decorator_list}
    assert words[0] == "-s"
    named = words[1 : words.index("--")] if "--" in words else words[1:]
    assert named
    assert set(named) <= sessions


PARSERS = {"spikecrate": parse_command, "invoke": parse_task, "make": parse_make, "nox": parse_nox}


def table(page, heading):
    """The cells of the first table after a heading, without its head, backticks taken off."""
    text = page.read_text(encoding="utf-8").split(f"{heading}\n", 1)[1]
    rows = []
    for line in text.splitlines():
        if line.startswith("|"):
            rows.append([cell.strip().replace("`", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            break
    return rows[2:]


def slugs(page):
    """The anchors that a page's headings make, as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_are_commands_to_check():
    assert len(commands()) > 20


@pytest.mark.parametrize("command", commands())
def test_every_command_names_a_task_and_flags_that_exist(command):
    program, *words = shlex.split(command, comments=True)
    program = Path(program).name
    PARSERS[program](program, words)


WRONG = [["sort"], ["sort", "rec", "--nope"], ["nope"], ["job.show", "a", "b"], []]


@pytest.mark.parametrize("words", WRONG)
def test_a_command_that_does_not_exist_is_noticed(words):
    with pytest.raises((UsageError, AssertionError), match=r"no command|no option|needs|no further|names no"):
        parse_command("spikecrate", words)
    with pytest.raises(Exception, match=r"No idea|required|names no step"):
        parse_task("invoke", words)


def test_every_option_of_sort_is_in_its_table():
    flags = {option.flag for option in find("sort").options if not option.is_positional}
    headings = ("## Options of `sort`", "## Sort a part of a recording, or several as one")
    cells = [row[0] for heading in headings for row in table(DOCS / "sort.md", heading)]
    assert {word.split()[0] for cell in cells for word in cell.split(", ")} == flags


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_relative_link_leads_somewhere(page):
    for target in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name).resolve() if name else page
        assert there.exists(), target
        assert there.is_relative_to(ROOT), target
        assert not anchor or anchor in slugs(there), target


def test_every_page_is_reached_from_the_index():
    linked = {target.partition("#")[0] for target in LINK.findall((DOCS / "index.md").read_text())}
    assert {page.name for page in DOCS.glob("*.md")} - {"index.md"} <= linked


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, name, _ in docs_tables.TABLES])
def test_a_generated_table_is_as_the_code_has_it(page, name):
    text = page.read_text(encoding="utf-8")
    assert text == docs_tables.rendered(page), "run python ci/docs_tables.py"
    assert [text.count(marker) for marker in docs_tables.markers(name)] == [1, 1]


def test_every_error_has_an_exit_code_of_its_own():
    codes = [row[0] for row in table(DOCS / "troubleshoot.md", "## Exit codes")]
    assert len(codes) > 40
    assert len(set(codes)) == len(codes)


def test_the_harness_s_exit_codes_are_those_of_the_contract():
    main = importlib.import_module("spikecrate_harness.main")
    codes = (main.FAILED, main.INVALID_JOB, main.INVALID_SORTING, main.OUT_OF_MEMORY, main.DISK_FULL)
    said = [row[0] for row in table(DOCS / "contract.md", "## Exit codes")]
    assert said == ["0", *map(str, codes), "other"]


def test_the_contract_names_every_field_of_job_json(tmp_path):
    run = importlib.import_module("spikecrate.steps.run")
    recording = open_recording(write_toy(tmp_path / "toy", duration_s=1, num_channels=1, num_units=1))
    found = RecordingInput(
        name="recording", recording=recording, states=tuple(map(FileState.of, recording.files)), identity={}
    )
    job = SimpleNamespace(
        key="ab" * 32,
        tool=SimpleNamespace(name="ms4", kind="sorter"),
        parts=SimpleNamespace(parameters={}, seed=0),
        inputs={"recording": found},
        gpu=False,
    )
    document = run.job_document(job, SimpleNamespace(cores=1, memory_bytes=None))
    assert [row[0] for row in table(DOCS / "contract.md", "## `job.json`")] == list(document)
    layout = document["inputs"]["recording"]["layout"]
    for heading, data, kind in (
        ("Fields of `layout`:", layout, Layout),
        ("Fields of a part:", layout["parts"][0], Part),
    ):
        fields = [name for row in table(DOCS / "contract.md", heading) for name in row[0].split(", ")]
        assert sorted(fields) == sorted(data)
        assert sorted(fields) == sorted(field.name for field in dataclasses.fields(kind))


def test_every_field_of_recording_json_is_in_its_table():
    schema = json.loads((ROOT / "src/spikecrate/recordings/recording.schema.json").read_text())
    rows = table(DOCS / "recordings.md", "## A flat file: `recording.json`")
    assert {row[0] for row in rows} == set(schema["properties"])
    assert {row[0] for row in rows if row[2] == "needed"} == set(schema["else"]["required"])
    alone = set(schema["properties"]) - set(schema["else"]["properties"]) - {"recordings"}
    allowed = schema["then"]["propertyNames"]["enum"]
    (sentence,) = re.findall(r"With `recordings`, only (.*?) go\.", (DOCS / "recordings.md").read_text())
    assert {"$schema", "recordings", *re.findall("`(.*?)`", sentence)} == set(allowed)
    assert {"$schema", "title", "view", "probe"} == set(allowed) & alone


def test_the_example_of_recording_json_opens(tmp_path):
    example, joined = blocks(DOCS / "recordings.md", "json")
    (tmp_path / "recording.json").write_text(example)
    (tmp_path / "day3.dat").write_bytes(bytes(64 * 100))
    (tmp_path / "geom.csv").write_text("".join(f"0,{20 * row}\n" for row in range(32)))
    recording = open_recording(tmp_path)
    assert (recording.layout.num_channels, recording.layout.num_samples) == (32, 100)
    for run in (1, 2):
        write_spikeglx(tmp_path / f"run{run}_g0", samples(num_channels=16), name=f"run{run}_g0_t0.imec0.ap")
    (tmp_path / "day").mkdir()
    (tmp_path / "day" / "recording.json").write_text(joined)
    day = open_recording(tmp_path / "day")
    assert (day.layout.num_channels, day.layout.num_samples) == (14, 1000)


def test_every_field_of_sorter_json_is_in_its_table():
    schema = json.loads((ROOT / "src/spikecrate/catalogue/sorter.schema.json").read_text())
    rows = table(DOCS / "add-a-sorter.md", "## `sorter.json`")
    said = {name for row in rows for name in row[0].split(", ")}
    assert said <= set(schema["properties"])
    assert set(schema["required"]) <= said


def test_the_example_sorter_is_valid_and_finds_spikes(tmp_path):
    sorters = importlib.import_module("spikecrate.catalogue.tools")
    folder = tmp_path / "threshold"
    folder.mkdir()
    described, _tool = blocks(DOCS / "add-a-sorter.md", "json")
    (folder / "sorter.json").write_text(described)
    sorters.check(folder)
    code, _run, _call = blocks(DOCS / "add-a-sorter.md", "python")
    (folder / "run.py").write_text(code)
    spec = importlib.util.spec_from_file_location("threshold_run", folder / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recording = open_recording(write_toy(tmp_path / "toy", duration_s=2, num_channels=1, num_units=2))
    traces = open_traces(recording.layout, recording.files)
    answer = module.sort(traces, sorters.read(folder).defaults, None)
    firings = as_firings(answer, traces.num_samples, traces.num_channels)
    assert firings.shape[1] > 10
    assert np.unique(firings[2]).tolist() == [1]


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_python_examples_import_what_exists_and_parse(page):
    for block in blocks(page, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)
            elif isinstance(node, ast.Import):
                assert all(importlib.import_module(alias.name) for alias in node.names)


def test_the_attributes_that_the_pages_use_are_there():
    from spikecrate.sortings import Comparison, Sorting, UnitMatch, UnitQuality
    from spikecrate.sortings.comparison.tables import FoundUnit, TrueUnit

    api = importlib.import_module("spikecrate.api")
    kinds = {
        "result": (api.Result,),
        "sorting": (Sorting,),
        "comparison": (Comparison, api.ComparisonResult),
        "unit": (UnitMatch, UnitQuality, TrueUnit, FoundUnit),
    }
    for page in PAGES:
        for block in blocks(page, "python"):
            for name, attribute in re.findall(r"\b(result|sorting|comparison|unit)\.(\w+)", block):
                known = [
                    dir(kind) + [field.name for field in dataclasses.fields(kind)] for kind in kinds[name]
                ]
                assert any(attribute in names for names in known), f"{page.name}: {name}.{attribute}"


def test_the_record_s_fields_are_those_of_the_page():
    from spikecrate.steps.kinds import KINDS

    tree = ast.parse((ROOT / "src/spikecrate/steps/record.py").read_text())
    (function,) = [node for node in tree.body if getattr(node, "name", "") == "run_record"]
    returned = next(node.value for node in ast.walk(function) if isinstance(node, ast.Return))
    # `**facts` of the tool's kind has no keys of its own.
    facts = {name for kind in KINDS.values() for name in kind.facts}
    fields = {key.value for key in returned.keys if key is not None} | facts
    said = {name for row in table(DOCS / "results.md", "## The run record") for name in row[0].split(", ")}
    assert said == fields


def test_the_store_s_folders_are_those_of_the_page():
    from spikecrate.store.place import Store

    folders = {path.name for name, path in vars(Store(Path("/"))).items() if name != "root"}
    assert {row[0].strip("/") for row in table(DOCS / "results.md", "## The store")} == folders
