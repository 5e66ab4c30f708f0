"""Sorters that mean harm, in Docker and in Apptainer: each is contained, and what it did is said."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from conftest import last_json

import spikecrate
from spikecrate.errors import JobFailedError, ResultInvalidError
from spikecrate.store.lock import Lock
from spikecrate.store.place import Store

pytestmark = pytest.mark.usefixtures("sifs")

HEAD = """
import json, os, socket, sys, time
from pathlib import Path
import numpy as np
def refused(action):
    try:
        action()
    except OSError as error:
        return error.strerror or type(error).__name__
    return None
def sort(recording, parameters, resources):
"""
ANSWER = "    return np.array([10.0, 20.0]), np.array([1, 2])\n"


@pytest.fixture(params=["docker", "apptainer"])
def run(request, toy):
    """Run a sorter's body in each engine."""

    def sort(body, recording=toy, **options):
        code = HEAD + "".join(f"    {line}\n" for line in body.strip("\n").splitlines()) + ANSWER
        return spikecrate.sort(
            recording, sorter="any", params={"value": code}, runtime=request.param, **options
        )

    return sort


def seen(result):
    return json.loads((result.folder / "sorter" / "seen.json").read_text())


def state(folder):
    return {
        str(path.relative_to(folder)): (
            hashlib.sha256(path.read_bytes()).hexdigest(),
            path.stat().st_mtime_ns,
            path.stat().st_mode,
        )
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_recording_cannot_be_changed(run, toy):
    before = state(toy)
    result = run("""
files = [path for path in Path("/inputs/recording").rglob("*") if path.is_file()]
tries = {}
for path in files:
    tries[f"write {path}"] = refused(lambda: os.open(path, os.O_WRONLY))
    tries[f"truncate {path}"] = refused(lambda: os.truncate(path, 0))
    tries[f"unlink {path}"] = refused(path.unlink)
    tries[f"chmod {path}"] = refused(lambda: path.chmod(0o777))
    tries[f"touch {path}"] = refused(lambda: os.utime(path, (0, 0)))
    tries[f"rename {path}"] = refused(lambda: path.rename("/inputs/recording/other"))
    tries[f"link {path}"] = refused(lambda: os.link(path, "/out/linked"))
tries["remount"] = None if os.system("mount -o remount,rw /inputs/recording 2>/dev/null") == 0 else "refused"
tries["unmount"] = None if os.system("umount /inputs/recording 2>/dev/null") == 0 else "refused"
Path("/out/seen.json").write_text(json.dumps(tries))
""")
    tries = seen(result)
    assert len(tries) > 20
    assert [what for what, refusal in tries.items() if refusal is None] == []
    assert state(toy) == before


def test_a_file_system_below_the_recording_cannot_be_changed_either(run, toy, tmp_path):
    recording = tmp_path / "recording"
    subprocess.run(["cp", "-r", toy, recording], check=True)
    below = recording / "with, comma"
    below.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", below], check=True)
    try:
        (below / "samples").write_text("as they are")
        result = run(
            """
tries = {
    "write": refused(lambda: Path("/inputs/recording/with, comma/samples").write_text("x")),
    "make": refused(lambda: Path("/inputs/recording/with, comma/planted").write_text("x")),
    "read": None if Path("/inputs/recording/with, comma/samples").read_text() != "as they are" else "refused",
}
Path("/out/seen.json").write_text(json.dumps(tries))
""",
            recording,
        )
        assert [what for what, refusal in seen(result).items() if refusal is None] == []
        assert [path.name for path in below.iterdir()] == ["samples"]
    finally:
        subprocess.run(["umount", below], check=True)


def test_no_setting_of_the_kernel_can_be_changed(run):
    """Not even by root: the files under /proc/sys and /sys belong to its uid, and ask for no capability."""
    name = socket.gethostname()
    result = run("""
tries = {
    path: refused(lambda: os.close(os.open(path, os.O_WRONLY)))
    for path in (
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/vm/swappiness",
        "/proc/sysrq-trigger",
        "/sys/kernel/mm/transparent_hugepage/defrag",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    )
    if os.path.exists(path)
}
for folder in ("/sys/fs/cgroup", "/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"):
    if os.path.isdir(folder):
        tries[folder] = refused(lambda: os.mkdir(f"{folder}/planted"))
tries["hostname"] = refused(lambda: Path("/proc/sys/kernel/hostname").write_text("planted"))
Path("/out/seen.json").write_text(json.dumps(tries))
""")
    tries = seen(result)
    assert len(tries) >= 5
    assert [what for what, refusal in tries.items() if refusal is None] == []
    assert socket.gethostname() == name


def test_no_proxy_of_the_user_reaches_the_sorter(run, tmp_path, monkeypatch):
    """Docker's command line copies the proxies of its configuration, password included, into every container."""
    proxy = "http://me:secret@proxy.example:3128"
    kinds = {
        "httpProxy": proxy,
        "httpsProxy": proxy,
        "ftpProxy": proxy,
        "allProxy": proxy,
        "noProxy": "secret",
    }
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "config.json").write_text(json.dumps({"proxies": {"default": kinds}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    for name in ("HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    result = run("""
Path("/out/seen.json").write_text(json.dumps({k: v for k, v in os.environ.items() if "proxy" in k.lower()}))
""")
    assert not any(seen(result).values())
    assert "secret" not in (result.folder / "run.json").read_text()
    if result.record["runtime"] == "docker":
        argv = result.record["argv"]
        shell = argv.index("--entrypoint")
        without = [word for word in argv[:shell] if not word.startswith("type=") and word != "--mount"]
        printed = subprocess.run(
            [*without, "--entrypoint", "env", argv[shell + 2]], capture_output=True, text=True, check=True
        )
        assert "secret" not in printed.stdout


def test_no_network_and_no_socket_of_the_machine_is_reached(run):
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as abstract:
        name = f"spikecrate-test-{os.getpid()}"
        abstract.bind(f"\0{name}")
        abstract.listen()
        result = run(f"""
def to(family, address):
    with socket.socket(family) as s:
        s.settimeout(2)
        s.connect(address)
tries = {{
    "far": refused(lambda: to(socket.AF_INET, ("192.0.2.1", 80))),
    "listener": refused(lambda: to(socket.AF_INET, ("127.0.0.1", {listener.getsockname()[1]}))),
    "bridge": refused(lambda: to(socket.AF_INET, ("172.17.0.1", 80))),
    "abstract": refused(lambda: to(socket.AF_UNIX, "\\0{name}")),
    "docker": refused(lambda: to(socket.AF_UNIX, "/var/run/docker.sock")),
    "name": refused(lambda: socket.getaddrinfo("example.org", 80)),
    "raw": refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
}}
Path("/out/seen.json").write_text(json.dumps(tries))
""")
    assert [what for what, refusal in seen(result).items() if refusal is None] == []


def test_the_store_the_home_and_another_job_are_not_seen(run, own_store, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id_ed25519").write_text("a secret")
    monkeypatch.setenv("HOME", str(home))
    other = own_store / "work" / f"{'ab' * 32}-00000000"
    other.mkdir(parents=True)
    (own_store / "locks").mkdir()
    (other / "firings.mda").write_text("another's")
    monkeypatch.setenv("SECRET_TOKEN", "in the environment")
    with Lock(Store(own_store).lock("ab" * 32)):
        places = [
            str(path) for path in (own_store, own_store / "results", other, home, home / ".ssh", tmp_path)
        ]
        result = run(f"""
tries = {{}}
for place in {places!r} + ["/root/.ssh", "/home", "/var/run/docker.sock", "/proc/1/root/home"]:
    tries[place] = "refused" if not os.path.exists(place) else refused(lambda: os.listdir(place)) or None
    if tries[place] is None and os.path.isdir(place) and not os.listdir(place):
        tries[place] = "empty"
tries["environment"] = "in the environment" not in str(dict(os.environ)) or None
tries["other processes"] = len([n for n in os.listdir("/proc") if n.isdigit()]) < 20 or None
Path("/out/seen.json").write_text(json.dumps(tries))
""")
        assert [what for what, refusal in seen(result).items() if refusal is None] == []
    (other / "firings.mda").unlink()
    other.rmdir()


def test_processes_without_end_are_ended(run):
    """Five thousand is beyond the limit of 4096 and, if the limit fails, still no harm to the machine."""
    span = f"120.{os.getpid()}"
    with pytest.raises(JobFailedError):
        run(f"""
for _ in range(5000):
    os.posix_spawn("/bin/sleep", ["sleep", "{span}"], {{}})
time.sleep(120)
""")
    deadline = time.monotonic() + 30
    while subprocess.run(["pgrep", "-f", f"^sleep {span}"], capture_output=True, check=False).stdout:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_process_that_hides_from_its_parent_is_ended_with_the_job(run):
    token = f"{os.getpid()}.{time.time_ns() % 10**6}"
    run(f"""
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.close(0), os.close(1), os.close(2)
        os.execv("/bin/sleep", ["sleep", "7{token}"])
    os._exit(0)
time.sleep(0.3)
""")
    lines = [
        path.read_bytes()
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.parent.name != str(os.getpid())
    ]
    assert not [line for line in lines if token.encode() in line]


@pytest.mark.parametrize("gibibytes", [1, pytest.param(10, marks=pytest.mark.faults)])
def test_gigabytes_of_output_are_read_and_not_kept(run, gibibytes):
    result = run(f"""
line = b"x" * 1023 + bytes([10])
for _ in range({gibibytes} * 2**10):
    sys.stdout.buffer.write(line * 1024)
sys.stdout.flush()
print("the last line", flush=True)
""")
    assert (result.folder / "log.txt").stat().st_size < 66 * 2**20


WRITE = """
import struct
def firings(rows, claimed=None):
    data = np.array(rows, dtype="<f8")
    count = data.shape[1] if claimed is None else claimed
    return struct.pack("<5i", -7, 8, 2, 3, count) + data.T.tobytes()
def leave(data, report=b"{}"):
    Path("/out/firings.mda").write_bytes(data)
    Path("/out/run.json").write_bytes(report)
    os._exit(0)
"""
FORGED = {
    "a label of 1e308": "leave(firings([[1], [5], [1e308]]))",
    "a label that is no number": "leave(firings([[1], [5], [np.nan]]))",
    "a time that is no number": "leave(firings([[1], [np.nan], [1]]))",
    "an infinite time": "leave(firings([[1], [np.inf], [1]]))",
    "a negative time": "leave(firings([[1], [-5], [1]]))",
    "a time beyond the end": "leave(firings([[1], [1e12], [1]]))",
    "a channel of its own": "leave(firings([[99], [5], [1]]))",
    "more events claimed than there are": "leave(firings([[1], [5], [1]], claimed=2**31 - 1))",
    "a file without end": 'leave(firings([[1], [5], [1]])) if os.truncate(os.open("/out/firings.mda", os.O_CREAT | os.O_RDWR), 2**43) else None\nPath("/out/run.json").write_text("{}")\nos._exit(0)',
    "nothing in it": 'leave(b"")',
    "a link to a file of the system": 'os.symlink("/etc/passwd", "/out/firings.mda")\nPath("/out/run.json").write_text("{}")\nos._exit(0)',
    "a link to the recording": 'os.symlink("/inputs/recording/raw.mda", "/out/firings.mda")\nPath("/out/run.json").write_text("{}")\nos._exit(0)',
    "a folder": 'os.mkdir("/out/firings.mda")\nPath("/out/run.json").write_text("{}")\nos._exit(0)',
    "a pipe": 'os.mkfifo("/out/firings.mda")\nPath("/out/run.json").write_text("{}")\nos._exit(0)',
    "a report that is a link": 'os.symlink("/job/job.json", "/out/run.json")\nPath("/out/firings.mda").write_bytes(firings([[1], [5], [1]]))\nos._exit(0)',
    "a report without end": 'leave(firings([[1], [5], [1]]), b"[" * 10**6)',
    "a report that is no object": 'leave(firings([[1], [5], [1]]), b"[1]")',
    "a report of a gigabyte": 'Path("/out/firings.mda").write_bytes(firings([[1], [5], [1]]))\nos.truncate(os.open("/out/run.json", os.O_CREAT | os.O_RDWR), 2**30)\nos._exit(0)',
    "a link among what else is left": 'os.symlink("../../../../../../etc/passwd", "/out/templates.npy")\nleave(firings([[1], [5], [1]]))',
    "a socket among what else is left": 'socket.socket(socket.AF_UNIX).bind("/out/s")\nleave(firings([[1], [5], [1]]))',
}


@pytest.mark.parametrize("what", list(FORGED))
def test_a_forged_answer_is_refused(run, own_store, what):
    with pytest.raises(ResultInvalidError) as refused:
        run(WRITE + FORGED[what])
    assert "/out/" in str(refused.value) or "firings.mda" in str(refused.value)
    assert list((own_store / "results").glob("*/*")) == []


def test_events_out_of_order_are_read_in_order(run):
    result = run(WRITE + "leave(firings([[1, 1], [20, 10], [1, 2]]))")
    assert result.sorting.times.tolist() == [10.0, 20.0]
    assert result.sorting.labels.tolist() == [2, 1]


@pytest.mark.parametrize("ends", ["", "raise RuntimeError('after that')"])
def test_modes_that_keep_the_owner_out_change_nothing(run, ends):
    body = """
Path("/out/closed/inner").mkdir(parents=True)
Path("/out/closed/inner/file").write_text("kept")
for path in ("/out/closed/inner/file", "/out/closed/inner", "/out/closed"):
    os.chmod(path, 0)
"""
    if ends:
        with pytest.raises(JobFailedError, match="after that"):
            run(body + "os.chmod('/out', 0)\n" + ends)
    else:
        result = run(body)
        assert (result.folder / "sorter" / "closed" / "inner" / "file").read_text() == "kept"


ODD_MODES = """
import os
import numpy as np
from pathlib import Path

def sort(recording, parameters, resources):
    print("before the modes")
    (Path("/out/plots")).mkdir()
    (Path("/out/plots/a.txt")).write_text("kept")
    os.chmod("/out/plots/a.txt", 0)
    os.chmod("/out/plots", 0)
    if parameters["value"] == "fail":
        os.chmod("/out", 0)
        raise RuntimeError("no spikes today")
    return np.empty(0), np.empty(0)
"""


def test_odd_modes_in_the_output_of_an_ordinary_user_change_neither_code_nor_log(toy, lab_sorter, other_user):
    """Root reads whatever it likes; another user is kept out by the modes that its own sorter sets."""
    home, run = other_user
    name, catalogue = lab_sorter(ODD_MODES), Path(os.environ["SPIKECRATE_SORTERS"])
    shutil.copytree(toy, home / "recording")
    shutil.copytree(catalogue, home / "sorters")

    def sort(*words):
        return run(
            *(
                "-m",
                "spikecrate",
                "sort",
                "recording",
                "--sorter",
                name,
                "--runtime",
                "docker",
                *words,
                "--json",
            ),
            groups=[Path("/var/run/docker.sock").stat().st_gid],
            SPIKECRATE_SORTERS=home / "sorters",
        )

    done = sort()
    assert done.returncode == 0, done.stderr
    kept = Path(last_json(done)["folder"]) / "sorter" / "plots" / "a.txt"
    assert kept.read_text() == "kept"
    failed = sort("--param", "value=fail")
    assert failed.returncode == JobFailedError.exit_code, failed.stderr
    log = Path(last_json(failed)["details"]["log"]).read_text()
    assert "before the modes" in log
    assert "no spikes today" in log


def test_what_a_sorter_leaves_cannot_climb_out_of_its_folder(run, own_store):
    result = run("""
Path("/out/..hidden").write_text("x")
Path("/out/a\\\\b;c").write_text("x")
tries = {
    "above": refused(lambda: Path("/out/../planted").write_text("x")),
    "root": refused(lambda: Path("/planted").write_text("x")),
    "job": refused(lambda: Path("/job/planted").write_text("x")),
}
Path("/out/seen.json").write_text(json.dumps(tries))
""")
    assert [what for what, refusal in seen(result).items() if refusal is None] == []
    assert sorted(path.name for path in (result.folder / "sorter").iterdir()) == [
        *("..hidden", "a\\b;c", "seen.json")
    ]
    assert not list(own_store.rglob("planted"))


@pytest.mark.parametrize(
    "text",
    ["$(touch planted)", "`touch planted`", "; touch planted #", "--privileged", "-v /:/host", "a\nb\0c"[:3]],
)
def test_parameters_and_paths_are_data_never_commands(text, run, toy, tmp_path, command):
    recording = tmp_path / text.replace("/", ":")
    recording.symlink_to(toy)
    result = run("", recording)
    assert result.record["events"] == 2
    done = command("sort", toy, "--sorter", text, "--runtime", "docker", "--json")
    assert done.returncode == 20, done.stderr
    assert "error" in last_json(done)
    done = command("sort", toy, "--sorter", "any", "--param", f"{text}=1", "--output", "-", "--json")
    assert done.returncode == 22, done.stderr
    assert not list(tmp_path.rglob("planted"))
