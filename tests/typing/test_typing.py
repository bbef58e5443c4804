"""A type checker finds the planted mistakes, each under its rule, and nothing else; the right uses run as well."""

import importlib.util
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import optchain as oc
from optchain.inspect.stubs import is_made

HERE = Path(__file__).parent
MISTAKES, USES = HERE / "mistakes.py", HERE / "uses.py"
checker = pytest.mark.skipif(
    importlib.util.find_spec("basedpyright") is None, reason="basedpyright is not installed: the extra `test` has it"
)


def reported(source):
    """The line and the rule of each error that the checker finds in a file, with the settings of pyproject.toml."""
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, str(source)]
    run = subprocess.run(command, cwd=HERE.parent.parent, capture_output=True, text=True, timeout=300)
    assert run.returncode in (0, 1), run.stderr
    return {(x["range"]["start"]["line"] + 1, x["rule"]) for x in json.loads(run.stdout)["generalDiagnostics"]}


@checker
def test_each_planted_mistake_is_found_and_nothing_else():
    lines = MISTAKES.read_text().splitlines()
    planted = {(n, m[1]) for n, line in enumerate(lines, 1) if (m := re.search(r"# expect: (\w+)$", line))}
    assert len(planted) >= 12
    assert reported(MISTAKES) == planted


@pytest.mark.full
@checker
def test_nothing_is_found_in_the_right_uses():
    assert reported(USES) == set()


@pytest.mark.full
def test_the_right_uses_run():
    with jax.numpy_rank_promotion("allow"):  # optax's and Flax's code does not hold to it
        scope = runpy.run_path(str(USES))
    assert all(isinstance(tx, oc.typing.Transform) for tx in scope["techniques"] + scope["wrapped"])
    assert set(scope["norms"]) >= {"clip.out_norm", "lr.learning_rate"}


def test_the_right_uses_are_many():
    calls = set(re.findall(r"\boc\.(\w+)\(", USES.read_text()))
    assert sum(is_made(getattr(oc, name)) for name in calls) >= 30
