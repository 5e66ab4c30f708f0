"""The Invoke collection: each task reads its words, calls the library, prints what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invoke.collection import Collection

from spikecrate.cli import dev, doctor, images, jobs, quality, recordings, sorters, store
from spikecrate.cli.checks import has_dev

if TYPE_CHECKING:
    from invoke.tasks import Task


def _collection(name: str, *members: Task[Any]) -> Collection:
    collection = Collection(name)
    for member in members:
        collection.add_task(member)
    return collection


namespace = Collection(jobs.sort, images.build, images.convert, jobs.demo, doctor.doctor)
namespace.add_collection(
    _collection(
        "sorters",
        *(sorters.sorters_list, sorters.sorters_show),
        *(sorters.sorters_new, sorters.sorters_lock, sorters.sorters_export),
        quality.sorters_quality,
    )
)
namespace.add_collection(
    _collection("recording", recordings.recording_info, recordings.recording_import, recordings.recording_toy)
)
namespace.add_collection(
    _collection(
        "job",
        *(jobs.job_list, jobs.job_show, jobs.job_logs),
        *(jobs.job_verify, jobs.job_rerun, jobs.job_diff, jobs.job_explain),
    )
)
namespace.add_collection(
    _collection(
        "image",
        images.image_list,
        images.image_pull,
        images.image_bundle,
        images.image_unbundle,
        images.image_prune,
        images.image_lock,
        images.image_diff,
    )
)
namespace.add_collection(
    _collection(
        "store", store.store_du, store.store_gc, store.store_pin, store.store_unpin, store.store_verify
    )
)
if has_dev():
    namespace.add_collection(_collection("dev", dev.dev_open, dev.dev_status, dev.dev_stop))
