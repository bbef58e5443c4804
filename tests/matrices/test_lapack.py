import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optchain.matrices.inverse_root import inverse_root
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


DERIVED = {
    **{name: ours for name, (ours, _) in CASES.items()},
    "lying singular vectors": lambda a: left_singular_vectors(a[:3]),
    "standing orthonormal": lambda a: orthonormal(a[:, :3]),
    "inverse_root": lambda a: inverse_root(a @ a.T, 0.25, 1e-3),
    "inverse_root of its numbers": lambda a: inverse_root(A[0, 1] @ A[0, 1].T, a[0, 0], a[1, 1] ** 2),
}


@pytest.mark.parametrize("name", DERIVED)
def test_derivatives_are_those_of_finite_differences(name):
    """Forward and backward, through two layers at once."""
    generator, step = np.random.default_rng(1), 1e-5
    along, weight = generator.normal(size=(2, 5, 5)), generator.normal(size=(2, 5, 5))

    def moved(h):
        made = jax.tree.leaves(jax.vmap(DERIVED[name])(jnp.float64(A[0, :2]) + h * along))
        return sum(jnp.sum(x * weight[:, : x.shape[1], -1 if x.ndim == 2 else slice(x.shape[2])]) for x in made)

    with jax.enable_x64(True):
        value, backward, forward = jax.jit(lambda h: (*jax.value_and_grad(moved)(h), jax.jvp(moved, (h,), (1.0,))[1]))(
            0.0
        )
        ends = [jax.jit(moved)(h) for h in (-step, step)]
        assert np.isfinite(value)
        for derivative in (backward, forward):
            np.testing.assert_allclose(derivative, (ends[1] - ends[0]) / (2 * step), rtol=1e-6)


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.eye(4), np.diag([2.0, 1.0, 0.0, 0.0])], ids=["0", "1", "rank"])
@pytest.mark.parametrize("function", [eigh, orthonormal, left_singular_vectors, lambda a: inverse_root(a, 0.5, 1e-6)])
def test_derivatives_are_finite_where_none_is_defined(function, matrix):
    gradient = jax.grad(lambda a: sum(jnp.sum(x**3) for x in jax.tree.leaves(function(a))))(jnp.float32(matrix))
    assert np.isfinite(gradient).all()


def test_an_inverse_root_has_its_derivative_where_eigenvalues_are_equal():
    """Along a symmetric B, A = 4 I: A**-0.5 changes by -B / 16."""
    b = jnp.array([[1.0, 2.0], [2.0, -3.0]])
    along = jax.jvp(lambda a: inverse_root(a, 0.5, 0.0), (4 * jnp.eye(2),), (b,))[1]
    np.testing.assert_allclose(along, -b / 16, rtol=1e-6)
