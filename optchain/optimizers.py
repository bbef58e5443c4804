"""Full optimizers: chains of techniques, where the mathematics is documented."""

import dataclasses
import functools
import inspect
from collections.abc import Callable

from optchain.core.chain import chain
from optchain.core.rule import Number, bind
from optchain.core.transform import Transform, technique, transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.moments.acprop import scale_by_acprop
from optchain.moments.adagrad import scale_by_rss
from optchain.moments.adahessian import scale_by_adahessian
from optchain.moments.adam import scale_by_adam
from optchain.moments.lion import scale_by_lion
from optchain.moments.momentum import trace
from optchain.moments.rms import scale_by_rms
from optchain.moments.sophia import scale_by_sophia
from optchain.moments.stable_adam import scale_by_stable_adam
from optchain.moments.stddev import scale_by_stddev
from optchain.stepsize.learning_rate import scale_by_learning_rate


def preset(make: Callable[..., Transform]) -> Callable[..., Transform]:
    """Make a function that returns a chain a technique whose chain bears its name."""

    @technique(**{next(iter(inspect.signature(make).parameters)): 0.01})
    @functools.wraps(make)
    def named(*args, **kwargs):
        arguments = bind(make.__name__, inspect.signature(make), {}, args, kwargs)
        return transform(dataclasses.replace(make(**arguments).link, name=make.__name__))

    return named


def optimizer(
    name: str, moments: Callable[..., Transform], weight_decay: float | None = None, **defaults: float
) -> Callable[..., Transform]:
    """The full optimizer of one technique, with its arguments after the learning rate; decoupled decay on request.

    Args:
        name: of the optimizer.
        moments: the technique; its link is called after it, without `scale_by_`.
        weight_decay: the default of the argument `weight_decay`, which then comes last, before the decay's `mask`.
        **defaults: of arguments whose default differs from the technique's.
    """
    link = moments.__name__.removeprefix("scale_by_")
    own = [p for p in inspect.signature(moments).parameters.values() if p.name != "mask"]
    given = dict(learning_rate=inspect.Parameter.empty) | {p.name: defaults.get(p.name, p.default) for p in own}
    if weight_decay is not None:
        given |= {"weight_decay": weight_decay, "mask": None}
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD

    def make(learning_rate: Number, **arguments) -> Transform:
        links = {link: moments(**{p.name: arguments[p.name] for p in own})}
        if weight_decay is not None:
            links["decay"] = add_decayed_weights(arguments["weight_decay"], arguments["mask"])
        return chain(**links, lr=scale_by_learning_rate(learning_rate))

    parts = [f"`{moments.__name__}`", *(["`add_decayed_weights`"] if weight_decay is not None else [])]
    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""The optimizer {name}: {", ".join(parts)}, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.{name}(0.01)
    """
    make.__signature__ = inspect.Signature([inspect.Parameter(n, kind, default=x) for n, x in given.items()])  # pyright: ignore
    return preset(make)


@preset
def sgd(learning_rate: Number, momentum: Number | None = None, nesterov: bool = False) -> Transform:
    """Stochastic gradient descent, with momentum on request: `trace`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.sgd(0.1, momentum=0.9)
    """
    lr = scale_by_learning_rate(learning_rate)
    return chain(lr=lr) if momentum is None else chain(momentum=trace(momentum, nesterov), lr=lr)


@preset
def momentum(learning_rate: Number, decay: Number = 0.9) -> Transform:
    """Heavy-ball momentum: `trace`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.momentum(0.1)
    """
    return sgd(learning_rate, decay)


@preset
def nesterov(learning_rate: Number, decay: Number = 0.9) -> Transform:
    """Nesterov momentum: `trace`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.nesterov(0.1)
    """
    return sgd(learning_rate, decay, nesterov=True)


@preset
def adagrad(learning_rate: Number, initial_accumulator_value: Number = 0.1, eps: Number = 1e-7) -> Transform:
    """Adagrad: `scale_by_rss`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.adagrad(0.1)
    """
    return chain(rss=scale_by_rss(initial_accumulator_value, eps), lr=scale_by_learning_rate(learning_rate))


@preset
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


adam = optimizer("adam", scale_by_adam)
adamw = optimizer("adamw", scale_by_adam, weight_decay=1e-4)
lion = optimizer("lion", scale_by_lion, weight_decay=1e-3)


acprop = optimizer("acprop", scale_by_acprop, weight_decay=0.0)
stable_adamw = optimizer("stable_adamw", scale_by_stable_adam)


adahessian = optimizer("adahessian", scale_by_adahessian, weight_decay=0.0)
sophia = optimizer("sophia", scale_by_sophia, weight_decay=1e-4)
