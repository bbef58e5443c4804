"""Which examples each step sees: a pure function of the key and of how many were seen before."""

import jax
import jax.numpy as jnp

from optchain.lab.data import order


def batches(key: jax.Array, seen: jax.Array, steps: int, batch: int, size: int) -> jax.Array:
    """The rows of the batches of the next `steps` steps, as i32[steps, batch].

    Each epoch is a permutation of the examples of its own, and the batches are cut from the epochs laid end to end: a
    batch may hold the tail of one epoch and the head of the next, no example is dropped, and all batches are full.

    Args:
        key: a random key, the same for a whole run.
        seen: the examples before, from 0; may be traced.
        steps: how many steps, static.
        batch: examples per step, static.
        size: examples per epoch, static.
    """
    return order.rows(order.seed_of(key), seen, steps * batch, size, jnp).reshape(steps, batch)


def balanced_batches(
    key: jax.Array, seen: jax.Array, steps: int, batch: int, targets: jax.Array, classes: int
) -> jax.Array:
    """Batches as those of `batches` in which the classes take turns: none has more than one row more than another.

    The rows of a class are drawn with replacement, so that rare classes are seen as often as others. Each class needs
    a row.

    Args:
        key: a random key, the same for a whole run.
        seen: the examples before, from 0; may be traced.
        steps: how many steps, static.
        batch: examples per step, static.
        targets: the class of each row.
        classes: how many there are, static.
    """
    counts = jax.nn.one_hot(targets, classes, dtype=jnp.int32).sum(0)
    by_class = order.ByClass(jnp.argsort(targets, stable=True), jnp.cumsum(counts) - counts, counts)
    return order.balanced(order.seed_of(key), seen, steps * batch, by_class, jnp).reshape(steps, batch)
