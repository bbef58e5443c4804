"""Pruning once."""

import dataclasses
from typing import Any

import jax

from optchain.core.numbers import whole
from optchain.pruning.schedule import MaskSchedule, mask_schedule


@dataclasses.dataclass(frozen=True)
class OneShot(MaskSchedule):
    """Masks that are chosen at one step and never change."""

    step: int

    @property
    def begins_sparse(self) -> bool:
        return self.step == 0

    def due(self, t: jax.Array) -> Any:
        return self.step > 0 and t == self.step


@mask_schedule
def one_shot(step: int = 0) -> OneShot:
    """Prunes once and for ever: all that is pruned goes at one step.

    Args:
        step: the step, counted from 0, before which all weights are kept. At 0 the masks are there from `init` on, but
            for a score that reads gradients: then the first step chooses them by its own (with the score `"saliency"`
            that is SNIP).

    Differs from the paper: nothing, but SNIP's gradients are those of one batch of training.

    Raises:
        ValueError: a step that is not a whole number of at least 0.

    References:
        Lee et al., 2018, Algorithm 1. https://arxiv.org/abs/1810.02340

    >>> import optchain as oc
    >>> tx = oc.sparse(oc.adamw(1e-3), 0.9, schedule=oc.one_shot(step=1000))
    """
    return OneShot(whole("one_shot", "step", step, 0))
