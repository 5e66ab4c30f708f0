"""The main job, on real recordings in Docker: sorted, cached, recorded, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, OTHER_UID, SPIKECRATE, last_json, started

import spikecrate
from spikecrate.errors import JobFailedError, JobMemoryError, JobTimeoutError, ResultInvalidError
from spikecrate.sortings import compare, read_firings

ANSWER = "import numpy as np\ndef sort(recording, parameters, resources):\n"
NOTHING = "    return np.array([10.0, 20.0]), np.array([1, 2])\n"


def state(folder):
    """Everything about a folder that a run could change."""
    return {
        path.relative_to(folder).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns, path.stat().st_mode)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_real_recording_of_one_channel_is_sorted_and_then_found(spikerbox, command):
    before = state(spikerbox)
    ran = last_json(command("sort", "--sorter", "ms4", spikerbox, "--runtime", "docker", "--json"))
    assert ran["status"] == "ran"
    assert ran["runtime"] == "docker"
    assert ran["units"] >= 1
    assert ran["events"] > 50
    cached = last_json(command("sort", "--sorter", "ms4", spikerbox, "--json"))
    assert cached["status"] == "cached"
    assert cached["key"] == ran["key"]
    assert cached["folder"] == ran["folder"]
    assert state(spikerbox) == before
    assert Path(ran["output"]) == Path.cwd() / "sortings" / "spikerbox_neuron" / f"ms4-{ran['key'][:8]}"
    firings = (Path(ran["output"]) / "firings.mda").read_bytes()
    assert firings == (Path(ran["folder"]) / "firings.mda").read_bytes()


def test_units_with_ground_truth_are_found():
    """The floor is what MountainSort 4 is known to reach on this tetrode, not what this build happens to give."""
    recording = DATA / "mearec_tetrode"
    result = spikecrate.sort(recording, sorter="ms4", runtime="docker")
    truth = read_firings(recording / "firings_true.mda", result.sorting.sampling_frequency)
    units = compare(truth, result.sorting).assigned
    print([(unit.unit, round(unit.accuracy, 3)) for unit in units])  # noqa: T201
    assert len(units) == 6
    assert sum(unit.accuracy >= 0.85 for unit in units) >= 5


def test_the_stream_of_an_open_ephys_recording_is_sorted_in_place():
    root = DATA / "openephys_binary"
    (stream,) = root.rglob("File_Reader-106.0")
    before = state(root)
    result = spikecrate.sort(stream, sorter="ms4", runtime="docker")
    assert result.record["inputs"]["recording"]["format"] == "openephys"
    assert result.record["units"] >= 1
    assert state(root) == before


def test_the_record_says_what_ran(toy, docker):
    record = spikecrate.sort(toy, sorter="ms4", runtime="docker", cores=1).record
    image = docker.images.get(record["image"]["reference"])
    assert record["image"]["digest"] == image.id
    assert record["recipe"] == image.labels["spikecrate.recipe"]
    assert record["argv"][:2] == ["docker", "run"]
    assert record["engine"]["engine_version"] == docker.version()["Version"]
    assert record["limits"] == {"cores": 1, "memory_bytes": None, "timeout_s": None}
    assert record["inside"]["packages"]["mountainsort4"] == "1.0.7"
    assert record["peak_memory_bytes"] > 50e6
    assert record["cpu_s"] > 0.5
    assert record["started"] < record["ended"]
    mounts = {mount["target"]: mount for mount in record["mounts"]}
    assert mounts["/inputs/recording"]["read_only"]
    assert {target for target, mount in mounts.items() if not mount["read_only"]} == {"/out", "/tmp"}


@pytest.mark.usefixtures("shared_environments")
def test_docker_and_host_give_the_same_bytes_and_the_same_key(toy):
    in_docker = spikecrate.sort(toy, runtime="docker")
    one = (in_docker.folder / "firings.mda").read_bytes()
    on_host = spikecrate.sort(toy, runtime="host", force=True)
    assert on_host.key == in_docker.key
    assert on_host.record["runtime"] == "host"
    assert (on_host.folder / "firings.mda").read_bytes() == one


def test_the_number_of_cores_changes_neither_bytes_nor_key(toy):
    one = spikecrate.sort(toy, runtime="docker", cores=1)
    first = (one.folder / "firings.mda").read_bytes()
    two = spikecrate.sort(toy, runtime="docker", cores=2, force=True)
    assert two.key == one.key
    assert (two.folder / "firings.mda").read_bytes() == first


def test_the_printed_command_asks_the_engine_for_the_same_container(
    toy, docker, lab_sorter, monkeypatch, own_store
):
    """`--dry-run` and the record print a command line; the library speaks to the engine's API: one contract."""
    from spikecrate.runtimes import docker as runtime

    seen = {}
    create = docker.containers.create

    def spy(arguments):
        container = create(**arguments)
        seen["api"] = container.attrs["HostConfig"], container.attrs["Config"]
        container.remove()
        return arguments

    original = runtime.create_arguments
    monkeypatch.setattr(runtime, "create_arguments", lambda task: spy(original(task)))
    name = lab_sorter(ANSWER + "    assert list(recording.locations)\n" + NOTHING)
    record = spikecrate.sort(toy, sorter=name, runtime="docker", memory_bytes=2**30).record
    argv = record["argv"]
    for mount in record["mounts"]:
        Path(mount["source"]).mkdir(parents=True, exist_ok=True)
    argv = [argv[0], "create", *argv[2:]]
    argv.remove("--rm")
    made = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    container = docker.containers.get(made)
    host, config = container.attrs["HostConfig"], container.attrs["Config"]
    container.remove()
    for mount in record["mounts"]:
        if Path(mount["source"]).is_relative_to(own_store):
            subprocess.run(["rm", "-r", Path(mount["source"]).parent], check=False)
    for name in (
        *("Mounts", "ReadonlyRootfs", "NetworkMode", "CapDrop", "SecurityOpt", "PidsLimit", "Init"),
        *("ShmSize", "NanoCpus", "Memory", "MemorySwap", "LogConfig", "Privileged"),
    ):
        assert host[name] == seen["api"][0][name], name
    for name in ("User", "WorkingDir", "Entrypoint", "Cmd", "Labels"):
        assert config[name] == seen["api"][1][name], name
    assert "HOME=/tmp" in config["Env"]


