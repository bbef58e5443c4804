"""Full optimizers that hide each single example."""

from optchain.clipping.private_aggregate import differentially_private_aggregate
from optchain.control.micro_batches import is_one
from optchain.control.private_accumulate import differentially_private_accumulate
from optchain.core.chain import chain
from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, Seed, checked
from optchain.core.transform import Transform
from optchain.presets.arguments import MOMENTUM, NESTEROV, documented
from optchain.presets.classic import sgd
from optchain.presets.preset import preset


@technique(learning_rate=0.01, l2_norm_clip=1.0, noise_multiplier=0.0, seed=0)
@preset
@documented(
    differentially_private_accumulate,
    l2_norm_clip="the bound on the norm of one example's gradient, > 0.",
    noise_multiplier="""the standard deviation of the noise over that bound, at least 0; with the part of the data in a
        batch and the number of steps it gives the privacy, see `oc.privacy_spent`.""",
    seed="of the noise, a whole number or a key. What is to be private needs one that nobody can guess.",
    momentum=MOMENTUM,
    nesterov=NESTEROV,
    every="""micro-batches for each step, at least 1, or a schedule of the steps made; rounded to a whole number. Noise
        is added once for each step.""",
)
def dpsgd(
    learning_rate: Number,
    l2_norm_clip: Number,
    noise_multiplier: Number,
    seed: Seed,
    momentum: Number | None = None,
    nesterov: bool = False,
    *,
    every: Number = 1,
    batch_size: float | None = None,
) -> Transform:
    """DP-SGD: `differentially_private_aggregate` of the gradients of single examples, and the links of `sgd`.

    With `every` above 1 these links stand in `differentially_private_accumulate`. The numbers have the same names.

    >>> import optchain as oc
    >>> tx = oc.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.1, seed=7)
    """
    every = checked("dpsgd", "every", every, Range("[1, inf)"))
    descent, privacy = sgd(learning_rate, momentum, nesterov), (l2_norm_clip, noise_multiplier, seed)
    if not is_one(every):
        return differentially_private_accumulate(descent, every, *privacy, batch_size=batch_size)
    private = differentially_private_aggregate(*privacy, batch_size=batch_size)
    return chain(private=private, **dict(descent.link.links))
