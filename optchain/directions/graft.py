"""Grafting."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import optax

from optchain.core.around import Around
from optchain.core.dense import Dense
from optchain.core.lift import technique
from optchain.core.numerics import norm
from optchain.core.routing import Given
from optchain.core.rule import rule
from optchain.core.transform import Transform, transform
from optchain.core.whole import whole_max
from optchain.moments.adam import scale_by_adam
from optchain.stepsize.scale import scale


@rule
class Rescaling:
    """Gives one array the norm of another."""

    core_ndim = None
    on_shards = True
    extras = ("magnitude",)

    def update(self, g, s, p, t, magnitude):
        # By the largest entry first: the squares of tiny or huge entries leave the range of float32.
        u, m = (whole_max(jnp.abs(x)) for x in (g, magnitude))
        g, magnitude = (x / jnp.where(largest == 0, 1, largest) for x, largest in ((g, u), (magnitude, m)))
        length = norm(g).astype(g.dtype)
        return g * (m * norm(magnitude).astype(g.dtype) / jnp.where(length == 0, 1, length)), s


@dataclasses.dataclass(frozen=True)
class Graft(Around):
    """Runs two techniques, and gives the update of `inner` the norms of the other's."""

    magnitude: Any
    rescaling: Any = transform(Dense(Rescaling(), "rescaling"))

    name = "graft"
    mixes = True
    on_shards = True

    def others(self) -> dict[str, Any]:
        return {"magnitude": self.magnitude, "rescaling": self.rescaling}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        direction, inner = self.inner_step(updates, state, params, routed)
        length, magnitude = self.other_step("magnitude", updates, state, params, routed)
        routed = routed | {"rescaling": routed["rescaling"].with_extra(magnitude=length)}
        new, rescaling = self.other_step("rescaling", direction, state, params, routed)
        return new, {self.name: {}, "inner": inner, "others": {"magnitude": magnitude, "rescaling": rescaling}}


@technique(magnitude=scale(0.1), direction=scale_by_adam())
def graft(magnitude: optax.GradientTransformation, direction: optax.GradientTransformation) -> Transform:
    r"""Takes the direction of the update from one technique and, leaf by leaf, its norm from another.

    .. math::
        u = \frac{\lVert u_M \rVert}{\lVert u_D \rVert} u_D, \qquad 0 \text{ where } u_D \text{ is}

    Both see the same gradients. Grafting tells how much of a method's effect is its implicit step size, and lets one
    that needs tuning run with the schedule of one that is tuned.

    Args:
        magnitude: any transformation, which gives the norms; its numbers have names such as `"magnitude.b1"`.
        direction: any transformation, which gives the directions; its numbers keep their own names.

    Shapes and dtypes: any; norms are taken of each leaf, of a declared layer in the layer (`over_layers`).

    Differs from the paper: no small constant in the quotient; a direction of norm 0 stays 0.

    References:
        Agarwal et al., 2020, Algorithm 1, layer by layer. https://arxiv.org/abs/2002.11803

    >>> import optchain as oc
    >>> tx = oc.chain(oc.graft(oc.scale_by_adam(), direction=oc.scale_by_rss()), oc.scale_by_learning_rate(1e-3))
    """
    for name, tx in (("magnitude", magnitude), ("direction", direction)):
        if not isinstance(tx, optax.GradientTransformation):
            raise ValueError(f"graft: {name} must be a gradient transformation, got {tx!r}")
    return transform(Graft(direction, magnitude))
