"""Docker's contract kept by Apptainer, as root and as nobody in particular: the same bytes, the same limits."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import DATA, OTHER_UID, SPIKECRATE, asked, last_json, started

import spikecrate
from spikecrate._util.progress import Silent
from spikecrate.engines.apptainer import find_program, lacks_capabilities
from spikecrate.errors import (
    DiskFullError,
    JobFailedError,
    JobMemoryError,
    JobTimeoutError,
    ResultInvalidError,
)
from spikecrate.images import sif
from spikecrate.images.build import build
from spikecrate.store import open_store

ANSWER = "import numpy as np\ndef sort(recording, parameters, resources):\n"
NOTHING = "    return np.array([10.0, 20.0]), np.array([1, 2])\n"


@pytest.fixture
def own_sif(shared, own_store, monkeypatch):
    """Give the test's store a SIF of its own, of the sorter `any`, that it may spoil."""
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(shared / "sorters"))
    own_store.mkdir(mode=0o700)
    (own_store / "sif").mkdir()
    for path in (shared / "store" / "sif").glob("any-*"):
        shutil.copy(path, own_store / "sif")
    (path,) = (own_store / "sif").glob("*.sif")
    return path


@pytest.fixture(autouse=True)
def no_process_left(own_store):
    """Fail a test that leaves a process which works for its store."""
    yield
    left = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if os.fsencode(own_store) + b"/work" in words:
            left.append((entry / "cmdline").read_bytes())
    assert left == []


def run_any(recording, body, **options):
    return spikecrate.sort(recording, sorter="any", params={"value": body}, runtime="apptainer", **options)


# Equal bytes --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("sifs", "shared_environments_here")
@pytest.mark.parametrize("name", ["mearec_tetrode", "spikerbox_neuron"])
def test_a_real_recording_gives_the_same_bytes_in_every_runtime(name):
    results = {
        runtime: spikecrate.sort(DATA / name, runtime=runtime, force=True, output=runtime)
        for runtime in ("docker", "apptainer", "host")
    }
    assert {result.record["runtime"] for result in results.values()} == set(results)
    assert len({result.key for result in results.values()}) == 1
    assert len({(result.output / "firings.mda").read_bytes() for result in results.values()}) == 1
    assert results["docker"].record["events"] > 50


@pytest.fixture
def shared_environments_here(sifs, own_store, environments):  # noqa: ARG001
    (own_store / "environments").symlink_to(environments)


@pytest.mark.usefixtures("sifs")
def test_what_one_engine_made_is_found_by_the_other(toy):
    made = run_any(toy, ANSWER + NOTHING)
    body = {"value": ANSWER + NOTHING}
    assert made.status == "ran"
    assert spikecrate.sort(toy, sorter="any", params=body, runtime="docker").status == "cached"
    again = spikecrate.sort(toy, sorter="any", params=body, runtime="docker", force=True)
    assert again.record["runtime"] == "docker"
    assert run_any(toy, ANSWER + NOTHING).record["runtime"] == "docker"


@pytest.mark.usefixtures("sifs")
def test_the_record_says_what_ran(toy):
    record = run_any(toy, ANSWER + NOTHING, cores=1).record
    (made,) = sif.stored(asked("any"), open_store())
    assert record["image"] == {"reference": made.reference, "digest": made.image_digest}
    assert record["engine"]["engine"] == "apptainer"
    assert record["engine"]["engine_version"] == find_program().version
    assert record["engine"]["kernel"] == os.uname().release
    assert record["engine"]["sif"]["blake3"] == made.blake3
    digest = subprocess.run(["sha256sum", made.path], capture_output=True, text=True, check=True).stdout
    assert digest.startswith(record["engine"]["sif"]["sha256"])
    assert record["argv"][-3:] == ["/opt/sorter/bin/python", "-I", "/opt/spikecrate"]
    assert str(made.path) in record["argv"]
    assert record["inside"]["packages"]["mountainsort4"] == "1.0.7"
    assert record["peak_memory_bytes"] > 20e6
    assert ("--userns" in record["argv"]) == lacks_capabilities()


