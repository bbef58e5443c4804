"""Examples of a batch mixed with one another, and the share of each one's targets."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.lab.models.loss_table import LossTable


class Pair(NamedTuple):
    """Targets, and the share that they have in a batch."""

    share: jax.Array | float
    targets: Any


def mixed(table: LossTable, key: jax.Array, inputs: Any, targets: Any) -> tuple[Any, list[Pair]]:
    """The batch and its targets; with mixup or cutmix each example mixed with that of another place of a permutation.

    The loss is the mean of the losses of both targets by their shares: of cross entropies it is that of mixed
    targets; of squared errors too, but for a number that no output changes.

    One share is drawn for the batch, from Beta(alpha, alpha). The larger part is the example's own, so that the
    training metric is that of the targets seen most: the pairs are as likely the other way around.

    References:
        Mixup: Zhang et al., 2018, arXiv:1710.09412. CutMix: Yun et al., 2019, arXiv:1905.04899.
    """
    alpha = table.mixup if table.cutmix is None else table.cutmix
    if alpha is None:
        return inputs, [Pair(1.0, targets)]
    draw, order = jax.random.split(key)
    # Alpha may be a traced 0, for which there is no such distribution and nothing is mixed.
    drawn = jax.random.beta(draw, jnp.maximum(alpha, 1e-3), jnp.maximum(alpha, 1e-3))
    share = jnp.where(alpha > 0, jnp.maximum(drawn, 1 - drawn), 1.0)
    others = jax.random.permutation(order, len(jax.tree.leaves(inputs)[0]))
    if table.cutmix is None:
        inputs = jax.tree.map(lambda x: share * x + (1 - share) * x[others], inputs)
    else:
        inside = box(jax.random.fold_in(key, 2), share, *inputs.shape[1:3])
        inputs = jnp.where(inside[None, :, :, None], inputs[others], inputs)
        share = 1 - inside.mean()
    return inputs, [Pair(share, targets), Pair(1 - share, jax.tree.map(lambda x: x[others], targets))]


def box(key: jax.Array, share: jax.Array, height: int, width: int) -> jax.Array:
    """Where another image is pasted, bool[height, width]: a box with sides sqrt(1 - share) times those of the image.

    Its middle is any pixel; what lies beyond the border is cut off, so that the share of the image itself may grow.
    """
    sides = []
    for one, size in zip(jax.random.split(key), (height, width), strict=True):
        half = jnp.floor(size * jnp.sqrt(1 - share)).astype(jnp.int32) // 2
        middle, places = jax.random.randint(one, (), 0, size), jnp.arange(size)
        sides.append((places >= middle - half) & (places < middle + half))
    return sides[0][:, None] & sides[1][None]
