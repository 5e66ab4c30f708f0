"""One target a parser: it is given any bytes, and may answer with an error of ours or not at all.

Each target is made once, in a folder of its own with everything valid around the file under test, and is then
called with bytes as often as one likes. `SEEDS` holds what is valid to begin with.
"""

from __future__ import annotations

import json
import math
import os
import struct
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spikecrate._util.canonical import digest
from spikecrate.catalogue.parameters import complete, validate
from spikecrate.catalogue.tools import check, read
from spikecrate.cli.step_options import read_parameters
from spikecrate.errors import ResultInvalidError, SpikecrateError
from spikecrate.recordings import open_recording
from spikecrate.recordings.formats.sample_numbers import find_gaps
from spikecrate.recordings.named_probe import read_probe
from spikecrate.sortings import Sorting, read_firings
from spikecrate.sortings.curation import Rule, Table, as_text, read_curation
from spikecrate.steps import resolve as named
from spikecrate.steps.diff import difference
from spikecrate.steps.key import KeyParts
from spikecrate.steps.report import read_report
from spikecrate.store import open_store
from spikecrate.store import result_manifest as seal
from spikecrate.store.file_hashes import FileHashCache, FileState
from spikecrate.store.results import Stored
from spikecrate.studies.definition import ComparisonOptions, Resources, read_study
from spikecrate.studies.plan import (
    PLAN,
    Plan,
    PlannedJob,
    PlannedRecording,
    PlannedVariant,
    Problem,
    load_plan,
)
from spikecrate_harness import mda
from spikecrate_harness.job import JobError, read_job

if TYPE_CHECKING:
    from collections.abc import Callable

    Target = Callable[[bytes], None]

DATA = Path(__file__).parents[1] / "tests" / "data"
SORTERS = Path(__file__).parents[1] / "sorters"
RECORD = Path(__file__).with_name("run.json")


def _mda_bytes(*shape: int, code: int = -7, size: int = 8, fill: bytes | None = None) -> bytes:
    head = b"".join(value.to_bytes(4, "little", signed=True) for value in (code, size, len(shape), *shape))
    return head + (bytes(math.prod(shape) * size) if fill is None else fill)


def mda_file(folder: Path) -> Target:
    """Read with the MDA codec itself, and as a sorting."""
    path = folder / "firings.mda"

    def target(data: bytes) -> None:
        _put(path, data)
        with suppress(mda.MdaError):
            assert mda.read(path).nbytes <= len(data)
        with suppress(ResultInvalidError):
            read_firings(path, 30000, num_samples=10**6)

    return target


def recording_file(name: str, around: dict[str, bytes], **options: Any) -> Callable[[Path], Target]:
    """Make a target of one file of a recording, the others being valid."""

    def make(folder: Path) -> Target:
        for other, content in around.items():
            (folder / other).parent.mkdir(parents=True, exist_ok=True)
            (folder / other).write_bytes(content)
        path = folder / name

        def target(data: bytes) -> None:
            _put(path, data)
            with suppress(SpikecrateError):
                open_recording(folder, **options)

        return target

    return make


def sample_numbers(folder: Path) -> Target:
    """Find the gaps of 50 samples by the numbers that Open Ephys gives them."""
    path = folder / "sample_numbers.npy"

    def target(data: bytes) -> None:
        _put(path, data)
        gaps, _notes = find_gaps(folder, 50)
        assert all(0 < gap.sample < 50 for gap in gaps)

    return target


def probe_file(name: str) -> Callable[[Path], Target]:
    """Make a target of a file that a user names as the probe of four channels."""

    def make(folder: Path) -> Target:
        path = folder / name

        def target(data: bytes) -> None:
            _put(path, data)
            with suppress(SpikecrateError):
                read_probe(str(path), 4, ("a", "b", "c", "d"))

        return target

    return make


def sorter_json(folder: Path) -> Target:
    """Read a sorter's description; hold it to our schema, and its defaults to its own."""
    place = folder / "ms4"
    place.mkdir()

    def target(data: bytes) -> None:
        _put(place / "sorter.json", data)
        with suppress(SpikecrateError):
            sorter = read(place)
            check(place)
            validate(sorter, complete(sorter, {}))

    return target


def study_file(folder: Path) -> Target:
    """Read the file of a study; its paths need not exist."""
    path = folder / "study.yaml"

    def target(data: bytes) -> None:
        _put(path, data)
        with suppress(SpikecrateError):
            read_study(path)

    return target


def study_plan(folder: Path) -> Target:
    """Read the frozen plan of a study."""

    def target(data: bytes) -> None:
        _put(folder / PLAN, data)
        with suppress(SpikecrateError):
            load_plan(folder)

    return target


def job_json(folder: Path) -> Target:
    """Read what the harness is given."""
    path = folder / "job.json"

    def target(data: bytes) -> None:
        _put(path, data)
        with suppress(JobError):
            read_job(path)

    return target