@pytest.mark.usefixtures("known_user")
def test_a_user_without_docker_converts_an_archive_and_sorts_to_the_same_bytes(toy, other_user, docker):
    """Neither root nor Docker nor a registry: what a cluster has."""
    home, run = other_user
    recording = home / "a, b: 'c'"
    subprocess.run(["cp", "-r", toy, recording], check=True)
    request = asked("ms4")
    build(request, Silent())
    subprocess.run(["docker", "save", request.reference, "--output", home / "ms4.tar"], check=True)
    subprocess.run(["chown", "-R", str(OTHER_UID), home], check=True)
    words = ("--runtime", "apptainer", "--json")
    nothing = run("-m", "spikecrate", "sort", recording, *words)
    assert nothing.returncode == 32, nothing.stderr
    assert "--archive" in nothing.stderr
    converted = last_json(run("-m", "spikecrate", "convert", "--archive", "ms4.tar", "--json"))
    assert converted["image_digest"] == docker.images.get(request.reference).id
    done = run("-m", "spikecrate", "sort", recording, *words)
    assert done.returncode == 0, done.stderr
    ran = last_json(done)
    assert ran["runtime"] == "apptainer"
    in_docker = spikecrate.sort(toy, runtime="docker")
    assert ran["key"] == in_docker.key
    firings = (in_docker.folder / "firings.mda").read_bytes()
    assert (Path(ran["output"]) / "firings.mda").read_bytes() == firings
    owners = {path.lstat().st_uid for path in home.rglob("*")}
    assert owners == {OTHER_UID}
    record = json.loads((Path(ran["folder"]) / "run.json").read_text())
    assert "--userns" not in record["argv"]
    assert record["user"]["uid"] == OTHER_UID


# What the container sees --------------------------------------------------------------------------


PROBE = (
    ANSWER
    + """
    import json, os, socket
    from pathlib import Path
    def refused(action):
        try:
            action()
        except OSError as error:
            return error.strerror or "refused"
        return None
    status = Path("/proc/self/status").read_text()
    seen = {
        "recording": refused(lambda: Path("/inputs/recording/planted").write_text("x")),
        "append": refused(lambda: next(p for p in Path("/inputs/recording").rglob("*") if p.is_file()).open("ab")),
        "job": refused(lambda: Path("/job/planted").write_text("x")),
        "root": refused(lambda: Path("/planted").write_text("x")),
        "var": refused(lambda: Path("/var/tmp/planted").write_text("x")),
        "network": refused(lambda: socket.create_connection(("192.0.2.1", 80), timeout=2)),
        "interfaces": sorted(name for _, name in socket.if_nameindex()),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "home": os.environ["HOME"],
        "environment": sorted(os.environ),
        "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "capabilities": next(line.split()[1] for line in status.splitlines() if "CapEff" in line),
        "no_new_privileges": "NoNewPrivs:\\t1" in status,
        "host_files": [name for name in ("/work", "/mnt/planted", "/home/planted") if os.path.exists(name)],
        "mounts": [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()],
    }
    Path("/out/seen.json").write_text(json.dumps(seen))
"""
    + NOTHING
)


@pytest.mark.usefixtures("sifs")
def test_the_container_can_write_to_its_output_and_scratch_alone(toy, monkeypatch):
    monkeypatch.setenv("APPTAINERENV_PLANTED", "1")
    monkeypatch.setenv("APPTAINER_BIND", "/home:/mnt")
    monkeypatch.setenv("SINGULARITY_BIND", "/home:/mnt")
    result = run_any(toy, PROBE)
    seen = json.loads((result.folder / "sorter" / "seen.json").read_text())
    for name in ("recording", "append", "job", "root", "var", "network"):
        assert seen[name], name
    assert seen["interfaces"] == ["lo"]
    assert (seen["uid"], seen["gid"]) == (os.getuid(), os.getgid())
    assert seen["home"].startswith("/tmp")
    assert "PLANTED" not in seen["environment"]
    assert len(seen["processes"]) < 10
    assert int(seen["capabilities"], 16) == 0
    assert seen["no_new_privileges"]
    assert seen["host_files"] == []
    assert not {"/mnt", "/root", "/home", "/var/tmp", "/etc/hosts"} & set(seen["mounts"])


