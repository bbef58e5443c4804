"""Every argument of every public function is described: an editor shows nothing else."""

import inspect
import subprocess
import sys

import pytest
from techniques import PRESETS, RULES

import optchain as oc
from optchain.core.numbers import Positive
from optchain.inspect.stubs import exports
from optchain.presets.arguments import arguments_of, documented, texts, with_arguments

FUNCTIONS = {name: getattr(oc, name) for name in exports() if callable(getattr(oc, name))}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_is_described(name):
    function = FUNCTIONS[name]
    # The mask of a technique is the same for all of them, and `lift` describes it.
    names = set(inspect.signature(function).parameters) - ({"mask"} if name in RULES else set())
    described = texts(function)
    assert not names - set(described)
    assert set(described) <= names and all(text.endswith(".") for text in described.values())


@pytest.mark.parametrize("name", PRESETS)
def test_the_arguments_of_a_preset_stand_in_the_order_of_its_signature(name):
    assert list(texts(FUNCTIONS[name])) == list(inspect.signature(FUNCTIONS[name]).parameters)


def test_a_preset_says_of_an_argument_what_its_technique_says():
    fields = texts(oc.scale_by_lion)
    assert texts(oc.lion) | fields == texts(oc.lion) and set(fields) == {"b1", "b2", "mode", "smooth_beta"}


def test_the_section_stands_before_what_is_raised_and_before_examples():
    doc = with_arguments("Does.\n\nRaises:\n    ValueError: never.\n\n>>> 1\n1", {"a": "one.", "b": "two " * 60 + "."})
    assert doc.startswith("Does.\n\nArgs:\n    a: one.\n    b: two two") and "\n\nRaises:\n    ValueError" in doc
    assert texts(type("F", (), {"__doc__": doc})) == {"a": "one.", "b": "two " * 60 + "."}
    assert max(map(len, doc.splitlines())) <= 116


def test_defaults_of_a_preset_may_differ_from_those_of_its_technique():
    assert arguments_of(oc.scale_by_lion, b1=0.5)["b1"].default == 0.5
    assert arguments_of(oc.scale_by_lion)["b1"].default == 0.9


def test_a_technique_that_does_not_describe_a_field_makes_no_preset():
    @oc.rule
    class Silent:
        """Scales."""

        factor: Positive = 1.0

        def update(self, g, s, p, t):
            return self.factor * g, s

    with pytest.raises(ValueError, match="silent: describe in its section `Fields:` factor"):
        arguments_of(oc.lift(Silent, "silent"))


def test_python_without_docstrings_imports_the_package():
    code = "import optchain; optchain.adamw(1e-3), optchain.rmsprop(1e-3)"
    run = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("given, name", [({}, "rate"), ({"rate": "a rate.", "power": "a power."}, "power")])
def test_an_argument_without_a_text_or_a_text_without_an_argument_is_an_error(given, name):
    with pytest.raises(ValueError, match=f"made: describe its arguments, and no others: {name}"):

        @documented(**given)
        def made(rate):
            """Makes."""
