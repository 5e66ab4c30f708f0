"""A job: a sorter, its parameters, a recording and a recipe, with the key that they give."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spikecrate._util.canonical import digest
from spikecrate._util.files import is_memory_backed
from spikecrate.catalogue.tools import check, complete, find, require, validate
from spikecrate.errors import RecordingChangedError, RecordingValueError, UsageError
from spikecrate.recordings import identity as content
from spikecrate.recordings import open_recording
from spikecrate.runtimes.gpu import decide, is_present
from spikecrate.steps.key import KeyParts
from spikecrate.steps.sources import current, hash_of
from spikecrate.store.file_hashes import FileHashCache, FileState, flush

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Sorter
    from spikecrate.images.build import BuildRequest
    from spikecrate.recordings import Recording
    from spikecrate.steps.sources import Sources
    from spikecrate.store import Store


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job, fully described; nothing of it has run.

    Attributes
    ----------
    sorter : Sorter
        From the catalogue.
    recording : Recording
        On disk.
    state : FileState
        Of the sample file, as it was when it was hashed.
    parts : KeyParts
        What the key is made of.
    sources : Sources
        What the sorter's image is made from: of the catalogue as it is, or of one as it was.
    gpu : bool
        Whether it runs on a GPU.
    """

    sorter: Sorter
    recording: Recording
    state: FileState
    parts: KeyParts
    sources: Sources
    gpu: bool = False

    @cached_property
    def key(self) -> str:
        """The job key, 64 hex digits."""
        return self.parts.key

    def check(self) -> None:
        """Hold the sorter to its schema, and the parameters and the recording to the sorter's.

        Raises
        ------
        SorterInvalidError, ParameterValueError, RecordingTooSmallError
        """
        check(self.sorter.folder)
        validate(self.sorter, self.parts.parameters)
        layout = self.recording.layout
        require(
            self.sorter,
            channels=layout.num_channels,
            duration_s=layout.num_samples / layout.sampling_frequency,
        )

    def check_unchanged(self, progress: Progress) -> None:
        """Check that the sample file is as it was hashed.

        In memory, on a tmpfs for example, times do not show a change through a map: there it is hashed again.

        Parameters
        ----------
        progress : Progress
            Gets how far the hashing is.

        Raises
        ------
        RecordingChangedError
            Where the file has changed or is gone.
        """
        path = self.recording.sample_file
        try:
            same = FileState.of(path) == self.state
            if same and is_memory_backed(path):
                same = content.hash_samples(self.recording, progress) == self.parts.recording["samples"]
        except (FileNotFoundError, RecordingChangedError, RecordingValueError):
            same = False
        if not same:
            message = f"{path} changed while it was being sorted; the result is not kept"
            raise RecordingChangedError(message, next_step="sort again once the recording is complete")


def describe(
    path: Path | str,
    *,
    sorter: str,
    parameters: Mapping[str, Any],
    seed: int,
    cores: int,
    gpu: str = "auto",
    store: Store,
    progress: Progress,
) -> Job:
    """Describe a job; its recording is hashed, or the hash remembered.

    Parameters
    ----------
    path : Path or str
        The recording.
    sorter : str
        Name or alias.
    parameters : mapping
        Those that differ from the defaults.
    seed : int
        Handed to the sorter.
    cores : int
        Part of the key only for a sorter whose result depends on it.
    gpu : str
        `auto`, `on` or `off`; part of the key only for a sorter that can do with or without.
    store : Store
        Where hashes are remembered.
    progress : Progress
        Told how far the hashing is.

    Raises
    ------
    SorterNotFoundError, SorterInvalidError, ParameterUnknownError, UsageError
        From the catalogue.
    GpuMissingError
        Where one is needed and there is none.
    RecordingNotFoundError and its kin
        From the recording.
    """
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        message = f"the seed is {seed}, it must be from 0 to 4294967295"
        raise UsageError(message, next_step="choose another seed")
    found = find(sorter)
    complete_parameters = complete(found, parameters)
    on_gpu = decide(found.name, found.gpu, gpu, present=is_present())
    recording = open_recording(path)
    state = FileState.of(recording.sample_file)
    samples = samples_hash(recording, state, FileHashCache(store.memo), progress)
    parts = KeyParts(
        sorter=found.name,
        recipe=recipe(found),
        parameters=complete_parameters,
        seed=seed,
        recording=content.identity(recording, samples),
        cores=cores if found.cores_change_result else None,
        gpu=on_gpu if found.gpu == "optional" else None,
    )
    return Job(
        sorter=found, recording=recording, state=state, parts=parts, sources=current(found), gpu=on_gpu
    )


def recipe(sorter: Sorter) -> str:
    """Hash what a sorter's image is made from."""
    return hash_of(sorter, current(sorter))


def build_request(
    sorter: Sorter, recipe: str, sources: Sources | None = None, *, gpu: bool = False
) -> BuildRequest:
    """Say what a sorter's image or environment is made from.

    Parameters
    ----------
    sorter, recipe, sources
        What it is made from; by default as it is in the catalogue.
    gpu : bool
        Whether it is to run on a GPU: of a sorter with a lock of its own for that, another image is meant.
    """
    from spikecrate.images.build import BuildRequest
    from spikecrate.images.recipe import GPU_LOCK, gpu_recipe

    sources = sources or current(sorter)
    own = gpu and (sources.sorter / GPU_LOCK).is_file()
    return BuildRequest(
        name=sorter.name,
        folder=sources.sorter,
        version=sorter.version,
        title=sorter.title,
        description=sorter.description,
        license=sorter.license,
        url=sorter.url,
        entrypoint=sorter.entrypoint,
        python=sorter.python,
        recipe=gpu_recipe(recipe) if own else recipe,
        gpu=own,
        image=sorter.image,
        harness=sources.harness,
        base=sources.base,
    )


def samples_hash(recording: Recording, state: FileState, memo: FileHashCache, progress: Progress) -> str:
    """Hash a recording's samples, or remember the hash.

    Raises
    ------
    RecordingChangedError
        Where the file changes while it is read.
    RecordingValueError
        For NaN or infinity in the samples.
    """
    layout = recording.layout
    question = digest(
        [
            "samples",
            layout.dtype,
            layout.offset,
            layout.time_axis,
            layout.file_channels,
            layout.channels,
            layout.num_samples,
        ]
    )
    remembered = memo.get(state, question)
    if remembered is not None:
        return remembered
    flush([recording.sample_file])
    samples = content.hash_samples(recording, progress)
    if FileState.of(recording.sample_file) != state:
        message = f"{recording.sample_file} changed while it was being read"
        raise RecordingChangedError(message, next_step="try again once the recording is complete")
    memo.put(state, question, samples, shared=True)
    return samples
