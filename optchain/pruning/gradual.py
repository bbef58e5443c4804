"""Gradual magnitude pruning."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import Range, checked, whole
from optchain.masking.largest import share
from optchain.pruning.schedule import MaskSchedule, mask_schedule


@dataclasses.dataclass(frozen=True)
class Gradual(MaskSchedule):
    """Masks that keep less and less."""

    begin: int
    end: int
    every: int
    initial: float
    power: float

    @property
    def begins_sparse(self) -> bool:
        return self.begin == 0

    def due(self, t: jax.Array) -> Any:
        within = (t >= self.begin) & (t <= self.end)
        return within & (((t - self.begin) % self.every == 0) | (t == self.end))

    def count(self, t: Any, count: Any, units: int) -> Any:
        done = jnp.clip((jnp.asarray(t, jnp.float32) - self.begin) / (self.end - self.begin), 0, 1)
        # Added to what is kept in the end, so that this is reached exactly.
        first = share(1 - self.initial, units)
        return count + jnp.round(jnp.maximum(first - count, 0) * (1 - done) ** self.power).astype(jnp.int32)


@mask_schedule
def gradual(begin: int, end: int, every: int, initial: float = 0.0, power: float = 3.0) -> Gradual:
    r"""Prunes more and more: fast at first, while much is superfluous, then slower, to the final sparsity.

    .. math::
        s_t = s_f + (s_i - s_f) \left(1 - \frac{t - t_0}{t_1 - t_0}\right)^p
        \qquad t \in \{t_0, t_0 + \Delta t, t_0 + 2 \Delta t, \dots, t_1\}

    A weight that is pruned stays so. With the score `"magnitude"` this is GMP.

    Args:
        begin: :math:`t_0`, the step of the first pruning, counted from 0; before it all weights are kept.
        end: :math:`t_1`, the step of the last pruning, after `begin`.
        every: :math:`\Delta t`, the steps between two prunings, at least 1; `end` is one in any case.
        initial: :math:`s_i`, the sparsity at `begin`, in [0, 1); where a parameter is to be less sparse than that in
            the end, its own final one.
        power: p, positive; 3 in the paper.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range.

    References:
        Zhu and Gupta, 2017, equation 1. https://arxiv.org/abs/1710.01878

    >>> import optchain as oc
    >>> tx = oc.sparse(oc.adamw(1e-3), 0.9, schedule=oc.gradual(begin=100, end=700, every=20))
    """
    whole("gradual", "begin", begin, 0)
    whole("gradual", "end", end, begin + 1)
    whole("gradual", "every", every, 1)
    initial = checked("gradual", "initial", initial, Range("[0, 1)"))
    return Gradual(begin, end, every, initial, checked("gradual", "power", power, Range("(0, inf)")))
