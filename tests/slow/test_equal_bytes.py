"""Equal bytes whatever the processor, and whatever is forced from outside."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import pytest
from conftest import DATA

import spikecrate
from spikecrate.catalogue.tools import find
from spikecrate.engines.docker import docker_client

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="forces kernels of x86_64 and emulates its processors"
)

PROBE = '''

# What the test wants to know of the process that sorts ----------------------------------------------


def arithmetic():
    """Hash the results of what differs between processors where nothing is pinned, by name."""
    import hashlib

    from scipy import fft, linalg

    random = np.random.default_rng(0)
    double = random.random((150, 170))
    single = double.astype(np.float32)
    square = double @ double.T
    results = {
        "float32 matrix product": single @ single.T,
        "float64 matrix product": square,
        "eigenvectors": np.linalg.eigh(square)[1],
        "singular vectors": linalg.svd(double)[0],
        "float32 exp": np.exp(single),
        "float64 exp": np.exp(double),
        "float64 sin": np.sin(double),
        "float64 tanh": np.tanh(double),
        "float64 power": np.power(double, 1.7),
        "float32 sum": single.sum(axis=1),
        "float64 sum": double.sum(),
        "float32 std": single.std(),
        "einsum": np.einsum("ij,ij->i", single, single),
        "fft": fft.rfft(double),
        "C library": np.array([f(x) for x in double.flat for f in (math.exp, math.log, math.sin, math.atan)]),
    }
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in results.items()}


def processor():
    """Ask the processor itself for its name: the instruction CPUID, in a page of machine code."""
    import ctypes
    import mmap

    code = bytes.fromhex("53 89f8 31c9 0fa2 8906 895e04 894e08 89560c 5b c3")
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    start = ctypes.addressof(ctypes.c_char.from_buffer(page))
    cpuid = ctypes.CFUNCTYPE(None, ctypes.c_uint32, ctypes.c_void_p)(start)
    name = b""
    for leaf in (0x80000002, 0x80000003, 0x80000004):
        registers = (ctypes.c_uint32 * 4)()
        cpuid(leaf, registers)
        name += bytes(registers)
    return name.rstrip(b"\\0").decode().strip()


def tell(**facts):
    import json

    print("TOLD " + json.dumps(facts), flush=True)


watching = False


def watch(event, arguments):
    if watching and event in ("subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"):
        tell(started=str(arguments[0]))


sort_alone = sort


def sort(recording, parameters, resources):
    import sys

    global watching
    tell(arithmetic=arithmetic(), environ=dict(os.environ), processor=processor())
    os.register_at_fork(after_in_child=lambda: tell(worker=processor()))
    sys.addaudithook(watch)
    watching = True
    answer = sort_alone(recording, parameters, resources)
    watching = False
    return answer
'''
"""Appended to ms4's run.py: the same sorter, which tells where it runs."""

SECONDS = 15
"""Of the recording, under emulation."""
MODELS = ("Haswell", "EPYC", "max")
"""Of qemu. Each is given a name that no other processor has."""

FORCED = {
    "OPENBLAS_CORETYPE": "Prescott",
    "OPENBLAS_NUM_THREADS": "2",
    "OMP_NUM_THREADS": "2",
    "OMP_SCHEDULE": "dynamic",
    "MKL_NUM_THREADS": "2",
    "NPY_ENABLE_CPU_FEATURES": "AVX2 FMA3",
    "PYTHONHASHSEED": "123",
    "PYTHONPATH": "/nowhere",
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-AVX512F",
    "LD_PRELOAD": "libm.so.6",
    "MALLOC_PERTURB_": "7",
    "LANG": "de_DE.UTF-8",
    "LC_ALL": "tr_TR.UTF-8",
    "TZ": "Asia/Tokyo",
}


class Sorted(NamedTuple):
    """A run of the harness."""

    firings: bytes
    told: dict
    report: dict


