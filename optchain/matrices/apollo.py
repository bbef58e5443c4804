"""APOLLO."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Mean, NonNegative, Positive, Seed, Static, whole
from optchain.core.numerics import ema, norm, over_root, quotient, square
from optchain.core.paths import nearest
from optchain.core.rule import rule
from optchain.core.seeds import key_of
from optchain.matrices.galore import laid, lying
from optchain.matrices.growth import growth_factor

SCALINGS = {"channel": (0,), "tensor": None}  # the axes that a factor's norms are taken over


class Sketch(NamedTuple):
    mu: jax.Array  # (rank, longer side), running mean of the sketched g
    nu: jax.Array  # (rank, longer side), running mean of its squares
    size: jax.Array  # (), norm of the last update


@rule
class Apollo:
    r"""Scales each channel of the gradient by as much as Adam would scale it, measured on a random sketch.

    .. math::
        R = S g, \quad S_{ij} \sim N(0, 1 / rank), \qquad \tilde R = \mathrm{Adam}(R), \qquad
        s_j = \|\tilde R_j\| / \|R_j\|, \qquad u_j = \alpha \, s_j \, g_j

    for the columns :math:`j` of a matrix with no more rows than columns, and for the rows of one with more. Then the
    update is scaled down to at most :math:`\gamma` times the norm of the last one.

    Fields:
        rank: rows of the sketch, at least 1; at most the shorter side is used.
        scale: :math:`\alpha`, positive; the sketch has about :math:`\sqrt{rank / rows}` of Adam's factor.
        update_proj_gap: steps after which a new sketch is drawn, at least 1.
        scaling: `"channel"`, or `"tensor"`: one factor for the matrix, from the norms of all of R (APOLLO-Mini, with
            rank 1).
        max_growth: :math:`\gamma`, positive.
        b1: decay of Adam's mean, in [0, 1).
        b2: decay of Adam's mean square, in [0, 1).
        eps: added to Adam's root, in the units of g, at least 0.
        seed: of the sketches, which are drawn again at each step rather than kept: a whole number or a key of
            `jax.random`, which may be traced.

    Shapes and dtypes: matrices; the slots `mu` and `nu` have `rank` numbers for each channel, `size` is a number, in
    float32 or wider. The link keeps the weight that each mean has seen, :math:`1 - b^t` or, where b changes,
    :math:`1 - \prod b`, as two numbers each. Sums of gradients must stay finite: entries of g up to 1e36.

    Raises:
        ValueError: `rank` or `update_proj_gap` below 1, or another scaling.

    Differs from the paper: nothing; the sketches come from JAX's generator. The authors' code limits the growth before
    Adam's bias correction, here it is limited after it: on 120 recorded gradients of six matrices their updates are 0.6
    to 1.2 times as long, and 1 to 1.15 times at the end.

    References:
        Zhu et al., 2024, Algorithm 1 and equation 4 (the limit on growth). https://arxiv.org/abs/2412.05270

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_apollo(rank=64, mask="*/kernel"), oc.scale_by_learning_rate(0.01))
    >>> mini = oc.scale_by_apollo(rank=1, scaling="tensor", scale=11.3, mask="*/kernel")
    """

    rank: Static[int] = 128
    scale: Positive = 1.0
    update_proj_gap: Static[int] = 200
    scaling: Static[str] = "channel"
    max_growth: Positive = 1.01
    b1: Mean = 0.9
    b2: Mean = 0.999
    eps: NonNegative = 1e-8
    seed: Seed = 0

    core_ndim = 2
    batched = True
    kinds = {"mu": mean("b1", least=8), "nu": SQUARE}
    example = {"rank": 2, "mask": is_kernel}

    def init(self, p):
        whole("scale_by_apollo", "update_proj_gap", self.update_proj_gap, 1)
        if self.scaling not in SCALINGS:
            known = nearest(self.scaling, SCALINGS)
            raise ValueError(f"scale_by_apollo: there is no scaling {self.scaling!r}; {known}")
        rank = min(whole("scale_by_apollo", "rank", self.rank, 1), *p.shape)
        mu, nu = (jnp.zeros((rank, max(p.shape)), p.dtype) for _ in range(2))
        return Sketch(mu, nu, jnp.zeros((), p.dtype))

    def axes(self, p):
        long = 0 if p.shape[0] > p.shape[1] else 1
        return {"mu": (None, long), "nu": (None, long), "size": ()}

    def update(self, g, s, p, t, seen):
        wide = lying(g)
        rank, drawn = s.mu.shape[0], jnp.floor_divide(t - 1, self.update_proj_gap).astype(jnp.int32)
        key = jax.random.fold_in(key_of(self.seed), drawn)
        low = jax.random.normal(key, (rank, wide.shape[0]), g.dtype) / rank**0.5 @ wide
        mu, nu = ema(low, s.mu, self.b1), ema(square(low), s.nu, self.b2)
        step = over_root(mu / seen.b1, nu / seen.b2, self.eps)
        before, after = (norm(x, SCALINGS[self.scaling]) for x in (low, step))
        u = self.scale * quotient(after, before) * wide
        size = norm(u)
        shrunk = growth_factor(size, s.size, self.max_growth)
        return laid(shrunk * u, g), Sketch(mu, nu, shrunk * size)


scale_by_apollo = lift(Apollo, "scale_by_apollo")
