"""Full schedule-free optimizers."""

import functools
from typing import Any

import jax.numpy as jnp

from optchain.averaging.schedule_free import schedule_free
from optchain.core.chain import chain
from optchain.core.lift import technique
from optchain.core.numbers import Number, at, checked, whole
from optchain.core.seen import log_decay
from optchain.core.transform import Transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.moments.rms import scale_by_rms
from optchain.presets.arguments import documented
from optchain.schedules.linear import linear
from optchain.stepsize.learning_rate import scale_by_learning_rate

WARMUP = """the updates n in which the learning rate rises, a whole number of at least 0; the first is made with the
    n-th part of it, as the authors' is; optax's does not move then. Not with a schedule."""
INTERPOLATION = "the share of the average in the parameters at which gradients are taken, in (0, 1]."
AT_Z = "let the weight decay act on the iterates that are averaged, instead of the parameters."
POWER = "the power of the learning rate that weighs each step in the average, at least 0; with 0 all weigh the same."


@technique(learning_rate=0.01)
@documented(warmup_steps=WARMUP, b1=INTERPOLATION, weight_lr_power=POWER, decay_at_z=AT_Z)
def schedule_free_sgd(
    learning_rate: Number = 1.0,
    warmup_steps: int = 0,
    b1: Number = 0.9,
    weight_decay: Number = 0.0,
    weight_lr_power: Number = 2.0,
    *,
    decay_at_z: bool = False,
) -> Transform:
    """Schedule-free SGD: `add_decayed_weights`, `scale_by_learning_rate`, in `schedule_free`.

    References:
        Defazio et al., 2024, equations 3 to 5. https://arxiv.org/abs/2405.15682

    >>> import optchain as oc
    >>> tx = oc.schedule_free_sgd(1.0, warmup_steps=100)
    """
    rate = _warmed("schedule_free_sgd", learning_rate, warmup_steps)
    inner = chain(decay=add_decayed_weights(weight_decay), lr=scale_by_learning_rate(rate))
    return schedule_free(inner, rate, b1, weight_lr_power, decay_at_z=decay_at_z)


@technique(learning_rate=0.01)
@documented(
    warmup_steps=WARMUP,
    b1=INTERPOLATION,
    b2="decay of the mean square, in [0, 1).",
    eps="added to the root of the mean square, in the units of g, at least 0.",
    weight_lr_power=POWER,
    decay_at_z=AT_Z,
    paper="multiply the rate by the root of the weight that the mean square has seen, instead of debiasing it.",
)
def schedule_free_adamw(
    learning_rate: Number = 0.0025,
    warmup_steps: int = 0,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    weight_lr_power: Number = 2.0,
    *,
    decay_at_z: bool = False,
    paper: bool = False,
) -> Transform:
    r"""Schedule-free AdamW: `scale_by_rms`, `add_decayed_weights`, `scale_by_learning_rate`, in `schedule_free`.

    The authors have two versions. This is the one that their package prefers (`AdamWScheduleFree`) and optax has, which
    debiases the mean square. With `paper` it is that of the paper and its experiments (`AdamWScheduleFreePaper`): the
    learning rate is :math:`\eta \sqrt{1 - b_2^t}`, which gives the first iterates less weight in the average and less
    decay, and :math:`\epsilon` is added to the root of the biased mean.

    References:
        Defazio et al., 2024, Algorithm 1. https://arxiv.org/abs/2405.15682

    >>> import optchain as oc
    >>> tx = oc.schedule_free_adamw(0.0025, warmup_steps=100)
    """
    rate = _warmed("schedule_free_adamw", learning_rate, warmup_steps)
    if checked("schedule_free_adamw", "paper", paper, bool):
        rate = functools.partial(_debiased, rate=rate, b2=b2)
    inner = chain(
        rms=scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=not paper),
        decay=add_decayed_weights(weight_decay),
        lr=scale_by_learning_rate(rate),
    )
    return schedule_free(inner, rate, b1, weight_lr_power, decay_at_z=decay_at_z)


def _debiased(step: Any, rate: Number, b2: Number) -> Any:
    """The rate at a step, times the root of the weight that a mean square of decay b2 has seen after it."""
    seen = -jnp.expm1(jnp.asarray(step + 1, jnp.float32) * log_decay(at(b2, step)))
    return at(rate, step) * jnp.sqrt(seen)


def _warmed(name: str, learning_rate: Number, warmup_steps: int) -> Number:
    """The rate, or the line that rises to it, which the first step is already on."""
    if not whole(name, "warmup_steps", warmup_steps, 0):
        return learning_rate
    if callable(learning_rate):
        expected = "give the warm-up in the schedule, as oc.join_schedules does"
        raise ValueError(f"{name}: warmup_steps and a learning rate that is a schedule; {expected}")
    return linear(learning_rate / warmup_steps, learning_rate, warmup_steps - 1) if warmup_steps > 1 else learning_rate
