"""The rooms of the lab: each imports only those before it, and says what it is for."""

import ast
import graphlib
from pathlib import Path

import pytest

import optchain.lab

LAB = Path(optchain.lab.__file__).parent
ROOMS = (
    *(
        "base",
        "settings",
        "trackers",
        "data",
        "models",
        "runs",
        "training",
        "workers",
        "reports",
        "probes",
        "tuning",
        "comparison",
    ),
    *("api", "commands"),
)


def rooms_of(source):
    """The rooms that a file imports from."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("optchain.lab"):
            *_, first = [*node.module.split(".")[2:3]] or [""]
            yield from [first] if first else [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[2] for name in node.names if name.name.startswith("optchain.lab."))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_those_before_it(room):
    before = set(ROOMS[: ROOMS.index(room) + 1])
    sources = list((LAB / room).rglob("*.py"))
    assert sources
    for source in sources:
        assert set(rooms_of(source)) <= before, f"{source} imports from {set(rooms_of(source)) - before}"


def test_ray_is_imported_within_functions_only():
    """So that no command imports it, unless a study's trials run there; `own_cluster.py` is a program of its own."""
    for source in LAB.rglob("*.py"):
        for node in ast.parse(source.read_text()).body:
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert "ray" not in {name.partition(".")[0] for name in modules}, source


def run_time_imports(source):
    """The modules that a file imports when it is run, also those within functions, but not for types alone."""
    nodes = [ast.parse(source.read_text())]
    for node in nodes:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield node.module
        nodes += ast.iter_child_nodes(node)


@pytest.mark.parametrize("room", ROOMS)
def test_no_modules_of_a_room_import_each_other_in_a_circle(room):
    sources = {
        ".".join(source.relative_to(LAB.parents[1]).with_suffix("").parts): source
        for source in (LAB / room).rglob("*.py")
        if source.name != "__init__.py"
    }
    graph = {name: set(run_time_imports(source)) & sources.keys() for name, source in sources.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_every_folder_is_a_room():
    folders = {path.name for path in LAB.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)


def test_every_name_of_the_lab_is_there():
    for name in optchain.lab.NAMES:
        assert (getattr(optchain.lab, name).__doc__ or "").strip(), name
    assert set(optchain.lab.NAMES) <= set(dir(optchain.lab))
    with pytest.raises(AttributeError, match="has no attribute 'tain'"):
        optchain.lab.tain  # noqa: B018


def test_the_names_are_those_that_an_editor_sees():
    """The two lists of `optchain/lab/__init__.py` say the same."""
    tree = ast.parse((LAB / "__init__.py").read_text())
    seen = {
        alias.name: node.module.removeprefix("optchain.lab.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("optchain.lab.")
        for alias in node.names
    }
    assert seen == optchain.lab.NAMES
