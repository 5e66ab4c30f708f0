"""Print a run record: what a job ran, and what it gave."""

from contextlib import suppress
from json import dumps
from typing import Any

from spikecrate._util.quantities import format_bytes
from spikecrate.cli.show_units import show_units
from spikecrate.cli.text import fields
from spikecrate.steps.paths import UNITS
from spikecrate.steps.record import SCHEMA
from spikecrate.store import open_store
from spikecrate.store.summary import told_input, told_maker, told_source


def show_record(record: dict[str, Any]) -> None:
    """Print the main fields of a run record or a failure, a field a line.

    Parameters
    ----------
    record : dict
        The run record; of a failure or a running job, what the store has.
    """
    if "inside" not in record:
        # A failure or a running job: few fields, all of them short but the key's parts.
        paths = {name: told_input(found) for name, found in record.get("inputs", {}).items()}
        return fields(
            {name: value for name, value in record.items() if name not in ("key_parts", "inputs")} | paths
        )
    if "tool" not in record:
        # Until schema 2 of the run record, every tool was a sorter and its one input a recording.
        earlier = {"tool": {"kind": "sorter", **record["sorter"]}}
        record = {**record, **earlier, "inputs": {"recording": {"kind": "recording", **record["recording"]}}}
    tool, image = record["tool"], record["image"] or record["environment"]
    peak = record["peak_memory_bytes"]
    return fields(
        {
            "key": record["key"],
            "status": record["status"],
            tool["kind"]: f"{tool['name']} {tool['version']}",
            "parameters": ", ".join(
                f"{name}={dumps(value, ensure_ascii=False)}"
                for name, value in record["parameters"].items()
                if value is not None
            ),
            "seed": record["seed"],
            **{name: told_input(found) for name, found in record["inputs"].items()},
            **_recording_fields(record["inputs"].get("recording")),
            "runtime": record["runtime"],
            "image": f"{image['reference']} {image['digest']}" if record["image"] else image["folder"],
            "started": record["started"],
            "took": f"{record['wall_s']:.1f} s" + (f", {format_bytes(peak)} of memory" if peak else ""),
            **{name: record[name] for name in ("units", "events") if name in record},
            **({"warnings": "; ".join(record["warnings"])} if record.get("warnings") else {}),
            "more": f"spikecrate job.show {record['key'][:12]} --json",
        }
    )


def show_details(record: dict[str, Any]) -> None:
    """Print a run record as `show_record` does, and the units of a sorting.

    Parameters
    ----------
    record : dict
        The run record, or what the store has of a job without a result.
    """
    show_record(record)
    if record.get("schema") == SCHEMA and UNITS in record["files"]:
        from spikecrate.api.result import Result

        folder = open_store().result(record["key"])
        found = Result(
            key=record["key"], status="cached", folder=folder, output=None, record=record, elapsed_s=0
        )
        # Whether the file is intact is asked when the result is used.
        with suppress(OSError, ValueError):
            show_units(found)


def _recording_fields(recording: dict[str, Any] | None) -> dict[str, str]:
    from spikecrate.recordings.describe import summarize
    from spikecrate_harness.layout import Layout

    if recording is None or recording["kind"] != "recording":
        return {}
    data = recording["layout"]
    if "parts" not in data:
        # Until schema 3 of the run record, a recording was one file, read from its first sample on.
        named = {name: data[name] for name in Layout.__dataclass_fields__ if name in data}
        part = {name: value for name, value in data.items() if name not in named}
        data = {"parts": [part | {"start": 0, "file_samples": part["num_samples"]}], **named}
    layout = Layout.from_dict(data)
    made = recording.get("made_by")
    return {
        **({"made by": f"{told_maker(recording)} of {told_source(made)}"} if made else {}),
        "format": recording["format"],
        "duration": f"{layout.num_samples / layout.sampling_frequency:.1f} s",
        **summarize(layout, recording["channel_ids"]),
    }
