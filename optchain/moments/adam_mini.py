"""Adam-mini."""

import math

import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Mean, NonNegative, Static
from optchain.core.numerics import bounded, ema, over_root, square
from optchain.core.paths import nearest
from optchain.core.rule import rule
from optchain.core.whole import whole_shape, whole_sum
from optchain.moments.adam import Moments

BLOCKS = ("leaf", "row", "column")


@rule
class AdamMini:
    r"""Adam with one second moment for each block of a parameter.

    .. math::
        \mu \leftarrow b_1 \mu + (1 - b_1) g, \qquad
        \nu_B \leftarrow b_2 \nu_B + (1 - b_2)\, \mathrm{mean}_B\, g^2, \qquad
        u = \frac{\mu / (1 - b_1^t)}{\sqrt{\nu_B / (1 - b_2^t)} + \epsilon}

    A block is the whole leaf, or a slice of its first axis (a token of an embedding), or of its last one (an output
    neuron of a kernel of Flax). Where blocks differ from leaf to leaf, masks or `groups` choose; heads are leaves of
    their own in a view of `as_matrices`, such as `"d (h k) -> h d k"` for queries and keys. A bias, as any array of
    fewer than two axes, is one block.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        eps: added to the root, in the units of g, at least 0.
        block: "leaf", "row" (slices of the first axis) or "column" (slices of the last axis).

    Shapes and dtypes: any; the slot `mu` is like the parameter, `nu` one number for each block, in float32 or wider.
    The link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes, :math:`1 - \prod b`, as two
    numbers each.

    Differs from the paper: which parameters are embeddings, queries, keys and the rest is given by masks, not read off
    their names; weight decay is a link of its own (`add_decayed_weights`). Since its version 1.1 the authors' program
    steps biases by Adam, entry by entry, as `scale_by_adam` under a mask: on recorded gradients of three vectors the
    updates differ by 11 to 35 percent of their norm on average.

    Raises:
        ValueError: another word for `block`.

    References:
        Zhang et al., 2024, Algorithm 1. https://arxiv.org/abs/2406.16793
    """

    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    block: Static[str] = "leaf"

    core_ndim = None
    on_shards = True
    kinds = {"mu": mean("b1"), "nu": SQUARE}

    def __post_init__(self):
        if self.block not in BLOCKS:
            raise ValueError(f"scale_by_adam_mini: block is {self.block!r}; {nearest(str(self.block), BLOCKS)}")

    def init(self, p):
        zeros = jnp.zeros_like(p)
        return Moments(zeros, self.mean(zeros))

    def axes(self, p):
        across = self.across(p)
        return {"nu": tuple(axis for axis in range(p.ndim) if axis not in across)}

    def update(self, g, s, p, t, seen):
        mu, nu = ema(g, s.mu, self.b1), ema(bounded(self.mean(square(g))), s.nu, self.b2)
        spread = jnp.expand_dims(nu / seen.b2, self.across(g))
        return over_root(mu / seen.b1, spread, self.eps), Moments(mu, nu)

    def across(self, x):
        """The axes of one block."""
        if self.block == "leaf" or x.ndim < 2:
            return tuple(range(x.ndim))
        return tuple(range(1, x.ndim)) if self.block == "row" else tuple(range(x.ndim - 1))

    def mean(self, x):
        """The mean of each block; 0 where there is nothing."""
        axes, shape = self.across(x), whole_shape(x)
        return whole_sum(x, axes) / max(1, math.prod(shape[axis] for axis in axes))


scale_by_adam_mini = lift(AdamMini, "scale_by_adam_mini")
