"""The Gauss-Newton-Bartlett estimate of the diagonal of the Hessian."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import whole
from optchain.core.numerics import wide
from optchain.moments.hutchinson import averaged


def gauss_newton_bartlett(logits_fn: Callable[[Any], jax.Array], params: Any, key: jax.Array, samples: int = 1) -> Any:
    r"""Estimate the diagonal of the Gauss-Newton matrix of a mean cross entropy: what Sophia-G divides by.

    .. math::
        \hat y_b \sim \mathrm{softmax}(f_b(p)), \qquad
        \hat g = \nabla_p \frac{1}{B} \sum_{b=1}^B \mathrm{CE}(f_b(p), \hat y_b), \qquad
        \hat h = B \, \hat g \odot \hat g

    where f are the logits of a model and the labels are drawn from its own predictions, not the true ones. The
    estimate is right on average and never negative; it costs as much as a gradient. It is given to the update as the
    extra argument `hessian`, as `hutchinson` is, every tenth step or so.

    Args:
        logits_fn: a function of the parameters alone that returns the logits, with the classes on the last axis; all
            axes before it count examples, tokens for instance. It closes over the batch.
        params: where the matrix is taken, with real floating leaves.
        key: of the labels; another one for each call.
        samples: how many draws of all labels to average over, from 1.

    Returns:
        A tree like the parameters, in their dtypes.

    Raises:
        ValueError: `samples` is no whole number from 1, or the logits are a scalar.

    Differs from the paper: it draws once.

    References:
        Liu et al., 2023, Algorithm 2. https://arxiv.org/abs/2305.14342

    >>> import jax
    >>> import optchain as oc
    >>> x = jax.numpy.ones((8, 3))
    >>> h = oc.gauss_newton_bartlett(lambda w: x @ w, jax.numpy.zeros((3, 2)), jax.random.key(0))
    >>> h.shape
    (3, 2)
    """
    whole("gauss_newton_bartlett", "samples", samples, 1)
    logits, back = jax.vjp(logits_fn, params)
    if jnp.ndim(logits) == 0:
        raise ValueError("gauss_newton_bartlett: the logits are a scalar; expected the classes on the last axis")
    scores = wide(logits)
    examples = scores.size // scores.shape[-1]

    def sample(key: jax.Array) -> Any:
        labels = jax.nn.one_hot(jax.random.categorical(key, scores), scores.shape[-1], dtype=scores.dtype)
        # The root of B times the mean gradient: its square needs no factor that could leave the range.
        (g,) = back(((jax.nn.softmax(scores) - labels) / examples**0.5).astype(logits.dtype))
        return jax.tree.map(lambda x: (wide(x) ** 2).astype(x.dtype), g)

    return averaged(sample, key, samples)
