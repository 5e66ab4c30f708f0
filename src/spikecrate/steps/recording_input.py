"""A recording as an input of a step: it enters the job key by its content, and its folders are mounted read-only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from spikecrate._util.canonical import digest
from spikecrate._util.file_systems import is_memory_backed
from spikecrate.errors import RecordingChangedError, RecordingValueError, UsageError
from spikecrate.recordings import Recording, open_recording
from spikecrate.recordings import identity as content
from spikecrate.runtimes.contract import INPUTS, Mount
from spikecrate.steps.kinds import PREPROCESS
from spikecrate.steps.lineage import maker
from spikecrate.steps.paths import RECORD
from spikecrate.store.file_hashes import FileHashCache, FileState, flush

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path, PurePosixPath

    from spikecrate._util.progress import Progress
    from spikecrate.steps.inputs import Word
    from spikecrate.store import Store


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
            "made_by": made_by(recording),
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


def made_by(recording: Recording) -> dict[str, Any] | None:
    """Return which step made a recording: its folder lies in the result of that step, in the store or a copy.

    Parameters
    ----------
    recording : Recording
        The recording.

    Returns
    -------
    dict or None
        The job, as `maker` returns it; None where no step made it.
    """
    return made_at(recording.files[0].parent)


def made_at(folder: Path) -> dict[str, Any] | None:
    """Return which step made the recording in a folder.

    Parameters
    ----------
    folder : Path
        The folder of the recording.

    Returns
    -------
    dict or None
        As `made_by` returns it.
    """
    path = folder.parent / RECORD
    try:
        record = json.loads(path.read_bytes()) if path.is_file() else {}
        if record["tool"]["kind"] != PREPROCESS:
            return None
        return maker(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # Another program's run.json.
        return None


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


def open_recording_input(name: str, word: Word, store: Store, progress: Progress) -> RecordingInput:
    """Return a recording as an input, opened and hashed unless it is that already.

    Parameters
    ----------
    name : str
        Name of the input.
    word : Path, str, Recording or RecordingInput
        The recording.
    store : Store
        The store with the cache of hashes.
    progress : Progress
        Shows the progress of hashing.

    Returns
    -------
    RecordingInput

    Raises
    ------
    RecordingError, UsageError
        The recording cannot be read, or the input is of another kind.
    """
    if isinstance(word, RecordingInput):
        return word
    if isinstance(word, (tuple, list)):
        message = f"{name} is a recording, not {len(word)} files"
        raise UsageError(message, next_step=f"name one recording for {name}")
    recording = word if isinstance(word, Recording) else open_recording(word)
    return hash_recordings(name, [recording], store, progress)[0]


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
