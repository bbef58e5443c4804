"""Full optimizers that bound the logits of attention."""

from optchain.clipping.qk import Heads, clip_qk
from optchain.core.chain import chain
from optchain.core.lift import technique
from optchain.core.mask import Mask
from optchain.core.numbers import Number
from optchain.core.transform import Transform
from optchain.presets.arguments import documented
from optchain.presets.matrices import ADAM_RATE, NOT_HIDDEN, muon
from optchain.presets.preset import preset


@technique(learning_rate=0.01, kernels={"*": -1})
@preset
@documented(clip_qk, muon, adam_learning_rate=ADAM_RATE, adamw=NOT_HIDDEN)
def muon_clip(
    learning_rate: Number,
    kernels: Heads,
    tau: Number = 100.0,
    rotary: Heads | None = None,
    beta: Number = 0.95,
    weight_decay: Number = 0.0,
    adam_learning_rate: Number | None = None,
    adamw: Mask | None = None,
) -> Transform:
    """MuonClip: the links of `muon`, with the scale of Adam's updates and without the look-ahead, and `clip_qk`.

    Kernels of queries and keys that are not matrices need a view: `as_matrices(oc.muon_clip(...), views)`.

    References:
        Kimi Team, 2025, Algorithm 1. https://arxiv.org/abs/2507.20534

    >>> import optchain as oc
    >>> tx = oc.muon_clip(0.02, {"*/query/kernel": -2, "*/key/kernel": -2}, weight_decay=0.1)
    """
    options = {"weight_decay": weight_decay, "adam_learning_rate": adam_learning_rate, "adamw": adamw}
    steps = muon(learning_rate, beta=beta, nesterov=False, scale="rms", **options)
    return chain(**dict(steps.link.links), clip=clip_qk(kernels, tau, rotary))
