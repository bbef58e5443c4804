import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optchain.matrices.lapack import eigh, left_singular_vectors, orthonormal, solved_transposed

A = np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype(np.float32) + 3 * np.eye(5, dtype=np.float32)
CASES = {
    "eigh": (lambda a: eigh(a @ a.T), lambda a: jnp.linalg.eigh(a @ a.T)),
    "orthonormal": (orthonormal, lambda a: jnp.linalg.qr(a)[0]),
    "left_singular_vectors": (left_singular_vectors, lambda a: jnp.linalg.svd(a)[0]),
    "solved_transposed": (
        lambda a: solved_transposed(jnp.triu(a), a),
        lambda a: jnp.linalg.solve(jnp.triu(a).T, a),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_is_that_of_each_matrix_under_any_number_of_vmaps(name):
    ours, plain = CASES[name]
    found = jax.jit(jax.vmap(jax.vmap(ours)))(A)
    for i, j in np.ndindex(2, 3):
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(plain(A[i, j])), strict=True):
            np.testing.assert_allclose(x[i, j], y, atol=1e-5)


def test_one_argument_may_be_shared():
    upper = jnp.triu(jnp.asarray(A[0, 0]))
    found = jax.vmap(solved_transposed, (None, 0))(upper, jnp.asarray(A[0]))
    np.testing.assert_allclose(upper.T @ found, A[0], atol=1e-4)


def batched_calls(function):
    """LAPACK calls in the compiled program that are given more than one matrix."""
    hlo = jax.jit(jax.vmap(jax.vmap(function))).lower(A).compile().as_text()
    calls = re.findall(r'custom-call\((.*?)\).*custom_call_target="lapack', hlo)
    shapes = {name: shape for name, shape in re.findall(r"(%[\w.-]+) = f32\[([\d,]*)\]", hlo)}
    assert calls
    return [call for call in calls if any(shapes.get(x.strip(), "").count(",") > 1 for x in call.split(","))]


@pytest.mark.parametrize("name", CASES)
def test_no_call_on_the_cpu_waits_for_the_pool(name):
    """The calls of jnp do: a batch of them is what hangs."""
    assert jax.default_backend() == "cpu"
    ours, plain = CASES[name]
    assert not batched_calls(ours) and batched_calls(plain)
