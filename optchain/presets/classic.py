"""The optimizers that everybody knows: SGD and its momenta, Adagrad, RMSProp, Adam, Lion."""

from optchain.core.chain import chain
from optchain.core.mask import Mask
from optchain.core.numbers import Number
from optchain.core.transform import Transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.moments.adagrad import scale_by_rss
from optchain.moments.adam import scale_by_adam
from optchain.moments.lion import scale_by_lion
from optchain.moments.momentum import trace
from optchain.moments.nadam import scale_by_nadam
from optchain.moments.rms import scale_by_rms
from optchain.moments.stddev import scale_by_stddev
from optchain.presets.arguments import MOMENTUM, NESTEROV, documented
from optchain.presets.preset import optimizer, preset
from optchain.stepsize.learning_rate import scale_by_learning_rate

AHEAD = "let the mean look ahead by one step, as `nadam` does."


@preset
@documented(momentum=MOMENTUM, nesterov=NESTEROV)
def sgd(learning_rate: Number, momentum: Number | None = None, nesterov: bool = False) -> Transform:
    """Stochastic gradient descent, with momentum on request: `trace`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.sgd(0.1, momentum=0.9)
    """
    lr = scale_by_learning_rate(learning_rate)
    return chain(lr=lr) if momentum is None else chain(momentum=trace(momentum, nesterov), lr=lr)


@preset
@documented(trace)
def momentum(learning_rate: Number, decay: Number = 0.9) -> Transform:
    """Heavy-ball momentum: `trace`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.momentum(0.1)
    """
    return sgd(learning_rate, decay)


@preset
@documented(trace)
def nesterov(learning_rate: Number, decay: Number = 0.9) -> Transform:
    """Nesterov momentum: `trace`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.nesterov(0.1)
    """
    return sgd(learning_rate, decay, nesterov=True)


@preset
@documented(
    scale_by_rss,
    initial_accumulator_value="the sum of squares before the first update, in the units of g**2, at least 0.",
    eps="added inside the root of the sum of squares, in the units of g**2, at least 0.",
)
def adagrad(learning_rate: Number, initial_accumulator_value: Number = 0.1, eps: Number = 1e-7) -> Transform:
    """Adagrad: `scale_by_rss`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.adagrad(0.1)
    """
    return chain(rss=scale_by_rss(initial_accumulator_value, eps), lr=scale_by_learning_rate(learning_rate))


@preset
@documented(
    scale_by_rms,
    decay="of the running mean of the squares, in [0, 1).",
    initial_scale="the mean of the squares before the first update, in the units of g**2, at least 0.",
    bias_correction="divide the mean, and with `centered` both means, by the weight that they have seen.",
    centered="divide by the standard deviation instead of the root of the mean square.",
    momentum=MOMENTUM,
    nesterov=NESTEROV,
)
def rmsprop(
    learning_rate: Number,
    decay: Number = 0.9,
    eps: Number = 1e-8,
    initial_scale: Number = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Number | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Transform:
    """RMSProp: `scale_by_rms` or, centered, `scale_by_stddev`; `trace` on request; `scale_by_learning_rate`.

    The rate comes last, as in PyTorch; optax multiplies by it before the momentum: they differ where it is scheduled.

    >>> import optchain as oc
    >>> tx = oc.rmsprop(1e-3, momentum=0.9, centered=True)
    """
    second = scale_by_stddev if centered else scale_by_rms
    rms, lr = second(decay, eps, initial_scale, eps_in_sqrt, bias_correction), scale_by_learning_rate(learning_rate)
    return chain(rms=rms, lr=lr) if momentum is None else chain(rms=rms, momentum=trace(momentum, nesterov), lr=lr)


@preset
@documented(scale_by_adam, nesterov=AHEAD)
def adam(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    *,
    nesterov: bool = False,
) -> Transform:
    """The optimizer adam: `scale_by_adam` or, with Nesterov momentum, `scale_by_nadam`; `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adam`, with the letters that are used below.

    >>> import optchain as oc
    >>> tx = oc.adam(0.01)
    """
    moments = scale_by_nadam if nesterov else scale_by_adam
    return chain(adam=moments(b1, b2, eps, eps_root), lr=scale_by_learning_rate(learning_rate))


@preset
@documented(scale_by_adam, nesterov=AHEAD)
def adamw(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    eps_root: Number = 0.0,
    *,
    weight_decay: Number = 1e-4,
    mask: Mask | None = None,
    nesterov: bool = False,
) -> Transform:
    """The optimizer adamw: the moments of `adam`, `add_decayed_weights`, `scale_by_learning_rate`.

    The formula stands in the documentation of `scale_by_adam`, with the letters that are used below.

    >>> import optchain as oc
    >>> tx = oc.adamw(0.01, weight_decay=0.1, mask=oc.is_kernel)
    """
    steps = dict(adam(learning_rate, b1, b2, eps, eps_root, nesterov=nesterov).link.links)
    return chain(adam=steps["adam"], decay=add_decayed_weights(weight_decay, mask), lr=steps["lr"])


lion = optimizer("lion", scale_by_lion, weight_decay=1e-3)