class Probe(NamedTuple):
    """ms4 that tells where it runs, in an environment of the host's, and a job for it."""

    python: str
    code: str
    job: Path
    recording: Path

    def words(self, folder):
        for name in ("out", "scratch"):
            (folder / name).mkdir(parents=True)
        recording = f"recording={self.recording}"
        pairs = {
            "job": self.job,
            "input": recording,
            "out": folder / "out",
            "scratch": folder / "scratch",
        }
        return [self.code, *(word for name, path in pairs.items() for word in (f"--{name}", path))]

    def pinned(self, folder):
        """Give the environment that the harness makes for itself."""
        script = (
            "import json, pathlib, sys; from spikecrate_harness import pinning; "
            "print(json.dumps(pinning.environment({'PATH': '/usr/bin:/bin'}, pathlib.Path(sys.argv[1]))))"
        )
        words = [self.python, "-c", script, folder / "scratch"]
        done = subprocess.run(words, env={"PYTHONPATH": self.code}, capture_output=True, check=True)
        return json.loads(done.stdout)

    def native(self, folder, **outside):
        """Run the harness as the host's runtime does, in any environment."""
        return finished(
            [self.python, "-I", *self.words(folder)], {"PATH": "/usr/bin:/bin", **outside}, folder
        )

    def emulated(self, folder, model):
        """Run the harness on an emulated processor.

        The environment is pinned beforehand: if the harness started itself anew, the kernel would start it on the
        machine's own processor.
        """
        named = f"{model},model-id=emulated {model}"
        words = ["qemu-x86_64", "-cpu", named, self.python, "-s", "-P", *self.words(folder)]
        return run(words, self.pinned(folder), folder)

    def arithmetic(self, environ, *emulator):
        """Compute without the harness."""
        script = "import json, run; print(json.dumps(run.arithmetic()))"
        words = [*emulator, self.python, "-s", "-c", script]
        done = subprocess.run(
            words, env={**environ, "PYTHONPATH": self.code}, capture_output=True, check=True
        )
        return json.loads(done.stdout)


def run(words, environ, folder):
    return subprocess.run(words, env=environ, cwd=folder, capture_output=True, text=True, check=False)


def finished(words, environ, folder):
    return answer(run(words, environ, folder), folder)


def answer(done, folder):
    assert done.returncode == 0, done.stderr
    report = json.loads((folder / "out" / "run.json").read_text())
    return Sorted((folder / "out" / "firings.mda").read_bytes(), told(done.stdout), report)


def told(text):
    """Read what the probe printed; the workers' and started programs' facts as sets."""
    facts = {"worker": set(), "started": set()}
    for line in text.splitlines():
        if line.startswith("TOLD "):
            for name, value in json.loads(line[5:]).items():
                if isinstance(facts.get(name), set):
                    facts[name].add(value)
                else:
                    facts[name] = value
    return facts


def differing(first, second):
    return {name for name in first if first[name] != second[name]}


@pytest.fixture(scope="module")
def probe(environments, tmp_path_factory):
    """Let the library make ms4's environment and a job; the code is then the probe's and the job cut short."""
    root = tmp_path_factory.mktemp("native")
    (root / "store").mkdir(mode=0o700)
    (root / "store" / "environments").symlink_to(environments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPIKECRATE_STORE", str(root / "store"))
        recording = DATA / "spikerbox_neuron"
        result = spikecrate.sort(recording, runtime="host")
    python, _, code = result.record["argv"][:3]
    shutil.copytree(code, root / "code")
    write_probe(root / "code")
    job = json.loads((result.folder / "job.json").read_text())
    layout = job["inputs"]["recording"]["layout"]
    layout["parts"][0]["num_samples"] = SECONDS * int(layout["sampling_frequency"])
    job["cores"] = 1
    (root / "job.json").write_text(json.dumps(job))
    return Probe(python, str(root / "code"), root / "job.json", recording)


@pytest.fixture
def probe_sorter(probe, shared_environments, tmp_path, monkeypatch):  # noqa: ARG001
    """The probe as a sorter of the catalogue."""
    folder = tmp_path / "sorters" / "probe"
    ms4 = find("ms4").folder
    shutil.copytree(ms4, folder)
    write_probe(folder)
    described = json.loads((ms4 / "sorter.json").read_text())
    (folder / "sorter.json").write_text(json.dumps({**described, "name": "probe", "aliases": []}))
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(folder.parent))
    yield "probe"
    for image in docker_client().images.list("spikecrate/probe"):
        docker_client().images.remove(image.id, force=True)


def write_probe(folder):
    (folder / "run.py").write_text((find("ms4").folder / "run.py").read_text() + PROBE)


@pytest.fixture(scope="module")
def native(probe, tmp_path_factory):
    return probe.native(tmp_path_factory.mktemp("native-run"))


# Forced from outside ------------------------------------------------------------------------------


