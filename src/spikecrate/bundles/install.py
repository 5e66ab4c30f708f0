"""Install the spikecrate in a bundle, then the bundle. Needs nothing but this file and Python.

usage: python3 install.py FILE [--into DIR] [-- OPTIONS OF image.unbundle]

FILE is the bundle. DIR is the virtual environment to create, by default ~/spikecrate. No network and no root are
needed. Every file of the bundle is checked before anything is created. A second run replaces the installation.
"""

# Any python3 may run this first: use nothing newer than 3.6 before `require_python`.

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile

USAGE = 2
NOT_INSTALLED = 37
DAMAGED = 39
MANIFEST = "manifest.json"


class Refusal(Exception):
    """A message for the user, with the exit code."""

    def __init__(self, message: str, code: int = DAMAGED) -> None:
        super().__init__(message)
        self.code = code


def main(words: "list[str]") -> int:
    """Run the command line and return the exit code."""
    at = words.index("--") if "--" in words else len(words)
    own, options = words[:at], words[at + 1 :]
    into = pathlib.Path.home() / "spikecrate"
    if len(own) == 3 and own[1] == "--into":
        into, own = pathlib.Path(own[2]).expanduser().absolute(), own[:1]
    if len(own) != 1 or own[0].startswith("-"):
        raise Refusal(str(__doc__).strip(), 0 if own in (["-h"], ["--help"]) else USAGE)
    bundle = pathlib.Path(own[0]).resolve()
    if not bundle.is_file():
        message = f"{bundle} is not a file: name the bundle"
        raise Refusal(message, USAGE)
    try:
        with tarfile.open(str(bundle), "r:") as archive:
            manifest = check(archive)
            require_python(manifest["python"])
            names = [member["path"] for member in manifest["members"]]
            install(archive, [name for name in names if name.startswith("library/")], into)
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        message = f"{bundle} is not a spikecrate bundle, or is damaged: {error}"
        raise Refusal(message) from None
    sys.stderr.write(f"installed spikecrate in {into}; installing the bundle\n")
    program = str(into / "bin" / "spikecrate")
    return subprocess.call([program, "image.unbundle", str(bundle), *options])


def check(archive: "tarfile.TarFile") -> "dict":  # type: ignore[type-arg]
    """Compare every member with the manifest, and return the manifest."""
    first = archive.next()
    data = read(archive, MANIFEST) if first is not None and first.name == MANIFEST else b"{}"
    manifest: dict = json.loads(data.decode())  # type: ignore[type-arg]
    if manifest.get("kind") != "spikecrate bundle":
        message = "this is not a spikecrate bundle"
        raise Refusal(message)
    expected = {member["path"]: member["sha256"] for member in manifest["members"]}
    rows = [(hashlib.sha256(data).hexdigest(), MANIFEST)]
    rows += [(member["sha256"], member["path"]) for member in manifest["members"]]
    text = "".join(f"{digest}  {path}\n" for digest, path in rows)
    expected["SHA256SUMS"] = hashlib.sha256(text.encode()).hexdigest()
    for member in archive.getmembers()[1:]:
        if not member.isreg() or member.name not in expected:
            message = f"the bundle holds {member.name!r}, which its manifest does not name: do not use it"
            raise Refusal(message)
        if sha256(archive, member) != expected.pop(member.name):
            message = f"{member.name} in the bundle is damaged: copy the bundle again"
            raise Refusal(message)
    if expected:
        message = f"the bundle is truncated or damaged, it lacks {', '.join(sorted(expected))}: copy it again"
        raise Refusal(message)
    return manifest


def read(archive: "tarfile.TarFile", name: str) -> bytes:
    """Return the bytes of a small member."""
    file = archive.extractfile(name)
    return b"" if file is None else file.read()


def sha256(archive: "tarfile.TarFile", member: "tarfile.TarInfo") -> str:
    """Return the hash of a member of any size."""
    digest = hashlib.sha256()
    file = archive.extractfile(member)
    assert file is not None
    for chunk in iter(lambda: file.read(1 << 20), b""):
        digest.update(chunk)
    return digest.hexdigest()


def require_python(wanted: str) -> None:
    """Continue in the Python that the wheels are for."""
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if version == wanted:
        return
    other = shutil.which(f"python{wanted}")
    if other is None:
        message = (
            f"the bundle is for Python {wanted}, this is {version}, and PATH has no python{wanted} "
            f"(on a cluster: module load python/{wanted})"
        )
        raise Refusal(message, NOT_INSTALLED)
    os.execv(other, [other, *sys.argv])


def install(archive: "tarfile.TarFile", names: "list[str]", into: "pathlib.Path") -> None:
    """Create the virtual environment from the bundle's wheels, whole or not at all."""
    if into.exists() and any(into.iterdir()) and not (into / "pyvenv.cfg").exists():
        message = f"{into} exists and is not a virtual environment: name another with --into"
        raise Refusal(message, USAGE)
    is_new = not into.exists()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="spikecrate-install-"))
    # The user's settings of uv name indexes and caches, which must not be used here.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    environ.update(UV_CACHE_DIR=str(scratch / "cache"), UV_PYTHON_DOWNLOADS="never", UV_NO_CONFIG="1")
    done = False
    try:
        for name in names:
            (scratch / pathlib.PurePosixPath(name).name).write_bytes(read(archive, name))
        tool, python = str(find_uv(scratch)), str(into / "bin" / "python")
        venv = [tool, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(into)]
        subprocess.check_call(venv, env=environ)
        pip = [tool, "pip", "install", "--quiet", "--python", python, "--reinstall", "--compile-bytecode"]
        only = ["--offline", "--no-index", "--no-deps", "--require-hashes", "--find-links", str(scratch)]
        lock = ["--requirements", str(scratch / "requirements.lock")]
        subprocess.check_call([*pip, *only, *lock], env=environ)
        done = True
    except subprocess.CalledProcessError:
        message = "the wheels cannot be installed; the lines above name the cause"
        raise Refusal(message, NOT_INSTALLED) from None
    finally:
        shutil.rmtree(str(scratch), ignore_errors=True)
        if is_new and not done:
            shutil.rmtree(str(into), ignore_errors=True)


def find_uv(scratch: "pathlib.Path") -> "pathlib.Path":
    """Take uv out of its wheel: then neither pip nor Debian's python3-venv is needed."""
    (wheel,) = scratch.glob("uv-*.whl")
    with zipfile.ZipFile(str(wheel)) as opened:
        (name,) = [name for name in opened.namelist() if name.endswith(".data/scripts/uv")]
        (scratch / "uv").write_bytes(opened.read(name))
    (scratch / "uv").chmod(0o755)
    return scratch / "uv"


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except Refusal as refusal:
        sys.stderr.write(f"{'' if refusal.code == 0 else 'install.py: '}{refusal}\n")
        sys.exit(refusal.code)
    except KeyboardInterrupt:
        sys.exit(130)
