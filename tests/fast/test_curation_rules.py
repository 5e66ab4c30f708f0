"""Rules on metrics: what they say of each unit, and that nothing else of Python is read."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikecrate.errors import CurationError
from spikecrate.sortings.curation import (
    Curation,
    LabelDefinition,
    Merge,
    Rule,
    Split,
    Table,
    as_text,
    decide,
    inherit,
    labels_after,
    labels_of,
    parse,
)

NAMES = ("snr", "rate", "isi_violations")
TABLE = Table(
    units=(1, 2, 3, 4),
    columns={
        "snr": [9.0, 4.0, None, 6.0],
        "rate": [1.0, 0.0, 3.0, -2.0],
        "isi_violations": [0.0, 0.2, 0.9, 0.5],
    },
)
EVENTS = dict.fromkeys(TABLE.units, 10)

operands = st.sampled_from(NAMES) | st.floats(-10, 10).map(lambda number: f"{number:.2f}") | st.just("-5")
signs = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])


@st.composite
def comparisons(draw):
    text = draw(operands)
    for _ in range(draw(st.integers(1, 3))):
        text += f" {draw(signs)} {draw(operands)}"
    return text


rules = st.recursive(
    comparisons(),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(" and ".join),
        st.tuples(inner, inner).map(" or ".join),
        inner.map("not ({})".format),
        inner.map("({})".format),
    ),
    max_leaves=6,
)


@given(rules, st.lists(st.tuples(*[st.floats(-10, 10)] * len(NAMES)), max_size=5))
def test_a_rule_says_what_python_says(text, rows):
    columns = {name: [row[place] for row in rows] for place, name in enumerate(NAMES)}
    found = Rule.parse(text).decide(Table(units=tuple(range(len(rows))), columns=columns))
    right = [unit for unit, row in enumerate(rows) if eval(text, {}, dict(zip(NAMES, row, strict=True)))]
    assert list(found.units) == right


@pytest.mark.parametrize(
    ("text", "units", "missing"),
    [
        ("snr > 5", (1, 4), {"snr": (3,)}),
        ("snr <= 5", (2,), {"snr": (3,)}),
        ("not snr > 5", (2, 3), {"snr": (3,)}),
        ("snr > 5 or rate > 2", (1, 3, 4), {"snr": (3,)}),
        ("snr != snr", (), {"snr": (3,)}),
        ("snr == snr", (1, 2, 4), {"snr": (3,)}),
        ("0 < rate <= 3", (1, 3), {}),
        ("rate == -2", (4,), {}),
        ("  isi_violations < +5e-1 ", (1, 2), {}),
    ],
)
def test_a_comparison_with_a_metric_that_a_unit_lacks_is_false(text, units, missing):
    found = Rule.parse(text).decide(TABLE)
    assert (found.units, found.missing) == (units, missing)


@pytest.mark.parametrize("name", ["isi_violation", "isi_violations_ratio", "isi_violations"])
def test_the_names_that_people_expect_are_known(name):
    assert Rule.parse(f"{name} < 0.5").decide(TABLE).units == (1, 2)
    assert Rule.parse("firing_rate > 0").decide(TABLE).units == (1, 3)


def test_a_metric_that_there_is_not_is_refused_with_the_nearest():
    with pytest.raises(CurationError, match=r"no metric 'xyz'$") as caught:
        Rule.parse("rate > 1 and xyz > 5").decide(TABLE)
    assert caught.value.next_step == "the metrics are snr, rate, isi_violations"
    with pytest.raises(CurationError, match="no metric 'firing_rat'; did you mean 'firing_rate'") as caught:
        Rule.parse("firing_rat > 5").decide(TABLE)
    assert caught.value.next_step == "correct the name in the rule"
    many = Table(units=(), columns={f"metric_{number}": [] for number in range(40)})
    with pytest.raises(CurationError) as caught:
        Rule.parse("xyz > 5").decide(many)
    lines = caught.value.next_step.splitlines()
    assert len(lines) > 1
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid syntax"),
        ("snr >", "invalid syntax"),
        ("snr = 5", "invalid syntax"),
        ("snr > 5; rate > 1", "invalid syntax"),
        ("snr", "'snr' is not a comparison"),
        ("5", "'5' is not a comparison"),
        ("snr > 5 and rate", "'rate' is not a comparison"),
        ("snr > 5 & rate < 2", "'5 & rate' is not a metric or a number"),
        ("snr + 1 > 5", "'snr . 1' is not a metric or a number"),
        ("snr > '5'", "\"'5'\" is not a metric or a number"),
        ("snr > True", "'True' is not a metric or a number"),
        ("snr > 5j", "'5j' is not a metric or a number"),
        ("snr > 1e999", "'1e999' is not a finite number"),
        ("snr in (1, 2)", "is not a comparison"),
        ("snr is 5", "is not a comparison"),
        ("snr.real > 5", "'snr.real' is not a metric or a number"),
        ("snr[0] > 5", "is not a metric or a number"),
        ("open('x') > 5", "is not a metric or a number"),
        ("(lambda: 1)() > 0", "is not a metric or a number"),
        ("(x := 5) > 3", "is not a metric or a number"),
        ("f'{snr}' > 5", "is not a metric or a number"),
        ("(snr > 5) > 0", "is not a metric or a number"),
        ("snr > 5 if rate > 1 else rate > 0", "is not a comparison"),
        ("~(snr > 5)", "is not a comparison"),
        ("snr > 1" + "0" * 500, "not readable"),
        ("(" * 900 + "snr > 5" + ")" * 900, "rule "),
        ("snr > 5 and " * 200 + "snr > 5", "2407 characters, at most 2000"),
        ("snr > 5\0", "rule "),
    ],
)
def test_everything_else_of_python_is_refused(text, message):
    with pytest.raises(CurationError, match=message) as caught:
        Rule.parse(text)
    assert "snr > 5 and isi_violations < 0.5" in caught.value.next_step


def test_a_table_of_units_is_read_without_its_labels(tmp_path):
    (tmp_path / "units.csv").write_text("unit,snr,quality\n2,,good\n5,1.5,\n")
    assert Table.read(tmp_path / "units.csv") == Table(units=(2, 5), columns={"snr": [None, 1.5]})
    (tmp_path / "units.csv").write_text("unit,snr\n")
    assert Table.read(tmp_path / "units.csv") == Table(units=(), columns={"snr": []})
    for text in ("", "cluster\n1\n", "unit\none\n"):
        (tmp_path / "units.csv").write_text(text)
        with pytest.raises(CurationError, match=r"units\.csv: not a table of units"):
            Table.read(tmp_path / "units.csv")


def test_units_of_which_the_rule_is_false_are_left_out_and_the_document_tells_it():
    (found,) = decide((Curation(events=EVENTS),), TABLE, keep=Rule.parse("snr > 5"))
    assert found.removed == (2, 3)
    assert found.rules == ({"keep": "snr > 5", "removed": [2, 3], "missing": {"snr": [3]}},)
    assert found.as_document()["rules"] == [*found.rules]


def test_a_rule_leaves_alone_what_is_merged_split_or_removed():
    curation = Curation(
        events={**EVENTS, 5: 1},
        merges=(Merge(units=(2, 5)),),
        splits=(Split(unit=3, parts=((0,),)),),
        removed=(4,),
    ).complete("it")
    (found,) = decide(
        (curation,), TABLE, keep=Rule.parse("snr > 99"), labels={"good": Rule.parse("rate > -9")}
    )
    assert found.removed == (1, 4)
    assert found.labels == {}


def test_a_label_of_the_file_stays_and_of_several_rules_the_first_counts():
    quality = {"quality": LabelDefinition(options=("good", "mua"), exclusive=True)}
    curation = Curation(events=EVENTS, definitions=quality, labels={1: {"quality": ("mua",)}})
    rules = {"good": Rule.parse("rate > 0"), "slow": Rule.parse("rate < 2")}
    (found,) = decide((curation,), TABLE, labels=rules)
    assert {unit: labels["quality"] for unit, labels in found.labels.items()} == {
        1: ("mua",),
        2: ("slow",),
        3: ("good",),
        4: ("slow",),
    }
    assert found.definitions["quality"].options == ("good", "mua", "slow")
    several = {"quality": LabelDefinition(options=("good", "mua"), exclusive=False)}
    curation = Curation(events=EVENTS, definitions=several, labels={1: {"quality": ("mua",)}})
    (found,) = decide((curation,), TABLE, labels=rules)
    assert found.labels[1]["quality"] == ("mua", "good", "slow")


def test_a_unit_that_a_rule_removes_is_in_no_later_step():
    first = {
        "format_version": "2",
        "unit_ids": [1, 2, 3, 4],
        "merges": [{"unit_ids": [1, 4], "new_unit_id": 9}],
    }
    last = {
        "format_version": "2",
        "unit_ids": [2, 3, 9],
        "label_definitions": {"quality": {"label_options": ["good", "mua"], "exclusive": True}},
        "manual_labels": [{"unit_id": 2, "quality": ["good"]}, {"unit_id": 9, "quality": ["mua"]}],
    }
    steps = decide(parse([first, last], "c.json", EVENTS), TABLE, keep=Rule.parse("rate > 2"))
    assert steps[-1].events_after() == {3: 10, 9: 20}
    assert labels_after(steps) == {9: {"quality": ("mua",)}}


def test_the_labels_of_a_curated_sorting_are_inherited_and_new_ones_win():
    quality = {"quality": LabelDefinition(options=("good", "mua"), exclusive=True)}
    earlier = Curation(
        events={**EVENTS, 5: 3},
        definitions=quality,
        labels={1: {"quality": ("good",)}, 2: {"quality": ("good",)}, 5: {"quality": ("good",)}},
        merges=(Merge(units=(2, 5)),),
    ).complete("it")
    events = earlier.events_after()
    labelled = labels_of(json.loads(as_text((earlier,))), "curation.json", events)
    assert labelled.labels == {1: {"quality": ("good",)}, 6: {"quality": ("good",)}}
    mine = {"quality": LabelDefinition(options=("mine", "other"), exclusive=True)}
    (found,) = inherit(
        (Curation(events=events, definitions=mine, labels={1: {"quality": ("mine",)}}),), labelled
    )
    assert found.labels == {1: {"quality": ("mine",)}, 6: {"quality": ("good",)}}
    assert found.definitions["quality"].options == ("mine", "other", "good", "mua")