# What the container sees ---------------------------------------------------------------------------


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
    seen = {
        "recording": refused(lambda: Path("/inputs/recording/planted").write_text("x")),
        "append": refused(lambda: next(p for p in Path("/inputs/recording").rglob("*") if p.is_file()).open("ab")),
        "root": refused(lambda: Path("/planted").write_text("x")),
        "network": refused(lambda: socket.create_connection(("192.0.2.1", 80), timeout=2)),
        "interfaces": sorted(os.listdir("/sys/class/net")),
        "uid": os.getuid(),
        "gid": os.getgid(),
        "home": os.environ["HOME"],
        "capabilities": next(
            line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "CapEff" in line
        ),
        "no_new_privileges": "NoNewPrivs:\\t1" in Path("/proc/self/status").read_text(),
    }
    Path("/out/seen.json").write_text(json.dumps(seen))
"""
    + NOTHING
)


def test_the_container_can_write_to_its_output_and_scratch_alone(toy, lab_sorter):
    result = spikecrate.sort(toy, sorter=lab_sorter(PROBE), runtime="docker")
    seen = json.loads((result.folder / "sorter" / "seen.json").read_text())
    assert seen["recording"]
    assert seen["append"]
    assert seen["root"]
    assert seen["network"]
    assert seen["interfaces"] == ["lo"]
    assert (seen["uid"], seen["gid"]) == (os.getuid(), os.getgid())
    assert seen["home"].startswith("/tmp")
    assert int(seen["capabilities"], 16) == 0
    assert seen["no_new_privileges"]


@pytest.mark.parametrize(
    "name", ["with space", "quote'\"", "colon:comma,", "Ärzte-神経", "new\nline", "--rm", "$(id)`id`"]
)
def test_any_folder_name_is_sorted(toy, lab_sorter, tmp_path, name):
    folder = tmp_path / "data" / name
    folder.parent.mkdir()
    subprocess.run(["cp", "-r", "--", toy, folder], check=True)
    result = spikecrate.sort(folder, sorter=lab_sorter(ANSWER + NOTHING), runtime="docker")
    assert result.record["inputs"]["recording"]["path"] == str(folder)
    assert result.record["events"] == 2


def test_a_sample_file_that_links_out_is_read_and_its_neighbours_are_not_seen(toy, lab_sorter, tmp_path):
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
    name = lab_sorter(body + NOTHING)
    result = spikecrate.sort(folder, sorter=name, runtime="docker")
    assert "sees ['raw.mda']" in (result.folder / "log.txt").read_text()
    assert result.key == spikecrate.sort(archive, sorter=name, runtime="docker").key


def test_another_user_sorts_and_owns_what_comes_out(toy, other_user):
    """The user may talk to the engine; no image knows the uid; spikecrate is installed from its wheel."""
    home, run = other_user
    subprocess.run(["cp", "-r", toy, home / "recording"], check=True)
    socket = Path("/var/run/docker.sock").stat().st_gid
    done = run("-m", "spikecrate", "sort", "recording", "--runtime", "docker", "--json", groups=[socket])
    assert done.returncode == 0, done.stderr
    owners = {
        path.lstat().st_uid for path in home.rglob("*") if "recording" not in path.relative_to(home).parts[:1]
    }
    assert owners == {OTHER_UID}


# Failures -----------------------------------------------------------------------------------------


def test_a_sorter_that_raises_is_reported_with_its_last_lines_and_not_cached(toy, lab_sorter, command):
    name = lab_sorter(ANSWER + "    raise RuntimeError('no spikes today')\n")
    done = command("sort", toy, "--sorter", name, "--runtime", "docker", "--json")
    assert done.returncode == JobFailedError.exit_code
    assert "no spikes today" in done.stderr
    error = last_json(done)
    assert error["error"] == "JobFailedError"
    assert "no spikes today" in Path(error["details"]["log"]).read_text()
    (job,) = json.loads(command("job.list", "--json").stdout)
    assert job["status"] == "failed"
    assert "no spikes today" in command("job.logs", job["key"][:10]).stdout
    assert command("sort", toy, "--sorter", name).returncode == JobFailedError.exit_code


def test_too_little_memory_says_how_much_it_had_and_what_to_ask_for(toy, lab_sorter):
    name = lab_sorter(ANSWER + "    x = np.ones(10**9)\n" + NOTHING)
    with pytest.raises(JobMemoryError, match=r"more than the 0\.2 GiB") as caught:
        spikecrate.sort(toy, sorter=name, runtime="docker", memory_bytes=256 * 2**20)
    assert "--memory 1G" in caught.value.next_step


def test_the_time_limit_ends_the_sorter(toy, lab_sorter):
    name = lab_sorter(ANSWER + "    import time; time.sleep(600)\n")
    started = time.monotonic()
    with pytest.raises(JobTimeoutError, match="time limit of 3 s"):
        spikecrate.sort(toy, sorter=name, runtime="docker", timeout_s=3)
    assert time.monotonic() - started < 60


@pytest.mark.parametrize(
    "answer",
    [
        "np.array([np.nan]), np.array([1])",
        "np.array([-5.0]), np.array([1])",
        "np.array([1e12]), np.array([1])",
        "np.array([5.0]), np.array([1.5])",
    ],
    ids=["nan", "negative", "beyond the end", "no whole label"],
)
def test_an_answer_that_is_no_sorting_is_refused(toy, lab_sorter, answer):
    with pytest.raises(ResultInvalidError):
        spikecrate.sort(toy, sorter=lab_sorter(f"{ANSWER}    return {answer}\n"), runtime="docker")


FORGED = """
import os
from pathlib import Path
def sort(recording, parameters, resources):
    Path("/out/run.json").write_text("{}")
    os.symlink("/etc/passwd", "/out/firings.mda")
    os._exit(0)
