"""Full optimizers that hide each single example."""

from optchain.clipping.private_aggregate import differentially_private_aggregate
from optchain.core.chain import chain
from optchain.core.lift import technique
from optchain.core.numbers import Number, Seed
from optchain.core.transform import Transform
from optchain.presets.arguments import MOMENTUM, NESTEROV, documented
from optchain.presets.classic import sgd
from optchain.presets.preset import preset


@technique(learning_rate=0.01, l2_norm_clip=1.0, noise_multiplier=0.0, seed=0)
@preset
@documented(
    differentially_private_aggregate,
    l2_norm_clip="the bound on the norm of one example's gradient, > 0.",
    noise_multiplier="""the standard deviation of the noise over that bound, at least 0; with the part of the data in a
        batch and the number of steps it gives the privacy, which an accountant outside this library computes.""",
    seed="of the noise, a whole number or a key. What is to be private needs one that nobody can guess.",
    momentum=MOMENTUM,
    nesterov=NESTEROV,
)
def dpsgd(
    learning_rate: Number,
    l2_norm_clip: Number,
    noise_multiplier: Number,
    seed: Seed,
    momentum: Number | None = None,
    nesterov: bool = False,
) -> Transform:
    """DP-SGD: `differentially_private_aggregate` of the gradients of single examples, and the links of `sgd`.

    >>> import optchain as oc
    >>> tx = oc.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.1, seed=7)
    """
    private = differentially_private_aggregate(l2_norm_clip, noise_multiplier, seed)
    return chain(private=private, **dict(sgd(learning_rate, momentum, nesterov).link.links))
