"""Matrix views: the law sees matrices, the slots keep the parameter's shape."""

import itertools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from techniques import own
from tiers import one_of_each

import optchain as oc
from optchain.core.holes import is_hole
from optchain.core.views import view


class Spectral(NamedTuple):
    mu: jax.Array  # like p
    rows: jax.Array  # one number for each row of the matrix


@oc.rule
class SpectralNorm:
    """Divides a matrix by its spectral norm; keeps what it has seen."""

    core_ndim = 2

    def init(self, p):
        return Spectral(jnp.zeros_like(p), jnp.zeros(p.shape[:-1]))

    def update(self, g, s, p, t):
        assert g.ndim == 2
        return g / jnp.linalg.norm(g, 2), Spectral(s.mu + g, s.rows + jnp.sum(g, -1))


by_norm = oc.lift(SpectralNorm, "by_spectral_norm")


def normalized(matrices):
    return matrices / np.linalg.norm(matrices, 2, axis=(-2, -1), keepdims=True)


CASES = [
    ("h w i o -> (h w i) o", (3, 3, 4, 5), lambda g: normalized(g.reshape(36, 5)).reshape(3, 3, 4, 5)),
    ("d h k -> d (h k)", (6, 2, 4), lambda g: normalized(g.reshape(6, 8)).reshape(6, 2, 4)),
    ("d h k -> h d k", (6, 2, 4), lambda g: normalized(g.transpose(1, 0, 2)).transpose(1, 0, 2)),
    (
        "d (3 k) -> 3 d k",
        (4, 6),
        lambda g: normalized(g.reshape(4, 3, 2).transpose(1, 0, 2)).transpose(1, 0, 2).reshape(4, 6),
    ),
]


@pytest.mark.parametrize("text, shape, wanted", CASES, ids=[text for text, _, _ in CASES])
def test_the_law_sees_matrices_and_slots_keep_the_shape(text, shape, wanted):
    grads = {"attn": {"kernel": jax.random.normal(jax.random.key(0), shape)}, "dense": jnp.eye(3)}
    tx = oc.as_matrices(by_norm(), {"attn/*": text})
    state = tx.init(grads)
    updates, after = jax.jit(tx.update)(grads, state, grads)
    np.testing.assert_allclose(updates["attn"]["kernel"], wanted(np.asarray(grads["attn"]["kernel"])), atol=1e-6)
    chex.assert_trees_all_equal(own(after)["mu"], grads)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)


def test_layers_come_before_the_view():
    grads = {"blocks": jax.random.normal(jax.random.key(0), (5, 6, 2, 4))}
    tx = oc.over_layers(oc.as_matrices(by_norm(), {"blocks": "d h k -> d (h k)"}), "blocks")
    updates, state = tx.update(grads, tx.init(grads), grads)
    wanted = normalized(np.asarray(grads["blocks"]).reshape(5, 6, 8)).reshape(5, 6, 2, 4)
    np.testing.assert_allclose(updates["blocks"], wanted, atol=1e-6)
    assert own(state)["mu"]["blocks"].shape == (5, 6, 2, 4) and own(state)["rows"]["blocks"].shape == (5, 6)


def test_elementwise_techniques_see_the_parameter_as_it_is():
    grads = {"conv": jnp.ones((3, 3, 2, 2))}
    plain, viewed = oc.adamw(1e-3), oc.as_matrices(oc.adamw(1e-3), {"conv": "h w i o -> (h w i) o"})
    found = [str(jax.make_jaxpr(lambda g, tx=tx: tx.update(g, tx.init(grads), grads))(grads)) for tx in (plain, viewed)]
    assert found[0] == found[1] and "views" in str(viewed) and "views" not in str(plain)


@pytest.mark.parametrize("text, shape", [(text, shape) for text, shape, _ in CASES])
def test_a_view_and_back_is_the_array(text, shape):
    x, seen = jnp.arange(np.prod(shape)).reshape(shape), view(text, shape)
    np.testing.assert_array_equal(seen.back(seen(x)), x)


@pytest.mark.parametrize(
    "text, message",
    [
        ("h w i o", "is not a view; expected axes on both sides of an arrow"),
        (3, "is not a view"),
        ("a b -> b c", "each axis must stand once on either side"),
        ("a a -> a a", "each axis must stand once on either side"),
        ("a b -> (a b)", "shows one axis; expected at least rows and columns"),
        ("a (b -> a b", "is not a view"),
        ("d (q+k+v) -> d (q+k+v)", "has the parts q\\+k\\+v; expected at most one axis with the lengths of its parts"),
        ("1+2 3+4 -> 1+2 3+4", "has the parts 1\\+2 and 3\\+4; expected at most one axis"),
        ("d (0+4) -> d (0+4)", "has the parts 0\\+4"),
        ("d (2+) -> d (2+)", "is not a view"),
    ],
)
def test_what_is_no_view_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        oc.as_matrices(by_norm(), {"*": text})


