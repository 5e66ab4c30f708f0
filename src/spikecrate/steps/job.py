"""A job: a tool, its recipe, its parameters and its inputs, and the key of these parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from spikecrate.catalogue.parameters import validate
from spikecrate.catalogue.tools import check, require
from spikecrate.errors import RecordingChangedError, UsageError
from spikecrate.recordings import sort_warnings
from spikecrate.recordings.probe import at_shared_places
from spikecrate.steps.inputs import recording_facts
from spikecrate.steps.kinds import KINDS
from spikecrate.steps.recording_input import RecordingInput
from spikecrate.steps.sources import current, hash_of
from spikecrate_harness.layout import Layout

if TYPE_CHECKING:
    from spikecrate._util.progress import Progress
    from spikecrate.catalogue.tools import Tool
    from spikecrate.images.build import BuildRequest
    from spikecrate.recordings import Recording
    from spikecrate.steps.inputs import Input
    from spikecrate.steps.key import KeyParts
    from spikecrate.steps.kinds import Kind
    from spikecrate.steps.sources import Sources
    from spikecrate.store.file_hashes import FileState


@dataclass(frozen=True, kw_only=True)
class Job:
    """One job, fully described and not yet run.

    Attributes
    ----------
    tool : Tool
        The tool, from the catalogue.
    inputs : dict
        Every input by its name.
    parts : KeyParts
        The parts of the job key.
    sources : Sources
        Folders of the image's sources: those of the catalogue, or earlier ones that the store keeps.
    gpu : bool
        Whether the job runs on a GPU.
    """

    tool: Tool
    inputs: dict[str, Input]
    parts: KeyParts
    sources: Sources
    gpu: bool = False

    @cached_property
    def key(self) -> str:
        """The job key, 64 hex digits."""
        return self.parts.key

    @property
    def kind(self) -> Kind:
        """The kind of the tool's output."""
        return KINDS[self.tool.kind]

    @property
    def build(self) -> BuildRequest:
        """The sources of its image or environment."""
        return build_request(self.tool, self.parts.recipe, self.sources, gpu=self.gpu)

    @property
    def recordings(self) -> list[Recording]:
        """Every recording among the inputs."""
        return [found.recording for found in self.inputs.values() if isinstance(found, RecordingInput)]

    @property
    def recording(self) -> Recording:
        """The recording, of a job that has one."""
        (recording,) = self.recordings
        return recording

    @property
    def layout(self) -> Layout:
        """The layout of its recording, or of the recording that its input is of.

        Raises
        ------
        UsageError
            No input is a recording, or of one.
        """
        facts = recording_facts({"inputs": {name: found.facts for name, found in self.inputs.items()}})
        if facts is None:
            message = f"no input of {self.tool.name} is of a recording"
            raise UsageError(message, next_step="name a result of spikecrate: a job key, or its folder")
        return Layout.from_dict(facts["layout"])

    def check(self) -> None:
        """Check the tool against its schema, and the parameters and the recordings against the tool.

        Raises
        ------
        SorterInvalidError, ParameterValueError, ProbeError, RecordingTooSmallError
        """
        check(self.tool.folder)
        validate(self.tool, self.parts.parameters)
        for recording in self.recordings:
            shared = at_shared_places(recording.layout.locations)
            require(
                self.tool,
                channels=recording.layout.num_channels,
                duration_s=recording.duration_s,
                same_place=[recording.channel_ids[channel] for channel in shared],
            )

    def note_assumptions(self, progress: Progress) -> None:
        """Note what is assumed of the recordings, and the parameters that do not fit them.

        Parameters
        ----------
        progress : Progress
            Receives the notes.
        """
        for recording in self.recordings:
            for warning in sort_warnings(recording, self.parts.parameters, tool=self.tool.name):
                progress.note(str(warning))

    def check_unchanged(self, opened: Any, progress: Progress) -> None:
        """Check that no input has changed since it was hashed, and that the tool opened what was hashed.

        Parameters
        ----------
        opened : object
            The tool's report on each input: `{name: [{"inode": …, "size": …, "mtime_ns": …}]}`, an entry for each file
            that it opened; fields may be missing.
        progress : Progress
            Shows the progress of hashing.

        Raises
        ------
        RecordingChangedError
            A file has changed or is gone, or another file replaced it while the job started.
        """
        for name, found in self.inputs.items():
            reported = opened.get(name) if isinstance(opened, dict) else None
            facts = reported if isinstance(reported, list) else []
            replaced = [
                path
                for path, state, fact in zip(found.paths, found.opened, facts, strict=False)
                if not _is_same(state, fact)
            ]
            if replaced:
                message = f"{replaced[0]} was replaced while the job started; the result is discarded"
            elif not found.is_unchanged(progress):
                message = (
                    f"{', '.join(map(str, found.paths))} changed during the run; the result is discarded"
                )
            else:
                continue
            raise RecordingChangedError(message, next_step="run it again once the input is complete")


def _is_same(state: FileState, facts: Any) -> bool:
    """Return whether a tool opened the file that was hashed; fields that the tool does not report count as equal."""
    return not isinstance(facts, dict) or all(
        facts.get(name, value) == value
        for name, value in (("inode", state.inode), ("size", state.size), ("mtime_ns", state.mtime_ns))
    )


def recipe(sorter: Tool) -> str:
    """Return the recipe hash of a tool of the catalogue.

    Parameters
    ----------
    sorter : Tool
        The tool.

    Returns
    -------
    str
        64 hex digits.
    """
    return hash_of(sorter, current(sorter))


def build_request(
    sorter: Tool, recipe: str, sources: Sources | None = None, *, gpu: bool = False
) -> BuildRequest:
    """Return the sources of a tool's image or environment.

    Parameters
    ----------
    sorter : Tool
        The tool.
    recipe : str
        Its recipe hash.
    sources : Sources, optional
        Its folders; by default those of the catalogue.
    gpu : bool
        Whether the job runs on a GPU: a tool with a separate GPU lock has a separate GPU image.

    Returns
    -------
    BuildRequest
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
