"""The stub is what the package is at run time."""

import ast
import importlib.metadata
import inspect
import tomllib
from pathlib import Path
from typing import Annotated

import jax
import optax
import pytest

import optchain as oc
from optchain.core.mask import Mask
from optchain.core.numbers import Decay, Number, Range, Scalar, Static
from optchain.inspect.annotations import Imports, text
from optchain.inspect.stubs import STUB, exports, is_made, written

TREE = ast.parse(STUB.read_text())
FUNCTIONS = {node.name: node for node in TREE.body if isinstance(node, ast.FunctionDef)}


def test_the_stub_is_that_of_the_functions():
    assert written() == STUB.read_text(), f"{STUB.name}: run `make stubs`"


def test_every_public_name_is_in_the_stub_once():
    aliases = [a.asname for node in TREE.body if isinstance(node, ast.ImportFrom) for a in node.names if a.asname]
    assert sorted([*aliases, *FUNCTIONS]) == sorted(exports()), "run `make stubs`"
    assert {name for name in exports() if is_made(getattr(oc, name))} == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_the_stub_has_the_arguments_and_the_docstring_of_the_one_that_runs(name):
    node, function = FUNCTIONS[name], getattr(oc, name)
    parameters = inspect.signature(function).parameters.values()
    arguments = [*node.args.args, *node.args.kwonlyargs]
    assert [a.arg for a in arguments] == [p.name for p in parameters]
    assert len(node.args.kwonlyargs) == sum(p.kind is p.KEYWORD_ONLY for p in parameters)
    defaults = [x for x in (*node.args.defaults, *node.args.kw_defaults) if x is not None]
    assert len(defaults) == sum(p.default is not p.empty for p in parameters)
    assert all(a.annotation is not None for a in arguments) and node.returns is not None
    assert ast.get_docstring(node) == inspect.getdoc(function)


@pytest.mark.parametrize(
    "hint, expected",
    [
        (Decay, "Number"),
        (Annotated[Scalar | None, Range("(0, inf)")], "Number | None"),
        (Number | None, "Number | None"),
        (Mask | None, "Mask | None"),
        (Scalar, "float | jax.Array"),
        (Static[int], "int"),
        (dict[str, tuple[int, ...]], "dict[str, tuple[int, ...]]"),
        (optax.GradientTransformation, "optax.GradientTransformation"),
        (None, "None"),
    ],
)
def test_a_hint_as_text(hint, expected):
    assert text(hint, Imports()) == expected


def test_what_a_hint_names_is_imported():
    imports = Imports()
    text(Mask | None, imports), text(jax.Array, imports), text(oc.RowGradient, imports)
    assert imports == {"optchain.typing": {"Mask"}, "": {"jax"}, "optchain.core.row_gradient": {"RowGradient"}}


def test_the_package_is_built_with_its_stub_and_its_mark():
    package = Path(oc.__file__).parent
    patterns = tomllib.loads((package.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    files = {path.name for pattern in patterns["optchain"] for path in package.glob(pattern)}
    assert files == {"py.typed", "__init__.pyi"}


def test_the_version_is_that_of_the_installed_package():
    assert oc.__version__ == importlib.metadata.version("optchain")


def test_a_source_tree_that_is_not_installed_has_a_version_too(monkeypatch):
    def absent(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    scope = {}
    exec(Path(oc.__file__).with_name("version.py").read_text(), scope)
    assert scope["__version__"] == "0+unknown"
