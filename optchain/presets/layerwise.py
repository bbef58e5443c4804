"""Full optimizers whose steps are in proportion to each parameter's norm."""

from optchain.core.chain import chain
from optchain.core.mask import Mask, Without
from optchain.core.numbers import Number
from optchain.core.transform import Transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.decay.param_norm import keep_params_norm
from optchain.moments.adam import scale_by_adam
from optchain.moments.momentum import trace
from optchain.presets.arguments import LEAVES, NESTEROV, documented
from optchain.presets.matrices import ADAM_RATE, NOT_HIDDEN, hidden_kernels
from optchain.presets.preset import preset
from optchain.stepsize.fromage import fromage_step
from optchain.stepsize.lars import scale_by_lars
from optchain.stepsize.learning_rate import scale_by_learning_rate
from optchain.stepsize.trust_ratio import scale_by_trust_ratio


@preset
@documented(
    weight_decay="the multiple of the parameter that is added to the gradient of the leaves of the mask, at least 0.",
    trust_coefficient="the length of the step over that of the parameter before the learning rate, at least 0.",
    eps="added to the norms, at least 0.",
    momentum="the decay of the sum of the steps, in [0, 1).",
    nesterov=NESTEROV,
    mask=f"the parameters with a rate of their own and weight decay: {LEAVES}; None stands for all.",
)
def lars(
    learning_rate: Number,
    weight_decay: Number = 0.0,
    *,
    trust_coefficient: Number = 0.001,
    eps: Number = 0.0,
    momentum: Number = 0.9,
    nesterov: bool = False,
    mask: Mask | None = None,
) -> Transform:
    """LARS: `scale_by_lars` on the leaves of the mask, `scale_by_learning_rate`, and then, as in the paper, `trace`.

    >>> import optchain as oc
    >>> tx = oc.lars(1.0, weight_decay=1e-4, mask=oc.is_kernel)
    """
    lars = scale_by_lars(weight_decay, trust_coefficient, eps, mask=mask)
    return chain(lars=lars, lr=scale_by_learning_rate(learning_rate), momentum=trace(momentum, nesterov))


@preset
@documented(scale_by_adam)
def lamb(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-6,
    eps_root: Number = 0.0,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """LAMB: `scale_by_adam`, `add_decayed_weights`, `scale_by_trust_ratio`, `scale_by_learning_rate`.

    References:
        You et al., 2019, Algorithm 2. https://arxiv.org/abs/1904.00962

    >>> import optchain as oc
    >>> tx = oc.lamb(1e-3, weight_decay=0.01, mask=oc.is_kernel)
    """
    adam, decay = scale_by_adam(b1, b2, eps, eps_root), add_decayed_weights(weight_decay, mask)
    return chain(adam=adam, decay=decay, trust=scale_by_trust_ratio(), lr=scale_by_learning_rate(learning_rate))


@preset
@documented(
    fromage_step, learning_rate="the length of the step over that of the parameter, at least 0; 0.01 in the paper."
)
def fromage(learning_rate: Number, min_norm: Number = 0.0) -> Transform:
    """Fromage: `fromage_step`, whose update is the whole step.

    >>> import optchain as oc
    >>> tx = oc.fromage(0.01)
    """
    return chain(lr=fromage_step(learning_rate, min_norm))


@preset
@documented(
    scale_by_adam,
    learning_rate="for hidden kernels the length of the step over that of the kernel, usually positive.",
    adam_learning_rate=ADAM_RATE,
    adam=NOT_HIDDEN,
)
def adamh(
    learning_rate: Number,
    b1: Number = 0.9,
    b2: Number = 0.999,
    eps: Number = 1e-8,
    adam_learning_rate: Number | None = None,
    adam: Mask | None = None,
) -> Transform:
    """Adam on the sphere: `scale_by_adam`, `scale_by_trust_ratio`, the rate, `keep_params_norm`; else Adam.

    Hidden kernels, all but those that the mask `adam` chooses (left out, those whose path holds "embed" or "head"),
    keep the norm that they began with, of which the learning rate is the part that a step moves. All other parameters
    take steps of Adam with `adam_learning_rate`; left out, it is `learning_rate`.

    References:
        Wen et al., 2026. https://arxiv.org/abs/2606.16899

    >>> import optchain as oc
    >>> tx = oc.adamh(0.01, adam_learning_rate=1e-3, adam=("*/embedding", "head/*"))
    """
    hidden = hidden_kernels(adam)
    rest = Without(None, hidden)
    return chain(
        adam=scale_by_adam(b1, b2, eps),
        trust=scale_by_trust_ratio(mask=hidden),
        lr=scale_by_learning_rate(learning_rate, mask=hidden),
        adam_lr=scale_by_learning_rate(learning_rate if adam_learning_rate is None else adam_learning_rate, mask=rest),
        norm=keep_params_norm(mask=hidden),
    )
