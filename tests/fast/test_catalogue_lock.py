"""What changed between two locks."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from spikecrate._util.data import data_path
from spikecrate.catalogue.lock import compare, packages, requirements

NAMES = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,3})?", fullmatch=True)
LOCKS = st.dictionaries(NAMES, st.sampled_from(["1.0", "2.1.post1", "3.0rc1+cpu"]), max_size=6)


def written(lock):
    """Write a lock as uv does."""
    return "# made by a tool\n" + "".join(
        f"{name}=={version} \\\n    --hash=sha256:{'0' * 64}\n    # via x==9\n"
        for name, version in lock.items()
    )


@given(LOCKS)
def test_every_package_of_a_lock_is_read_and_nothing_of_its_comments(lock):
    assert packages(written(lock)) == lock


@given(LOCKS, LOCKS)
def test_old_and_changes_give_new(old, new):
    change = compare("requirements.lock", written(old), written(new))
    made = {name: version for name, version in old.items() if name not in change.removed}
    made |= change.added | {name: after for name, (_, after) in change.updated.items()}
    assert made == new
    assert not change.added.keys() & old.keys()
    assert all(before != after for before, after in change.updated.values())


def test_a_lock_of_the_catalogue_is_read_whole():
    text = (data_path("sorters") / "ms4" / "requirements.lock").read_text()
    assert packages(text)["mountainsort4"] == "1.0.7"
    assert len(packages(text)) == sum("==" in line for line in requirements(text))


def test_a_lock_whose_comments_alone_are_new_installs_the_same():
    lock = written({"numpy": "1.0"})
    assert requirements(lock) == requirements(lock.replace("# via x==9", "# via\n    #   y"))
    assert requirements(lock) != requirements(lock.replace("0" * 64, "1" * 64))
