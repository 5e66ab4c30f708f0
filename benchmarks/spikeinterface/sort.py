"""Run by the interpreter of SpikeInterface's own environment: `sort.py RECORDING FOLDER [IMAGE]`."""

import sys
from pathlib import Path


def main() -> None:
    """Sort natively, or in a container where an image is named."""
    from spikeinterface.extractors import read_mda_recording
    from spikeinterface.sorters import run_sorter

    recording = read_mda_recording(sys.argv[1])
    options = {"docker_image": sys.argv[3], "installation_mode": "no-install"} if len(sys.argv) > 3 else {}
    sorting = run_sorter(
        "mountainsort5",
        recording,
        folder=Path(sys.argv[2]),
        remove_existing_folder=True,
        scheme="1",
        **options,
    )
    print(len(sorting.unit_ids), "units")


if __name__ == "__main__":
    main()
