"""The container contract in Docker's words: what is asked of the engine, argument by argument."""

from __future__ import annotations

import csv
import io
import socket
import struct
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate.errors import StoppedError
from spikecrate.runtimes.contract import ContainerSpec, Image, Limits, Mount
from spikecrate.runtimes.docker import Docker, create_arguments, run_argv
from spikecrate.runtimes.mounts import mount_option

NO_PROXIES = [
    *("--env", "HTTP_PROXY=", "--env", "http_proxy="),
    *("--env", "HTTPS_PROXY=", "--env", "https_proxy="),
    *("--env", "FTP_PROXY=", "--env", "ftp_proxy="),
    *("--env", "ALL_PROXY=", "--env", "all_proxy="),
    *("--env", "NO_PROXY=", "--env", "no_proxy="),
]


def spec(**changes):
    fields = {
        "name": "spikecrate-abc",
        "labels": {"spikecrate.key": "abc"},
        "image": Image(
            reference="spikecrate/ms4:1-f00",
            digest="sha256:f00",
            entrypoint=("/opt/sorter/bin/python", "-I", "/opt/spikecrate"),
        ),
        "mounts": (
            Mount(source=Path("/data/my rec"), target=PurePosixPath("/inputs/recording")),
            Mount(source=Path("/store/out"), target=PurePosixPath("/out"), read_only=False),
        ),
        "limits": Limits(cores=2, memory_bytes=2**30, timeout_s=60),
        "user": (1000, 1001),
    }
    return ContainerSpec(**{**fields, **changes})


def test_the_command_line_of_a_task_is_this():
    assert run_argv(spec()) == [
        "docker",
        "run",
        "--rm",
        "--label",
        "spikecrate.key=abc",
        "--name",
        "spikecrate-abc",
        "--user",
        "1000:1001",
        "--workdir",
        "/tmp",
        "--env",
        "HOME=/tmp",
        *NO_PROXIES,
        "--mount",
        "type=bind,source=/data/my rec,target=/inputs/recording,readonly",
        "--mount",
        "type=bind,source=/store/out,target=/out",
        "--read-only",
        "--network=none",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--pids-limit=4096",
        "--init",
        "--shm-size=1g",
        "--cpus=2",
        "--memory=1073741824",
        "--memory-swap=1073741824",
        "--log-driver=none",
        "--entrypoint",
        "/opt/sorter/bin/python",
        "sha256:f00",
        "-I",
        "/opt/spikecrate",
    ]


def test_the_image_runs_by_digest_not_by_tag():
    assert create_arguments(spec())["image"] == "sha256:f00"


def test_the_recording_is_mounted_read_only_and_nothing_but_out_is_writable():
    mounts = {mount["Target"]: mount["ReadOnly"] for mount in create_arguments(spec())["mounts"]}
    assert mounts == {"/inputs/recording": True, "/out": False}
    assert create_arguments(spec())["read_only"] is True


def test_privileges_are_dropped():
    arguments = create_arguments(spec())
    assert arguments["cap_drop"] == ["ALL"]
    assert arguments["security_opt"] == ["no-new-privileges"]
    assert arguments["network_mode"] == "none"
    assert arguments["user"] == "1000:1001"
    assert arguments["pids_limit"] == 4096


def test_a_container_sees_the_gpus_only_for_a_task_that_runs_on_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    without, with_one = create_arguments(spec()), create_arguments(spec(gpu=True))
    assert "device_requests" not in without
    assert [dict(one) for one in with_one["device_requests"]] == [
        {"Driver": "", "Count": -1, "DeviceIDs": [], "Capabilities": [["gpu"]], "Options": {}}
    ]
    assert without["environment"] == {"HOME": "/tmp"}
    assert with_one["environment"] == {"HOME": "/tmp", "CUDA_VISIBLE_DEVICES": "1"}
    line = run_argv(spec(gpu=True))
    assert "--gpus=all" in line
    assert "CUDA_VISIBLE_DEVICES=1" in line
    assert "--gpus=all" not in run_argv(spec())


def test_proxies_of_dockers_configuration_are_kept_out():
    assert create_arguments(spec())["use_config_proxy"] is False


class Attached:
    """The end of a connection that docker-py hands out, with two lines of a container's output to read."""

    def __init__(self):
        self._sock, self.far = socket.socketpair()
        self._response = self
        for line in (b"one\n", b"two\n"):
            self.far.sendall(struct.pack(">BxxxL", 1, len(line)) + line)
        self.recv, self.fileno = self._sock.recv, self._sock.fileno

    def close(self):
        self._sock.close()
        self.far.close()


class Engine:
    """A daemon with one container that runs until it is removed."""

    id, removed = "c0ffee", False

    def __init__(self):
        self.api = self.containers = self

    def create(self, **_arguments):
        return self

    def attach_socket(self, _id, _parameters):
        return Attached()

    def start(self):
        pass

    def version(self):
        return {"Components": []}

    def remove(self, **_how):
        self.removed = True


@pytest.mark.parametrize(
    "error",
    [BrokenPipeError(32, "Broken pipe"), StoppedError(signal=1), KeyboardInterrupt(), OSError(5, "I/O")],
)
def test_a_reader_of_the_output_that_fails_ends_the_container_and_blames_no_engine(error):
    def on_output(_data):
        raise error

    runtime = Docker.__new__(Docker)
    runtime.client = Engine()
    with pytest.raises(type(error)) as raised:
        runtime.run(spec(), on_output)
    assert raised.value is error
    assert runtime.client.removed


@pytest.mark.parametrize("memory", [None, 2**30])
def test_memory_is_limited_only_when_asked_for_and_swap_does_not_widen_it(memory):
    arguments = create_arguments(spec(limits=Limits(cores=1, memory_bytes=memory)))
    assert arguments.get("mem_limit") == arguments.get("memswap_limit") == memory


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_any_path_survives_the_mount_option(name):
    """Commas, quotes, colons and line breaks are data: the option is one line of CSV."""
    source = Path("/data") / name.replace("/", "_")
    option = mount_option(Mount(source=source, target=PurePosixPath("/inputs/recording")))
    (fields,) = csv.reader(io.StringIO(option, newline=""))
    assert fields == ["type=bind", f"source={source}", "target=/inputs/recording", "readonly"]
