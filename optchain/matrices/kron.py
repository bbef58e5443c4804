"""PSGD with Kronecker-factored triangular preconditioners."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.branch import cond
from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Mean, Positive, Seed, Static, whole
from optchain.core.numerics import clip_factor, ema, norm, quotient, rms
from optchain.core.rule import rule
from optchain.core.seeds import key_of
from optchain.matrices.lapack import solved_transposed


class Factors(NamedTuple):
    mu: jax.Array  # like p, running mean of g
    left: jax.Array  # (rows, rows), upper triangular, or (rows,), diagonal
    right: jax.Array  # (columns, columns), upper triangular, or (columns,), diagonal


@rule
class Kron:
    r"""Whitens the running mean of the gradients of a matrix by two triangular factors that are fitted step by step.

    .. math::
        \mu &\leftarrow b_1 \mu + (1 - b_1) g, \qquad m = \mu / (1 - b_1^t), \qquad v \sim N(0, 1) \\
        A &= Q_L m Q_R^T, \qquad B = Q_L^{-T} v \, Q_R^{-1} \\
        Q_L &\leftarrow Q_L - \frac{\eta}{\|A A^T + B B^T\|} \mathrm{triu}(A A^T - B B^T) \, Q_L, \qquad
        Q_R \leftarrow Q_R - \frac{\eta}{\|A^T A + B^T B\|} \mathrm{triu}(A^T A - B^T B) \, Q_R \\
        u &= Q_L^T Q_L \, m \, Q_R^T Q_R, \text{ clipped to a root mean square of at most } 1.1

    At the fixed point the preconditioned gradients are white: all directions have the same size on average.

    Fields:
        b1: decay of the mean, in [0, 1).
        precond_lr: :math:`\eta`, the step of the factors, positive, at most 1 in practice.
        every: the factors are fitted at the first step and then every so many steps, at least 1.
        seed: of the normal numbers :math:`v`, which are the same for all parameters of one shape: a whole number or a
            key of `jax.random`, which may be traced.
        max_dim: the factors of sides longer than this are diagonal, with the diagonal of the law above.

    Shapes and dtypes: matrices; the slot `mu` is like the parameter; the factor of a side of n entries is square, with
    :math:`n^2` numbers, or a vector where n is more than `max_dim`; all in float32 or wider. The link keeps the weight
    that the mean of decay `b1` has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two numbers.
    Products of gradients must stay finite: entries of g up to 1e18.

    Raises:
        ValueError: `every` or `max_dim` below 1.

    Differs from the paper: the norm of a symmetric matrix is the lower bound :math:`\|A x\|`, x the unit vector along A
    times its largest column, as in the authors' code. The factors are balanced (equal largest entries) at each fit, not
    now and then: their product is the same. They rest where all of m is 0, which would let them grow for ever.

    References:
        Pooladzandi and Li, 2024, equations for the Kronecker product group. https://arxiv.org/abs/2402.04553

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_kron(mask="*/kernel"), oc.scale_by_learning_rate(1e-3))
    """

    b1: Mean = 0.9
    precond_lr: Positive = 0.1
    every: Static[int] = 1
    seed: Seed = 0
    max_dim: Static[int] = 10_000

    core_ndim = 2
    batched = True
    kinds = {"mu": mean("b1", least=8)}
    example = {"mask": is_kernel}

    def init(self, p):
        whole("scale_by_kron", "every", self.every, 1)
        limit = whole("scale_by_kron", "max_dim", self.max_dim, 1)
        sides = (jnp.eye(n, dtype=p.dtype) if n <= limit else jnp.ones(n, p.dtype) for n in p.shape)
        return Factors(jnp.zeros_like(p), *sides)

    def axes(self, p):
        left, right = ((side, side) if n <= self.max_dim else (side,) for side, n in enumerate(p.shape))
        return {"left": left, "right": right}

    def update(self, g, s, p, t, seen):
        mu = ema(g, s.mu, self.b1)
        mean = mu / seen.b1
        due = jnp.mod(t - 1, self.every) == 0  # of all layers at once: a `cond` of each would make both branches
        key = jax.random.fold_in(key_of(self.seed), t.astype(jnp.int32))
        left, right = cond(due, fitted, same, mean, s.left, s.right, key, self.precond_lr)
        u = applied(applied(mean, left, right), left.T, right.T)
        return u * clip_factor(rms(u), 1.1), Factors(mu, left, right)


def fitted(mean, left, right, key, rate):
    """The factors one step nearer to those that whiten; as they are where all of the mean is 0."""
    noise = jax.random.normal(key, mean.shape, mean.dtype)
    a, b = applied(mean, left, right), divided(right, divided(left, noise).T).T
    new_left, new_right = stepped(left, a, b, rate), stepped(right, a.T, b.T, rate)
    balance = jnp.sqrt(jnp.max(jnp.abs(new_right)) / jnp.max(jnp.abs(new_left)))
    moves = jnp.any(mean != 0)
    return jnp.where(moves, new_left * balance, left), jnp.where(moves, new_right / balance, right)


def same(mean, left, right, key, rate):
    """The factors as they are."""
    return left, right


def applied(x, left, right):
    """A matrix after one factor of its rows and one of its columns."""
    x = left[:, None] * x if left.ndim == 1 else left @ x
    return x * right[None] if right.ndim == 1 else x @ right.T


def divided(q, x):
    """A matrix after the inverse of the transpose of a factor of its rows."""
    return x / q[:, None] if q.ndim == 1 else solved_transposed(q, x)


def stepped(q, a, b, rate):
    """One factor of the rows after its step, from what the gradient and what the noise became."""
    if q.ndim == 1:
        seen, probed = jnp.sum(a**2, axis=1), jnp.sum(b**2, axis=1)
        return q - rate * (seen - probed) * q / jnp.max(seen + probed)
    seen, probed = a @ a.T, b @ b.T
    return q - rate * jnp.triu(seen - probed) @ q / lower_bound(seen + probed)


def lower_bound(a: jax.Array) -> jax.Array:
    """A lower bound on the largest eigenvalue of a positive semidefinite matrix, of the right size."""
    largest = jnp.max(jnp.abs(a))
    scaled = a / jnp.where(largest > 0, largest, 1)
    vector = scaled @ scaled[:, jnp.argmax(norm(scaled, (0,)))]
    return largest * norm(scaled @ quotient(vector, norm(vector)))


scale_by_kron = lift(Kron, "scale_by_kron")
