"""The inputs of a step: each enters the job key by its content, and is mounted read-only at /inputs/NAME."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

from spikecrate._util.canonical import digest
from spikecrate._util.file_systems import is_memory_backed
from spikecrate._util.files import entries
from spikecrate.errors import RecordingChangedError, RecordingValueError, UsageError
from spikecrate.recordings import Recording, open_recording
from spikecrate.recordings import identity as content
from spikecrate.runtimes.contract import INPUTS, Mount
from spikecrate.steps.kinds import KINDS
from spikecrate.steps.resolve import find_job, is_key, read_folder
from spikecrate.store import result_manifest
from spikecrate.store.file_hashes import FileHashCache, FileState, flush

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from spikecrate._util.progress import Progress
    from spikecrate.store import Store
    from spikecrate.store.results import Stored

BLAKE3: Final = "blake3"
"""Question to the cache of file hashes, about a file's bytes."""


@dataclass(frozen=True, kw_only=True)
class RecordingInput:
    """A recording as an input.

    Attributes
    ----------
    name : str
        Name of the input.
    recording : Recording
        The recording, in place on disk.
    states : tuple of FileState
        State of the sample file of each part when it was hashed.
    identity : dict
        Content of the recording, part of the job key: hash of the samples, dtype, channels, rate, locations, gains.
    """

    name: str
    recording: Recording
    states: tuple[FileState, ...]
    identity: dict[str, Any]

    @property
    def document(self) -> dict[str, Any]:
        """Entry of `inputs` in job.json."""
        layout = self.recording.layout.as_dict()
        for part, (_mount, file) in zip(layout["parts"], self._placed, strict=True):
            part["file"] = file.relative_to(INPUTS / self.name).as_posix()
        return {"kind": "recording", "layout": layout}

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """The folder of each sample file, or the file alone where a link leads out of its folder.

        One of them is mounted at `/inputs/NAME` itself, each of several at `/inputs/NAME/1`, `/2` and so on: none is
        mounted inside another, where a link of that name would lead the engine elsewhere.
        """
        return tuple(dict.fromkeys(mount for mount, _file in self._placed))

    @property
    def facts(self) -> dict[str, Any]:
        """Entry of `inputs` in the run record."""
        recording = self.recording
        return {
            "kind": "recording",
            "path": str(recording.path),
            "format": recording.format,
            "origin": recording.origin,
            "files": list(map(str, recording.files)),
            "layout": recording.layout.as_dict(),
            "channel_ids": list(recording.channel_ids),
            "gaps": [[gap.sample, gap.missing] for gap in recording.gaps],
            "notes": list(recording.notes),
            "identity": self.identity,
        }

    @property
    def opened(self) -> tuple[FileState, ...]:
        """States of the files that the tool must have opened."""
        return self.states

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that the tool opens."""
        return self.recording.files

    @property
    def _placed(self) -> list[tuple[Mount, PurePosixPath]]:
        """Return for the sample file of each part its mount, and its path inside."""
        folders = [file.parent.resolve() for file in self.recording.files]
        files = [file.resolve() for file in self.recording.files]
        sources = [
            folder if file.is_relative_to(folder) else file
            for folder, file in zip(folders, files, strict=True)
        ]
        numbers = {source: str(number) for number, source in enumerate(dict.fromkeys(sources), start=1)}
        placed = []
        for named, file, source in zip(self.recording.files, files, sources, strict=True):
            target = INPUTS / self.name / (numbers[source] if len(numbers) > 1 else "")
            inside = target / (named.name if source == file else file.relative_to(source).as_posix())
            placed.append((Mount(source=source, target=inside if source == file else target), inside))
        return placed

    def is_unchanged(self, progress: Progress) -> bool:
        """Return whether the sample files are unchanged since they were hashed.

        On a memory file system such as tmpfs, a change through a memory map does not update the times, so hash again.

        Parameters
        ----------
        progress : Progress
            Shows the progress of hashing.

        Returns
        -------
        bool
        """
        files = self.recording.files
        try:
            return tuple(map(FileState.of, files)) == self.states and (
                not any(map(is_memory_backed, files))
                or content.hash_samples(self.recording, progress) == self.identity["samples"]
            )
        except (FileNotFoundError, RecordingChangedError, RecordingValueError):
            return False


@dataclass(frozen=True, kw_only=True)
class FolderInput:
    """A folder, a file, or the output of another step as an input.

    Attributes
    ----------
    name : str
        Name of the input.
    path : Path
        The folder or file, or the result folder of the other step.
    key : str or None
        Job key of the other step.
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
    key: str | None
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
        return {"kind": "folder", "path": str(self.path), "key": self.key, "identity": self.identity}

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


Input = RecordingInput | FolderInput
Word = Path | str | Recording | RecordingInput
"""How a request names an input."""


def open_inputs(
    kinds: Mapping[str, str], words: Mapping[str, Word], store: Store, progress: Progress
) -> dict[str, Input]:
    """Open the inputs of a step and hash them, or take the hashes from the cache.

    Parameters
    ----------
    kinds : mapping
        Kind of every input of the tool by its name: `recording` or `folder`.
    words : mapping
        Path of every input by its name; for a folder also the first digits of a job key, for a recording also the
        opened recording, or an input that is hashed already.
    store : Store
        The store with other steps, and the cache of hashes.
    progress : Progress
        Shows the progress of hashing.

    Returns
    -------
    dict
        Every input by its name.

    Raises
    ------
    UsageError
        An input is missing or unknown, or a folder has links or special files.
    JobNotFoundError, ResultCorruptError
        The other step has no result.
    RecordingError
        The recording cannot be read.
    """
    if kinds.keys() != words.keys():
        wrong = ", ".join(sorted(kinds.keys() ^ words.keys()))
        message = f"the tool's inputs are {', '.join(kinds)}; missing or unknown: {wrong}"
        raise UsageError(message, next_step=f"name each of them once: {', '.join(kinds)}")
    return {
        name: (_recording if kind == "recording" else _folder)(name, words[name], store, progress)
        for name, kind in kinds.items()
    }


