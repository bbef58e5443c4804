"""Dynamic sparse training: weights are dropped, and others grown in their places."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import Number, Range, at, checked, whole
from optchain.masking.largest import largest
from optchain.pruning.schedule import MaskSchedule, Pool, mask_schedule
from optchain.pruning.scores import Score, checked_score


@dataclasses.dataclass(frozen=True)
class Regrow(MaskSchedule):
    """Masks that keep as many weights as ever, but others."""

    every: int
    fraction: Number
    drop: Score
    grow: Score
    end: int | None

    def due(self, t: jax.Array) -> Any:
        due = (t > 0) & (t % self.every == 0)
        return due if self.end is None else due & (t < self.end)

    def renewed(self, pool: Pool, t: jax.Array) -> jax.Array:
        dropped = jnp.round(jnp.asarray(at(self.fraction, t), jnp.float32) * pool.count).astype(jnp.int32)
        held = jnp.where(pool.active, pool.score(self.drop), -jnp.inf)
        kept = largest(held, pool.count - dropped, pool.sizes) & pool.active
        sizes = 1 if pool.sizes is None else pool.sizes
        free = pool.count - jnp.sum(kept * sizes, axis=-1, keepdims=True)
        return kept | largest(jnp.where(kept, -jnp.inf, pool.score(self.grow)), free, pool.sizes)


@mask_schedule
def regrow(
    every: int, fraction: Number = 0.3, grow: Score = "gradient", drop: Score = "magnitude", end: int | None = None
) -> Regrow:
    r"""Drops the least weights every few steps and grows as many others, which begin at 0.

    .. math::
        K = \operatorname{top}_{n - d}\{|p_i| : i \in M\}, \qquad M \leftarrow K \cup \operatorname{top}_d\{|g_i| : i
        \notin K\}, \qquad d = f_t n

    where n weights of a parameter are in the mask M. With the gradients g of the step, those of pruned weights too,
    this is RigL; with `grow="random"` it is SET. The first mask is made by the score of `sparse`: `"random"` in both.

    Args:
        every: the steps between two changes, at least 1.
        fraction: :math:`f_t`, the part of the kept weights that is dropped, in [0, 1], or a schedule of the step: RigL
            has `oc.cosine(0.3, steps=end)`.
        grow: the score by which weights are grown.
        drop: the score of the weights that are not dropped.
        end: the step from which on the masks stay, greater than `every`, where they first change; None for never.

    The slots of a regrown weight are fresh, but its links count the steps of all weights, so that nothing corrects the
    bias of its means: Adam's first steps of it are too large, with the usual numbers and a gradient that stays as it is
    3.2 times at the first step, 6.5 at the tenth, 5.9 at the 25th, 3.2 at the 100th. See `reset_state`.

    Differs from the paper: the step at which masks change is a step of training too. A weight that is dropped and at
    once grown again continues as it was.

    Raises:
        ValueError: a number out of its range, an unknown score.

    References:
        Evci et al., 2019, section 3. https://arxiv.org/abs/1911.11134
        Mocanu et al., 2017, Algorithm 1 (SET). https://arxiv.org/abs/1707.04780

    >>> import optchain as oc
    >>> rigl = oc.regrow(every=100, fraction=oc.cosine(0.3, steps=7500), end=7500)
    >>> tx = oc.sparse(oc.adamw(1e-3), 0.9, score="random", distribution="erk", schedule=rigl)
    """
    whole("regrow", "every", every, 1)
    if end is not None:
        whole("regrow", "end", end, every + 1)
    fraction = checked("regrow", "fraction", fraction, Range("[0, 1]"))
    grow, drop = checked_score("regrow", "grow", grow), checked_score("regrow", "drop", drop)
    return Regrow(every, fraction, drop, grow, end)
