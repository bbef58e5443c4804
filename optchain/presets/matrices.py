"""Full optimizers for hidden matrices; embeddings, heads and vectors go to AdamW."""

from collections.abc import Callable, Mapping
from typing import Any

from optchain.core.chain import chain
from optchain.core.mask import Mask, Without, is_kernel
from optchain.core.numbers import Number
from optchain.core.transform import Transform
from optchain.decay.decoupled import add_decayed_weights
from optchain.masking.hidden import Hidden
from optchain.matrices.dion import scale_by_dion
from optchain.matrices.kl_soap import scale_by_kl_soap
from optchain.matrices.kron import scale_by_kron
from optchain.matrices.muon import scale_by_muon
from optchain.matrices.normuon import scale_by_normuon
from optchain.matrices.scion import scale_by_scion
from optchain.matrices.shampoo import scale_by_shampoo
from optchain.matrices.soap import scale_by_soap
from optchain.moments.adam import scale_by_adam
from optchain.presets.arguments import (
    LEAVES,
    RATE,
    WEIGHT_DECAY,
    Argument,
    arguments_of,
    documented,
    example,
    positional,
    summary,
)
from optchain.presets.preset import made, preset
from optchain.schedules.join import scale_schedule
from optchain.stepsize.learning_rate import scale_by_learning_rate

ADAM_RATE = "the learning rate of all other parameters, which Adam steps; None takes `learning_rate`."
MUON_RATE = 3e-4 / 0.02  # Adam's by Muon's, in the authors' code
ADAM_RATE_OF_MUON = f"""the learning rate of all other parameters, which Adam steps; None takes {MUON_RATE:g} times
    `learning_rate`, which is the authors' 0.0003 beside 0.02, and all of it with `scale="rms"`, which makes the updates
    of matrices as large as Adam's."""
HIDDEN = """Hidden are all kernels but those that the mask `adamw` chooses, and all parameters decay.
`print(oc.routing(tx, params))` shows which links step which parameter."""
NOT_HIDDEN = f"""the matrices that are not hidden: {LEAVES}; () for none of them. None chooses embeddings and heads by
    their names, as `is_hidden` says, and is an error where no other kernel is left; so is a pattern that matches no
    parameter."""
ADAM = {
    name: Argument(x.hint, x.default, f"Adam's {name}: {x.text}") for name, x in arguments_of(scale_by_adam).items()
}
ADAMW = {
    "weight_decay": Argument(Number, 0.0, f"for all parameters, {WEIGHT_DECAY}"),
    "adam_learning_rate": Argument(Number | None, None, ADAM_RATE),
    **{f"adam_{name}": argument for name, argument in ADAM.items()},
    "adamw": Argument(Mask | None, None, NOT_HIDDEN),
}


def hidden_kernels(others: Mask | None) -> Mask:
    """The mask of all kernels but others; left out, these are the embeddings and heads by name."""
    if others is None:
        return Hidden()
    return is_kernel if isinstance(others, (list, tuple)) and not others else Without(is_kernel, others)


def scaled(learning_rate: Number, factor: float) -> Number:
    """A learning rate times a factor, which may be a schedule."""
    if factor == 1:
        return learning_rate
    return scale_schedule(learning_rate, factor) if callable(learning_rate) else learning_rate * factor