def hash_recordings(
    name: str, recordings: Sequence[Recording], store: Store, progress: Progress
) -> list[RecordingInput]:
    """Return recordings as inputs: views of the same stretches of the same files, which are read once.

    Parameters
    ----------
    name : str
        Name of the input.
    recordings : sequence of Recording
        They may differ in their channels.
    store : Store
        The store with the cache of hashes.
    progress : Progress
        Shows the progress of hashing.

    Returns
    -------
    list of RecordingInput

    Raises
    ------
    RecordingChangedError
        A file changed while it was read.
    RecordingValueError
        The samples contain NaN or infinity.
    UsageError
        A path is not UTF-8.
    """
    for recording in recordings:
        recording.require_utf8_paths()
    states = tuple(map(FileState.of, recordings[0].files))
    hashes = samples_hashes(recordings, states, FileHashCache(store.memo), progress)
    return [
        RecordingInput(
            name=name, recording=recording, states=states, identity=content.identity(recording, samples)
        )
        for recording, samples in zip(recordings, hashes, strict=True)
    ]


def _recording(name: str, word: Word, store: Store, progress: Progress) -> RecordingInput:
    if isinstance(word, RecordingInput):
        return word
    recording = word if isinstance(word, Recording) else open_recording(word)
    return hash_recordings(name, [recording], store, progress)[0]


def _folder(name: str, word: Word, store: Store, progress: Progress) -> FolderInput:
    if not isinstance(word, (str, Path)):
        message = f"the input {name} is a folder, not a recording"
        raise UsageError(message, next_step=f"pass a path for {name}")
    if isinstance(word, str) and is_key(word):
        return _output(name, find_job(word, store, progress))
    path = Path(os.path.abspath(word))  # noqa: PTH100  (a link in the path stays in the record)
    if not path.exists():
        message = f"{path} does not exist"
        raise UsageError(message, next_step="name a folder, a file, or the key of a job in the store")
    if (path / result_manifest.NAME).is_file():
        return _output(name, read_folder(path))
    source, target = path.resolve(), INPUTS / name
    mount = Mount(source=source, target=target if source.is_dir() else target / source.name)
    memo = FileHashCache(store.memo)

    def hash_of(file: Path, state: FileState) -> str:
        remembered = memo.get(state, BLAKE3)
        if remembered is None:
            flush([file])
            remembered = result_manifest.hash_file(file)
            memo.put(state, BLAKE3, remembered, shared=True)
        return remembered

    return _hashed(name, path, None, [mount], hash_of)


def _output(name: str, stored: Stored) -> FolderInput:
    """Return the output of another step: the files of its kind, and the folder with the other files."""
    kind = KINDS[stored.record["tool"]["kind"]]
    folder, target = stored.folder.resolve(), INPUTS / name
    mounts = [Mount(source=folder / file, target=target / file) for file in kind.files]
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

    return _hashed(name, stored.folder, stored.record["key"], mounts, hash_of)


def _hashed(
    name: str, path: Path, key: str | None, mounts: list[Mount], hash_of: Callable[[Path, FileState], str]
) -> FolderInput:
    files = _files(tuple(mounts), name)
    states = {inner: FileState.of(file) for inner, file in files.items()}
    return FolderInput(
        name=name,
        path=path,
        key=key,
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
        if mount.source.is_file():
            found[str(inside)] = mount.source
            continue
        for path in entries(mount.source):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                message = f"{path} is a link or a special file"
                raise UsageError(message, next_step="replace it with a copy of the file")
            if path.is_file():
                found[str(PurePosixPath(inside, path.relative_to(mount.source).as_posix()))] = path
    return dict(sorted(found.items()))


def samples_hashes(
    recordings: Sequence[Recording], states: tuple[FileState, ...], memo: FileHashCache, progress: Progress
) -> list[str]:
    """Return the hash of the samples of recordings, computed in one pass or from the cache.

    Parameters
    ----------
    recordings : sequence of Recording
        Views of the same stretches of the same files.
    states : tuple of FileState
        State of the sample file of each part.
    memo : FileHashCache
        The cache.
    progress : Progress
        Shows the progress of hashing.

    Returns
    -------
    list of str
        64 hex digits each.

    Raises
    ------
    RecordingChangedError
        A file changed while it was read.
    RecordingValueError
        The samples contain NaN or infinity.
    """
    questions = [_question(recording, states) for recording in recordings]
    hashes = {question: memo.get(states[0], question) for question in questions}
    unknown = {
        question: recording
        for question, recording in zip(questions, recordings, strict=True)
        if hashes[question] is None
    }
    if unknown:
        files = recordings[0].files
        flush(files)
        computed = content.hash_together(list(unknown.values()), progress)
        for file, state in zip(files, states, strict=True):
            if FileState.of(file) != state:
                message = f"{file} changed while it was being read"
                raise RecordingChangedError(message, next_step="try again once the recording is complete")
        for question, samples in zip(unknown, computed, strict=True):
            memo.put(states[0], question, samples, shared=True)
            hashes[question] = samples
    return [str(hashes[question]) for question in questions]


def _question(recording: Recording, states: tuple[FileState, ...]) -> str:
    """Return the question to the cache about the samples: where they lie, and the state of further files."""
    parts = [{**asdict(part), "file": ""} for part in recording.parts]
    others = [{**asdict(state), "path": ""} for state in states[1:]]
    return digest(["samples", parts, others])
