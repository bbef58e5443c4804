"""Full optimizers that reduce the variance of the gradients: by their differences, by sums, by averages."""

from optchain.averaging.polyak import polyak_average
from optchain.clipping.leaf_norm import clip_by_leaf_norm
from optchain.core.chain import chain
from optchain.core.mask import Mask
from optchain.core.numbers import Number
from optchain.core.transform import Transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.moments.adam import scale_by_adam
from optchain.moments.madgrad import scale_by_madgrad
from optchain.moments.variance_reduction import reduce_variance
from optchain.presets.arguments import L2, documented
from optchain.presets.preset import preset
from optchain.schedules.inverse import inverse_time
from optchain.stepsize.learning_rate import scale_by_learning_rate


@preset
@documented(
    learning_rate="its value at the first step, a scalar; it falls by itself.",
    lambd="""the multiple of the parameter that is added to the gradient, at least 0; with the learning rate it
        also says how fast that falls.""",
    alpha="the power of the fall of the learning rate, at least 0.",
    start="the updates before the average begins, at least 0.",
)
def asgd(learning_rate: Number, lambd: Number = 1e-4, alpha: Number = 0.75, start: Number = 1e6) -> Transform:
    r"""Averaged SGD: `add_decayed_weights`, `scale_by_learning_rate`, `polyak_average` from the update `start` on.

    .. math::
        \eta_t = \frac{\eta}{(1 + \lambda \eta t)^\alpha}

    `averaged_params` reads the average. PyTorch averages from its `t0` + 2 on.

    Raises:
        ValueError: a schedule as the learning rate, which falls by itself.

    References:
        Xu, 2011, section 5. https://arxiv.org/abs/1107.2490

    >>> import optchain as oc
    >>> tx = oc.asgd(0.1, start=1000)
    """
    if callable(learning_rate) or callable(lambd):
        raise ValueError("asgd: learning_rate and lambd must be scalars, got a schedule; the rate falls by itself")
    rate = inverse_time(learning_rate, lambd * learning_rate, alpha)
    decay, average = add_decayed_weights(lambd), polyak_average(start)
    return chain(decay=decay, lr=scale_by_learning_rate(rate), average=average)


@preset
@documented(
    scale_by_madgrad,
    learning_rate="the factor of the gradients in their sum, at least 0, or a schedule.",
    momentum="how little the parameters follow that sum in one step, in [0, 1).",
    weight_decay=L2,
)
def madgrad(learning_rate: Number, momentum: Number = 0.9, weight_decay: Number = 0.0, eps: Number = 1e-6) -> Transform:
    """MADGRAD: `add_decayed_weights` of the gradient (L2), `scale_by_madgrad`, whose update is the whole step.

    >>> import optchain as oc
    >>> tx = oc.madgrad(0.01)
    """
    return chain(decay=add_decayed_weights(weight_decay), madgrad=scale_by_madgrad(learning_rate, momentum, eps))


@preset
@documented(
    scale_by_adam,
    b1="decay of the running mean, in the correction too, in [0, 1).",
    gamma="strength of the correction by the difference from the last gradient, at least 0.",
)
def mars(
    learning_rate: Number,
    b1: Number = 0.95,
    b2: Number = 0.99,
    eps: Number = 1e-8,
    gamma: Number = 0.025,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """MARS-AdamW: `reduce_variance`, `clip_by_leaf_norm` to 1, `scale_by_adam`, `add_decayed_weights`, the rate.

    Vectors, scalars and convolutions take the same steps as matrices, as in the paper. By default the authors' program
    steps them by plain AdamW, with decays of 0.9 and 0.95, a rate of 3e-3 and a weight decay of 0.1: on recorded
    gradients of three vectors the updates differ by 32 to 43 percent of their norm on average. `groups` does that too.

    >>> import optchain as oc
    >>> tx = oc.mars(3e-3)
    """
    return chain(
        mars=reduce_variance(gamma, b1),
        clip=clip_by_leaf_norm(1.0),
        adam=scale_by_adam(b1, b2, eps),
        decay=add_decayed_weights(weight_decay, mask),
        lr=scale_by_learning_rate(learning_rate),
    )