def test_what_is_forced_from_outside_wins_in_no_runtime(probe_sorter, spikerbox, monkeypatch):
    alone = spikecrate.sort(spikerbox, sorter=probe_sorter, runtime="host")
    expected = (alone.folder / "firings.mda").read_bytes()
    assert alone.record["events"] > 50
    arithmetic = told((alone.folder / "log.txt").read_text())["arithmetic"]
    for name, value in FORCED.items():
        for prefix in ("", "APPTAINERENV_", "SINGULARITYENV_"):
            monkeypatch.setenv(prefix + name, value)
    for runtime in ("docker", "apptainer", "host"):
        forced = spikecrate.sort(spikerbox, sorter=probe_sorter, runtime=runtime, force=True)
        assert (forced.status, forced.record["runtime"]) == ("ran", runtime)
        facts = told((forced.folder / "log.txt").read_text())
        assert FORCED.items() & facts["environ"].items() == set(), runtime
        assert differing(facts["arithmetic"], arithmetic) == set(), runtime
        assert (forced.folder / "firings.mda").read_bytes() == expected, runtime
        assert set(forced.record["inside"]["pinned"]["blas"].values()) == {"Haswell"}, runtime


@pytest.mark.parametrize(
    "forced",
    [
        FORCED,
        {"OPENBLAS_CORETYPE": "SkylakeX", "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3", "OMP_NUM_THREADS": "2"},
        {"OPENBLAS_CORETYPE": "Zen", "OPENBLAS_NUM_THREADS": "2", "NPY_DISABLE_CPU_FEATURES": "AVX512F"},
    ],
    ids=lambda forced: forced["OPENBLAS_CORETYPE"],
)
def test_what_reaches_the_harness_does_not_win_either(probe, native, forced, tmp_path):
    """A container of somebody's own, in which variables are set."""
    found = probe.native(tmp_path, **forced)
    assert found.firings == native.firings
    assert found.told["arithmetic"] == native.told["arithmetic"]
    assert found.report["pinned"] == native.report["pinned"]


@pytest.mark.parametrize(
    ("outside", "differs"),
    [
        ({"OPENBLAS_CORETYPE": "Nehalem"}, "float32 matrix product"),
        ({"NPY_DISABLE_CPU_FEATURES": None}, "float32 exp"),
        ({"GLIBC_TUNABLES": None}, "C library"),
    ],
    ids=["OpenBLAS's kernel", "numpy's instructions", "glibc's instructions"],
)
def test_each_pin_is_needed(probe, native, outside, differs, tmp_path):
    """Without the harness, with one variable changed or taken away: else the tests here could not fail."""
    pinned = probe.pinned(tmp_path)
    assert probe.arithmetic(pinned) == native.told["arithmetic"]
    changed = {name: value for name, value in {**pinned, **outside}.items() if value is not None}
    assert differs in differing(probe.arithmetic(changed), native.told["arithmetic"])


# Another processor --------------------------------------------------------------------------------


def test_another_processor_gives_the_same_bytes(probe, native, tmp_path):
    def sort_on(model):
        (tmp_path / model).mkdir()
        return answer(probe.emulated(tmp_path / model, model), tmp_path / model)

    with ThreadPoolExecutor(2) as pool:
        found = dict(zip(MODELS, pool.map(sort_on, MODELS), strict=True))
    assert native.report["events"] > 50
    for model in MODELS:
        facts = found[model].told
        assert facts["processor"] == f"emulated {model}"
        assert facts["worker"] == {facts["processor"]}
        # Programs that are started run on the machine's own processor; Python's `platform` asks this one for a name.
        assert facts["started"] <= {"uname"}
        assert differing(facts["arithmetic"], native.told["arithmetic"]) == set(), model
        assert found[model].firings == native.firings, model
        assert found[model].report["pinned"] == native.report["pinned"]


def test_another_processor_gives_other_bytes_where_nothing_is_pinned(probe, native):
    environ = {"PATH": os.environ["PATH"]}
    found = probe.arithmetic(environ, "qemu-x86_64", "-cpu", "Nehalem")
    assert {"float32 matrix product", "float64 matrix product"} <= differing(found, native.told["arithmetic"])


def test_a_processor_without_the_instructions_is_refused(probe, tmp_path):
    """Though /proc/cpuinfo shows the machine's own processor, which has them."""
    done = probe.emulated(tmp_path, "Nehalem")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: this processor lacks avx2 and fma" in done.stderr
    assert list((tmp_path / "out").iterdir()) == []
