"""Whether a job runs on a GPU: decided by the sorter, the user and the machine; in the key where it is a choice."""

from __future__ import annotations

import pytest

from spikecrate.errors import GpuMissingError, UsageError
from spikecrate.runtimes.gpu import decide, visible


@pytest.mark.parametrize(
    ("need", "asked", "present", "runs_on_one"),
    [
        ("none", "auto", True, False),
        ("none", "off", True, False),
        ("optional", "auto", True, True),
        ("optional", "auto", False, False),
        ("optional", "off", True, False),
        ("optional", "on", True, True),
        ("required", "auto", True, True),
        ("required", "on", True, True),
    ],
)
def test_a_gpu_is_used_where_the_sorter_can_the_user_lets_and_the_machine_has_one(
    need, asked, present, runs_on_one
):
    assert decide("lab", need, asked, present=present) is runs_on_one


@pytest.mark.parametrize(
    ("need", "asked", "present", "error", "says"),
    [
        ("none", "on", True, UsageError, "lab does not use a GPU"),
        ("required", "off", True, UsageError, "lab needs a GPU"),
        ("required", "auto", False, GpuMissingError, "lab needs a GPU, and NVIDIA's driver shows none"),
        ("optional", "on", False, GpuMissingError, "lab was asked to run on a GPU"),
        ("optional", "maybe", True, UsageError, "'maybe' is unknown"),
    ],
)
def test_what_cannot_be_is_refused_by_name(need, asked, present, error, says):
    with pytest.raises(error, match=says) as refused:
        decide("lab", need, asked, present=present)
    assert refused.value.next_step


def test_which_gpus_is_handed_on_where_the_caller_was_told():
    assert visible({"CUDA_VISIBLE_DEVICES": "GPU-4f2", "HOME": "/root"}) == {
        "CUDA_VISIBLE_DEVICES": "GPU-4f2"
    }
    assert visible({"CUDA_VISIBLE_DEVICES": ""}) == {"CUDA_VISIBLE_DEVICES": ""}
    assert visible({"HOME": "/root"}) == {}