def matrix_optimizer(
    name: str,
    technique: Callable[..., Transform],
    by_position: str | None = None,
    adamw: Mapping[str, Argument] = ADAMW,
    adam_rate: Callable[[Mapping[str, Any]], float] = lambda arguments: 1.0,
    **defaults: Any,
) -> Callable[..., Transform]:
    """The full optimizer of one technique for matrices, with its arguments after the learning rate.

    Its chain has the links `NAME`, `adam`, `decay`, `lr` and `adam_lr`, of which the first and `lr` are for hidden
    matrices, `adam` and `adam_lr` for all other parameters. The argument `adamw` says which matrices are not hidden: a
    mask such as `("embed/*", "head/*")`, or, left out, what is an embedding or a head by its name.

    Args:
        name: of the optimizer.
        technique: the technique; its link is called after the optimizer.
        by_position: the arguments after the learning rate that may be given by position; left out, those of the
            technique.
        adamw: other arguments for all other parameters.
        adam_rate: from the arguments, what Adam's learning rate is by that of hidden matrices where it is left out.
        **defaults: other defaults for its arguments.
    """
    own = arguments_of(technique, **defaults)

    def make(
        learning_rate: Number, adamw: Mask | None, adam_learning_rate: Number | None, **arguments: Any
    ) -> Transform:
        hidden = hidden_kernels(adamw)
        rest = Without(None, hidden)
        adam = scale_by_adam(*(arguments[f"adam_{name}"] for name in ADAM), mask=rest)
        lr = scale_by_learning_rate(learning_rate, mask=hidden)
        if adam_learning_rate is None:
            adam_learning_rate = scaled(learning_rate, adam_rate(arguments))
        links: dict[str, Any] = {name: technique(**{name: arguments[name] for name in own}, mask=hidden)}
        return chain(
            **links,
            adam=adam,
            decay=add_decayed_weights(arguments["weight_decay"]),
            lr=lr,
            adam_lr=scale_by_learning_rate(adam_learning_rate, mask=rest),
        )

    links = f"`{technique.__name__}` for hidden matrices, AdamW for all else"
    call = f'{name}(0.01, adam_learning_rate=1e-3, adamw=("*/embedding", "head/*"))'
    doc = f"{summary(name, links, technique)}\n\n{HIDDEN}{example(call)}"
    first = positional(technique) if by_position is None else by_position.split()
    return made(name, make, RATE | own | dict(adamw), [*RATE, *first], doc)


@preset
@documented(
    scale_by_scion,
    b="decay of the running mean of the gradients, in [0, 1).",
    radius="the size of the update of hidden matrices in the spectral norm, positive.",
    sign_radius="the size of the update of all other matrices in the largest entry, positive.",
    rms_radius="the size of the update of biases, scales and other vectors in the root mean square, positive.",
    weight_decay=f"for all parameters, {WEIGHT_DECAY}",
    sign=NOT_HIDDEN,
)
def scion(
    learning_rate: Number,
    b: Number = 0.9,
    radius: Number = 50.0,
    sign_radius: Number = 3000.0,
    rms_radius: Number = 1.0,
    ns_steps: int = 5,
    weight_decay: Number = 1.0,
    sign: Mask | None = None,
) -> Transform:
    """The optimizer scion: `scale_by_scion` with the spectral norm for hidden matrices, sign and rms for all else.

    Hidden are all kernels but those that the mask `sign` chooses; left out, embeddings and heads by their names.
    `print(oc.routing(tx, params))` shows which links step which parameter.

    With the weight decay of 1 all parameters stay in the balls of the three radii: constrained Scion; with 0 it is
    unconstrained.

    >>> import optchain as oc
    >>> tx = oc.scion(2**-10, sign=("*/embedding", "head/*"))
    """
    hidden = hidden_kernels(sign)
    return chain(
        spectral=scale_by_scion(b, radius, "spectral", ns_steps, mask=hidden),
        sign=scale_by_scion(b, sign_radius, "sign", mask=Without(is_kernel, hidden)),
        rms=scale_by_scion(b, rms_radius, "rms", mask=Without(None, is_kernel)),
        decay=add_decayed_weights(weight_decay),
        lr=scale_by_learning_rate(learning_rate),
    )


muon = matrix_optimizer(
    "muon",
    scale_by_muon,
    "ns_coeffs ns_steps beta eps weight_decay",
    ADAMW
    | {
        "adam_learning_rate": Argument(Number | None, None, ADAM_RATE_OF_MUON),
        "adam_b2": ADAM["b2"]._replace(default=0.95),
    },
    lambda arguments: 1.0 if arguments["scale"] == "rms" else MUON_RATE,
    scale="width",
)
normuon = matrix_optimizer("normuon", scale_by_normuon)
dion = matrix_optimizer("dion", scale_by_dion)
shampoo = matrix_optimizer("shampoo", scale_by_shampoo)
soap = matrix_optimizer("soap", scale_by_soap)
kl_soap = matrix_optimizer("kl_soap", scale_by_kl_soap)
kron = matrix_optimizer("kron", scale_by_kron)
