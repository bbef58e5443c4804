"""The claims and the tasks are written as a user's project would be: against the public names of the lab alone."""

import ast
import inspect

import pytest
import small_runs

import optchain
from optchain import lab

EXPERIMENTS = small_runs.ROOT / "experiments"
SOURCES = sorted([EXPERIMENTS / "__main__.py", *EXPERIMENTS.glob("claims/*.py"), *EXPERIMENTS.glob("tasks/*.py")])
PUBLIC = {
    "optchain": {"lab", *(name for name, x in vars(optchain).items() if not inspect.ismodule(x))},
    "optchain.lab": set(lab.NAMES),
}
INNER = """
import optchain.core.paths
from optchain import adam, core, lab
from optchain.lab import Run, _names
from optchain.lab.base import errors

lab.train, lab.Config, lab.api.calls
"""


def private(source):
    """What a file uses of optchain that is not public."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("optchain."))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "optchain":
            names = PUBLIC.get(node.module, set())
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name not in names)
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "lab":
            yield from {f"lab.{node.attr}"} - {f"lab.{name}" for name in lab.NAMES}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_nothing_beneath_the_lab_is_used(path):
    assert not set(private(path.read_text()))


def test_what_is_beneath_the_lab_would_be_found():
    assert set(private(INNER)) == {
        "optchain.core",
        "optchain.core.paths",
        "optchain.lab._names",
        "optchain.lab.base.errors",
        "lab.Config",
        "lab.api",
    }
