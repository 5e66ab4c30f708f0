"""What sorters that use SpikeInterface share: silent channels are left out, and a step that finds nothing is named."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ms4_run import noise, recording_of

from spikecrate_harness.spikeinterface import NothingFoundError, watch, without_silent_channels


class Traces:
    """Of SpikeInterface's recording what is called here."""

    def select_channels(self, channels):
        return channels.tolist()


def test_channels_that_never_change_are_left_out_and_named(capsys):
    samples = noise(70000, 3)
    samples[:, 1] = 7
    samples[:-1, 2], samples[-1, 2] = 7, 8  # at the very end
    assert without_silent_channels(Traces(), recording_of(samples)) == [0, 2]
    assert capsys.readouterr().out == "channels that never change are left out: 2\n"


def test_where_all_channels_change_nothing_is_taken_away(capsys):
    traces = Traces()
    assert without_silent_channels(traces, recording_of(noise(3000, 3))) is traces
    assert capsys.readouterr().out == ""


def test_where_no_channel_ever_changes_there_is_nothing_to_find():
    samples = noise(3000, 2)
    samples[:] = 7
    with pytest.raises(NothingFoundError, match="no channel ever changes"):
        without_silent_channels(Traces(), recording_of(samples))


def test_a_step_that_gives_something_is_as_it_was():
    module = SimpleNamespace(detect=lambda threshold, *, radius: [threshold, radius])
    watch(module, "detect", "no peaks", bool)
    assert module.detect(5, radius=50) == [5, 50]


def test_a_step_that_gives_nothing_ends_the_sorting():
    module = SimpleNamespace(detect=list)
    watch(module, "detect", "no peaks", bool)
    with pytest.raises(NothingFoundError, match="no peaks"):
        module.detect()
