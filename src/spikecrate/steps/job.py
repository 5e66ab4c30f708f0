"""A job: a sorter, its parameters, a recording and a recipe, and the key made of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spikecrate._util.canonical import digest
from spikecrate._util.file_systems import is_memory_backed
from spikecrate.catalogue.tools import check, complete, find, require, validate
from spikecrate.errors import RecordingChangedError, RecordingValueError, UsageError
from spikecrate.recordings import identity as content
from spikecrate.recordings import open_recording
from spikecrate.runtimes.gpu import decide, is_present
from spikecrate.steps.key import KeyParts
from spikecrate.steps.kinds import RECORDING
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
    """One job, fully described and not yet run.

    Attributes
    ----------
    sorter : Sorter
        The sorter, from the catalogue.
    recording : Recording
        The recording, in place on disk.
    state : FileState
        The state of the sample file when it was hashed.
    parts : KeyParts
        The parts of the job key.
    sources : Sources
        The folders that the image is built from: of today's catalogue, or of an earlier one kept in the store.
    gpu : bool
        Whether the job runs on a GPU.
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
        """Check the sorter against its schema, and the parameters and the recording against the sorter.

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
        """Check that the sample file has not changed since it was hashed.

        On a memory file system such as tmpfs, times do not show a change through a memory map, so hash the file again.

        Parameters
        ----------
        progress : Progress
            Shows the progress of hashing.

        Raises
        ------
        RecordingChangedError
            Where the file has changed or is gone.
        """
        path = self.recording.sample_file
        try:
            same = FileState.of(path) == self.state
            if same and is_memory_backed(path):
                same = (
                    content.hash_samples(self.recording, progress) == self.parts.inputs[RECORDING]["samples"]
                )
        except (FileNotFoundError, RecordingChangedError, RecordingValueError):
            same = False
        if not same:
            message = f"{path} changed during the run; the result is discarded"
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
    """Describe a job; hash its recording, or take the hash from the cache.

    Parameters
    ----------
    path : Path or str
        Path of the recording.
    sorter : str
        Name or alias of the sorter.
    parameters : mapping
        The parameters that differ from the defaults.
    seed : int
        Seed of the sorter.
    cores : int
        Processors; part of the key only if the result of the sorter depends on them.
    gpu : str
        `auto`, `on` or `off`; part of the key only if the sorter works with and without a GPU.
    store : Store
        The store, which keeps the cache of hashes.
    progress : Progress
        Shows the progress of hashing.

    Raises
    ------
    SorterNotFoundError, SorterInvalidError, ParameterUnknownError, UsageError
        The catalogue has no such sorter or parameter, or an option is out of range.
    GpuMissingError
        The sorter needs a GPU and the machine has none.
    RecordingNotFoundError and its kin
        The recording cannot be read.
    """
    if isinstance(seed, bool) or not 0 <= seed < 2**32:
        message = f"the seed {seed} is not from 0 to 4294967295"
        raise UsageError(message, next_step="choose another seed")
    found = find(sorter)
    complete_parameters = complete(found, parameters)
    on_gpu = decide(found.name, found.gpu, gpu, present=is_present())
    recording = open_recording(path)
    recording.require_utf8_paths()
    state = FileState.of(recording.sample_file)
    samples = samples_hash(recording, state, FileHashCache(store.memo), progress)
    parts = KeyParts(
        tool=found.name,
        recipe=recipe(found),
        parameters=complete_parameters,
        seed=seed,
        inputs={RECORDING: content.identity(recording, samples)},
        cores=cores if found.cores_change_result else None,
        gpu=on_gpu if found.gpu == "optional" else None,
    )
    return Job(
        sorter=found, recording=recording, state=state, parts=parts, sources=current(found), gpu=on_gpu
    )


def recipe(sorter: Sorter) -> str:
    """Return the recipe hash of a sorter of the catalogue."""
    return hash_of(sorter, current(sorter))


def build_request(
    sorter: Sorter, recipe: str, sources: Sources | None = None, *, gpu: bool = False
) -> BuildRequest:
    """Return what a sorter's image or environment is built from.

    Parameters
    ----------
    sorter, recipe, sources
        The sorter, its recipe hash and its folders; by default those of the catalogue.
    gpu : bool
        Whether the job runs on a GPU: a sorter with a separate GPU lock has a separate GPU image.
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
    """Return the hash of a recording's samples, computed or from the cache.

    Raises
    ------
    RecordingChangedError
        The file changed while it was read.
    RecordingValueError
        The samples contain NaN or infinity.
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