def report(folder: Path) -> Target:
    """Read what a sorter's container says of itself."""
    path = folder / "run.json"

    def target(data: bytes) -> None:
        _put(path, data)
        with suppress(SpikecrateError):
            json.dumps(read_report(path), ensure_ascii=False, allow_nan=False).encode()

    return target


def run_json(folder: Path) -> Target:
    """Read a run record, its key mended so that the fields behind it are reached too, and use it."""
    path = folder / "run.json"
    store = open_store(folder / "store")
    valid = json.loads(RECORD.read_bytes())

    def target(data: bytes) -> None:
        _put(path, _with_key(data))
        try:
            record = named.read_record(path)
        except SpikecrateError:
            return
        for pair in ((record, valid), (valid, record)):
            difference(*(Stored(folder, each, "") for each in pair), store)

    return target


def manifest(folder: Path) -> Target:
    """Read a seal, made whole in itself so that its entries are reached."""
    (folder / "run.json").write_bytes(b"{}")

    def target(data: bytes) -> None:
        _put(folder / seal.NAME, _with_seal(data))
        with suppress(seal.BrokenSealError):
            seal.check(folder, seal.read(folder))

    return target


def crate(folder: Path) -> Target:
    """Read the RO-Crate beside a result."""
    path = folder / "ro-crate-metadata.json"

    def target(data: bytes) -> None:
        _put(path, data)
        with suppress(SpikecrateError):
            named.check_crate(path, {"firings.mda": "00"})

    return target


def parameters(folder: Path) -> Target:
    """Read a file of parameters, as `--params` names one."""
    path = folder / "parameters.json"

    def target(data: bytes) -> None:
        _put(path, data)
        with suppress(SpikecrateError):
            read_parameters(str(path))

    return target


def memo(folder: Path) -> Target:
    """Look a hash up: wrong bytes are forgotten, never believed."""
    kept = FileHashCache(folder / "memo")
    state = FileState(1, 2, 3, 4, 5)
    assert kept.put(state, "samples", "00")
    (path,) = (folder / "memo").glob("*/*")
    valid = path.read_bytes()

    def target(data: bytes) -> None:
        _put(path, data)
        assert kept.get(state, "samples") is None or json.loads(data) == json.loads(valid)

    return target


def curation_file(name: str) -> Callable[[Path], Target]:
    """Make a target of a curation, or of one file of a folder of phy, the others being valid."""
    sorting = Sorting.from_events([1, 2, 3, 4], [1, 2, 1, 7], sampling_frequency=30000)

    def make(folder: Path) -> Target:
        numbers = {"times": [1, 2, 3, 4], "templates": [1, 2, 1, 7], "clusters": [8, 8, 8, 7]}
        for other, values in {} if name.endswith(".json") else numbers.items():
            (folder / f"spike_{other}.npy").write_bytes(_npy(values))
        path = folder / name

        def target(data: bytes) -> None:
            _put(path, data)
            with suppress(SpikecrateError):
                as_text(read_curation(path if name.endswith(".json") else folder, sorting))

        return target

    return make


def rule(_folder: Path) -> Target:
    """Parse a rule on metrics, and evaluate it."""
    table = Table(units=(1, 2), columns={"snr": [5.0, None], "rate": [1.0, 2.0]})

    def target(data: bytes) -> None:
        with suppress(SpikecrateError):
            Rule.parse(data.decode("latin-1")).decide(table)

    return target


def _put(path: Path, data: bytes) -> None:
    # A new file: where one is emptied and written anew, some file systems go to the disk at once.
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def _with_key(data: bytes) -> bytes:
    try:
        record = json.loads(data)
        record["key"] = KeyParts(**record["key_parts"]).key
        return json.dumps(record).encode()
    except (ValueError, TypeError, KeyError, RecursionError):
        return data


def _with_seal(data: bytes) -> bytes:
    try:
        entry = json.loads(data)
        entry["seal"] = digest(["seal", entry["files"]])
        return json.dumps(entry).encode()
    except (ValueError, TypeError, KeyError, RecursionError):
        return data


@dataclass(frozen=True)
class Parser:
    """A parser under test: what makes its target in an empty folder, and valid files to begin with."""

    make: Callable[[Path], Target]
    seeds: tuple[bytes, ...]


def _flat() -> dict[str, Any]:
    return {
        "file": "day3.dat",
        "dtype": "<i2",
        "num_channels": 2,
        "sampling_frequency": 30000,
        "offset": 4,
        "time_axis": 0,
        "gain_uv": [0.195, 0.2],
        "offset_uv": 0,
        "channels": [1, 0],
        "channel_ids": ["a", "b"],
        "num_samples": 5,
        "probe": "geom.csv",
        "spike_sign": -1,
    }


