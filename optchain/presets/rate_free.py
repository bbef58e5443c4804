"""Full optimizers that find their own rate."""

from collections.abc import Callable
from typing import Any

from optchain.core.chain import chain
from optchain.core.mask import Mask
from optchain.core.numbers import Number
from optchain.core.transform import Transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.presets.arguments import L2, arguments_of, decay, documented, example, positional, summary
from optchain.presets.preset import made, preset
from optchain.stepsize.cocob import scale_by_cocob
from optchain.stepsize.dadapt_adam import scale_by_dadapt_adam
from optchain.stepsize.dadapt_sgd import scale_by_dadapt_sgd
from optchain.stepsize.dog import scale_by_dog
from optchain.stepsize.dowg import scale_by_dowg
from optchain.stepsize.ldog import scale_by_ldog
from optchain.stepsize.learning_rate import scale_by_learning_rate
from optchain.stepsize.momo import scale_by_momo
from optchain.stepsize.momo_adam import scale_by_momo_adam
from optchain.stepsize.polyak import scale_by_polyak
from optchain.stepsize.prodigy import scale_by_prodigy
from optchain.stepsize.scale import scale


def whole_step(
    name: str, technique: Callable[..., Transform], l2: bool = False, by_position: str | None = None
) -> Callable[..., Transform]:
    """The full optimizer of a technique that makes the whole step: it goes downhill, with the technique's arguments.

    Args:
        name: of the optimizer; the technique's link is called after it too.
        technique: the technique, with its learning rate.
        l2: let `weight_decay` and its `mask` follow, a decay that is part of the gradient and so of the estimates.
        by_position: the arguments that may be given by position; left out, those of the technique.
    """
    own = arguments_of(technique)

    def make(**arguments: Any) -> Transform:
        links: dict[str, Any] = {name: technique(**{name: arguments[name] for name in own}), "descent": scale(-1.0)}
        if l2 and arguments["weight_decay"] is not None:
            links = {"decay": add_decayed_weights(arguments["weight_decay"], arguments["mask"])} | links
        return chain(**links)

    before = "`add_decayed_weights` on request, " if l2 else ""
    links = f"{before}`{technique.__name__}`, whose update is the whole step; `scale`"
    doc = summary(name, links, technique) + example(f"{name}()")
    arguments = own | (decay(text=f"{L2[:-1]}; None adds nothing.") if l2 else {})
    return made(name, make, arguments, positional(technique) if by_position is None else by_position.split(), doc)


dadapt_adamw = whole_step("dadapt_adamw", scale_by_dadapt_adam)
dadapt_sgd = whole_step("dadapt_sgd", scale_by_dadapt_sgd)
dog = whole_step("dog", scale_by_dog, l2=True)
dowg = whole_step("dowg", scale_by_dowg, l2=True, by_position="learning_rate init_estim_sq_dist eps weight_decay mask")
ldog = whole_step("ldog", scale_by_ldog, l2=True)
momo = whole_step("momo", scale_by_momo)
momo_adam = whole_step("momo_adam", scale_by_momo_adam)
prodigy = whole_step("prodigy", scale_by_prodigy)


@preset
@documented(
    learning_rate="a factor of the gradient, usually 1.",
    alpha="how careful the first step is, > 0: it is 1 / alpha, in the units of the parameter.",
    eps="the least bound of the gradient, in its units, at least 0.",
    weight_decay=L2,
)
def cocob(
    learning_rate: Number = 1.0,
    alpha: Number = 100.0,
    eps: Number = 1e-8,
    weight_decay: Number = 0.0,
    mask: Mask | None = None,
) -> Transform:
    """The optimizer cocob: `add_decayed_weights` (L2), a factor of the gradient, `scale_by_cocob`.

    >>> import optchain as oc
    >>> tx = oc.cocob()
    """
    return chain(
        decay=add_decayed_weights(weight_decay, mask),
        lr=scale_by_learning_rate(learning_rate, flip_sign=False),
        cocob=scale_by_cocob(alpha, eps),
    )


@preset
@documented(
    scale_by_polyak,
    max_learning_rate="the largest factor of the gradient before `scaling`, > 0.",
    scaling="a factor of the whole step, usually 1, or a schedule.",
    f_min="a lower bound of the loss, any finite number.",
    eps="added to the squared norm of the gradient, in the units of g**2, at least 0.",
)
def polyak_sgd(
    max_learning_rate: Number = 1.0, scaling: Number = 1.0, f_min: Number = 0.0, eps: Number = 0.0, variant: str = "sps"
) -> Transform:
    """SGD with the Polyak step: `scale_by_polyak`, which takes the loss as `value`; `scale_by_learning_rate`.

    >>> import optchain as oc
    >>> tx = oc.polyak_sgd()
    """
    steps = scale_by_polyak(f_min, max_learning_rate, eps, variant)
    return chain(polyak=steps, scaling=scale_by_learning_rate(scaling))
