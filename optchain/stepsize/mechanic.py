"""Mechanic: a tuner of any optimizer's learning rate."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.around import Around
from optchain.core.lift import technique
from optchain.core.numbers import Range, checked, whole
from optchain.core.numerics import global_norm, quotient
from optchain.core.routing import Given
from optchain.core.transform import Transform, transform
from optchain.core.trees import dot, scalar
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Mechanic(Around):
    """Scales the sum of the wrapped transformation's updates by a factor that bets on gradients along that sum.

    State under its name: `moved`, the sum, like the parameters; for each decay its `scale`, its `reward`, the `root` of
    its squared products, and their `largest`.
    """

    weight_decay: float
    eps: float
    s_init: float
    num_betas: int

    name = "mechanize"
    mixes = True
    on_shards = True
    needs_params = True

    def begin(self, params: Any) -> dict[str, Any]:
        own = {name: jnp.zeros((self.num_betas,), scalar(0.0, params).dtype) for name in ("scale", "reward")}
        own |= {name: jnp.zeros_like(own["scale"]) for name in ("root", "largest")}
        return own | {"moved": jax.tree.map(jnp.zeros_like, params)}

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {"scale": jnp.sum(own["scale"])}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        """The way from the old sum, scaled by its old factor, to the new sum, scaled by its new one."""
        own = state[self.name]
        u, inner = self.inner_step(updates, state, params, routed)
        tuned = self._tuned(self._product(updates, own, params), own)
        moved = jax.tree.map(jnp.add, own["moved"], u)
        before, after = jnp.sum(own["scale"]), jnp.sum(tuned["scale"])

        def way(old: jax.Array, new: jax.Array) -> jax.Array:
            return after.astype(new.dtype) * new - before.astype(old.dtype) * old

        return jax.tree.map(way, own["moved"], moved), {self.name: tuned | {"moved": moved}, "inner": inner}

    def _product(self, g: Any, own: dict[str, Any], p: Any) -> jax.Array:
        """The gradient, with its decay, along the sum: how much the loss grows with the scale."""
        moved = own["moved"]
        pull = self.weight_decay * jnp.sum(own["scale"]) * quotient(global_norm(g), global_norm(p))
        return (dot(moved, g) + pull * dot(moved, p)).astype(own["scale"].dtype)

    def _tuned(self, h: jax.Array, own: dict[str, Any]) -> dict[str, jax.Array]:
        """The scale of each decay after one more product."""
        betas = jnp.asarray([1 - 0.1 ** (i + 1) for i in range(self.num_betas)], h.dtype)
        largest = jnp.maximum(betas * own["largest"], jnp.abs(h))
        # The root itself is kept: the square of a large product would be infinite.
        root = jnp.hypot(betas * own["root"], jnp.broadcast_to(h, betas.shape))
        reward = jnp.maximum(betas * own["reward"] - h * own["scale"], 0)
        bet = (self.s_init / self.num_betas * largest + reward) / (root + self.eps)
        return {"scale": bet, "reward": reward, "root": root, "largest": largest}


@technique(tx=scale(-0.1))
def mechanize(
    tx: Any, weight_decay: float = 1e-2, eps: float = 1e-8, s_init: float = 1e-6, num_betas: int = 6
) -> Transform:
    r"""Scales the sum of any optimizer's updates by a factor that it learns: a learning rate is no longer needed.

    .. math::
        h = \Big\langle \Delta, g + \lambda s \frac{\lVert g \rVert}{\lVert p \rVert} p \Big\rangle, \qquad
        m_i \leftarrow \max(b_i m_i, |h|), \qquad v_i \leftarrow b_i^2 v_i + h^2, \qquad
        r_i \leftarrow \max(b_i r_i - s_i h, 0)

        s_i \leftarrow \frac{s_{init} m_i / n + r_i}{\sqrt{v_i} + \epsilon}, \qquad s = \textstyle\sum_i s_i, \qquad
        \Delta' = \Delta + \mathrm{tx}(g), \qquad u = s' \Delta' - s \Delta, \qquad b_i = 1 - 10^{-i}

    The schedule of the optimizer within keeps its shape, and peaks at 1. Products and norms are over all leaves.

    Args:
        tx: any transformation whose updates are to be added, such as `oc.adam(1.0)`.
        weight_decay: :math:`\lambda`, at least 0; it acts on the scale alone.
        eps: :math:`\epsilon`, in the units of h, at least 0; positive where gradients may be 0.
        s_init: the scale of the second step, > 0; smaller than the one that is looked for. The first step has none.
        num_betas: n, how many decays :math:`b_i`, at least 1.

    Metrics: `mechanize.scale`, s.

    Shapes and dtypes: any; the slot `moved`, :math:`\Delta`, is like the parameters, in float32 or wider.

    Differs from the paper: nothing. :math:`\Delta` is kept, where optax computes it from the parameters, which in low
    precision have not moved yet; optax also begins at the scale `s_init` and clips h. The authors' program takes 1e-8
    for `s_init` and begins :math:`m_i` at 1e-6, so that its first scale is 98 `s_init`, near the 1e-6 of the second one
    here.

    Raises:
        ValueError: a number out of its range; at trace time, no parameters.

    References:
        Cutkosky, Defazio and Mehta, 2023, Algorithm 1. https://arxiv.org/abs/2306.00144

    >>> import optchain as oc
    >>> tx = oc.mechanize(oc.adamw(oc.warmup_cosine(peak=1.0, warmup=100, total=1000)))
    """
    numbers = {"weight_decay": (weight_decay, "[0, inf)"), "eps": (eps, "[0, inf)"), "s_init": (s_init, "(0, inf)")}
    given = {name: checked("mechanize", name, x, Range(interval)) for name, (x, interval) in numbers.items()}
    return transform(Mechanic(tx, num_betas=whole("mechanize", "num_betas", num_betas, 1), **given))
