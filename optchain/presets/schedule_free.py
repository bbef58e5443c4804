"""Full schedule-free optimizers."""

from optchain.averaging.schedule_free import schedule_free
from optchain.core.chain import chain
from optchain.core.lift import technique
from optchain.core.numbers import Number, whole
from optchain.core.transform import Transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.moments.rms import scale_by_rms
from optchain.presets.arguments import documented
from optchain.schedules.linear import linear
from optchain.stepsize.learning_rate import scale_by_learning_rate

WARMUP = "the updates in which the learning rate rises from 0, a whole number of at least 0; not with a schedule."
INTERPOLATION = "the share of the average in the parameters at which gradients are taken, in (0, 1]."
POWER = "the power of the learning rate that weighs each step in the average, at least 0; with 0 all weigh the same."


@technique(learning_rate=0.01)
@documented(warmup_steps=WARMUP, b1=INTERPOLATION, weight_lr_power=POWER)
def schedule_free_sgd(
    learning_rate: Number = 1.0,
    warmup_steps: int = 0,
    b1: Number = 0.9,
    weight_decay: Number = 0.0,
    weight_lr_power: Number = 2.0,
) -> Transform:
    """Schedule-free SGD: `add_decayed_weights`, `scale_by_learning_rate`, in `schedule_free`.

    With `warmup_steps` the rate rises on a line from 0, where optax's begins one step later on it.

    References:
        Defazio et al., 2024, Algorithm 1. https://arxiv.org/abs/2405.15682

    >>> import optchain as oc
    >>> tx = oc.schedule_free_sgd(1.0, warmup_steps=100)
    """
    rate = _warmed("schedule_free_sgd", learning_rate, warmup_steps)
    inner = chain(decay=add_decayed_weights(weight_decay), lr=scale_by_learning_rate(rate))
    return schedule_free(inner, rate, b1, weight_lr_power)


@technique(learning_rate=0.01)
@documented(
    warmup_steps=WARMUP,
    b1=INTERPOLATION,
    b2="decay of the mean square, in [0, 1).",
    eps="added to the root of the mean square, in the units of g, at least 0.",
    weight_lr_power=POWER,
)
def schedule_free_adamw(
    learning_rate: Number = 0.0025,
    warmup_steps: int = 0,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    weight_lr_power: Number = 2.0,
) -> Transform:
    """Schedule-free AdamW: `scale_by_rms`, `add_decayed_weights`, `scale_by_learning_rate`, in `schedule_free`.

    With `warmup_steps` the rate rises on a line from 0, where optax's begins one step later on it.

    References:
        Defazio et al., 2024, Algorithm 1. https://arxiv.org/abs/2405.15682

    >>> import optchain as oc
    >>> tx = oc.schedule_free_adamw(0.0025, warmup_steps=100)
    """
    rate = _warmed("schedule_free_adamw", learning_rate, warmup_steps)
    inner = chain(
        rms=scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True),
        decay=add_decayed_weights(weight_decay),
        lr=scale_by_learning_rate(rate),
    )
    return schedule_free(inner, rate, b1, weight_lr_power)


def _warmed(name: str, learning_rate: Number, warmup_steps: int) -> Number:
    """The rate, or the line that rises to it."""
    if not whole(name, "warmup_steps", warmup_steps, 0):
        return learning_rate
    if callable(learning_rate):
        expected = "give the warm-up in the schedule, as oc.join_schedules does"
        raise ValueError(f"{name}: warmup_steps and a learning rate that is a schedule; {expected}")
    return linear(0.0, learning_rate, warmup_steps)
