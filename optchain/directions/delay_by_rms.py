"""Compensation of the delay of a stale gradient, of a strength that follows its size."""

from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Positive, Static
from optchain.core.numerics import ema, over_root, square
from optchain.core.rule import rule
from optchain.directions.delay import compensated


class Slots(NamedTuple):
    nu: jax.Array  # like p


@rule
class DelayCompensationByRms:
    r"""Adds to a stale gradient what it has likely changed by since, by entry relative to the gradient's usual size.

    .. math::
        \nu \leftarrow b \nu + (1 - b) g^2, \qquad
        u = g + \frac{\lambda}{\sqrt{\hat\nu + \epsilon}}\, g^2 (\theta_t - \theta_{t - \tau})

    with :math:`\hat\nu` over the weight that the mean has seen. It is `compensate_delay` with a strength for each
    entry, which has less variance between them; what it is for and its extra argument `stale_params` are those of that.

    Fields:
        strength: :math:`\lambda`, at least 0, in units of the inverse of the parameters; 2 in the paper on CIFAR-10.
        decay: b, of the mean of squares, in [0, 1); 0.95 in the paper on CIFAR-10, 0 on ImageNet.
        eps: :math:`\epsilon`, under the root, > 0, in the units of :math:`g^2`.
        bias_correction: divide the mean by the weight that it has seen.

    Shapes and dtypes: any; the slot `nu` is like the parameter, in float32 or wider. What would be infinite is the
    largest finite number.

    Differs from the paper: the mean starts at 0 and is debiased; its :math:`\nu` is not (`bias_correction=False`),
    which compensates the first steps more. Of several workers all have one mean here, as in the paper's equation; in
    the authors' code each has its own.

    References:
        Zheng et al., 2016, section 6 (DC-ASGD-a). https://arxiv.org/abs/1609.08326

    >>> import optchain as oc
    >>> tx = oc.delayed(oc.chain(oc.compensate_delay_by_rms(2.0), oc.sgd(0.1)), 4)
    """

    strength: NonNegative = 2.0
    decay: Mean = 0.95
    eps: Positive = 1e-7
    _: KW_ONLY
    bias_correction: Static[bool] = True

    needs_params = True
    extras = ("stale_params",)
    kinds = {"nu": SQUARE}

    def init(self, p):
        return Slots(jnp.zeros_like(p))

    def update(self, g, s, p, t, seen, stale_params):
        nu = ema(square(g), s.nu, self.decay)
        if stale_params is None:
            return g, Slots(nu)
        mean = nu / seen.decay if self.bias_correction else nu
        relative = over_root(g, mean, self.eps, eps_in_sqrt=True)
        return compensated(g, relative, self.strength * (p - stale_params)), Slots(nu)


compensate_delay_by_rms = lift(DelayCompensationByRms, "compensate_delay_by_rms")
