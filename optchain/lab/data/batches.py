"""Which examples each step sees: a pure function of the key and of how many were seen before."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


def batches(key: jax.Array, seen: jax.Array, steps: int, batch: int, size: int) -> jax.Array:
    """The rows of the batches of the next `steps` steps, as i32[steps, batch].

    Each epoch is a permutation of the examples of its own, and the batches are cut from the epochs laid end to end: a
    batch may hold the tail of one epoch and the head of the next, no example is dropped, and all batches are full.
    The permutations of the epochs that these steps touch are computed once for all of them.

    Args:
        key: a random key, the same for a whole run.
        seen: the examples before, from 0; may be traced.
        steps: how many steps, static.
        batch: examples a step.
        size: examples an epoch.
    """
    first = seen // size
    stream = _epochs(key, first, (steps * batch - 1) // size + 2, size)
    return jax.lax.dynamic_slice_in_dim(stream, seen - first * size, steps * batch).reshape(steps, batch)


class Window(NamedTuple):
    """A part of the epochs laid end to end, for batches whose sizes are not known before."""

    epoch: jax.Array  # the first one in it
    rows: jax.Array


def window(key: jax.Array, seen: jax.Array, batch: int, size: int) -> Window:
    """The window in which the next `batch` examples are."""
    return Window(seen // size, _epochs(key, seen // size, (batch - 1) // size + 2, size))


def slide(key: jax.Array, at: Window, seen: jax.Array, batch: int, size: int) -> tuple[Window, jax.Array]:
    """The window moved on to where the next `batch` examples are, and their rows: the same as those of `batches`."""
    # Where runs are vectorized, a `cond` would permute at every step. The loop goes on from its own epoch: what does
    # not depend on the turn XLA takes out of the loop, and then does it at every step.
    at = jax.lax.while_loop(
        lambda at: at.epoch < seen // size, lambda at: window(key, (at.epoch + 1) * size, batch, size), at
    )
    return at, jax.lax.dynamic_slice_in_dim(at.rows, seen - at.epoch * size, batch)


def _epochs(key: jax.Array, first: jax.Array, count: int, size: int) -> jax.Array:
    """The rows of some epochs, end to end."""
    epochs = jax.vmap(lambda epoch: jax.random.permutation(jax.random.fold_in(key, epoch), size))
    return epochs(first + jnp.arange(count)).reshape(-1)


def balanced_batches(
    key: jax.Array, step: jax.Array, steps: int, batch: int, targets: jax.Array, classes: int
) -> jax.Array:
    """Batches as those of `batches` in which the classes take turns: none has more than one row more than another.

    The rows of a class are drawn with replacement, so that rare classes are seen as often as others. Each class needs
    a row.

    Args:
        key: a random key, the same for a whole run.
        step: the first step, from 0; may be traced.
        steps: how many steps, static.
        batch: examples a step.
        targets: the class of each row.
        classes: how many there are, static.
    """
    by_class = jnp.argsort(targets, stable=True)
    counts = jax.nn.one_hot(targets, classes, dtype=jnp.int32).sum(0)
    first = jnp.cumsum(counts) - counts

    def rows(step: jax.Array) -> jax.Array:
        turn = (step * batch % classes + jnp.arange(batch)) % classes
        return by_class[first[turn] + jax.random.randint(jax.random.fold_in(key, step), (batch,), 0, counts[turn])]

    return jax.vmap(rows)(step + jnp.arange(steps))