def _job() -> dict[str, Any]:
    record = json.loads(RECORD.read_bytes())
    return {
        "contract": 3,
        "key": record["key"],
        "tool": "ms4",
        "kind": "sorter",
        "parameters": record["parameters"],
        "inputs": {
            "recording": {"kind": "recording", "layout": record["inputs"]["recording"]["layout"]},
            "sorting": {"kind": "folder"},
        },
        "seed": 0,
        "cores": 2,
        "memory_bytes": None,
        "gpu": False,
    }


def _oebin() -> tuple[bytes, dict[str, bytes]]:
    (path,) = (DATA / "openephys_binary").rglob("structure.oebin")
    around = {
        file.relative_to(path.parent).as_posix(): file.read_bytes()
        for file in path.parent.rglob("*")
        if file.name == "continuous.dat"
    }
    return path.read_bytes(), around


def _npy(numbers: list[int]) -> bytes:
    header = (
        f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({len(numbers)},), }}".ljust(117).encode()
        + b"\n"
    )
    magic = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header))
    return magic + header + struct.pack(f"<{len(numbers)}q", *numbers)


def _dumped() -> dict[str, Any]:
    facts = {"file_paths": ["day3.dat"], "sampling_frequency": 30000, "num_channels": 2, "dtype": "int16"}
    return {"class": "spikeinterface.BinaryRecordingExtractor", "kwargs": facts, "properties": {}}


PRB = b"""channel_groups = {
    0: {"channels": list(range(2)), "geometry": {0: [0, 0], 1: [0, 20]}},
    "a": {"channels": [3, 2], "geometry": [[9, 0], [9, 20]]},
}
"""


def _mat(compressed: bool) -> bytes:
    def element(kind: int, content: bytes) -> bytes:
        return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)

    file = b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM"
    for name in ("chanMap", "xcoords", "ycoords", "kcoords", "connected"):
        numbers = struct.pack("<4d", 1, 2, 3, 4)
        parts = (6, struct.pack("<II", 6, 0)), (5, struct.pack("<ii", 4, 1)), (1, name.encode()), (9, numbers)
        matrix = element(14, b"".join(element(*part) for part in parts))
        packed = zlib.compress(matrix)
        file += struct.pack("<II", 15, len(packed)) + packed if compressed else matrix
    return file


SETTINGS = b"""<SETTINGS><INFO><VERSION>0.6.7</VERSION></INFO><SIGNALCHAIN>
<PROCESSOR name="Neuropix-PXI" libraryVersion="0.4.0" nodeId="100"><STREAM name="ProbeA"/><EDITOR>
<NP_PROBE slot="3" port="1" dock="1" probe_part_number="NP2000" probe_serial_number="1">
<CHANNELS CH0="0" CH1="0"/><ELECTRODE_XPOS CH0="0" CH1="32"/><ELECTRODE_YPOS CH0="0" CH1="0"/>
</NP_PROBE></EDITOR></PROCESSOR></SIGNALCHAIN></SETTINGS>"""


def _probe_node() -> dict[str, bytes]:
    channels = [{"channel_name": f"CH{index}", "bit_volts": 0.195} for index in range(2)]
    stream = {"folder_name": "P-1.ProbeA/", "sample_rate": 30000, "num_channels": 2, "channels": channels}
    recording = "Record Node 1/experiment1/recording1"
    return {
        f"{recording}/structure.oebin": json.dumps({"continuous": [stream]}).encode(),
        f"{recording}/continuous/P-1.ProbeA/continuous.dat": bytes(40),
    }


STUDY = b"""# A study
recordings:
  - data/*
  - {path: rec, exhaustive: true, tags: [a, "b: c"]}
sorters: [ms4, {sorter: ms4, name: strict, params: {detect_threshold: 4.5}}]
seeds: [0, 1]
resources: {cores: 1, memory: 8G, time_factor: 1e2}
"""


def _study() -> dict[str, Any]:
    return {
        "name": "a study",
        "recordings": ["rec", {"path": "data/*", "set": "s", "by_group": True}],
        "sorters": [{"sorter": "ms4", "params": {"detect_threshold": 4}}],
        "repeats": 2,
        "comparison": {"tolerance_ms": 0.4, "truth_offset_ms": -3},
        "resources": {"time": "2h", "runtime": "host"},
    }


def _plan() -> dict[str, Any]:
    facts = dict.fromkeys(("name", "study", "content", "version", "made", "store"), "a")
    recording = dict.fromkeys(("name", "study_set", "path", "probe", "group", "truth"), "a")
    return Plan(
        **facts,
        comparison=ComparisonOptions(),
        resources=Resources(),
        recordings=(PlannedRecording(**recording, tags=["b"], exhaustive=True),),
        variants=(PlannedVariant(name="v", sorter="ms4", version="1", params={"detect_threshold": 4}),),
        jobs=(PlannedJob(recording=0, variant=0, seed=0, problem=Problem(kind="E", message="m")),),
    ).as_dict()