def test_a_view_that_does_not_fit_is_named():
    params = {"qkv": jnp.ones((4, 7))}
    with pytest.raises(
        ValueError, match=r"leaf 'qkv': view 'd \(3 k\) -> 3 d k' does not fit .* axis \(3 k\) is 7 long"
    ):
        oc.as_matrices(by_norm(), {"qkv": "d (3 k) -> 3 d k"}).init(params)
    with pytest.raises(ValueError, match=r"leaf 'qkv': view .* does not fit .* axis \(2\+1\+1 k\) is 7 long"):
        oc.as_matrices(by_norm(), {"qkv": "d (2 + 1 + 1 k) -> d (2+1+1 k)"}).init(params)
    with pytest.raises(ValueError, match=r"has 4 axes on the left, the shape \(4, 7\) has 2"):
        oc.as_matrices(by_norm(), {"qkv": "h w i o -> (h w i) o"}).init(params)
    with pytest.raises(ValueError, match="declare layers with over_layers or a view with as_matrices"):
        by_norm().init({"conv": jnp.ones((3, 3, 2, 2))})
    with pytest.raises(ValueError, match="views must be a table"):
        oc.as_matrices(by_norm(), "h w -> w h")


# A fused kernel of 4 query heads, 1 key and 1 value head of length 3, how it is seen, and the axis that is cut.
FUSED = {
    "all heads": ("d (4+1+1 k) -> d (4+1+1 k)", (5, 18), lambda x: x),
    "columns": ("d 12+3+3 -> d 12+3+3", (5, 18), lambda x: x),
    "an axis of heads": ("d 4 + 1 + 1 k -> d (4+1+1 k)", (5, 6, 3), lambda x: x.reshape(*x.shape[:-2], 18)),
    "one head": ("d (4+1+1 k) -> 4+1+1 d k", (5, 18), lambda x: x),
}
LAWS = {
    "muon": lambda: oc.scale_by_muon(scale="width"),
    "soap": lambda: oc.scale_by_soap(every=2, max_dim=6),  # the queries have no right basis
    "kl_soap": lambda: oc.scale_by_kl_soap(initial_value=oc.linear(0.1, 0.2, 9)),
    "shampoo": lambda: oc.scale_by_shampoo(b=0.9, block_size=4),
    "normuon": lambda: oc.scale_by_normuon(),
    "leaf norm": lambda: oc.clip_by_leaf_norm(0.1),
    "adagc": lambda: oc.clip_by_adagc(),
    "rows": lambda: oc.scale_by_adam_mini(block="row"),
}


def steps(tx, params, grads):
    """The updates of all steps, and the last state."""
    update, state, updates = jax.jit(tx.update), tx.init(params), []
    for g in grads:
        u, state = update(g, state, params)
        updates.append(u)
    return updates, state


def by_hand(x, columns):
    """The fused kernel as parameters of their own, in the columns that its matrices have."""
    x = columns(x)
    return {"q": x[..., :12], "k": x[..., 12:15], "v": x[..., 15:]}


FEW = [("soap", "all heads", True), ("muon", "an axis of heads", False), ("rows", "one head", False)]
CASES_IN_PARTS = [case for case in itertools.product(LAWS, FUSED, (False, True)) if case not in FEW]


@pytest.mark.parametrize("law, fused, stacked", one_of_each(FEW + CASES_IN_PARTS, lambda case: case in FEW and case))
def test_unequal_parts_are_stepped_as_parameters_of_their_own(law, fused, stacked):
    text, shape, columns = FUSED[fused]
    shape = (2, *shape) if stacked else shape
    drawn = [jax.random.normal(jax.random.key(seed), shape) for seed in range(5)]
    layered = lambda tx: oc.over_layers(tx, "*") if stacked else tx  # noqa: E731
    whole = layered(oc.as_matrices(LAWS[law](), {"qkv": text}))
    params, *grads = [{"qkv": x} for x in drawn]
    found, state = steps(whole, params, grads)
    heads = "d (h 3) -> h d 3" if fused == "one head" else "d k -> d k"
    apart = layered(oc.as_matrices(LAWS[law](), {"*": heads}))
    parts, *split = [by_hand(x, columns) for x in drawn]
    expected, _ = steps(apart, parts, split)
    for x, y in zip(found, expected, strict=True):
        chex.assert_trees_all_close(by_hand(x["qkv"], columns), y, rtol=1e-4, atol=1e-5)
    slots = {name: tree["qkv"] for name, tree in own(state).items() if name not in ("count", "seen")}
    assert all(x.shape == shape or x.ndim == 1 + stacked for x in slots.values() if not is_hole(x))


@pytest.mark.full
def test_leaves_in_the_same_parts_run_as_one_and_keep_one_vector_for_each_slot():
    params = {name: jax.random.normal(jax.random.key(i), (4, 9)) for i, name in enumerate("ab")}
    tx = oc.as_matrices(oc.scale_by_shampoo(), {"*": "d 6+2+1 -> d 6+2+1"})
    state = tx.init(params)
    assert own(state)["left"]["a"].shape == (3 * 4 * 4,) and own(state)["right"]["a"].shape == (6 * 6 + 2 * 2 + 1,)
    updates, _ = tx.update(params, state)
    for name in "ab":
        alone, _ = tx.update({name: params[name]}, tx.init({name: params[name]}))
        np.testing.assert_allclose(updates[name], alone[name], rtol=1e-4, atol=1e-5)
    muon = oc.as_matrices(oc.scale_by_muon(), {"*": "d 6+2+1 -> d 6+2+1"})
    products = [
        str(jax.make_jaxpr(lambda g: muon.update(g, muon.init(g)))(tree)).count("dot_general")
        for tree in (params, {"a": params["a"]})
    ]
    assert products[0] == products[1] > 0