@pytest.mark.usefixtures("sifs")
@pytest.mark.parametrize(
    "name", ["with space", "quote'\"", "colon:comma,", "Ärzte-神経", "new\nline", "--rm", "$(id)`id`", "a\\b"]
)
def test_any_folder_name_is_sorted(toy, tmp_path, name):
    folder = tmp_path / "data" / name
    folder.parent.mkdir()
    subprocess.run(["cp", "-r", "--", toy, folder], check=True)
    result = run_any(folder, ANSWER + NOTHING)
    assert result.record["inputs"]["recording"]["path"] == str(folder)
    assert result.record["events"] == 2


def test_the_store_may_have_any_name(toy, shared, tmp_path, monkeypatch):
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(shared / "sorters"))
    monkeypatch.setenv("SPIKECRATE_STORE", str(tmp_path / "a:b, 'c' \"d\" $e"))
    assert run_any(toy, ANSWER + NOTHING).record["events"] == 2


@pytest.mark.usefixtures("sifs")
def test_a_sample_file_that_links_out_is_read_and_its_neighbours_are_not_seen(toy, tmp_path):
    archive = tmp_path / "archive"
    subprocess.run(["cp", "-r", toy, archive], check=True)
    (archive / "secret").write_text("not for the sorter")
    folder = tmp_path / "linked"
    folder.mkdir()
    for name in ("geom.csv", "params.json"):
        (folder / name).write_bytes((archive / name).read_bytes())
    (folder / "raw.mda").symlink_to(archive / "raw.mda")
    body = ANSWER + (
        "    from pathlib import Path\n"
        "    print('sees', sorted(path.name for path in Path('/inputs/recording').iterdir()))\n"
        "    assert recording.traces(0, 10).shape == (10, 4)\n"
    )
    result = run_any(folder, body + NOTHING)
    assert "sees ['raw.mda']" in (result.folder / "log.txt").read_text()


# Failures -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("sifs")
def test_a_sorter_that_raises_is_reported_with_its_last_lines_and_not_cached(toy, command):
    body = ANSWER + "    raise RuntimeError('no spikes today')\n"
    words = ("sort", toy, "--sorter", "any", "--param", f"value={body}", "--runtime", "apptainer", "--json")
    done = command(*words)
    assert done.returncode == JobFailedError.exit_code
    assert "no spikes today" in done.stderr
    assert "no spikes today" in Path(last_json(done)["details"]["log"]).read_text()
    assert command(*words).returncode == JobFailedError.exit_code


@pytest.mark.usefixtures("sifs")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (7, JobFailedError),
        (255, JobFailedError),
        (4, ResultInvalidError),
        (28, DiskFullError),
        (5, JobMemoryError),
    ],
)
def test_the_exit_code_of_the_sorter_is_obeyed(toy, code, error):
    with pytest.raises(error):
        run_any(toy, ANSWER + f"    import os; os._exit({code})\n")


@pytest.mark.usefixtures("sifs")
def test_a_signal_that_ends_the_sorter_is_named(toy):
    with pytest.raises(JobFailedError, match="signal 11"):
        run_any(toy, ANSWER + "    import os; os.kill(os.getpid(), 11)\n    import time; time.sleep(9)\n")


