"""Types of arguments: what they give, and what is said of a wrong one."""

import argparse

import pytest

from experiments import checks


def test_names_of_a_table():
    names = checks.several({"ant": 1, "bee": 2})
    assert names("bee,ant") == ["bee", "ant"]
    for text, got in (("bee,cat", "'cat'"), ("", "''"), ("ant,", "''")):
        with pytest.raises(argparse.ArgumentTypeError, match=f"some of ant, bee, got {got}"):
            names(text)


def test_natural_numbers():
    assert checks.natural("12") == 12
    for text in ("0", "-1", "1.5", "x", ""):
        with pytest.raises(argparse.ArgumentTypeError, match="expected an integer from 1"):
            checks.natural(text)
