"""The page of techniques names what there is: functions of the library, commands, files, and tests that hold them."""

import re
from pathlib import Path

import pytest

import optchain as oc
from optchain.lab.commands.main import COMMANDS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "techniques.md").read_text()
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| technique")]


def test_each_row_has_a_place_and_a_test():
    assert len(ROWS) > 60
    for row in ROWS:
        what, here, test = row.strip("| ").split(" | ")
        assert what and "`" in here and "`tests/" in test, row


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`oc\.(\w+)", PAGE))))
def test_functions_are_there(name):
    assert callable(getattr(oc, name))


def test_commands_are_there():
    named = set(re.findall(r"`optchain ([a-z-]+)", PAGE))
    assert len(named) > 5 and named <= set(COMMANDS)


@pytest.mark.parametrize("place", sorted(set(re.findall(r"`((?:tests|configs)/[^`]+)`", PAGE))))
def test_files_and_tests_are_there(place):
    path, _, test = place.partition("::")
    assert (ROOT / path).exists()
    assert not test or f"def {test}(" in (ROOT / path).read_text()