@pytest.mark.usefixtures("sifs")
@pytest.mark.parametrize(
    "body",
    [
        "    x = np.ones(10**9)\n    import time; time.sleep(600)\n",
        (
            "    import subprocess, sys\n"
            "    code = 'import time; x = bytearray(b\"1\") * 2**30; time.sleep(600)'\n"
            "    subprocess.run([sys.executable, '-c', code], start_new_session=True)\n"
        ),
    ],
    ids=["its own", "of a child in a session of its own"],
)
def test_too_little_memory_says_how_much_it_had_and_what_to_ask_for(toy, body):
    with pytest.raises(JobMemoryError, match=r"more than the 0\.2 GiB") as caught:
        run_any(toy, ANSWER + body + NOTHING, memory_bytes=256 * 2**20)
    assert "--memory 1G" in caught.value.next_step


@pytest.mark.usefixtures("sifs")
def test_the_time_limit_ends_the_sorter(toy):
    started = time.monotonic()
    with pytest.raises(JobTimeoutError, match="time limit of 3 s"):
        run_any(toy, ANSWER + "    import time; time.sleep(600)\n", timeout_s=3)
    assert time.monotonic() - started < 30


SLEEP_S = f"600.{os.getpid()}"
"""Of these tests alone: others that run beside them have sleepers too."""
SLOW = ANSWER + (
    "    import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    f"    import subprocess; subprocess.Popen(['sleep', '{SLEEP_S}'], start_new_session=True)\n"
    "    print('started', flush=True)\n    import time; time.sleep(600)\n"
)


SLOWLY = ("--sorter", "any", "--param", f"value={SLOW}", "--runtime", "apptainer")


def sleepers():
    """Count the sleeping children of the sorter above, which made a session of their own."""
    found = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    return found.count(f"sleep\0{SLEEP_S}\0".encode())


def sleeper_is_there():
    """Say whether there is one, at the latest when the system has entered its name."""
    deadline = time.monotonic() + 60
    while sleepers() != 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    return sleepers() == 1


@pytest.mark.usefixtures("sifs")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_takes_its_container_with_it(toy, own_store, number, code):
    """Also a sorter that is deaf to SIGTERM, and what it started in a session of its own."""
    with started(toy, *SLOWLY) as child:
        assert sleeper_is_there()
        child.send_signal(number)
        assert child.wait(30) == code
    assert sleepers() == 0
    assert list((own_store / "results").rglob("*.mda")) == []


@pytest.mark.usefixtures("sifs")
def test_what_a_killed_run_leaves_is_removed_by_gc(toy, command):
    with started(toy, *SLOWLY) as child:
        child.kill()
    assert sleeper_is_there()
    removed = last_json(command("store.gc", "--json"))["removed"]
    assert len(removed) == 2
    assert sleepers() == 0


@pytest.mark.usefixtures("sifs")
def test_the_next_run_removes_what_a_killed_run_left(toy):
    with started(toy, *SLOWLY) as child:
        child.kill()
    assert sleeper_is_there()
    run_any(toy, ANSWER + NOTHING)
    assert sleepers() == 0


@pytest.mark.usefixtures("sifs")
def test_a_full_disk_is_reported_and_leaves_the_store_sound(toy, tmp_path, shared, command):
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", small], check=True)
    try:
        (small / "store").mkdir(mode=0o700)
        (small / "store" / "sif").symlink_to(shared / "store" / "sif")
        body = ANSWER + "    open('/out/big', 'wb').write(bytes(64 * 2**20))\n" + NOTHING
        done = command(
            *("sort", toy, "--sorter", "any", "--param", f"value={body}"),
            *("--runtime", "apptainer", "--output", "-"),
            env={"SPIKECRATE_STORE": str(small / "store")},
        )
        assert done.returncode == 51, done.stderr
        assert list((small / "store" / "work").iterdir()) == []
        assert list((small / "store" / "results").rglob("*.mda")) == []
    finally:
        subprocess.run(["umount", small], check=True)


# The SIF ------------------------------------------------------------------------------------------


def convert_any(command, *words, **options):
    done = command("convert", "--sorter", "any", "--json", *words, **options)
    assert done.returncode == 0, done.stderr
    return last_json(done)


