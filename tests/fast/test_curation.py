"""Curations: what is read from each format, what is refused, and that applying one gives the right events."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate.errors import CurationError
from spikecrate.sortings import Sorting
from spikecrate.sortings.curation import (
    Curation,
    LabelDefinition,
    Merge,
    Split,
    add,
    as_text,
    events_of,
    inherit,
    labels_after,
    leave_out,
    parse,
    parse_any,
    read_curation,
)

ROOT = Path(__file__).parents[2]
EVENTS = {1: 4, 2: 3, 3: 2, 7: 1}
V2 = {"format_version": "2", "unit_ids": [1, 2, 3, 7]}
QUALITY = {"quality": {"label_options": ["good", "noise"], "exclusive": True}}
TAGS = {"tags": {"label_options": ["a", "b"], "exclusive": False}}


def curate_tool():
    spec = importlib.util.spec_from_file_location("curate_run", ROOT / "tools" / "curate" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUN = curate_tool()


def sorting_of(events):
    """Return a sorting with that many events of each unit, one after the other in turn."""
    left, labels = dict(events), []
    while any(left.values()):
        for unit, count in left.items():
            if count:
                labels.append(unit)
                left[unit] -= 1
    times = np.arange(len(labels)) * 10
    return Sorting.from_events(times, labels, sampling_frequency=30000, num_samples=10 * len(labels) + 1)


SORTING = sorting_of(EVENTS)


def parsed(**fields):
    return parse({**V2, **fields}, "c.json", EVENTS)


def partition(labels):
    """Return the events of each unit as sets."""
    found = {}
    for event, unit in enumerate(labels):
        if unit:
            found.setdefault(int(unit), set()).add(event)
    return found


def by_sets(steps, labels):
    """Apply a curation to sets of events, without a thought for speed."""
    units = partition(labels)
    for step in steps:
        for unit in step.removed:
            del units[unit]
        for merge in step.merges:
            units[merge.new] = set().union(*[units.pop(unit) for unit in merge.units])
        for split in step.splits:
            own = sorted(units.pop(split.unit))
            for part, new in zip(split.parts, split.new, strict=True):
                units[new] = {own[index] for index in part}
    return units


def applied(steps, labels):
    return RUN.apply(json.loads(f"[{as_text(steps)}]" if len(steps) == 1 else as_text(steps)), labels)


@st.composite
def curations(draw):
    """Return the labels of a sorting, and a curation of its units."""
    labels = np.array(draw(st.lists(st.integers(1, 8), min_size=1, max_size=60)))
    units, counts = np.unique(labels, return_counts=True)
    events = dict(zip(units.tolist(), counts.tolist(), strict=True))
    order = draw(st.permutations(units.tolist()))
    fates = {unit: draw(st.sampled_from(["kept", "removed", "merged", "split"])) for unit in order}
    merged = [unit for unit in order if fates[unit] == "merged"]
    cut = draw(st.integers(0, len(merged)))
    merges = [Merge(units=tuple(group)) for group in (merged[:cut], merged[cut:]) if len(group) > 1]
    splits = []
    for unit in order:
        if fates[unit] == "split" and events[unit] > 1:
            part = draw(st.sets(st.integers(0, events[unit] - 1), min_size=1, max_size=events[unit] - 1))
            splits.append(Split(unit=unit, parts=(tuple(part),)))
    removed = tuple(unit for unit in order if fates[unit] == "removed")
    return labels, Curation(events=events, removed=removed, merges=tuple(merges), splits=tuple(splits))


@given(curations())
def test_every_event_goes_where_sets_of_events_say(drawn):
    labels, curation = drawn
    steps = (curation.complete("drawn"),)
    after = applied(steps, labels)
    assert partition(after.labels) == by_sets(steps, labels)
    assert {unit: len(found) for unit, found in by_sets(steps, labels).items()} == steps[0].events_after()
    # What is written is read again as the same.
    assert parse(json.loads(as_text(steps)), "again", curation.events) == steps


def test_new_units_are_numbered_above_the_largest_merges_first():
    (found,) = parsed(
        removed=[7],
        merges=[{"unit_ids": [1, 3]}],
        splits=[{"unit_id": 2, "mode": "indices", "indices": [[1]]}],
    )
    assert found.merges == (Merge(units=(1, 3), new=8),)
    assert found.splits == (Split(unit=2, parts=((1,), (0, 2)), new=(9, 10)),)
    assert found.events_after() == {8: 6, 9: 1, 10: 2}


def test_numbers_that_the_curation_gives_are_taken():
    (found,) = parsed(
        merges=[{"unit_ids": [1, 3], "new_unit_id": 1}],
        splits=[{"unit_id": 2, "indices": [[1]], "new_unit_ids": [20, 21]}],
    )
    assert found.events_after() == {1: 6, 7: 1, 20: 1, 21: 2}


def test_the_rest_of_a_split_may_be_left_without_a_number():
    (found,) = parsed(splits=[{"unit_id": 2, "indices": [[1]], "new_unit_ids": [20]}])
    assert found.splits[0].new == (20, 21)


@pytest.mark.parametrize(
    "fields",
    [
        {"merges": [[1, 3]], "splits": {"2": [[1], [0, 2]]}},
        {"merges": {"8": ["1", "3"]}, "splits": {"2": [5, 4, 5]}},
        {
            "merges": [{"unit_ids": ["1", "3"]}],
            "splits": [{"unit_id": "2", "mode": "labels", "labels": [5, 4, 5]}],
        },
    ],
)
def test_every_way_to_write_merges_and_splits_is_read(fields):
    (found,) = parsed(**fields)
    assert found.merges == (Merge(units=(1, 3), new=8),)
    assert [{*part} for part in found.splits[0].parts] == [{1}, {0, 2}]


def test_version_1_is_read():
    old = {
        "format_version": "1",
        "unit_ids": [1, 2, 3, 7],
        "label_definitions": QUALITY,
        "manual_labels": [{"unit_id": 2, "quality": ["good"]}],
        "merge_unit_groups": [[1, 3]],
        "removed_units": [7],
    }
    (found,) = parse(old, "old.json", EVENTS)
    assert (found.removed, found.merges) == ((7,), (Merge(units=(1, 3), new=8),))
    assert found.labels == {2: {"quality": ("good",)}}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "the list of curations is empty"),
        (3, "not a JSON object"),
        ({"format_version": "3"}, "format_version: '3' is not 1 or 2"),
        ({"format_version": "2"}, "unit_ids: missing"),
        ({**V2, "unit_ids": [1, 2, 3]}, "unit_ids: the curation is of another sorting: 7 is missing"),
        ({**V2, "unit_ids": [1, 2]}, "the curation is of another sorting: 3, 7 are missing"),
        ({**V2, "unit_ids": [1, 2, 3, 7, 9]}, "another sorting: the sorting has no 9$"),
        ({**V2, "unit_ids": [1, 2, 3, 7, 7]}, "unit_ids: 7 is there twice"),
        ({**V2, "unit_ids": [1, 2, 3, "seven"]}, "unit_ids: 'seven' is not a unit"),
        ({**V2, "unit_ids": [1, 2, 3, True]}, "unit_ids: True is not a unit"),
        ({**V2, "unit_ids": [1, 2, 3, 0]}, "unit_ids: 0 is not a unit"),
        ({**V2, "unit_ids": [1, 2, 3, 2**60]}, "is not a unit"),
        ({**V2, "unit_ids": 1}, "unit_ids: not a list"),
        ({**V2, "removed": [9]}, r"removed\[0\]: the sorting has no unit 9"),
        ({**V2, "removed": [7, 7]}, r"removed\[1\]: unit 7 is here and in removed\[0\]"),
        ({**V2, "merges": [{"unit_ids": [1]}]}, r"merges\[0\]: one unit alone is not merged"),
        ({**V2, "merges": [{"unit_ids": [1, 9]}]}, r"merges\[0\]: the sorting has no unit 9"),
        ({**V2, "merges": [{"unit_ids": [1, 1]}]}, r"merges\[0\]: unit 1 is here twice"),
        ({**V2, "merges": [[1, 2], [2, 3]]}, r"merges\[1\]: unit 2 is here and in merges\[0\]"),
        ({**V2, "merges": [[1, 2]], "removed": [2]}, r"merges\[0\]: unit 2 is here and in removed\[0\]"),
        (
            {**V2, "merges": [[1, 2]], "splits": [{"unit_id": 2, "indices": [[0]]}]},
            r"splits\[0\]: unit 2 is here and in merges\[0\]",
        ),
        (
            {**V2, "merges": [{"unit_ids": [1, 2], "new_unit_id": 3}]},
            r"merges\[0\]: new_unit_id: there is a unit 3",
        ),
        ({**V2, "merges": [{"unit_ids": [1, 2], "new_unit_id": 1.5}]}, "new_unit_id: 1.5 is not a unit"),
        ({**V2, "merges": "all"}, "merges: not a list"),
        ({**V2, "merges": ["1"]}, r"merges\[0\]: not a JSON object"),
        ({**V2, "splits": [{"unit_id": 9, "indices": [[0]]}]}, r"splits\[0\]: the sorting has no unit 9"),
        ({**V2, "splits": [{"unit_id": 1, "indices": [[4]]}]}, "indices: 4 is not from 0 to 3"),
        ({**V2, "splits": [{"unit_id": 1, "indices": [[-1]]}]}, "indices: -1 is not from 0 to 3"),
        ({**V2, "splits": [{"unit_id": 1, "indices": [[0], [0]]}]}, "indices: 0 is there twice"),
        ({**V2, "splits": [{"unit_id": 1, "indices": [[0, 1, 2, 3]]}]}, "unit 1 stays whole"),
        ({**V2, "splits": [{"unit_id": 1, "indices": [[0], []]}]}, "a part has no event"),
        ({**V2, "splits": [{"unit_id": 1, "indices": []}]}, "indices: missing or empty"),
        ({**V2, "splits": [{"unit_id": 1, "indices": [["0"]]}]}, "indices: not a list of whole numbers"),
        ({**V2, "splits": [{"unit_id": 1, "mode": "by eye"}]}, "mode: 'by eye' is not indices or labels"),
        ({**V2, "splits": [{"unit_id": 1, "mode": "labels", "labels": [0, 1]}]}, "2 labels, unit 1 has 4"),
        (
            {**V2, "splits": [{"unit_id": 1, "indices": [[0]], "new_unit_ids": [8, 9, 10]}]},
            "new_unit_ids: 3 labels for 2 new units",
        ),
        (
            {**V2, "splits": [{"unit_id": 1, "indices": [[0], [1]], "new_unit_ids": [8]}]},
            "new_unit_ids: 1 labels for 3 new units",
        ),
        (
            {**V2, "splits": [{"unit_id": 1, "indices": [[0]], "new_unit_ids": [1, 8]}]},
            "new_unit_ids: there is a unit 1 already",
        ),
        ({**V2, "label_definitions": {"snr": QUALITY["quality"]}}, "'snr' is a column of the table"),
        (
            {**V2, "label_definitions": {"a\n": QUALITY["quality"]}},
            r"label_definitions: 'a\\n' is not a label",
        ),
        (
            {**V2, "label_definitions": {"q": {"label_options": ["\ud800", "a"], "exclusive": True}}},
            "is not a label",
        ),
        ({**V2, "label_definitions": {"q": {"label_options": ["a"]}}}, "q: exclusive: not true or false"),
        (
            {**V2, "label_definitions": {"q": {"label_options": "a", "exclusive": True}}},
            "label_options: not a list",
        ),
        (
            {**V2, "manual_labels": [{"unit_id": 1, "labels": {"quality": ["good"]}}]},
            "manual_labels: unit 1: 'quality' is not in label_definitions",
        ),
        (
            {
                **V2,
                "label_definitions": QUALITY,
                "manual_labels": [{"unit_id": 1, "labels": {"quality": ["god"]}}],
            },
            "quality: 'god' is not one of its label_options; did you mean 'good'",
        ),
        (
            {
                **V2,
                "label_definitions": QUALITY,
                "manual_labels": [{"unit_id": 1, "quality": ["good", "noise"]}],
            },
            "quality: good, noise exclude each other",
        ),
        (
            {**V2, "label_definitions": QUALITY, "manual_labels": [{"unit_id": 9, "quality": ["good"]}]},
            "manual_labels: the sorting has no unit 9",
        ),
        (
            {**V2, "label_definitions": QUALITY, "manual_labels": [{"unit_id": 1, "quality": "good"}]},
            r"manual_labels\[0\]: quality: not a list",
        ),
        (
            {**V2, "label_definitions": TAGS, "manual_labels": [{"unit_id": 1, "tags": ["a"]}] * 2},
            r"manual_labels\[1\]: unit 1 has labels already",
        ),
        (
            [{**V2, "removed": [7]}, {"format_version": "2", "unit_ids": [1, 2, 3, 7]}],
            r"c.json: \[1\]: unit_ids: .* the sorting has no 7",
        ),
    ],
)
def test_a_curation_that_is_not_valid_is_refused_with_its_file_and_field(document, message):
    with pytest.raises(CurationError, match=message) as caught:
        parse(document, "c.json", EVENTS)
    assert str(caught.value).startswith("c.json: ")
    assert caught.value.next_step


def test_labels_of_merged_units_stay_where_they_agree_and_those_of_a_split_unit_go_to_its_parts():
    definitions = {
        "quality": LabelDefinition(options=("good", "noise"), exclusive=True),
        "tags": LabelDefinition(options=("a", "b"), exclusive=False),
    }
    labels = {
        1: {"quality": ("good",), "tags": ("a",)},
        2: {"quality": ("good",), "tags": ("b",)},
        3: {"quality": ("noise",)},
    }
    fields = {"events": {1: 4, 2: 3, 3: 2, 4: 3, 7: 1}, "definitions": definitions, "labels": labels}
    agree = Curation(**fields, merges=(Merge(units=(1, 2)),)).complete("it")
    assert labels_after([agree]) == {
        3: {"quality": ("noise",)},
        8: {"quality": ("good",), "tags": ("a", "b")},
    }
    differ = Curation(
        **fields, merges=(Merge(units=(1, 4)),), splits=(Split(unit=3, parts=((0,),)),), removed=(2,)
    ).complete("it")
    assert labels_after([differ]) == {
        8: {"tags": ("a",)},
        9: {"quality": ("noise",)},
        10: {"quality": ("noise",)},
    }


def test_units_with_a_label_are_left_out_merged_ones_in_one_more_step():
    definitions = {"quality": LabelDefinition(options=("good", "noise"), exclusive=True)}
    noise = {"quality": ("noise",)}
    alone = Curation(events=EVENTS, definitions=definitions, labels={2: noise, 7: noise})
    (found,) = leave_out((alone,), ["noise"])
    assert found.removed == (2, 7)
    merged = Curation(
        events=EVENTS, definitions=definitions, labels={1: noise, 2: noise}, merges=(Merge(units=(1, 2)),)
    ).complete("it")
    steps = leave_out((merged,), ["noise"])
    assert steps[-1].events_after() == {3: 2, 7: 1}
    assert leave_out((merged,), ["good"]) == (merged,)


def test_merges_and_removals_are_added_and_contradictions_refused():
    (found,) = add(parsed(merges=[[1, 2]]), removed=[7])
    assert found.events_after() == {3: 2, 8: 7}
    with pytest.raises(CurationError, match=r"^--merge 2,3: unit 2 is here and in the curation"):
        add(parsed(merges=[[1, 2]]), merges=[[2, 3]])
    several = parse(
        [{**V2, "merges": [{"unit_ids": [1, 2], "new_unit_id": 8}]}, {**V2, "unit_ids": [3, 7, 8]}],
        "c.json",
        EVENTS,
    )
    assert add(several, removed=[7])[-1].events_after() == {3: 2, 8: 7}
    with pytest.raises(CurationError, match="a later step of the curation is of unit 3, 7, 9"):
        add(several, merges=[[3, 7]])


SORTINGVIEW = {"labelsByUnit": {"2": ["accept"], "3": [], "7": ["mua", "noise"]}, "mergeGroups": [[1, "3"]]}


@pytest.mark.parametrize(
    "document",
    [
        SORTINGVIEW,
        {"annotations": {"/": {"sorting_curation": json.dumps(SORTINGVIEW)}, "/1": {"other": "x"}}},
        {"annotations": {"/left/curation": {"sorting_curation": SORTINGVIEW}}},
        {"sorting_curation": json.dumps({**SORTINGVIEW, "isClosed": True})},
    ],
)
def test_sortingview_and_figpack_are_known_by_their_content(document, tmp_path):
    path = tmp_path / "any name"
    path.write_text(json.dumps(document))
    (found,) = read_curation(path, SORTING)
    assert found.merges == (Merge(units=(1, 3), new=8),)
    assert found.labels == {2: {"all_labels": ("accept",)}, 7: {"all_labels": ("mua", "noise")}}
    assert {"accept", "mua", "noise"} <= {*found.definitions["all_labels"].options}
    assert not found.definitions["all_labels"].exclusive


def test_the_choices_of_figpack_are_the_options_and_there_are_two_of_them_at_least():
    labels = {"labelsByUnit": {"1": ["mine"]}}
    (found,) = parse_any({**labels, "labelChoices": ["mine", "yours"]}, "f", SORTING)
    assert found.definitions["all_labels"].options == ("mine", "yours")
    (found,) = parse_any({**labels, "labelChoices": ["mine"]}, "f", SORTING)
    assert len(found.definitions["all_labels"].options) > 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("{}", "format_version: missing, and of no other format"),
        ('{"labelsByUnit": {"9": ["accept"]}}', "manual_labels: the sorting has no unit 9"),
        ('{"labelsByUnit": {"a": ["accept"]}}', "labelsByUnit: a: 'a' is not a unit"),
        ('{"labelsByUnit": {"1": "accept"}}', "labelsByUnit: 1: not a list"),
        ('{"labelsByUnit": [1]}', "labelsByUnit: not a JSON object"),
        ('{"mergeGroups": [[1, 2], [2, 3]]}', r"merges\[1\]: unit 2 is here and in merges\[0\]"),
        ('{"mergeGroups": [1]}', r"mergeGroups\[0\]: not a list"),
        ('{"annotations": {"/": {}}}', "annotations: no views with a sorting_curation"),
        (
            '{"annotations": {"/a": {"sorting_curation": "{}"}, "/b": {"sorting_curation": "{}"}}}',
            "annotations: 2 views",
        ),
        (
            '{"annotations": {"/": {"sorting_curation": "{"}}}',
            "annotations.json: /: sorting_curation: not JSON",
        ),
        ('{"annotations": {"/": {"sorting_curation": 3}}}', "sorting_curation: not a JSON object"),
    ],
)
def test_a_file_that_is_no_curation_is_refused_by_its_name(text, message, tmp_path):
    (tmp_path / "annotations.json").write_text(text)
    with pytest.raises(CurationError, match=message) as caught:
        read_curation(tmp_path / "annotations.json", SORTING)
    assert str(tmp_path / "annotations.json") in str(caught.value)


def test_what_is_not_there_or_no_folder_of_phy_is_refused(tmp_path):
    with pytest.raises(CurationError, match="No such file"):
        read_curation(tmp_path / "none.json", SORTING)
    with pytest.raises(CurationError, match=r"not a folder of phy: no spike_clusters\.npy") as caught:
        read_curation(tmp_path, SORTING)
    assert "docs/curate.md" in caught.value.next_step


def write_phy(folder, sorting, clusters, *, template_of=None, groups=None):
    """Write the files of phy that hold a curation."""
    folder.mkdir(exist_ok=True)
    templates = np.array([(template_of or {}).get(unit, unit) for unit in sorting.labels.tolist()])
    np.save(folder / "spike_times.npy", sorting.times.astype(np.uint64)[:, None])
    np.save(folder / "spike_templates.npy", templates.astype(np.uint32)[:, None])
    np.save(folder / "spike_clusters.npy", np.asarray(clusters, dtype=np.int32))
    if groups is not None:
        rows = "".join(f"{cluster}\t{group}\n" for cluster, group in groups.items())
        (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n" + rows)
    return folder


@st.composite
def in_phy(draw):
    """Return the labels of a sorting, what merges and splits in phy make of them, and whether units keep their numbers."""
    labels = np.array(draw(st.lists(st.integers(1, 6), min_size=1, max_size=50)))
    own = draw(st.booleans())
    clusters = labels.copy() if own else labels - 1
    for _ in range(draw(st.integers(0, 5))):
        present, new = np.unique(clusters).tolist(), int(clusters.max()) + 1
        if draw(st.booleans()):
            group = draw(st.lists(st.sampled_from(present), min_size=1, max_size=3, unique=True))
            if len(group) > 1:
                clusters[np.isin(clusters, group)] = new
        else:
            events = np.flatnonzero(clusters == draw(st.sampled_from(present)))
            taken = draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
            if 0 < sum(taken) < len(events):
                clusters[events[taken]] = new
                clusters[events[~np.array(taken)]] = new + 1
    groups = {
        cluster: draw(st.sampled_from(["good", "mua", "noise", "unsorted"]))
        for cluster in {*clusters.tolist()}
    }
    return labels, clusters, groups, own


@given(in_phy())
def test_merges_splits_and_labels_of_phy_are_read_back_whatever_their_order(tmp_path_factory, drawn):
    labels, clusters, groups, own = drawn
    sorting = Sorting.from_events(np.arange(len(labels)) * 7, labels, sampling_frequency=30000)
    template_of = None if own else {unit: unit - 1 for unit in range(1, 7)}
    folder = write_phy(
        tmp_path_factory.mktemp("phy") / "phy", sorting, clusters, template_of=template_of, groups=groups
    )
    steps = read_curation(folder, sorting)
    after = applied(steps, labels).labels
    assert {frozenset(found) for found in partition(after).values()} == {
        frozenset(np.flatnonzero(clusters == cluster).tolist()) for cluster in groups
    }
    told = labels_after(steps)
    for cluster, group in groups.items():
        unit = int(after[clusters == cluster][0])
        assert told.get(unit, {}).get("quality", ("unsorted",)) == (group,)
        # Merged and split again as it was, a unit is the same.
        if own and {*np.flatnonzero(clusters == cluster).tolist()} not in partition(labels).values():
            assert unit == cluster


def test_what_phy_left_alone_is_unchanged_and_unsorted_is_no_label(tmp_path):
    groups = dict.fromkeys(EVENTS, "unsorted")
    (found,) = read_curation(write_phy(tmp_path / "phy", SORTING, SORTING.labels, groups=groups), SORTING)
    assert (found.merges, found.splits, found.removed) == ((), (), ())
    assert labels_after((found,)) == {}


def labelled(label):
    quality = {"quality": LabelDefinition(options=("good", "noise", "mine"), exclusive=True)}
    return Curation(
        events=EVENTS, definitions=quality, labels={unit: {"quality": (label,)} for unit in EVENTS}
    )


def test_what_is_unsorted_in_phy_loses_its_label_and_what_phy_does_not_list_keeps_it(tmp_path):
    first, second, third, *_ = EVENTS
    groups = {first: "unsorted", second: "noise"}
    folder = write_phy(tmp_path / "phy", SORTING, SORTING.labels, groups=groups)
    steps = inherit(read_curation(folder, SORTING), labelled("good"))
    told = labels_after(steps)
    assert first not in told
    assert (told[second], told[third]) == ({"quality": ("noise",)}, {"quality": ("good",)})
    # The document of a dry run says the same.
    again = inherit(parse(json.loads(as_text(steps)), "c.json", EVENTS), labelled("good"))
    assert labels_after(again) == told
    # A part of a unit too.
    clusters = SORTING.labels.copy()
    clusters[np.flatnonzero(clusters == first)[0]] = 50
    clusters[clusters == first] = 51
    folder = write_phy(tmp_path / "split", SORTING, clusters, groups={50: "unsorted"})
    told = labels_after(inherit(read_curation(folder, SORTING), labelled("good")))
    assert 50 not in told
    assert told[51] == {"quality": ("good",)}


def test_a_label_that_is_no_group_of_phy_is_kept_where_the_export_tells_it_beside(tmp_path):
    groups = dict.fromkeys(EVENTS, "unsorted")
    folder = write_phy(tmp_path / "phy", SORTING, SORTING.labels, groups=groups)
    first, second, *_ = EVENTS
    (folder / "cluster_quality.tsv").write_text(f"cluster_id\tquality\n{first}\tmine\n{second}\t\n")
    told = labels_after(inherit(read_curation(folder, SORTING), labelled("mine")))
    assert told == {first: {"quality": ("mine",)}}


def test_units_with_the_events_of_another_keep_their_order(tmp_path):
    twins = Sorting.from_events([5, 5, 9, 9], [1, 2, 1, 2], sampling_frequency=30000)
    (found,) = read_curation(write_phy(tmp_path / "phy", twins, [3, 3, 3, 3]), twins)
    assert found.merges == (Merge(units=(1, 2), new=3),)


def test_labels_are_read_from_the_table_that_phy_reads_and_else_from_its_copy(tmp_path):
    folder = write_phy(tmp_path / "phy", SORTING, SORTING.labels)
    (folder / "cluster_info.tsv").write_text("cluster_id\tch\tgroup\n1\t0\tnoise\n2\t0\t\n")
    (found,) = read_curation(folder, SORTING)
    assert found.labels == {1: {"quality": ("noise",)}, 2: {"quality": ()}}
    (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n1\tgood\n")
    (found,) = read_curation(folder / "params.py", SORTING)
    assert found.labels == {1: {"quality": ("good",)}}


def cut(folder, name, size):
    path = folder / name
    path.write_bytes(path.read_bytes()[:size])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "spike_clusters.npy").unlink(), r"spike_clusters\.npy: missing"),
        (lambda folder: (folder / "spike_templates.npy").unlink(), r"spike_templates\.npy: missing"),
        (lambda folder: cut(folder, "spike_clusters.npy", -4), r"spike_clusters\.npy: not readable"),
        (lambda folder: cut(folder, "spike_clusters.npy", 20), r"spike_clusters\.npy: not readable"),
        (lambda folder: cut(folder, "spike_times.npy", 0), r"spike_times\.npy: not readable"),
        (
            lambda folder: np.save(folder / "spike_clusters.npy", np.ones(9, dtype=int)),
            r"spike_clusters\.npy: 9 events, spike_times\.npy has 10",
        ),
        (
            lambda folder: np.save(folder / "spike_clusters.npy", np.ones((5, 2), dtype=int)),
            "5 x 2 int64, not one number per event",
        ),
        (
            lambda folder: np.save(folder / "spike_clusters.npy", np.full(10, 0.5)),
            r"spike_clusters\.npy: not readable: a number is not whole",
        ),
        (
            lambda folder: np.save(folder / "spike_clusters.npy", np.array([None] * 10)),
            r"spike_clusters\.npy: not readable",
        ),
        (
            lambda folder: np.save(folder / "spike_times.npy", np.arange(10)),
            r"spike_templates\.npy: the events of template 1 are those of no unit",
        ),
        (
            lambda folder: (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n1\tgood\n9\tmua\n"),
            r"cluster_group\.tsv: line 3: spike_clusters\.npy has no event of cluster 9",
        ),
        (
            lambda folder: (folder / "cluster_group.tsv").write_text("cluster_id\tgroup\n1"),
            r"cluster_group\.tsv: not readable",
        ),
        *(
            (
                lambda folder, text=text: (folder / "cluster_group.tsv").write_text(text),
                rf"cluster_group\.tsv: not readable: its last line is cut: {re.escape(repr(last))}",
            )
            for text, last in (
                ("cluster_id\tgroup\n1\tgood\n2\tgo", "2\tgo"),
                ("cluster_id\tgroup\n1\tgood", "1\tgood"),
                ("cluster_id\tgroup", "cluster_id\tgroup"),
            )
        ),
        (
            lambda folder: (folder / "cluster_group.tsv").write_text("cluster\tlabel\n1\tgood\n"),
            r"cluster_group\.tsv: the columns are cluster, label, not cluster_id and group",
        ),
        (
            lambda folder: (folder / "cluster_group.tsv").write_text(""),
            r"cluster_group\.tsv: the columns are",
        ),
        (
            lambda folder: (folder / "cluster_group.tsv").write_bytes(b"cluster_id\tgroup\n1\t\xff\n"),
            r"cluster_group\.tsv: not readable",
        ),
    ],
)
def test_a_folder_of_phy_that_is_half_written_is_refused_by_its_file(damage, message, tmp_path):
    folder = write_phy(tmp_path / "phy", SORTING, SORTING.labels)
    damage(folder)
    with pytest.raises(CurationError, match=message) as caught:
        read_curation(folder, SORTING)
    assert str(folder) in str(caught.value)


def test_a_folder_of_phy_with_fewer_units_is_of_another_sorting(tmp_path):
    some = SORTING.labels != 7
    fewer = Sorting.from_events(SORTING.times[some], SORTING.labels[some], sampling_frequency=30000)
    folder = write_phy(tmp_path / "phy", fewer, fewer.labels)
    with pytest.raises(CurationError, match="no template with the events of unit 7"):
        read_curation(folder, SORTING)


def test_the_number_of_events_is_that_of_the_sorting():
    assert events_of(SORTING) == EVENTS
    assert events_of(Sorting.from_events([], [], sampling_frequency=1)) == {}


V1 = {"format_version": "1", "unit_ids": [1, 2, 3, 7]}


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({**V2, "merge": [[1, 2]]}, r"c\.json: there is no field 'merge'; did you mean 'merges'"),
        ({**V2, "removed_unit": [7]}, r"c\.json: there is no field 'removed_unit'; did you mean 'removed'"),
        (
            {**V1, "merged_unit_groups": [[1, 2]]},
            r"c\.json: there is no field 'merged_unit_groups'; did you mean 'merge_unit_groups'",
        ),
        (
            {**V1, "removed_unit": [7]},
            r"c\.json: there is no field 'removed_unit'; did you mean 'removed_units'",
        ),
        ({**V1, "removed_units": [7], "merges": []}, r"c\.json: there is no field 'removed_units'"),
        ({**V2, "colour": 1}, r"c\.json: there is no field 'colour'"),
        (
            {**V2, "merges": [{"unit_ids": [1, 2], "new_id": 9}]},
            r"c.json: merges\[0\]: there is no field 'new_id'; did you mean",
        ),
        (
            {**V2, "splits": [{"unit_id": 1, "indices": [[0]], "new_units": [8, 9]}]},
            r"c.json: splits\[0\]: there is no field 'new_units'; did you mean 'new_unit_ids'",
        ),
        (
            {**V2, "label_definitions": {"q": {"label_option": ["a", "b"], "exclusive": True}}},
            "c.json: label_definitions: q: there is no field 'label_option'; did you mean 'label_options'",
        ),
        (
            {**V2, "manual_labels": [{"unit_id": 1, "labels": {}, "quality": ["good"]}]},
            r"c.json: manual_labels\[0\]: there is no field 'quality'",
        ),
    ],
)
def test_a_field_that_is_not_read_is_refused_with_the_nearest(document, message):
    with pytest.raises(CurationError, match=message):
        parse(document, "c.json", EVENTS)


def test_format_1_as_spikeinterface_writes_it_again_is_read_whole():
    written = {**V1, "supported_versions": ["1", "2"], "merges": [{"unit_ids": [1, 2]}], "removed": [7]}
    (found,) = parse(written, "c.json", EVENTS)
    assert found.events_after() == {3: 2, 8: 7}


def test_a_label_that_the_table_of_units_would_read_as_two_is_refused():
    quality = {"quality": {"label_options": ["good;mua", "noise"], "exclusive": True}}
    with pytest.raises(CurationError, match=r"c\.json: label_definitions: 'good;mua' is not a label"):
        parse({**V2, "label_definitions": quality}, "c.json", EVENTS)


def test_a_curation_of_no_unit_leaves_none():
    (found,) = parse({"format_version": "2", "unit_ids": []}, "c.json", {})
    assert (found.events_after(), applied((found,), np.zeros(0, dtype=np.int64)).done) == ({}, {})
