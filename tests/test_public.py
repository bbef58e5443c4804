"""The public surface and the direction of dependencies."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import optchain as oc

ROOT = Path(oc.__file__).parent
LAB = ROOT / "lab"
SOURCES = sorted(path for path in ROOT.rglob("*.py") if not path.is_relative_to(LAB))
# Each layer may import the layers before it and itself; techniques may import one another.
LAYERS = [
    {"core"},
    {p.name for p in ROOT.iterdir() if p.is_dir()} - {"core", "inspect", "lab", "presets", "__pycache__"},
    {"presets"},
]


def imports(source: Path) -> set[str]:
    nodes = ast.walk(ast.parse(source.read_text()))
    found = {n.module for n in nodes if isinstance(n, ast.ImportFrom) and n.module}
    return found | {
        a.name for n in ast.walk(ast.parse(source.read_text())) if isinstance(n, ast.Import) for a in n.names
    }


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dependencies_point_one_way(source):
    roots = {name.split(".")[0] for name in imports(source)}
    assert not roots & {"experiments", "chex", "torch", "sklearn"}
    assert source == ROOT / "__main__.py" or not [name for name in imports(source) if name.startswith("optchain.lab")]
    # What needs Flax is imported by its users, and by nothing of ours.
    assert "flax" not in roots or source.stem in ("linen", "nnx")
    assert not {name.rpartition(".")[2] for name in imports(source) if name.startswith("optchain")} & {"linen", "nnx"}
    own = source.relative_to(ROOT).with_suffix("").parts[0]
    for i, layer in enumerate(LAYERS):
        if own in layer:
            parts = {name.split(".")[1] for name in imports(source) if name.startswith("optchain.")}
            assert parts <= set.union(*LAYERS[: i + 1]), f"{source} imports {parts}"


TESTS = Path(__file__).parent
# Those of the lab and of the experiments, and what only these use.
SHARED = [
    TESTS / f"{name}.py"
    for name in ("federated_runs", "small_runs", "small_studies", "small_tasks", "sparse_runs", "user_projects")
]
OF_LAB = [TESTS / "lab", TESTS / "experiments", *SHARED]


def test_tests_of_the_library_do_without_the_lab():
    sources = [x for x in TESTS.rglob("*.py") if not any(x.is_relative_to(own) for own in OF_LAB)]
    assert len(sources) > 100
    beyond = ("experiments", "optchain.lab")
    assert [x.name for x in sources if any(name.startswith(beyond) for name in imports(x))] == []


def test_a_folder_of_the_same_name_does_not_hide_the_package(tmp_path):
    """As the clone does from its parent folder, with the installation that the Makefile makes."""
    (tmp_path / "optchain").mkdir()
    subprocess.run([sys.executable, "-c", "import optchain; optchain.adam"], cwd=tmp_path, check=True)


def test_exports_are_explicit_and_sorted():
    lines = [line for line in (ROOT / "__init__.py").read_text().splitlines() if line.startswith("from")]
    assert lines == sorted(lines)
    for line in lines:
        *_, name, _, alias = line.split()
        assert name == alias and hasattr(oc, name)


def test_public_functions_are_documented():
    for name, x in vars(oc).items():
        if callable(x) and getattr(x, "__module__", "").startswith("optchain"):
            assert (x.__doc__ or "").strip().endswith((".", "/", "`")) or "\n" in x.__doc__, name


def test_names_of_techniques_are_found_by_name():
    assert oc.techniques()["scale_by_adam"] is oc.scale_by_adam and "chain" not in oc.techniques()


def test_no_source_file_is_long():
    sources = set(ROOT.rglob("*.py")) - {ROOT / "__init__.py"}  # which has a line for each name
    long = {str(p.relative_to(ROOT)): n for p in sources if (n := len(p.read_text().splitlines())) > 240}
    assert not long