def test_a_conversion_is_done_once_and_has_its_provenance_beside(own_sif, command, own_store):
    before = own_sif.stat().st_mtime_ns
    again = convert_any(command)
    assert not again["converted"]
    assert again["path"] == str(own_sif)
    assert own_sif.stat().st_mtime_ns == before
    provenance = json.loads(own_sif.with_suffix(".json").read_text())
    assert provenance["sif"]["image_digest"] == again["image_digest"]
    assert provenance["sif"]["engine_version"] == find_program().version
    assert provenance["labels"]["spikecrate.recipe"] == again["recipe"]
    assert sorted(path.suffix for path in (own_store / "sif").iterdir()) == [".json", ".sif"]
    packed = convert_any(command, "--compression", "lz4")
    assert packed["converted"]
    assert packed["compression"] == "lz4"
    superblock = subprocess.run(["unsquashfs", "-s", "-o", "40960", own_sif], capture_output=True, check=True)
    assert b"Compression lz4" in superblock.stdout


def test_a_corrupt_sif_is_noticed_before_a_job_runs_set_aside_and_made_again(
    toy, own_sif, own_store, command
):
    """One flipped bit, with the old times put back."""
    stat = own_sif.stat()
    with own_sif.open("r+b") as file:
        file.seek(stat.st_size // 2)
        (byte,) = file.read(1)
        file.seek(stat.st_size // 2)
        file.write(bytes([byte ^ 1]))
    os.utime(own_sif, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    words = ("--sorter", "any", "--param", f"value={ANSWER + NOTHING}", "--runtime", "apptainer")
    done = command("sort", toy, *words, "--output", "-")
    assert done.returncode == 0, done.stderr
    assert "is corrupt; moved to" in done.stderr
    assert len(list((own_store / "quarantine").glob("any-*.sif"))) == 1
    assert list((own_store / "sif").glob("any-*.sif")) == [own_sif]


def test_a_changed_image_makes_a_new_sif_and_never_runs_the_old_one(
    toy, own_sif, shared, tmp_path, monkeypatch
):
    catalogue = tmp_path / "changed"
    subprocess.run(["cp", "-r", shared / "sorters", catalogue], check=True)
    run = catalogue / "any" / "run.py"
    run.write_text(run.read_text().replace("scope = {}", "scope = {}; print('the new one')"))
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(catalogue))
    result = run_any(toy, ANSWER + NOTHING)
    assert "the new one" in (result.folder / "log.txt").read_text()
    assert result.record["engine"]["sif"]["path"] != str(own_sif)
    assert own_sif.exists()


def test_two_converters_make_one_sif(shared, own_store, monkeypatch):
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(shared / "sorters"))
    children = [
        subprocess.Popen(
            [SPIKECRATE, "convert", "--sorter", "any", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(3)
    ]
    answers = [json.loads(child.communicate(timeout=300)[0].splitlines()[-1]) for child in children]
    assert sorted(answer["converted"] for answer in answers) == [False, False, True]
    assert len({answer["blake3"] for answer in answers}) == 1
    assert len(list((own_store / "sif").iterdir())) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_conversion_leaves_nothing(shared, own_store, monkeypatch, command, number):
    """After SIGKILL the next start or `store.gc` removes it."""
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(shared / "sorters"))
    child = subprocess.Popen(
        [SPIKECRATE, "convert", "--sorter", "any", "-v"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    with child:
        for line in child.stderr:
            if "Creating SIF file" in line:
                break
        child.send_signal(number)
        assert child.wait(60) in (130, -9)
    if number == signal.SIGKILL:
        # The engine's own process runs on: it is ended first.
        assert len(list((own_store / "sif").iterdir())) == 1
        assert len(last_json(command("store.gc", "--json"))["removed"]) == 1
    assert list((own_store / "sif").iterdir()) == []


def test_too_little_space_is_told_before_the_conversion_begins(shared, tmp_path, command, monkeypatch):
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(shared / "sorters"))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", small], check=True)
    try:
        done = command("convert", "--sorter", "any", env={"SPIKECRATE_STORE": str(small / "store")})
        assert done.returncode == DiskFullError.exit_code
        assert "are free" in done.stderr
        assert "Starting build" not in done.stderr
        assert list((small / "store" / "sif").iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)


def test_an_oci_archive_is_converted_where_there_is_no_docker(toy, shared, tmp_path, monkeypatch, command):
    """And an archive of another recipe, or a damaged one, is refused."""
    monkeypatch.setenv("SPIKECRATE_SORTERS", str(shared / "sorters"))
    request = asked("any")
    saved = tmp_path / "docker:save.tar"
    subprocess.run(["docker", "save", request.reference, "--output", saved], check=True)
    layout = tmp_path / "layout"
    layout.mkdir()
    subprocess.run(["tar", "-xf", saved, "-C", layout], check=True)
    (layout / "manifest.json").unlink()
    archive = tmp_path / "oci:archive.tar"
    subprocess.run(["tar", "-cf", archive, "-C", layout, "blobs", "index.json", "oci-layout"], check=True)
    nowhere = {"DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    made = convert_any(command, "--archive", str(archive), env=nowhere)
    assert made["converted"]
    for word in ("apptainer", "auto"):
        body = f"value={ANSWER + NOTHING}"
        words = ("--sorter", "any", "--param", body, "--runtime", word, "--json", "--force", "--output", "-")
        done = command("sort", toy, *words, env=nowhere)
        assert last_json(done)["runtime"] == "apptainer", done.stderr
        assert ("running with the apptainer runtime" in done.stderr) == (word == "auto")
    other = command("convert", "--sorter", "ms4", "--archive", str(archive), env=nowhere)
    assert other.returncode == 38
    assert "has recipe" in other.stderr
    with archive.open("r+b") as file:
        file.truncate(archive.stat().st_size // 2)
    damaged = command(
        "convert", "--sorter", "any", "--archive", archive, "--compression", "gzip", env=nowhere
    )
    assert damaged.returncode in (34, 38)


# The engine ---------------------------------------------------------------------------------------


def test_without_apptainer_it_is_said_to_be_missing(toy, command, tmp_path):
    done = command("sort", toy, "--runtime", "apptainer", env={"PATH": str(tmp_path)})
    assert done.returncode == 30
    assert "neither apptainer nor singularity" in done.stderr


def test_it_is_found_under_its_older_name(tmp_path, monkeypatch):
    (tmp_path / "singularity").symlink_to(shutil.which("apptainer"))
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert Path(find_program().path).name == "singularity"


def test_forbidden_user_namespaces_are_named_with_the_mend(toy):
    """In a namespace that allows no other, as a root who has lost root's capabilities."""
    script = (
        "echo 0 >/proc/sys/user/max_user_namespaces; "
        'exec setpriv --bounding-set=-all --inh-caps=-all "$0" sort "$1" --runtime apptainer'
    )
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "sh", "-c", script, SPIKECRATE, toy],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 32, done.stderr
    assert "user namespaces are forbidden" in done.stderr
    assert "sysctl -w user.max_user_namespaces" in done.stderr


def test_a_user_without_a_name_is_told_so(toy, other_user):
    home, run = other_user
    subprocess.run(["cp", "-r", toy, home / "recording"], check=True)
    done = run("-m", "spikecrate", "sort", "recording", "--runtime", "apptainer")
    assert done.returncode == 32, done.stderr
    assert "useradd" in done.stderr


def test_auto_takes_the_host_where_there_is_no_image_to_run(toy, own_store, environments, command, tmp_path):
    own_store.mkdir(mode=0o700)
    (own_store / "environments").symlink_to(environments)
    done = command("sort", toy, "--json", "--output", "-", env={"DOCKER_HOST": f"unix://{tmp_path}/no.sock"})
    assert last_json(done)["runtime"] == "host", done.stderr
    assert "no SIF of ms4" in done.stderr
