"""The command line of a build, its failures, and the comparison of two builds."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path

import pytest

from spikecrate._util.data import data_path
from spikecrate._util.progress import Silent
from spikecrate.errors import DiskFullError, EngineMissingError, ImageBuildError
from spikecrate.images import buildx
from spikecrate.images.base import Bases
from spikecrate.images.build import BuildRequest, sorter_argv
from spikecrate.images.buildx import build_argv, build_logged, ca_bundle
from spikecrate.images.oci import archive_digest, first_difference


@pytest.fixture
def request_(tmp_path):
    return BuildRequest(
        name="lab",
        folder=tmp_path,
        version="2",
        title="Lab's own",
        description="One, two = three",
        license="MIT",
        url="",
        entrypoint=("/run",),
        python=">=3.11",
        recipe="ab" * 32,
    )


BASES = Bases(runtime="spikecrate/base:1", builder="spikecrate/builder:1", runtime_digest="sha256:12")


def test_a_sorter_is_built_on_the_bases_with_its_recipe_as_label(request_, tmp_path):
    argv = sorter_argv(request_, BASES, output="type=docker,name=x", wheelhouse=tmp_path / "wheels")
    assert argv[:3] == ["docker", "buildx", "build"]
    assert argv[-1] == str(tmp_path)
    assert "--build-arg=BASE=spikecrate/base:1" in argv
    assert "--build-arg=BUILDER=spikecrate/builder:1" in argv
    assert f"--label=spikecrate.recipe={'ab' * 32}" in argv
    assert "--label=org.opencontainers.image.description=One, two = three" in argv
    assert "--label=org.opencontainers.image.base.digest=sha256:12" in argv
    assert f"--build-context=wheelhouse={tmp_path / 'wheels'}" in argv
    assert "--no-cache" not in argv
    assert "--no-cache" in sorter_argv(request_, BASES, output="type=docker,name=x", no_cache=True)


def test_nothing_of_this_build_enters_the_image(request_):
    argv = sorter_argv(request_, BASES, output="type=docker,name=x")
    assert {"--provenance=false", "--sbom=false", "--build-arg=SOURCE_DATE_EPOCH=1767225600"} <= set(argv)


def test_a_proxys_password_stays_out_of_the_command_line(tmp_path):
    argv = build_argv(tmp_path, output="type=docker", environ={"HTTPS_PROXY": "http://me:secret@proxy"})
    assert "--build-arg=HTTPS_PROXY" in argv
    assert "secret" not in " ".join(word for word in argv if not word.startswith("--secret"))


def test_the_ca_bundle_is_the_one_that_the_environment_names(tmp_path):
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    missing = str(tmp_path / "missing.pem")
    assert ca_bundle({"REQUESTS_CA_BUNDLE": str(bundle)}) == bundle
    assert ca_bundle({"SSL_CERT_FILE": missing, "REQUESTS_CA_BUNDLE": str(bundle)}) == bundle
    argv = build_argv(tmp_path, output="type=docker", environ={"SSL_CERT_FILE": str(bundle)})
    assert f"--secret=id=ca,src={bundle}" in argv


@pytest.fixture
def with_buildx(monkeypatch):
    monkeypatch.setattr(buildx, "require_buildx", lambda: None)


def script(body):
    return [sys.executable, "-c", body]


@pytest.mark.usefixtures("with_buildx")
def test_a_failed_build_tells_the_last_lines_and_keeps_the_whole_log_in_the_store(tmp_path):
    body = "[print('line', n) for n in range(100)]; print('ERROR: g++ not found'); raise SystemExit(1)"
    with pytest.raises(ImageBuildError, match="ERROR: g\\+\\+ not found") as caught:
        build_logged(script(body), "spikecrate/lab:2", Silent())
    log = Path(caught.value.details["log"])
    assert str(log) in caught.value.next_step
    assert log.read_text().splitlines() == [*(f"line {n}" for n in range(100)), "ERROR: g++ not found"]
    assert "line 5\n" not in str(caught.value)
    assert log.parent == tmp_path / "store" / "logs"
    assert log.name.startswith("build-lab-2-")


@pytest.mark.usefixtures("with_buildx")
def test_a_full_disk_in_a_build_is_told_apart():
    body = "print('OSError: [Errno 28] No space left on device'); raise SystemExit(1)"
    with pytest.raises(DiskFullError):
        build_logged(script(body), "spikecrate/lab:2", Silent())


@pytest.mark.usefixtures("with_buildx")
def test_a_build_that_succeeds_leaves_no_log(tmp_path):
    build_logged(script("print('done')"), "spikecrate/lab:2", Silent())
    assert list((tmp_path / "store" / "logs").iterdir()) == []


class Stages(Silent):
    """Keep the titles of what is shown, in order."""

    def __init__(self):
        self.titles = []

    @contextmanager
    def bar(self, title, total):
        assert total == 0
        self.titles.append(title)
        yield lambda _units: None


@pytest.mark.usefixtures("with_buildx")
def test_the_step_of_a_build_is_shown_as_one_line_of_progress():
    lines = [
        "#1 [internal] load build definition from Dockerfile",
        "#7 [environment 2/3] COPY requirements.lock build.lock /build/",
        "#7 DONE 0.1s",
        "#8 [code 1/2] RUN seal /opt/spikecrate",
        "#8 0.123 [not a step] of the build",
    ]
    shown = Stages()
    build_logged(script(f"print({chr(10).join(lines)!r})"), "spikecrate/lab:2", shown)
    title = "building spikecrate/lab:2"
    assert shown.titles == [title, f"{title}: environment 2/3", f"{title}: code 1/2"]


def test_a_machine_without_buildx_is_told_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EngineMissingError, match="docker buildx") as caught:
        build_logged(["docker", "buildx", "build"], "spikecrate/lab:2", Silent())
    assert "docker-buildx" in caught.value.next_step


def test_what_is_shipped_is_there():
    assert (data_path("sorters") / "ms4" / "sorter.json").is_file()
    assert (data_path("tools") / "import" / "tool.json").is_file()
    assert (data_path("docker") / "base" / "Dockerfile").is_file()


def layer(files):
    """Make a layer of files: name to (bytes, date)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for name, (data, date) in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), date
            opened.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def archive(path, layers, config=None):
    """Write an OCI archive as buildx does."""
    blobs = {}

    def put(data):
        digest = hashlib.sha256(data).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = data
        return {"digest": f"sha256:{digest}", "size": len(data)}

    config = put(json.dumps(config or {}).encode())
    manifest = put(json.dumps({"config": config, "layers": [put(data) for data in layers]}).encode())
    blobs["index.json"] = json.dumps({"manifests": [manifest]}).encode()
    path.write_bytes(layer({name: (data, 0) for name, data in blobs.items()}))
    return path


