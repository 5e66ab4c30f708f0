"""The examples in docstrings run and print what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import spikecrate

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(spikecrate.__path__, "spikecrate.")
    if module.name.split(".")[1] in ("catalogue", "recordings", "sortings")
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_print_what_they_show(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_the_main_functions_have_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    shown = {
        test.name for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples
    }
    for name in (
        "sortings.comparison.compare.compare",
        "sortings.comparison.compare.agree",
        "sortings.model.Sorting",
    ):
        assert f"spikecrate.{name}" in shown
