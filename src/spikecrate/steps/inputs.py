"""The inputs of a step: each enters the job key by its content, and is mounted read-only at /inputs/NAME."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.canonical import digest
from spikecrate._util.file_systems import is_memory_backed
from spikecrate._util.files import entries
from spikecrate.errors import UsageError
from spikecrate.recordings import Recording
from spikecrate.recordings.model import require_utf8
from spikecrate.runtimes.contract import INPUTS, Mount
from spikecrate.steps.kinds import KINDS
from spikecrate.steps.lineage import maker
from spikecrate.steps.recording_input import RecordingInput, open_recording_input
from spikecrate.steps.resolve import find_job, is_key, read_folder
from spikecrate.store import result_manifest
from spikecrate.store.file_hashes import FileHashCache, FileState, flush

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from spikecrate._util.progress import Progress
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

BLAKE3: Final = "blake3"
"""Question to the cache of file hashes, about a file's bytes."""


@dataclass(frozen=True, kw_only=True)
class FolderInput:
    """A folder, a file, some files of a folder, or the output of another step as an input.

    Attributes
    ----------
    name : str
        Name of the input.
    path : Path
        The folder or file, or the result folder of the other step.
    names : tuple of str
        Names of the files in the folder, where the input is not all of it.
    key : str or None
        Job key of the other step.
    made_by : dict or None
        The other step, as `spikecrate.steps.lineage.maker` returns it.
    recording : dict or None
        The run record's entry of the recording that the other step is of.
    mounts : tuple of Mount
        The folder; of another step, the files that its tool wrote, without its log and run record.
    files : dict
        Every file by its path in the input.
    states : dict
        State of each file when it was hashed.
    hashes : dict
        BLAKE3 of each file.
    """

    name: str
    path: Path
    names: tuple[str, ...]
    key: str | None
    made_by: dict[str, Any] | None
    recording: dict[str, Any] | None
    mounts: tuple[Mount, ...]
    files: dict[str, Path]
    states: dict[str, FileState]
    hashes: dict[str, str]

    @property
    def identity(self) -> dict[str, Any]:
        """Content of the input, part of the job key: a hash over the path and the hash of every file."""
        return {"content": digest(["spikecrate folder", self.hashes])}

    @property
    def document(self) -> dict[str, Any]:
        """Entry of `inputs` in job.json."""
        return {"kind": "folder"}

    @property
    def facts(self) -> dict[str, Any]:
        """Entry of `inputs` in the run record."""
        optional = {"names": list(self.names), "made_by": self.made_by, "recording": self.recording}
        return {
            "kind": "folder",
            "path": str(self.path),
            "key": self.key,
            "identity": self.identity,
            **{name: value for name, value in optional.items() if value},
        }

    @property
    def opened(self) -> tuple[FileState, ...]:
        """State of the folder that the tool must have opened; none where single files are mounted."""
        (first, *others) = self.mounts
        whole = not others and first.target == INPUTS / self.name
        return (FileState.of(first.source),) if whole else ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folder or file that the tool opens."""
        return (self.path,)

    def is_unchanged(self, progress: Progress) -> bool:
        """Return whether every file is unchanged since it was hashed, and no file was added.

        Parameters
        ----------
        progress : Progress
            Not used: only files on a memory file system are hashed again.

        Returns
        -------
        bool
        """
        del progress
        try:
            return _files(self.mounts, self.name) == self.files and all(
                FileState.of(path) == self.states[name]
                and (not is_memory_backed(path) or result_manifest.hash_file(path) == self.hashes[name])
                for name, path in self.files.items()
            )
        except (FileNotFoundError, UsageError):
            return False


@dataclass(frozen=True, kw_only=True)
class FoldersInput:
    """Several folders as one input, in the order that the request gives.

    Attributes
    ----------
    folders : tuple of FolderInput
        Mounted at /inputs/NAME/1, /inputs/NAME/2 and so on.
    """

    folders: tuple[FolderInput, ...]

    @property
    def identity(self) -> dict[str, Any]:
        """Content of each folder, part of the job key."""
        return {"folders": [folder.identity for folder in self.folders]}

    @property
    def document(self) -> dict[str, Any]:
        """Entry of `inputs` in job.json."""
        return {"kind": "folders", "count": len(self.folders)}

    @property
    def facts(self) -> dict[str, Any]:
        """Entry of `inputs` in the run record."""
        return {
            "kind": "folders",
            "path": ", ".join(map(str, self.paths)),
            "folders": [folder.facts for folder in self.folders],
            "identity": self.identity,
        }

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """The mounts of every folder."""
        return tuple(mount for folder in self.folders for mount in folder.mounts)

    @property
    def opened(self) -> tuple[FileState, ...]:
        """States of the folders that the tool must have opened; none where single files are mounted in one."""
        found = [folder.opened for folder in self.folders]
        return tuple(state for states in found for state in states) if all(found) else ()

    @property
    def paths(self) -> tuple[Path, ...]:
        """The folders that the tool opens."""
        return tuple(path for folder in self.folders for path in folder.paths)

    def is_unchanged(self, progress: Progress) -> bool:
        """Return whether no file of any folder has changed since it was hashed.

        Parameters
        ----------
        progress : Progress
            Not used: only files on a memory file system are hashed again.

        Returns
        -------
        bool
        """
        return all(folder.is_unchanged(progress) for folder in self.folders)


Input = RecordingInput | FolderInput | FoldersInput
FolderWord = Path | str | tuple[Path, ...]
"""How a request names a folder: by a path, the first digits of a job key, or some files in it."""
Word = FolderWord | list[FolderWord] | Recording | RecordingInput
"""How a request names an input."""
OPTIONAL: Final = "?"
"""The end of the kind of an input that may be missing."""


def open_inputs(
    kinds: Mapping[str, str], words: Mapping[str, Word], store: Store, progress: Progress
) -> dict[str, Input]:
    """Open the inputs of a step and hash them, or take the hashes from the cache.

    Parameters
    ----------
    kinds : mapping
        Kind of every input of the tool by its name: `recording`, `folder` or `folders`, with a `?` where it may be
        missing.
    words : mapping
        Path of every input by its name; for a folder also the first digits of a job key, or some of its files; for
        folders a list of these; for a recording also the opened recording, or an input that is hashed already.
    store : Store
        The store with other steps, and the cache of hashes.
    progress : Progress
        Shows the progress of hashing.

    Returns
    -------
    dict
        Every input by its name, in the order of `kinds`.

    Raises
    ------
    UsageError
        An input is missing or unknown, or a folder has links or special files.
    JobNotFoundError, ResultCorruptError
        The other step has no result.
    RecordingError
        The recording cannot be read.
    """
    needed = {name for name, kind in kinds.items() if not kind.endswith(OPTIONAL)}
    if wrong := sorted((needed - words.keys()) | (words.keys() - kinds.keys())):
        message = f"the tool's inputs are {', '.join(kinds)}; missing or unknown: {', '.join(wrong)}"
        raise UsageError(message, next_step=f"name each of them once: {', '.join(kinds)}")
    openers: dict[str, Callable[[str, Word, Store, Progress], Input]] = {
        "recording": open_recording_input,
        "folder": _folder,
        "folders": _folders,
    }
    return {
        name: openers[kind.removesuffix(OPTIONAL)](name, words[name], store, progress)
        for name, kind in kinds.items()
        if name in words
    }


def _folders(name: str, word: Word, store: Store, progress: Progress) -> FoldersInput:
    if not isinstance(word, list) or not word:
        message = f"the input {name} is one folder or more"
        raise UsageError(message, next_step=f"pass a list of paths or job keys for {name}")
    numbered = enumerate(word, start=1)
    return FoldersInput(
        folders=tuple(_folder(f"{name}/{number}", one, store, progress) for number, one in numbered)
    )


def _folder(name: str, word: Word, store: Store, progress: Progress) -> FolderInput:
    if not isinstance(word, (str, Path, tuple)):
        message = f"the input {name} is one folder"
        raise UsageError(message, next_step=f"pass a path for {name}")
    if isinstance(word, str) and is_key(word):
        return _output(name, find_job(word, store, progress))
    names = tuple(file.name for file in word) if isinstance(word, tuple) else ()
    # A link in the path stays in the record.
    path = Path(os.path.abspath(word[0].parent if isinstance(word, tuple) else word))  # noqa: PTH100
    require_utf8(path)
    if not path.exists():
        message = f"{path} does not exist"
        raise UsageError(message, next_step="name a folder, a file, or the key of a job in the store")
    if not names and (path / result_manifest.NAME).is_file():
        return _output(name, read_folder(path))
    source, target = path.resolve(), INPUTS / name
    mounts = [Mount(source=source, target=target if source.is_dir() else target / source.name)]
    if names:
        mounts = [Mount(source=source / file, target=target / file) for file in names]
    memo = FileHashCache(store.memo)

    def hash_of(file: Path, state: FileState) -> str:
        remembered = memo.get(state, BLAKE3)
        if remembered is None:
            flush([file])
            remembered = result_manifest.hash_file(file)
            memo.put(state, BLAKE3, remembered, shared=True)
        return remembered

    return _hashed(name, path, mounts, hash_of, names=names)


def _output(name: str, stored: Stored) -> FolderInput:
    """Return the output of another step: the files of its kind, and the folder with the other files."""
    kind = KINDS[stored.record["tool"]["kind"]]
    folder, target = stored.folder.resolve(), INPUTS / name
    mounts = [Mount(source=folder / file, target=target / file) for file in kind.files_in(folder)]
    if (folder / kind.folder).is_dir():
        inside = target / kind.folder if kind.files else target
        mounts.append(Mount(source=folder / kind.folder, target=inside))
    sealed = result_manifest.read(folder).files

    def hash_of(path: Path, _state: FileState) -> str:
        facts = sealed.get(path.relative_to(folder).as_posix())
        if facts is None:
            message = f"{path} was added to the result of job {stored.record['key'][:12]}"
            raise UsageError(message, next_step="move it elsewhere, or name the job by its key")
        return str(facts["blake3"])

    record = stored.record
    of_job = {"key": record["key"], "made_by": maker(record), "recording": recording_facts(record)}
    return _hashed(name, stored.folder, mounts, hash_of, **of_job)


def recording_facts(record: dict[str, Any]) -> dict[str, Any] | None:
    """Return the run record's entry of the recording that a result is of.

    Parameters
    ----------
    record : dict
        The run record of a step on the recording, or of a step on such a step's output.

    Returns
    -------
    dict or None
        `origin`, `layout`, `channel_ids` and so on; None where the result is of none.
    """
    entries = record["inputs"].values()
    for facts in entries:
        if facts["kind"] == "recording":
            return dict(facts)
    return next((facts["recording"] for facts in entries if facts.get("recording")), None)


def _hashed(
    name: str,
    path: Path,
    mounts: list[Mount],
    hash_of: Callable[[Path, FileState], str],
    **others: Any,
) -> FolderInput:
    files = _files(tuple(mounts), name)
    states = {inner: FileState.of(file) for inner, file in files.items()}
    return FolderInput(
        name=name,
        path=path,
        **{"names": (), "key": None, "made_by": None, "recording": None, **others},
        mounts=tuple(mounts),
        files=files,
        states=states,
        hashes={inner: hash_of(file, states[inner]) for inner, file in files.items()},
    )


def _files(mounts: tuple[Mount, ...], name: str) -> dict[str, Path]:
    """Return every file of some mounts by its path below /inputs/NAME, in order."""
    found: dict[str, Path] = {}
    for mount in mounts:
        inside = mount.target.relative_to(INPUTS / name)
        if mount.source.is_file() and not mount.source.is_symlink():
            found[str(inside)] = mount.source
            continue
        for path in entries(mount.source) if mount.source.is_dir() else (mount.source,):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                message = f"{path} is a link or a special file"
                raise UsageError(message, next_step="replace it with a copy of the file")
            if path.is_file():
                require_utf8(path)
                found[str(PurePosixPath(inside, path.relative_to(mount.source).as_posix()))] = path
    return dict(sorted(found.items()))
