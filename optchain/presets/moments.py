"""Full optimizers of the moments, most of them Adam's descendants: each is its technique, a decay and a rate."""

from typing import Any

from optchain.core.chain import chain
from optchain.core.mask import Mask
from optchain.core.numbers import Number
from optchain.core.transform import Transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.moments.acprop import scale_by_acprop
from optchain.moments.adabelief import scale_by_belief
from optchain.moments.adabound import scale_by_adabound
from optchain.moments.adadelta import scale_by_adadelta
from optchain.moments.adahessian import scale_by_adahessian
from optchain.moments.adamax import scale_by_adamax
from optchain.moments.adan import scale_by_adan
from optchain.moments.ademamix import scale_by_ademamix
from optchain.moments.adopt import scale_by_adopt
from optchain.moments.amsgrad import scale_by_amsgrad
from optchain.moments.laprop import scale_by_laprop
from optchain.moments.nadam import scale_by_nadam
from optchain.moments.optimistic import scale_by_optimistic_gradient
from optchain.moments.radam import scale_by_radam
from optchain.moments.rprop import scale_by_rprop
from optchain.moments.sign import scale_by_sign
from optchain.moments.signum import scale_by_signum
from optchain.moments.simplified_ademamix import scale_by_simplified_ademamix
from optchain.moments.sophia import scale_by_sophia
from optchain.moments.stable_adam import scale_by_stable_adam
from optchain.moments.yogi import scale_by_yogi
from optchain.presets.arguments import L2, documented
from optchain.presets.preset import optimizer, preset
from optchain.stepsize.learning_rate import scale_by_learning_rate
from optchain.stepsize.scale import scale


@preset
@documented(
    learning_rate="each entry's first step, in the units of the parameter, positive; a schedule counts only there.",
    eta_minus="the factor of the step of an entry where the gradient has changed its sign, in (0, 1).",
    eta_plus="the factor where it has not, at least 1.",
    min_step_size="the least step, in the units of the parameter, positive.",
    max_step_size="the largest step, in the units of the parameter, positive.",
)
def rprop(
    learning_rate: Number,
    eta_minus: Number = 0.5,
    eta_plus: Number = 1.2,
    min_step_size: Number = 1e-6,
    max_step_size: Number = 50.0,
) -> Transform:
    """Rprop: `scale_by_rprop`, whose update is the whole step; `scale`.

    >>> import optchain as oc
    >>> tx = oc.rprop(1e-3)
    """
    steps = scale_by_rprop(learning_rate, eta_minus, eta_plus, min_step_size, max_step_size)
    return chain(rprop=steps, descent=scale(-1.0))


@preset
@documented(
    scale_by_adadelta,
    weight_decay=L2,
)
def adadelta(
    learning_rate: Number,
    rho: Number = 0.9,
    eps: Number = 1e-6,
    weight_decay: Number = 0.0,
    *,
    mask: Mask | None = None,
) -> Transform:
    """Adadelta: `add_decayed_weights` of the gradient (L2) unless 0, `scale_by_adadelta`, `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.adadelta(1.0)
    """
    none = isinstance(weight_decay, (int, float)) and weight_decay == 0  # the parameters need not be read for it
    decay: dict[str, Any] = {} if none else {"decay": add_decayed_weights(weight_decay, mask)}
    return chain(**decay, adadelta=scale_by_adadelta(rho, eps), lr=scale_by_learning_rate(learning_rate))


acprop = optimizer("acprop", scale_by_acprop, 0.0, "b1 b2 eps eps_root weight_decay mask")
adabelief = optimizer("adabelief", scale_by_belief)
adabound = optimizer("adabound", scale_by_adabound)
adahessian = optimizer("adahessian", scale_by_adahessian, weight_decay=0.0)
adamax = optimizer("adamax", scale_by_adamax)
adamaxw = optimizer("adamaxw", scale_by_adamax, 1e-4, "b1 b2 eps weight_decay mask")
adan = optimizer("adan", scale_by_adan, 0.0, "b1 b2 b3 eps eps_root weight_decay mask")
ademamix = optimizer("ademamix", scale_by_ademamix, weight_decay=0.0, alpha=5.0)
adopt = optimizer("adopt", scale_by_adopt)
amsgrad = optimizer("amsgrad", scale_by_amsgrad)
laprop = optimizer("laprop", scale_by_laprop)
nadam = optimizer("nadam", scale_by_nadam)
nadamw = optimizer("nadamw", scale_by_nadam, weight_decay=1e-4)
optimistic_gradient_descent = optimizer("optimistic_gradient_descent", scale_by_optimistic_gradient)
radam = optimizer("radam", scale_by_radam)
sign_sgd = optimizer("sign_sgd", scale_by_sign)
signum = optimizer("signum", scale_by_signum)
simplified_ademamix = optimizer(
    "simplified_ademamix", scale_by_simplified_ademamix, 0.0, "b1 b2 alpha eps eps_root weight_decay mask"
)
sophia = optimizer("sophia", scale_by_sophia, 1e-4, "b1 b2 eps weight_decay")
stable_adamw = optimizer("stable_adamw", scale_by_stable_adam)
yogi = optimizer("yogi", scale_by_yogi, by_position="b1 b2 eps")
