"""The doctor in the development container, and on it: a user that no image knows, a clone in a path with a space."""

from __future__ import annotations

import pytest
from conftest import last_json
from dev_person import Person


@pytest.fixture(scope="module")
def person():
    """A user with a fresh clone and its running container."""
    person = Person()
    try:
        person.make_clone()
        done = person.dev("--cmd", "true")
        assert done.returncode == 0, done.stderr
        yield person
    finally:
        person.remove()


def lines_of(done):
    return {line["name"]: line for line in last_json(done)["checks"]}


def test_inside_nothing_fails_and_the_containers_beside_see_the_store(person):
    done = person.dev("--cmd", "invoke doctor --json")
    assert done.returncode == 0, done.stdout + done.stderr
    lines = lines_of(done)
    well = [
        "docker.permission",
        "docker.daemon",
        "docker.builder",
        "store.place",
        "store.sibling",
        "git.trust",
    ]
    assert [lines[name]["state"] for name in [*well, "dev.packages"]] == ["ok"] * 7
    assert lines["runtime.auto"]["message"] == "docker"
    assert lines["dev.container"]["message"] == "this is the development container"
    assert lines["docker.space"]["message"] == "the daemon's folders are not visible from here"


def test_inside_a_folder_that_the_host_does_not_have_is_refused(person):
    done = person.dev("--cmd", "SPIKECRATE_STORE=/tmp/mine invoke doctor --check store --json")
    assert done.returncode == 1, done.stderr
    assert lines_of(done)["store.sibling"]["state"] == "fail"
    assert "exists only in this container" in lines_of(done)["store.sibling"]["message"]


def test_outside_a_container_of_an_older_description_is_named(person):
    def look():
        done = person.run(person.invoke, "doctor", "--check", "dev", "--json")
        assert done.returncode == 0, done.stderr
        return lines_of(done)["dev.container"]

    assert look()["state"] == "ok"
    assert "is running" in look()["message"]
    dockerfile = person.clone / ".devcontainer" / "Dockerfile"
    before = dockerfile.read_text()
    dockerfile.write_text(f"{before}# edited\n")
    assert (look()["state"], look()["fix"]) == ("warn", "invoke dev --rebuild")
    dockerfile.write_text(before)
