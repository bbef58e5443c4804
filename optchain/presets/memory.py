"""Full optimizers that remember less than Adam."""

from typing import Any

from optchain.clipping.block_rms import clip_by_block_rms
from optchain.core.chain import chain
from optchain.core.mask import Mask
from optchain.core.numbers import Number
from optchain.core.transform import Transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.moments.adam_mini import scale_by_adam_mini
from optchain.moments.came import scale_by_came
from optchain.moments.ema import ema
from optchain.moments.factored import scale_by_factored_rms
from optchain.moments.novograd import scale_by_novograd
from optchain.moments.sm3 import scale_by_sm3
from optchain.presets.arguments import documented
from optchain.presets.preset import optimizer, preset
from optchain.stepsize.learning_rate import scale_by_learning_rate
from optchain.stepsize.param_rms import scale_by_param_block_rms
from optchain.stepsize.scale import scale

FACTORED = "the least number of rows and of columns of a matrix whose mean square is kept as two vectors, from 1."
RISE = "how fast the decay of the mean square rises to 1, in [0, 1)."
EPS = "added to the squares, in the units of g**2, positive."
MEAN = "decay of the running mean of the updates, in [0, 1)."


@preset
@documented(
    scale_by_factored_rms,
    min_dim_size_to_factor=FACTORED,
    decay_rate=RISE,
    multiply_by_parameter_scale="multiply the update by the root mean square of the parameter: the rate is relative.",
    clipping_threshold="the largest root mean square of an update, which is scaled down to it, > 0; None has no limit.",
    momentum="decay of the running mean of the updates, in [0, 1); None takes no mean.",
    weight_decay_rate="""the multiple of the parameter that each step takes off it, at least 0, which the learning rate
        does not multiply; None takes nothing off.""",
    eps=EPS,
)
def adafactor(
    learning_rate: Number,
    min_dim_size_to_factor: int = 128,
    decay_rate: Number = 0.8,
    *,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: Number | None = 1.0,
    momentum: Number | None = None,
    weight_decay_rate: Number | None = None,
    eps: Number = 1e-30,
    factored: bool = True,
    mask: Mask | None = None,
) -> Transform:
    """Adafactor: `scale_by_factored_rms`, `clip_by_block_rms`, `scale_by_param_block_rms`, `ema`, the rate, decay.

    The paper's relative rate is the schedule `lambda step: jax.numpy.minimum(1e-2, (step + 1.0) ** -0.5)`. The rate
    comes last; optax multiplies by it before the momentum: they differ where it is scheduled.

    >>> import optchain as oc
    >>> tx = oc.adafactor(1e-2, momentum=0.9)
    """
    factors = scale_by_factored_rms(factored, decay_rate, min_dim_size_to_factor=min_dim_size_to_factor, eps=eps)
    links: dict[str, Any] = {"factored": factors}
    if clipping_threshold is not None:
        links["clip"] = clip_by_block_rms(clipping_threshold)
    if multiply_by_parameter_scale:
        links["relative"] = scale_by_param_block_rms()
    if momentum is not None:
        links["momentum"] = ema(momentum, debias=False)
    if weight_decay_rate is None:
        return chain(**links, lr=scale_by_learning_rate(learning_rate))
    rate, decay = scale_by_learning_rate(learning_rate, flip_sign=False), add_decayed_weights(weight_decay_rate, mask)
    return chain(**links, lr=rate, decay=decay, descent=scale(-1.0))


@preset
@documented(
    min_dim_size_to_factor=FACTORED,
    decay_rate=RISE,
    max_decay="the bound of the decay of the mean square, in [0, 1].",
    momentum=MEAN,
    eps=EPS,
)
def big_vision_adafactor(
    learning_rate: Number,
    min_dim_size_to_factor: int = 32,
    decay_rate: Number = 0.8,
    max_decay: Number = 0.999,
    momentum: Number = 0.9,
    eps: Number = 1e-30,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """Adafactor as for large vision transformers: `scale_by_factored_rms` with a bounded decay, `ema`, decay, the rate.

    The mean of the updates is in bfloat16 there: `oc.precision(tx, slots="bfloat16")`. See Zhai et al., 2021,
    https://arxiv.org/abs/2106.04560.

    >>> import optchain as oc
    >>> tx = oc.big_vision_adafactor(1e-3, weight_decay=0.1)
    """
    return chain(
        factored=scale_by_factored_rms(
            decay_rate=decay_rate, min_dim_size_to_factor=min_dim_size_to_factor, eps=eps, max_decay=max_decay
        ),
        momentum=ema(momentum, debias=False),
        decay=add_decayed_weights(weight_decay, mask),
        lr=scale_by_learning_rate(learning_rate),
    )


@preset
@documented(
    scale_by_novograd,
    weight_decay="the multiple of the parameter that is added to each term of the sum, at least 0.",
)
def novograd(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.25,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
) -> Transform:
    """NovoGrad: `scale_by_novograd`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.novograd(0.01, weight_decay=1e-3)
    """
    moments = scale_by_novograd(b1, b2, eps, eps_root, weight_decay)
    return chain(novograd=moments, lr=scale_by_learning_rate(learning_rate))


@preset
@documented(momentum=MEAN)
def sm3(learning_rate: Number, momentum: Number = 0.9) -> Transform:
    """SM3 with momentum: `scale_by_sm3`, `ema`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.sm3(0.1)
    """
    return chain(sm3=scale_by_sm3(), momentum=ema(momentum, debias=False), lr=scale_by_learning_rate(learning_rate))


adam_mini = optimizer("adam_mini", scale_by_adam_mini, weight_decay=0.0)
came = optimizer("came", scale_by_came, weight_decay=0.0)
