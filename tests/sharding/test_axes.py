"""The axes that slots follow: permute one axis of parameters and gradients, and see which axes of which slots move."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from techniques import RULES, build, kind
from tiers import one_of_each

import optchain as oc
from optchain.core.dense import Dense
from optchain.core.holes import is_hole
from optchain.core.lift import lift
from optchain.core.rule import core_of, rule
from optchain.inspect.laws.steps import every_extra
from optchain.sharding.axes import followed

SHAPES = {"square": (5, 5), "tall": (6, 4), "wide": (4, 6), "vector": (5,), "cube": (2, 3, 4)}
# The eigenvectors to an eigenvalue of 0 are any, and here there are none.
OF_FULL_RANK = {
    "scale_by_soap": "square",
    "scale_by_kl_soap": "square",
    "scale_by_soap, one side": "tall",
    "scale_by_soap, other side": "wide",
}
# Of a vector, which is sent whole, nothing is ever left.
SENT_IN_PARTS = {"powersgd_mean": "tall"}
# Laws that depend on the order of an axis: which of them, and why.
ORDERED = {
    "scale_by_kron": "the factors are triangular, and fitted with random numbers that stay where they are",
    "scale_by_apollo": "the random sketch of the shorter axis stays as it is",
}
BY_PLACE = {"qsgd_mean", "random_k_mean", "demo_mean"}  # an entry has the random number, or the wave, of its place
# A first value that is not a function of the parameter alone.
RANDOM_START = dict.fromkeys(
    ("scale_by_dion", "powersgd_mean", "keep_params_spectral_norm"), "the right factor begins with random numbers"
)
VARIANTS = {
    "scale_by_adam_mini, rows": lambda: oc.scale_by_adam_mini(block="row"),
    "scale_by_adam_mini, columns": lambda: oc.scale_by_adam_mini(block="column"),
    "scale_by_factored_rms, whole": lambda: oc.scale_by_factored_rms(min_dim_size_to_factor=5),
    "scale_by_soap, one side": lambda: oc.scale_by_soap(max_dim=4),
    "scale_by_soap, other side": lambda: oc.scale_by_soap(max_dim=4),
}


def with_slots(name):
    link = build(name).link
    return isinstance(link, Dense) and bool(link.init({"w": jnp.ones((4, 4))})[name].keys() - {"count", "seen"})


NAMES = [*filter(with_slots, RULES), *VARIANTS]


def made(name):
    return VARIANTS[name]() if name in VARIANTS else build(name)


def shapes_of(name, tx):
    """The shapes that a technique takes."""
    one = {**OF_FULL_RANK, **SENT_IN_PARTS}.get(name)
    if one is not None:
        return {"w": SHAPES[one]}
    law = tx.link.rule
    return {
        name: shape
        for name, shape in SHAPES.items()
        if law.any_rank or core_of(law, len(shape)) in (0, None, len(shape)) or (name == "vector" and tx.link.mask)
    }


def drawn(seed, shapes):
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}


def moved(x, axes, axis):
    """An array whose axes that follow one axis are permuted."""
    for j, i in enumerate(axes):
        if i == axis:
            x = jnp.roll(x, 1, j)
    return x


def params_moved(tree, axis):
    return jax.tree.map(lambda x: moved(x, range(x.ndim), axis), tree)


def state_moved(tx, state, params, axis):
    leaves, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    follows = followed(tx, state, params)
    return treedef.unflatten([x if f is None else moved(x, f.axes, axis) for x, f in zip(leaves, follows, strict=True)])


def require_the_same(found, expected):
    """Absolute values: the sign of an eigenvector is any."""
    for (path, x), y in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        x, y = np.abs(np.asarray(x)), np.abs(np.asarray(y))
        np.testing.assert_allclose(
            x, y, rtol=1e-3, atol=1e-3 * np.max(y, initial=0), err_msg=jax.tree_util.keystr(path)
        )


def require_the_axes(tx, params, axis, steps=2):
    """Permuting one axis of parameters and gradients permutes the declared axes of each slot, and nothing else."""
    extras = {**every_extra(), **({"hessian": None} if "hessian" in tx.link.rule.extras else {})}

    @jax.jit
    def step(grads, state, params):
        given = extras | ({"hessian": jax.tree.map(jnp.square, grads)} if "hessian" in extras else {})
        return tx.update(grads, state, params, **given)

    begun = tx.init(params)
    state, other = begun, state_moved(tx, begun, params, axis)
    if tx.link.name not in RANDOM_START:
        require_the_same(tx.init(params_moved(params, axis)), other)
    shapes = jax.tree.map(jnp.shape, params, is_leaf=lambda x: isinstance(x, jax.Array))
    for i in range(steps):
        grads, now = drawn(2 * i + 1, shapes), drawn(2 * i + 2, shapes)  # a parameter that moves
        _, state = step(grads, state, now)
        _, other = step(params_moved(grads, axis), other, params_moved(now, axis))
    expected = state_moved(tx, state, params, axis)
    require_the_same(other, expected)
    # What would look the same permuted or not shows nothing.
    slots, both = followed(tx, state, params), (jax.tree.leaves(x, is_leaf=is_hole) for x in (state, expected))
    for follows, x, y in zip(slots, *both, strict=True):
        if follows is not None and axis in follows.axes:
            assert not np.allclose(x, y, rtol=1e-2, atol=1e-6 * np.abs(x).max()), (follows, x)


@pytest.mark.parametrize("name", one_of_each(NAMES, lambda name: name if name in VARIANTS else kind(name)))
def test_declared_axes_are_permuted_and_no_others(name):
    tx = made(name)
    params = drawn(0, shapes_of(name, tx))
    assert params, "no shape is left to see anything in"
    for axis in range(max(p.ndim for p in params.values())):
        if tx.link.name not in {*ORDERED, *BY_PLACE}:
            require_the_axes(tx, {key: p for key, p in params.items() if p.ndim > axis}, axis)


def test_a_sketch_follows_the_longer_axis():
    tx = build("scale_by_apollo")
    for axis, shape in ((0, (6, 4)), (1, (4, 6)), (1, (5, 5))):
        require_the_axes(tx, drawn(0, {"w": shape}), axis)


@pytest.mark.parametrize("name", ORDERED)
def test_axes_have_the_lengths_of_those_that_they_follow(name):
    params = drawn(0, {"w": (6, 4)})
    state = build(name).init(params)
    for x, follows in zip(jax.tree.leaves(state), followed(build(name), state, params), strict=True):
        if follows is not None:
            assert all(i is None or n == (6, 4)[i] for n, i in zip(x.shape, follows.axes, strict=True))
    assert any(follows and follows.axes != (0, 1) for follows in followed(build(name), state, params))


class Sums(NamedTuple):
    rows: jax.Array


def summed(declared):
    """A rule that keeps the sums of rows, and declares something of them."""

    @rule
    class RowSums:
        core_ndim = None

        def init(self, p):
            return Sums(jnp.zeros(p.shape[:-1]))

        def axes(self, p):
            return declared

        def update(self, g, s, p, t):
            return g, Sums(s.rows + g.sum(1))

    return lift(RowSums, "row_sums")()


@pytest.mark.parametrize("axes", [(1,), (None,)])
def test_axes_that_are_declared_wrongly_are_found(axes):
    params = drawn(0, {"w": (5, 5)})
    for axis in (0, 1):
        require_the_axes(summed({"rows": (0,)}), params, axis)
    with pytest.raises(AssertionError):
        for axis in (0, 1):
            require_the_axes(summed({"rows": axes}), params, axis)


@pytest.mark.parametrize(
    "declared, message",
    [
        ({"rows": (1,)}, "the slot 'rows' of shape .6,. is declared to follow the axes .1,."),
        ({"rows": (0, 1)}, "declared to follow"),
        ({"rows": (2,)}, "declared to follow"),
        ({"columns": (0,)}, "row_sums: axes are declared for 'columns', which is not a slot; valid: rows"),
    ],
    ids=str,
)
def test_axes_that_do_not_fit_are_errors(declared, message):
    params, tx = drawn(0, {"w": (6, 4)}), summed(declared)
    with pytest.raises(ValueError, match=message):
        followed(tx, tx.init(params), params)
