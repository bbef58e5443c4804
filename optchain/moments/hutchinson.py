"""Hutchinson's estimate of the diagonal of the Hessian."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import whole


def hutchinson(loss_fn: Callable[[Any], jax.Array], params: Any, key: jax.Array, samples: int = 1) -> Any:
    r"""Estimate the diagonal of the Hessian of a loss: what `scale_by_sophia` and `scale_by_adahessian` divide by.

    .. math::
        \hat h = \mathrm{mean}_z\ z \odot H z, \qquad z_i = \pm 1 \text{ at random}

    The estimate is right on average, and exact where the Hessian is diagonal. One sample costs about as much as two
    gradients. It is given to the update as the extra argument `hessian`; a step that has none passes None and keeps the
    last average, so that every tenth step is::

        jax.lax.cond(
            step % 10 == 0,
            lambda: oc.apply(tx, grads, state, params, hessian=oc.hutchinson(loss_fn, params, key)),
            lambda: oc.apply(tx, grads, state, params, hessian=None),
        )

    Args:
        loss_fn: a function of the parameters alone that returns a scalar; it closes over the batch.
        params: where the Hessian is taken, with real floating leaves.
        key: of the random signs; another one for each call.
        samples: how many z to average over, from 1.

    Returns:
        A tree like the parameters, in their dtypes.

    Raises:
        ValueError: `samples` is no whole number from 1.

    References:
        Bekas, Kokiopoulou and Saad, 2007, equation 2. doi:10.1016/j.apnum.2007.01.003
        Yao et al., 2020, equation 9. https://arxiv.org/abs/2006.00719

    >>> import jax
    >>> import optchain as oc
    >>> loss = lambda p: 3 * p[0] ** 2 + p[1] ** 2
    >>> oc.hutchinson(loss, jax.numpy.ones(2), jax.random.key(0)).tolist()
    [6.0, 2.0]
    """
    whole("hutchinson", "samples", samples, 1)
    leaves, treedef = jax.tree.flatten(params)

    def sample(key: jax.Array) -> Any:
        keys = jax.random.split(key, len(leaves))
        signs = [jax.random.rademacher(k, jnp.shape(p), jnp.result_type(p)) for k, p in zip(keys, leaves, strict=True)]
        z = treedef.unflatten(signs)
        return jax.tree.map(jnp.multiply, z, jax.jvp(jax.grad(loss_fn), (params,), (z,))[1])

    return averaged(sample, key, samples)


def averaged(sample: Callable[[jax.Array], Any], key: jax.Array, samples: int) -> Any:
    """The mean of what a function makes of several keys; of one key, what it makes of that."""
    if samples == 1:
        return sample(key)
    # One after the other: the memory of a single sample.
    return jax.tree.map(lambda x: x.mean(0), jax.lax.map(sample, jax.random.split(key, samples)))