"""


def test_a_link_in_place_of_the_answer_is_refused(toy, lab_sorter):
    with pytest.raises(ResultInvalidError, match="symbolic link"):
        spikecrate.sort(toy, sorter=lab_sorter(FORGED), runtime="docker")


SLOW = ANSWER + "    print('started', flush=True)\n    import time; time.sleep(600)\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_takes_its_container_with_it(toy, lab_sorter, containers_of, own_store, number, code):
    with started(toy, "--sorter", lab_sorter(SLOW), "--runtime", "docker") as child:
        child.send_signal(number)
        assert child.wait(30) == code
    assert containers_of(own_store) == []
    assert list((own_store / "results").rglob("*.mda")) == []


def test_what_a_killed_run_leaves_is_removed_by_gc(toy, lab_sorter, containers_of, own_store, command):
    with started(toy, "--sorter", lab_sorter(SLOW), "--runtime", "docker") as child:
        child.kill()
    assert [container.status for container in containers_of(own_store)] == ["running"]
    removed = last_json(command("store.gc", "--json"))["removed"]
    assert len(removed) == 2


def test_the_next_run_removes_what_a_killed_run_left(toy, lab_sorter, containers_of, own_store):
    with started(toy, "--sorter", lab_sorter(SLOW), "--runtime", "docker") as child:
        child.kill()
    spikecrate.sort(toy, sorter=lab_sorter(ANSWER + NOTHING, name="quick"), runtime="docker")
    assert containers_of(own_store) == []


def test_many_askers_run_a_job_once(toy, lab_sorter, command):
    name = lab_sorter(ANSWER + "    import time; time.sleep(3)\n" + NOTHING)
    command("build", "--sorter", name)
    children = [
        subprocess.Popen(
            [SPIKECRATE, "sort", toy, "--sorter", name, "--runtime", "docker", "--json", "--output", "-"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(6)
    ]
    answers = [json.loads(child.communicate(timeout=120)[0].splitlines()[-1]) for child in children]
    assert sorted(answer["status"] for answer in answers) == ["cached"] * 5 + ["ran"]
    assert len({answer["folder"] for answer in answers}) == 1


def test_a_recording_that_changes_meanwhile_is_noticed(toy, lab_sorter, tmp_path, own_store):
    folder = tmp_path / "growing"
    subprocess.run(["cp", "-r", toy, folder], check=True)
    waits = "    print('started', flush=True)\n    import time; time.sleep(4)\n"
    with started(folder, "--sorter", lab_sorter(ANSWER + waits + NOTHING), "--runtime", "docker") as child:
        with (folder / "raw.mda").open("r+b") as file:
            file.seek(1000)
            file.write(b"spike")
        assert child.wait(60) == 18
    assert list((own_store / "results").rglob("*.mda")) == []


def test_a_full_disk_is_reported_and_leaves_the_store_sound(toy, lab_sorter, tmp_path, command):
    name = lab_sorter(ANSWER + "    open('/out/big', 'wb').write(bytes(64 * 2**20))\n" + NOTHING)
    command("build", "--sorter", name)
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", small], check=True)
    try:
        environ = {"SPIKECRATE_STORE": str(small / "store")}
        done = command("sort", toy, "--sorter", name, "--runtime", "docker", "--output", "-", env=environ)
        assert done.returncode == 51, done.stderr
        assert "space" in done.stderr
        assert list((small / "store" / "work").iterdir()) == []
        assert list((small / "store" / "results").rglob("*.mda")) == []
    finally:
        subprocess.run(["umount", small], check=True)


# The engine ---------------------------------------------------------------------------------------


def test_a_daemon_that_is_down_is_said_to_be_down(toy, command, tmp_path):
    done = command("sort", toy, "--runtime", "docker", env={"DOCKER_HOST": f"unix://{tmp_path}/no.sock"})
    assert done.returncode == 31
    assert "does not answer" in done.stderr


def test_docker_that_is_not_installed_is_said_to_be_missing(toy, command, tmp_path):
    environ = {"DOCKER_HOST": f"unix://{tmp_path}/no.sock", "PATH": str(tmp_path)}
    done = command("sort", toy, "--runtime", "docker", env=environ)
    assert done.returncode == 30
    assert "not installed" in done.stderr


def test_a_socket_that_is_not_for_this_user_is_said_so(toy, other_user):
    home, run = other_user
    subprocess.run(["cp", "-r", toy, home / "recording"], check=True)
    done = run("-m", "spikecrate", "sort", "recording", "--runtime", "docker")
    assert done.returncode == 32, done.stderr
    assert "usermod -aG docker" in done.stderr


def test_silence_gives_an_empty_valid_sorting(tmp_path):
    from spikecrate_harness import mda

    folder = tmp_path / "silence"
    folder.mkdir()
    mda.write(folder / "raw.mda", np.zeros((4, 60_000), dtype=np.int16, order="F"))
    (folder / "params.json").write_text('{"samplerate": 30000}')
    result = spikecrate.sort(folder, sorter="ms4", runtime="docker")
    assert result.record["events"] == 0
    assert len(result.sorting.unit_ids) == 0