COMMON = layer({"etc/same": (b"same", 1)})


@pytest.mark.parametrize(
    ("second", "named"),
    [
        ({"opt/a": (b"one", 1), "opt/b": (b"TWO", 1)}, "layer 2: /opt/b: content"),
        ({"opt/a": (b"one", 2), "opt/b": (b"two", 1)}, "layer 2: /opt/a: date 1.0 and 2.0"),
        ({"opt/a": (b"one", 1)}, "layer 2: /opt/b: only in the first"),
        ({"opt/a": (b"one", 1), "opt/c": (b"two", 1)}, "layer 2: /opt/b: only in the first"),
    ],
)
def test_the_first_file_that_differs_is_named(tmp_path, second, named):
    first = {"opt/a": (b"one", 1), "opt/b": (b"two", 1)}
    one = archive(tmp_path / "one.tar", [COMMON, layer(first)])
    other = archive(tmp_path / "other.tar", [COMMON, layer(second)])
    assert archive_digest(one) != archive_digest(other)
    assert first_difference(one, other) == named


def test_equal_archives_have_no_difference(tmp_path):
    one = archive(tmp_path / "one.tar", [COMMON])
    other = archive(tmp_path / "other.tar", [COMMON])
    assert archive_digest(one) == archive_digest(other)
    assert first_difference(one, other) == ""


def test_a_difference_in_the_images_settings_is_named(tmp_path):
    one = archive(tmp_path / "one.tar", [COMMON], {"created": "2026"})
    other = archive(tmp_path / "other.tar", [COMMON], {"created": "2027"})
    assert first_difference(one, other) == "the image's created: '2026' and '2027'"


def test_a_further_layer_is_told(tmp_path):
    one = archive(tmp_path / "one.tar", [COMMON])
    other = archive(tmp_path / "other.tar", [COMMON, COMMON])
    assert first_difference(one, other) == "1 layers and 2"


def test_root_file_systems_are_compared_too(tmp_path):
    one, other = tmp_path / "one.tar", tmp_path / "other.tar"
    one.write_bytes(layer({"opt/a": (b"one", 1)}))
    other.write_bytes(layer({"opt/a": (b"ONE", 1)}))
    assert archive_digest(one) != archive_digest(other)
    assert first_difference(one, other) == "/opt/a: content"
