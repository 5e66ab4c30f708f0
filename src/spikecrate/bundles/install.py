"""Installs the spikecrate that is in a bundle, and with it the bundle. Needs nothing but this file and Python.

usage: python3 install.py FILE [--into DIR] [-- OPTIONS OF image.unbundle]

FILE is the bundle; DIR is made, by default ~/spikecrate. No network, no root. Every file of the bundle is
checked before anything is made. Run it again to replace what is there.
"""

# Any python3 may be the first to read this: nothing newer than 3.6 before it has handed over.

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
    """What is wrong, and the exit code that says so."""

    def __init__(self, message: str, code: int = DAMAGED) -> None:
        super().__init__(message)
        self.code = code


def main(words: "list[str]") -> int:
    """Read the words of the command line, and do it; give the exit code."""
    at = words.index("--") if "--" in words else len(words)
    own, options = words[:at], words[at + 1 :]
    into = pathlib.Path.home() / "spikecrate"
    if len(own) == 3 and own[1] == "--into":
        into, own = pathlib.Path(own[2]).expanduser().absolute(), own[:1]
    if len(own) != 1 or own[0].startswith("-"):
        raise Refusal(str(__doc__).strip(), 0 if own in (["-h"], ["--help"]) else USAGE)
    bundle = pathlib.Path(own[0]).resolve()
    if not bundle.is_file():
        message = f"there is no file {bundle}"
        raise Refusal(message, USAGE)
    try:
        with tarfile.open(str(bundle), "r:") as opened:
            manifest = check(opened)
            require_python(manifest["python"])
            names = [member["path"] for member in manifest["members"]]
            install(opened, [name for name in names if name.startswith("library/")], into)
    except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        message = f"{bundle} is no bundle of spikecrate's, or it is damaged: {error}"
        raise Refusal(message) from None
    sys.stderr.write(f"spikecrate is installed in {into}; now what the bundle brings\n")
    program = str(into / "bin" / "spikecrate")
    return subprocess.call([program, "image.unbundle", str(bundle), *options])


def check(opened: "tarfile.TarFile") -> "dict":  # type: ignore[type-arg]
    """Hold every member to the manifest; give that."""
    first = opened.next()
    data = read(opened, first) if first is not None and first.name == MANIFEST else b"{}"
    manifest: dict = json.loads(data.decode())  # type: ignore[type-arg]
    if manifest.get("kind") != "spikecrate bundle":
        message = "this is no bundle of spikecrate's"
        raise Refusal(message)
    expected = {member["path"]: member["sha256"] for member in manifest["members"]}
    rows = [(hashlib.sha256(data).hexdigest(), MANIFEST)]
    rows += [(member["sha256"], member["path"]) for member in manifest["members"]]
    text = "".join(f"{digest}  {path}\n" for digest, path in rows)
    expected["SHA256SUMS"] = hashlib.sha256(text.encode()).hexdigest()
    for member in opened.getmembers()[1:]:
        if not member.isreg() or member.name not in expected:
            message = f"the bundle holds {member.name!r}, which its manifest does not name"
            raise Refusal(message)
        if sha256(opened, member) != expected.pop(member.name):
            message = f"{member.name} in the bundle is damaged: copy the bundle again"
            raise Refusal(message)
    if expected:
        message = f"the bundle lacks {', '.join(sorted(expected))}: it is truncated or damaged"
        raise Refusal(message)
    return manifest


def read(opened: "tarfile.TarFile", member: "tarfile.TarInfo") -> bytes:
    """Read a small member."""
    file = opened.extractfile(member)
    return file.read() if file is not None else b""


def sha256(opened: "tarfile.TarFile", member: "tarfile.TarInfo") -> str:
    """Hash a member, however large."""
    digest = hashlib.sha256()
    file = opened.extractfile(member)
    chunk = b"" if file is None else file.read(1 << 20)
    while file is not None and chunk:
        digest.update(chunk)
        chunk = file.read(1 << 20)
    return digest.hexdigest()


def require_python(wanted: str) -> None:
    """Go on in the Python that the wheels are for."""
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if here == wanted:
        return
    other = shutil.which(f"python{wanted}")
    if other is None:
        message = (
            f"the bundle is for Python {wanted}, this is {here}, and there is no python{wanted} on PATH "
            f"(on a cluster: module load python/{wanted})"
        )
        raise Refusal(message, NOT_INSTALLED)
    os.execv(other, [other, *sys.argv])


def install(opened: "tarfile.TarFile", names: "list[str]", into: "pathlib.Path") -> None:
    """Make the virtual environment from the bundle's wheels: all of it or nothing."""
    if into.exists() and any(into.iterdir()) and not (into / "pyvenv.cfg").exists():
        message = f"{into} is there and is no virtual environment: name another with --into"
        raise Refusal(message, USAGE)
    is_new = not into.exists()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="spikecrate-install-"))
    # What the user has set for the installer speaks of indexes and caches that are not for this.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    environ.update(UV_CACHE_DIR=str(scratch / "cache"), UV_PYTHON_DOWNLOADS="never", UV_NO_CONFIG="1")
    try:
        for name in names:
            (scratch / pathlib.PurePosixPath(name).name).write_bytes(read(opened, opened.getmember(name)))
        tool, python = str(find_uv(scratch)), str(into / "bin" / "python")
        venv = [tool, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(into)]
        subprocess.check_call(venv, env=environ)
        pip = [tool, "pip", "install", "--quiet", "--python", python, "--reinstall", "--compile-bytecode"]
        only = ["--offline", "--no-index", "--no-deps", "--require-hashes", "--find-links", str(scratch)]
        lock = ["--requirements", str(scratch / "requirements.lock")]
        subprocess.check_call([*pip, *only, *lock], env=environ)
    except subprocess.CalledProcessError:
        undo(into, is_new)
        message = "the wheels could not be installed; the lines above say why"
        raise Refusal(message, NOT_INSTALLED) from None
    except BaseException:
        undo(into, is_new)
        raise
    finally:
        shutil.rmtree(str(scratch), ignore_errors=True)


def undo(into: "pathlib.Path", is_new: bool) -> None:
    """Leave nothing where nothing was."""
    if is_new:
        shutil.rmtree(str(into), ignore_errors=True)


def find_uv(scratch: "pathlib.Path") -> "pathlib.Path":
    """Take the installer out of its wheel: so neither pip nor Debian's python3-venv is needed."""
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
