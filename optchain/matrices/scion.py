"""Scion."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import mean
from optchain.core.lift import lift
from optchain.core.mask import is_kernel
from optchain.core.numbers import Decay, Positive, Static
from optchain.core.numerics import ema
from optchain.core.paths import nearest
from optchain.core.rule import rule
from optchain.matrices.newton_schulz import MUON, orthogonalized, polynomials, unit
from optchain.matrices.shape_scale import shape_scale

CORES = {"spectral": 2, "sign": 2, "rms": None}


class Momentum(NamedTuple):
    mu: jax.Array  # like p, running mean of g


@rule
class Scion:
    r"""Replaces the running mean of the gradients by the steepest step on the ball of an operator norm.

    .. math::
        \mu \leftarrow b \mu + (1 - b) g, \qquad u = \rho \cdot
        \begin{cases}
            \sqrt{columns / rows} \; \mathrm{orthogonalized}(\mu) & \text{spectral: hidden matrices} \\
            \mathrm{sign}(\mu) / rows & \text{sign: embeddings and heads} \\
            \mu / \mathrm{rms}(\mu) & \text{rms: biases and scales}
        \end{cases}

    Times the learning rate it is the update of unconstrained Scion; with a decoupled weight decay of 1 before the rate
    the parameters stay in the ball of radius :math:`\rho`: constrained Scion.

    Fields:
        b: decay of the mean, in [0, 1); the paper's :math:`\alpha` is 1 - b.
        radius: :math:`\rho`, of the ball, positive.
        norm: `"spectral"`, `"sign"` or `"rms"`.
        ns_steps: how many polynomials of Newton-Schulz for the spectral norm, at least 1.

    Shapes and dtypes: matrices of inputs by outputs as in Flax, of any shape for `"rms"`; the slot `mu` is like the
    parameter, in float32 or wider.

    Raises:
        ValueError: another norm.

    Differs from the paper: nothing.

    References:
        Pethick et al., 2025, Algorithms 1 and 2, and the norms of their tables 2 to 4. https://arxiv.org/abs/2502.07529

    >>> import optchain as oc
    >>> hidden, rest = oc.scale_by_scion(radius=50.0, mask="*/kernel"), oc.scale_by_scion(norm="rms", mask="*/bias")
    >>> tx = oc.chain(hidden, rest, oc.add_decayed_weights(1.0), oc.scale_by_learning_rate(1e-3))
    """

    b: Decay = 0.9
    radius: Positive = 1.0
    norm: Static[str] = "spectral"
    ns_steps: Static[int] = 5

    core_ndim = property(lambda self: CORES.get(self.norm, 2))
    batched = True
    kinds = {"mu": mean("b", least=8)}
    example = {"mask": is_kernel}

    def init(self, p):
        if self.norm not in CORES:
            raise ValueError(f"scale_by_scion: there is no norm {self.norm!r}; {nearest(self.norm, CORES)}")
        return Momentum(jnp.zeros_like(p))

    def update(self, g, s, p, t):
        mu = ema(g, s.mu, self.b)
        if self.norm == "spectral":
            o = orthogonalized(mu, polynomials("scale_by_scion", MUON, self.ns_steps), 0.0)
            step = o * shape_scale("scale_by_scion", "spectral", mu.shape)
        else:
            step = jnp.sign(mu) / mu.shape[0] if self.norm == "sign" else unit(mu, 0.0) * mu.size**0.5
        return self.radius * step, Momentum(mu)


scale_by_scion = lift(Scion, "scale_by_scion")
