"""The page about optax says what is so: its names, its arguments, its equal numbers and its other ones."""

import inspect
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import one_of_each

import optchain as oc
from optchain.inspect.coming_from_optax import LINKS, shared, written

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from-optax.md").read_text()
# The rows of the table under each title, without its header.
ROWS = {
    part.splitlines()[0]: [line.strip("| ").split(" | ") for line in re.findall(r"^\| .*", part, re.M)[2:]]
    for part in re.split(r"^##+ ", PAGE, flags=re.M)
}
OTHER_NAMES, SCHEDULES = ROWS["The same numbers under another name"], ROWS["Schedules"]
OTHER_NUMBERS = {name for cell, _ in ROWS["Other numbers under the same name"] for name in re.findall(r"`(\w+)`", cell)}
# What the page names as a whole, and what is a type or a state.
STAY = """losses projections assignment perturbations second_order microbatching tree_utils _src.numerics _src.utils
    _src.linear_algebra""".split()
TYPES = re.compile(r"Params|Updates|OptState|ApplyEvery|.*(State|Fn|Node|Numbers|Info|Function|Args|Schedule)")


def test_the_tables_of_arguments_are_those_of_the_signatures():
    assert written(PAGE) == PAGE, "docs/coming-from-optax.md: run `make tables`"
    assert "docs/coming-from-optax.md" in (Path(__file__).parents[2] / "README.md").read_text()


def test_every_name_that_it_gives_is_one():
    for name in re.findall(r"\boc\.(\w+)", PAGE):
        assert hasattr(oc, name), name
    for name in re.findall(r"\boptax\.((?:contrib\.)?\w+)", PAGE):
        module, _, attribute = name.rpartition(".")
        assert hasattr(getattr(optax, module) if module else optax, attribute), name


def names_of(module):
    """The functions of a module of optax, without those that the page leaves there."""
    for name, x in vars(module).items():
        home = getattr(x, "__module__", "").removeprefix("optax.")
        stays = any(home == module or home.startswith(f"{module}.") for module in STAY)
        if callable(x) and not (name.startswith("_") or stays or TYPES.fullmatch(name)):
            yield name


@pytest.mark.parametrize("module", [optax, optax.contrib], ids=["optax", "contrib"])
def test_every_public_function_of_optax_has_its_place(module):
    said = set(re.findall(r"\w+", PAGE))
    missing = [name for name in names_of(module) if name not in said and name not in {*shared(), LINKS}]
    assert not missing and len(list(names_of(module))) > 30


def test_the_code_runs():
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        with jax.numpy_rank_promotion("allow"):
            exec(compile(block, "coming-from-optax.md", "exec"), {})


def evaluated(cell, **values):
    return eval(cell.strip("`"), {"optax": optax, "oc": oc, **values})


@pytest.mark.parametrize("theirs, ours", SCHEDULES, ids=[cell for cell, _ in SCHEDULES])
def test_a_schedule_is_the_same_under_another_name(theirs, ours):
    values = {"v": 0.5, "e": 0.02, "n": 40, "w": 12, "p": 2.0, "d": 0.5}
    steps = jnp.arange(80.0)
    a, b = (jax.vmap(evaluated(cell, **values))(steps) for cell in (ours, theirs))
    np.testing.assert_allclose(a, b, rtol=0, atol=2e-6)


def drawn(shapes, steps=8):
    """Random parameters, a bias that begins at 0 among them, and gradients of many sizes, in float64."""
    rng = np.random.default_rng(0)
    params = {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()} | {"b": jnp.zeros(3)}
    sizes = np.exp(rng.normal(size=steps))
    grads = [jax.tree.map(lambda p, size=size: jnp.asarray(size * rng.normal(size=p.shape)), params) for size in sizes]
    return params, jax.tree.map(lambda *x: jnp.stack(x), *grads)


def largest_difference(ours, theirs, shapes, **extra):
    """Between all updates, of each leaf relative to the largest of optax's, where the parameters move by them."""

    def updates(tx):
        def step(carry, g):
            params, state = carry
            u, state = tx.update(g, state, params, **extra)
            return (jax.tree.map(jnp.add, params, u), state), u

        return jax.jit(lambda gs: jax.lax.scan(step, (params, tx.init(params)), gs)[1])(grads)

    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        params, grads = drawn(shapes)
        pairs = zip(*map(jax.tree.leaves, map(updates, (ours(), theirs()))), strict=True)
        return max(float(jnp.max(jnp.abs(a - b)) / jnp.maximum(jnp.max(jnp.abs(b)), 1e-300)) for a, b in pairs)


@pytest.mark.parametrize("theirs, ours", one_of_each(map(tuple, OTHER_NAMES)))
def test_a_transformation_makes_the_same_updates_under_another_name(theirs, ours):
    assert largest_difference(lambda: evaluated(ours), lambda: evaluated(theirs), {"w": (5, 3)}) < 1e-6


# Which take what others do not, or step something else: their own tests compare them with optax.
TESTED_ELSEWHERE = """differentially_private_aggregate dpsgd join_schedules lbfgs lookahead mechanize muon sam
    scale_by_galore scale_by_muon schedule_free sophia""".split()
BY_DEFAULT = [name for name in shared() if name not in TESTED_ELSEWHERE]


@pytest.mark.parametrize("name", one_of_each(BY_DEFAULT, lambda name: name in OTHER_NUMBERS))
def test_the_same_name_makes_the_same_updates_but_where_the_page_says_so(name):
    """With the defaults, and 0.1 for what is required."""
    required = [p for p in inspect.signature(getattr(oc, name)).parameters.values() if p.default is p.empty]
    make, twin = getattr(oc, name), getattr(optax, name, None) or getattr(optax.contrib, name)
    shapes, given = {"conv": (2, 2, 3, 4), "w": (5, 3)}, [0.1] * len(required) + [0] * (name == "add_noise")
    extra = {"value": 1.0} if "polyak" in name or "momo" in name else {}
    differs = largest_difference(lambda: make(*given), lambda: twin(*given), shapes, **extra)
    assert (differs > 1e-6) == (name in OTHER_NUMBERS), f"{name} differs by {differs:.2g}"


def test_what_differs_is_said_of_names_that_both_have():
    assert set(shared()) >= OTHER_NUMBERS and len(OTHER_NUMBERS) > 15
