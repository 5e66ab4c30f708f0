"""Files as labs have them: each kind that a reader once got wrong, made here, and its places by probeinterface."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from probe_parts import FEATURES, PARTS, TABLES, shanks, write_part
from probeinterface.neuropixels_tools import (
    build_neuropixels_probe,
    read_openephys_neuropixels,
    read_spikeglx,
)
from recording_files import DATA, OPENEPHYS, RATE, samples, write_flat, write_openephys, write_spikeglx

from spikecrate.catalogue.tools import find, require
from spikecrate.errors import ProbeError, RecordingFormatError, ResultInvalidError
from spikecrate.recordings import open_recording
from spikecrate.recordings.probe import at_shared_places
from spikecrate.studies.quality import truth_of
from spikecrate_harness import mda

GEOMETRY = ("imro_table_format_type", "num_shanks", "cols_per_shank", "rows_per_shank", "shank_pitch_um")
DIFFERENT = {tuple(FEATURES[part][name] for name in GEOMETRY): part for part in PARTS}.values()
"""One part number of each geometry; the slow tier takes all."""


@pytest.mark.parametrize("part", sorted(DIFFERENT))
def test_every_probe_has_the_places_and_shanks_of_probeinterface(tmp_path, part):
    edge = build_neuropixels_probe(part).probe_planar_contour[:, 0].min()
    for table in TABLES:
        binary = write_part(tmp_path / table, part, table)
        recording, oracle = open_recording(binary), read_spikeglx(binary.with_suffix(".meta"))
        assert np.allclose(recording.layout.locations, oracle.contact_positions - [edge, 0])
        assert list(recording.groups) == shanks(oracle)


def without_map(folder, part, count=4, name="run_g0_t0.imec0.ap", **changes):
    return write_spikeglx(
        folder, samples(num_channels=count), name=name, imDatPrb_pn=part, **{"~snsGeomMap": None} | changes
    )


IMRO = "(0,4)" + "".join(f"({channel} 0 0 500 250 1)" for channel in range(4))
SHANK_MAP = "(1,2,480)(0:0:0:1)(0:1:0:1)(0:0:1:1)(0:1:1:1)"


@pytest.mark.parametrize(
    ("part", "places"),
    [
        ("NP1122", ((12.5, 0), (15.5, 0), (12.5, 3), (15.5, 3))),
        ("NP1123", ((10.25, 0), (14.75, 0), (10.25, 4.5), (14.75, 4.5))),
        ("NP1200", ((56.5, 0), (88.5, 0), (36.5, 31), (68.5, 31))),
        ("PRB_1_2_0480_2", ((27, 0), (59, 0), (11, 20), (43, 20))),
    ],
)
def test_a_shank_map_is_read_by_the_part_number(tmp_path, part, places):
    recording = open_recording(without_map(tmp_path, part, **{"~snsShankMap": SHANK_MAP, "~imroTbl": IMRO}))
    assert recording.layout.locations == places
    assert recording.groups == ("0",) * 4


def test_a_part_of_a_split_probe_has_the_places_and_names_of_its_own_channels(tmp_path):
    everything = "".join(f"({channel // 4}:27:{15 * channel}:1)" for channel in range(8))
    names = "(8,0,1)" + "".join(f"(AP{channel};{channel}:{channel})" for channel in range(8)) + "(SY0;8:8)"
    changes = {
        "snsSaveChanSubset": "0:4",
        "snsSaveChanSubset_orig": "1,4:6,8",
        "~snsGeomMap": "(NP2014,4,250,70)" + everything,
        "~snsChanMap": names,
        "acqApLfSy": "8,0,1",
    }
    recording = open_recording(write_spikeglx(tmp_path, samples(), **changes))
    assert recording.layout.locations == ((27, 15), (277, 60), (277, 75), (277, 90))
    assert recording.channel_ids == ("AP1", "AP4", "AP5", "AP6")
    assert recording.groups == ("0", "1", "1", "1")


def test_a_map_of_more_channels_than_there_are_is_refused(tmp_path):
    longer = "(NP2013,4,250,70)" + "(0:27:0:1)" * 5
    with pytest.raises(ProbeError, match="snsGeomMap: 5 entries for 4 channels"):
        open_recording(write_spikeglx(tmp_path, samples(), **{"~snsGeomMap": longer}))


LF = {"snsApLfSy": "0,4,1", "acqApLfSy": "4,4,1", "snsSaveChanSubset": "4:8", "imDatPrb_type": "0"}


def test_an_lf_file_alone_has_the_places_of_its_banks(tmp_path):
    table = "(0,4)(0 0 0 500 250 1)(1 1 0 500 250 1)(2 0 0 500 250 1)(3 0 0 500 250 1)"
    recording = open_recording(
        without_map(tmp_path, "NP1010", name="r_g0_t0.imec0.lf", **LF | {"~imroTbl": table})
    )
    assert recording.layout.locations == ((27, 0), (59, 192 * 20), (11, 20), (43, 20))


def test_an_lf_file_without_electrodes_has_the_places_of_the_ap_file_beside(tmp_path):
    table = "(1110,2,0,500,250,1)(0 0 0)(1 0 0)(2 0 0)(3 0 0)"
    lf = without_map(
        tmp_path,
        "NP1110",
        name="r_g0_t0.imec0.lf",
        **LF | {"~imroTbl": table, "snsSaveChanSubset": "5,7,4,6,8"},
    )
    assert any("20 um apart" in note for note in open_recording(lf).notes)
    beside = {"~snsGeomMap": "(NP1110,1,0,70)(0:1:0:1)(0:2:6:1)(0:3:12:1)(0:4:18:1)", "acqApLfSy": "4,4,1"}
    write_spikeglx(tmp_path, samples(), name="r_g0_t0.imec0.ap", **beside)
    recording = open_recording(lf)
    assert recording.layout.locations == ((2, 6), (4, 18), (1, 0), (3, 12))
    assert recording.groups == ("0",) * 4
    assert not any("20 um apart" in note for note in recording.notes)


def test_the_gain_of_a_probe_without_its_largest_count_is_that_of_its_converter(tmp_path):
    changes = {"imMaxInt": None, "imChan0apGain": None, "imDatPrb_type": "24", "imDatPrb_pn": "NP2010"}
    recording = open_recording(write_spikeglx(tmp_path, samples(), **changes))
    assert recording.layout.gains == pytest.approx([1e6 * 0.5 / 8192 / 80] * 4)


def test_the_gain_of_an_unknown_probe_without_its_largest_count_is_refused(tmp_path):
    with pytest.raises(RecordingFormatError, match="imMaxInt: missing, and the probe is not known"):
        open_recording(write_spikeglx(tmp_path, samples(), imMaxInt=None, imDatPrb_type="9999"))


def test_notes_in_the_code_page_of_windows_do_not_matter(tmp_path):
    binary = write_spikeglx(tmp_path, samples(), userNotes="UNIT")
    described = binary.with_suffix(".meta")
    described.write_bytes(described.read_bytes().replace(b"UNIT", "µV für alle".encode("cp1252")))
    assert open_recording(binary).layout.num_channels == 4


# Open Ephys ----------------------------------------------------------------------------------------


def settings(
    electrodes, *, part="NP2000", processor="Neuropix-PXI", stream="ProbeA", version="0.6.7", extra=""
):
    chosen = " ".join(f'CH{channel}="{electrode}"' for channel, electrode in enumerate(electrodes))
    probe = (
        f'<NP_PROBE slot="3" port="1" dock="1" probe_part_number="{part}" probe_serial_number="1">'
        f"<SELECTED_ELECTRODES {chosen}/></NP_PROBE>"
    )
    if version.startswith("1"):
        probe = f"<CUSTOM_PARAMETERS>{probe}</CUSTOM_PARAMETERS>"
    return (
        f"<SETTINGS><INFO><VERSION>{version}</VERSION></INFO><SIGNALCHAIN>{extra}"
        f'<PROCESSOR name="{processor}" libraryVersion="0.4.0" nodeId="100"><STREAM name="{stream}"/>'
        f"<EDITOR>{probe}</EDITOR></PROCESSOR></SIGNALCHAIN></SETTINGS>"
    )


def open_ephys(folder, text, *, streams=("Neuropix-PXI-100.ProbeA",), experiment=1):
    write_openephys(folder, samples(), geom=False, streams=streams)
    node = folder / "Record Node 101"
    (node / "settings.xml").write_text(text)
    if experiment > 1:
        (node / "experiment1").rename(node / f"experiment{experiment}")
    return node / "settings.xml"


@pytest.mark.parametrize("version", ["0.6.7", "1.0.1"])
@pytest.mark.parametrize(
    ("part", "processor", "stream"),
    [
        ("NP1000", "Neuropix-PXI", "ProbeA-AP"),
        ("NP2000", "Neuropix-PXI", "ProbeA"),
        ("NP2013", "Neuropix-PXI", "ProbeA"),
        ("NP2020", "Neuropix-PXI", "ProbeA"),
        ("NP2014", "OneBox", "ProbeA"),
        ("NP1010", "OneBox", "ProbeA-LFP"),
    ],
)
def test_the_probe_of_an_open_ephys_stream_is_that_of_its_settings(
    tmp_path, part, processor, stream, version
):
    name = f"{processor}-100.{stream}"
    last = build_neuropixels_probe(part).get_contact_count() - 1
    text = settings([5, 0, 300, last], part=part, processor=processor, stream=stream, version=version)
    path = open_ephys(tmp_path, text, streams=(name,))
    recording, oracle = open_recording(tmp_path), read_openephys_neuropixels(path, stream_name=name)
    assert np.array_equal(recording.layout.locations, oracle.contact_positions)
    shanks = ["0"] * 4 if oracle.shank_ids is None else [str(shank) for shank in oracle.shank_ids]
    assert list(recording.groups) == shanks
    assert recording.notes == ()


def test_the_settings_are_read_without_the_rest_of_probeinterface(tmp_path):
    open_ephys(tmp_path, settings([0, 1, 2, 3]))
    code = (
        "import sys; from spikecrate.recordings import open_recording; "
        "print(open_recording(sys.argv[1]).groups); "
        "print([name for name in sys.modules if name.startswith(('probeinterface', 'requests'))]); "
        "import probeinterface; print(probeinterface.probe.Probe is probeinterface.Probe)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.splitlines() == ["('0', '0', '0', '0')", "[]", "True"]


def test_an_acquisition_board_has_no_places_also_beside_a_probe(tmp_path):
    board = '<PROCESSOR name="Acquisition Board" nodeId="102"><STREAM name="acquisition_board"/></PROCESSOR>'
    open_ephys(
        tmp_path, settings([0, 1, 2, 3], extra=board), streams=("Acquisition_Board-102.acquisition_board",)
    )
    recording = open_recording(tmp_path)
    assert recording.groups is None
    assert any("20 um apart" in note for note in recording.notes)


def test_a_probe_that_is_another_streams_does_not_stop_a_board(tmp_path):
    second = '<PROCESSOR name="OneBox" nodeId="103"><STREAM name="ProbeB"/></PROCESSOR>'
    text = settings([0, 1, 2, 3], extra=second)
    open_ephys(tmp_path / "board", text, streams=("Acquisition_Board-102.acquisition_board",))
    assert any("20 um apart" in note for note in open_recording(tmp_path / "board").notes)
    open_ephys(tmp_path / "probe", text)
    with pytest.raises(
        ProbeError, match="probeinterface cannot read the probe of Neuropix-PXI-100"
    ) as caught:
        open_recording(tmp_path / "probe")
    assert "--probe FILE" in caught.value.next_step


def test_a_later_experiment_without_settings_takes_the_first_ones_and_says_so(tmp_path):
    open_ephys(tmp_path, settings([0, 1, 2, 3]), experiment=2)
    recording = open_recording(tmp_path)
    assert recording.layout.locations == ((0, 0), (32, 0), (0, 15), (32, 15))
    (note,) = recording.notes
    assert "there is no settings_2.xml; the electrodes are those of settings.xml" in note
    (tmp_path / "Record Node 101" / "settings_2.xml").write_text(settings([3, 2, 1, 0]))
    other = open_recording(tmp_path)
    assert other.layout.locations == ((32, 15), (0, 15), (32, 0), (0, 0))
    assert other.notes == ()


def test_settings_with_a_name_in_the_code_page_of_windows_are_read(tmp_path):
    path = open_ephys(
        tmp_path,
        '<?xml version="1.0" encoding="UTF-8"?>' + settings([0, 1, 2, 3], extra='<X name="ANIMAL"/>'),
    )
    path.write_bytes(path.read_bytes().replace(b"ANIMAL", "Rüssel".encode("cp1252")))
    assert open_recording(tmp_path).layout.locations == ((0, 0), (32, 0), (0, 15), (32, 15))


def test_settings_that_are_cut_short_are_refused(tmp_path):
    open_ephys(tmp_path, settings([0, 1, 2, 3])[:-30])
    with pytest.raises(ProbeError, match=r"settings\.xml: not valid XML"):
        open_recording(tmp_path)


@pytest.mark.parametrize("name", ["AuxCortex1", "HPC_ADC2", "PFC1"])
def test_the_description_of_a_renamed_channel_says_what_it_is(tmp_path, name):
    recording = open_recording(write_openephys(tmp_path, samples(), channel_name=name))
    assert recording.channel_ids == (name,) * 4


# Geometry that sorters cannot take -----------------------------------------------------------------


@pytest.mark.parametrize(
    "geom", ["0,0\n0,0\n0,0\n0,0\n", "0,0\n0,0\n0,20\n0,40\n", "0,0,0\n0,20,9\n9,0,9\n0,0,9\n"]
)
@pytest.mark.parametrize("sorter", ["ms5", "tridesclous2", "spykingcircus2", "kilosort4"])
def test_channels_at_one_place_are_refused_for_a_sorter_that_cannot_take_them(tmp_path, geom, sorter):
    write_flat(tmp_path, samples())
    (tmp_path / "geom.csv").write_text(geom)
    recording = open_recording(tmp_path)
    assert any("at the same place" in note and "--probe tetrode" in note for note in recording.notes)
    shared = [recording.channel_ids[channel] for channel in at_shared_places(recording.layout.locations)]
    with pytest.raises(ProbeError, match=f"{sorter} needs a place of its own for each channel") as caught:
        require(find(sorter), channels=4, duration_s=60, same_place=shared)
    assert f"--exclude-channels {','.join(shared)}" in caught.value.next_step
    distinct = open_recording(tmp_path, probe="tetrode").layout.locations
    require(find(sorter), channels=4, duration_s=60, same_place=at_shared_places(distinct))


def test_depth_in_z_becomes_the_second_axis_and_is_said(tmp_path):
    write_flat(tmp_path, samples())
    (tmp_path / "geom.csv").write_text("0,0,0\n0,0,20\n10,0,40\n0,0,60\n")
    recording = open_recording(tmp_path)
    assert recording.layout.locations == ((0, 0), (0, 20), (10, 40), (0, 60))
    assert recording.notes == ("all channels have one y; x and z are taken as x and y",)


# Truth ---------------------------------------------------------------------------------------------


def test_further_rows_of_true_spikes_are_passed_over(tmp_path):
    write_flat(tmp_path, samples())
    table = np.array(
        [[1, 2, 0, 1], [5, 9.5, 20, 30], [1, 2, 1, 3], [-6] * 4, [0.1] * 4, [7] * 4], dtype=float
    )
    mda.write(tmp_path / "firings_true.mda", table)
    truth = truth_of(open_recording(tmp_path))
    assert truth.times.tolist() == [5, 9.5, 20, 30]
    assert truth.labels.tolist() == [1, 2, 1, 3]
    assert truth.channels.tolist() == [0, 1, -1, 0]
    assert truth.sampling_frequency == RATE


def test_true_spikes_of_another_shape_say_what_to_write(tmp_path):
    write_flat(tmp_path, samples())
    mda.write(tmp_path / "firings_true.mda", np.ones((9, 3)))
    with pytest.raises(ResultInvalidError, match="9 x 3") as caught:
        truth_of(open_recording(tmp_path))
    assert "correct firings_true.mda" in caught.value.next_step


# Real files ----------------------------------------------------------------------------------------


def test_a_real_board_recording_says_that_it_has_no_places():
    stream = next((OPENEPHYS).rglob("continuous.dat")).parent
    recording = open_recording(stream)
    assert recording.groups is None
    assert any("20 um apart" in note for note in recording.notes)


@pytest.mark.parametrize("path", sorted((DATA / "spikeglx").glob("*.meta")), ids=lambda path: path.stem)
def test_the_shanks_of_a_real_probe_are_those_of_probeinterface(tmp_path, path):
    count = int(re.search("nSavedChans=(.*)", path.read_text())[1])
    (tmp_path / path.name).write_text(
        re.sub("fileSizeBytes=.*", f"fileSizeBytes={2 * count}", path.read_text())
    )
    (tmp_path / path.with_suffix(".bin").name).write_bytes(bytes(2 * count))
    oracle, recording = read_spikeglx(path), open_recording(tmp_path)
    assert list(recording.groups) == shanks(oracle)
