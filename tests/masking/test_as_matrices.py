"""Matrix views: the law sees matrices, the slots keep the parameter's shape."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from techniques import own

import optchain as oc
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
        ("h w i o", "is no view; expected axes on both sides of an arrow"),
        (3, "is no view"),
        ("a b -> b c", "each axis must stand once on either side"),
        ("a a -> a a", "each axis must stand once on either side"),
        ("a b -> (a b)", "shows one axis; expected at least rows and columns"),
        ("a (b -> a b", "is no view"),
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
    with pytest.raises(ValueError, match=r"has 4 axes on the left, the shape \(4, 7\) has 2"):
        oc.as_matrices(by_norm(), {"qkv": "h w i o -> (h w i) o"}).init(params)
    with pytest.raises(ValueError, match="declare layers with over_layers or a view with as_matrices"):
        by_norm().init({"conv": jnp.ones((3, 3, 2, 2))})
    with pytest.raises(ValueError, match="views must be a table"):
        oc.as_matrices(by_norm(), "h w -> w h")
