"""Cautious updates."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import optax

from optchain.core.around import Around
from optchain.core.dense import Dense
from optchain.core.lift import technique
from optchain.core.routing import Given
from optchain.core.rule import rule
from optchain.core.transform import Transform, transform
from optchain.core.walk import numbers_of
from optchain.core.whole import whole_size, whole_sum
from optchain.moments.adam import scale_by_adam


@rule
class Alignment:
    """Zeroes the entries of one array that disagree with the gradient, and scales up the rest."""

    core_ndim = None
    on_shards = True
    extras = ("gradient",)

    def update(self, g, s, p, t, gradient):
        agrees = g * jnp.sign(gradient) > 0
        # The sum, not the mean, so that an array without an agreeing entry gives zeros.
        scale = whole_size(g) / (whole_sum(agrees.astype(g.dtype)) + 1)
        return jnp.where(agrees, scale * g, 0), s


@dataclasses.dataclass(frozen=True)
class Cautious(Around):
    """Runs a technique and keeps what agrees with the gradient."""

    alignment: Any = transform(Dense(Alignment(), "alignment"))

    name = "cautious"
    mixes = True
    on_shards = True

    def others(self) -> dict[str, Any]:
        return {"alignment": self.alignment}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        new, inner = self.inner_step(updates, state, params, routed)
        routed = routed | {"alignment": routed["alignment"].with_extra(gradient=updates)}
        kept, alignment = self.other_step("alignment", new, state, params, routed)
        return kept, {self.name: {}, "inner": inner, "others": {"alignment": alignment}}


@technique(tx=scale_by_adam())
def cautious(tx: optax.GradientTransformation) -> Transform:
    r"""Zeroes the entries of a technique's update whose sign disagrees with the gradient, and scales up the rest.

    .. math::
        \phi_i = [u_i g_i > 0], \qquad u'_i = \frac{d}{1 + \sum_j \phi_j} \phi_i u_i

    with d the number of entries of the leaf. It stands around the moments and before decay and learning rate,
    `chain(cautious(scale_by_adam()), add_decayed_weights(0.1), scale_by_learning_rate(1e-3))`: after the rate an update
    has the other sign than the gradient.

    Args:
        tx: any transformation whose update has the sign of the gradient.

    Shapes and dtypes: any; the entries are counted in each leaf, of a declared layer in the layer (`over_layers`).

    Differs from the paper: nothing; its code divides by the mean of the mask and a small constant instead.

    Raises:
        ValueError: a transformation with a learning rate.

    References:
        Liang et al., 2024, Algorithm 1 and the scaling with xi = 1 of section 2. https://arxiv.org/abs/2411.16085

    >>> import optchain as oc
    >>> tx = oc.chain(oc.cautious(oc.scale_by_lion()), oc.scale_by_learning_rate(1e-4))
    """
    for name in numbers_of(tx):
        if name.split(".")[-1] == "learning_rate":
            raise ValueError(f"cautious: tx has the learning rate {name!r}; put it after cautious, with the decay")
    return transform(Cautious(tx))
