"""What an image or a host environment is made from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import spikecrate_harness
from spikecrate._util.data import PACKAGE, data_path
from spikecrate.catalogue.tools import HARNESS_ENTRYPOINT
from spikecrate.images.recipe import GPU_LOCK, LOCK, image_reference


@dataclass(frozen=True, kw_only=True)
class BuildRequest:
    """One image of a sorter, or its environment on the host.

    Attributes
    ----------
    name, version, title, description, license, url, entrypoint, python
        As in the sorter's sorter.json.
    folder : Path
        The sorter's folder.
    recipe : str
        Hash of everything that the image is made from (`recipe_hash`, or `gpu_recipe` of it).
    gpu : bool
        Whether this is the GPU variant, made from `requirements.gpu.lock`.
    image : str
        A prebuilt image by its digest; empty where the image is built.
    library : tuple of str
        Modules of spikecrate that the tool runs, as in its tool.json.
    harness, base, package : Path
        The harness's package, the folder of the base images and the package spikecrate; by default those of this
        spikecrate.
    """

    name: str
    folder: Path
    version: str
    title: str
    description: str
    license: str
    url: str
    entrypoint: tuple[str, ...]
    python: str
    recipe: str
    gpu: bool = False
    image: str = ""
    library: tuple[str, ...] = ()
    harness: Path = Path(spikecrate_harness.__file__).parent
    base: Path = data_path("docker") / "base"
    package: Path = PACKAGE

    @property
    def reference(self) -> str:
        """Name and tag of the image."""
        version = f"{self.version}-gpu" if self.gpu else self.version
        return image_reference(self.name, version, self.recipe)

    @property
    def origin(self) -> str:
        """Name shown to users: the reference, or the registry's name of a prebuilt image."""
        return self.image or self.reference

    @property
    def has_harness(self) -> bool:
        """Whether the harness calls the sorter's run.py; only then can it run without an image."""
        return not self.image and self.entrypoint == HARNESS_ENTRYPOINT

    @property
    def lock(self) -> Path:
        """The lock of the packages it runs with."""
        return self.folder / (GPU_LOCK if self.gpu else LOCK)