def _parsers() -> dict[str, Parser]:
    mountainsort = {
        "raw.mda": _mda_bytes(2, 10, code=-4, size=2),
        "params.json": b'{"samplerate": 30000, "spike_sign": -1, "scale_factor": 0.2}',
        "geom.csv": b"0,0\n0,20\n",
    }
    flat = {"day3.dat": bytes(64), "geom.csv": b"0,0\n0,20\n"}
    metas = tuple(path.read_bytes() for path in sorted((DATA / "spikeglx").glob("*.meta")))
    oebin, streams = _oebin()
    record = RECORD.read_bytes()
    files = {"run.json": {"size": 2, "blake3": seal.hash_file(RECORD)}}
    graph = [{"@id": "./"}, {"@id": "firings.mda"}, {"@id": "#blake3/firings.mda", "value": "00"}]

    def made(value: Any) -> tuple[bytes, ...]:
        return (json.dumps(value).encode(),)

    quality = {"quality": {"label_options": ["good", "noise"], "exclusive": True}}
    curation = {
        "format_version": "2",
        "unit_ids": [1, 2, 7],
        "label_definitions": quality,
        "manual_labels": [{"unit_id": 1, "labels": {"quality": ["good"]}}],
        "removed": [7],
        "merges": [],
        "splits": [{"unit_id": 1, "mode": "indices", "indices": [[0]]}],
    }
    sortingview = {"labelsByUnit": {"1": ["accept"]}, "mergeGroups": [[1, 2]], "labelChoices": ["accept"]}
    annotations = {"/": {"sorting_curation": json.dumps(sortingview)}}
    return {
        "curation.json": Parser(
            curation_file("curation.json"),
            (*made(curation), *made(sortingview), *made({"annotations": annotations})),
        ),
        "curation_steps.json": Parser(curation_file("curation_steps.json"), made([curation])),
        "spike_clusters.npy": Parser(curation_file("spike_clusters.npy"), (_npy([8, 8, 9, 7]),)),
        "cluster_group.tsv": Parser(
            curation_file("cluster_group.tsv"), (b"cluster_id\tgroup\n7\tgood\n8\tnoise\n",)
        ),
        "rule": Parser(rule, (b"snr > 5 and not (1 < rate <= 2.5)",)),
        "mda": Parser(mda_file, (_mda_bytes(3, 4), _mda_bytes(3, 0), _mda_bytes(3, 4, code=-3, size=4))),
        "raw.mda": Parser(recording_file("raw.mda", mountainsort), (mountainsort["raw.mda"],)),
        "params.json": Parser(recording_file("params.json", mountainsort), (mountainsort["params.json"],)),
        "geom.csv": Parser(
            recording_file("geom.csv", mountainsort), (mountainsort["geom.csv"], b"# x\n1 2 3\n")
        ),
        "probe.prb": Parser(probe_file("probe.prb"), (PRB,)),
        "chanMap.mat": Parser(probe_file("chanMap.mat"), (_mat(compressed=False), _mat(compressed=True))),
        "recording.json": Parser(recording_file("recording.json", flat), made(_flat())),
        "spikeglx.meta": Parser(recording_file("a.ap.meta", {"a.ap.bin": bytes(770 * 4)}), metas),
        "structure.oebin": Parser(recording_file("structure.oebin", streams, stream="106.0"), (oebin,)),
        "sample_numbers.npy": Parser(sample_numbers, (_npy([*range(20), *range(900, 930)]),)),
        "dumped.json": Parser(recording_file("spikeinterface_recording.json", flat), made(_dumped())),
        "settings.xml": Parser(recording_file("Record Node 1/settings.xml", _probe_node()), (SETTINGS,)),
        "sorter.json": Parser(sorter_json, ((SORTERS / "ms4" / "sorter.json").read_bytes(),)),
        "study.yaml": Parser(study_file, (STUDY,)),
        "study as JSON": Parser(study_file, made(_study())),
        "plan.json": Parser(study_plan, made(_plan())),
        "job.json": Parser(job_json, made(_job())),
        "report": Parser(report, made(json.loads(record)["inside"])),
        "run.json": Parser(run_json, (record,)),
        "manifest.json": Parser(manifest, made({"files": files, "seal": ""})),
        "ro-crate": Parser(crate, made({"@context": [], "@graph": graph})),
        "parameters": Parser(parameters, (b'{"detect_threshold": 4, "band": [300, 6e3], "label": "a"}',)),
        "memo": Parser(memo, made({"state": [1, 2, 3, 4, 5], "answer": "00", "seal": "00" * 32})),
    }


os.environ.pop("SPIKECRATE_SORTERS", None)
PARSERS = _parsers()
