"""Hypergradient descent on the learning rate."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.around import Around
from optchain.core.chain import chain
from optchain.core.lift import technique
from optchain.core.numbers import Range, checked
from optchain.core.routing import Given
from optchain.core.transform import Transform, transform
from optchain.core.trees import dot, scalar
from optchain.moments.adam import scale_by_adam
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Hypergradient(Around):
    """Multiplies the wrapped transformation's updates by a rate that descends the loss too.

    State under its name: `rate`, and `last`, the last update of the wrapped transformation, like the parameters.
    """

    learning_rate: float
    hyper_learning_rate: float

    name = "hypergradient"
    mixes = True
    on_shards = True

    def begin(self, params: Any) -> dict[str, Any]:
        return {"rate": scalar(self.learning_rate, params), "last": jax.tree.map(jnp.zeros_like, params)}

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {"rate": own["rate"]}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        own = state[self.name]
        u, inner = self.inner_step(updates, state, params, routed)
        rate = own["rate"] - self.hyper_learning_rate * dot(updates, own["last"]).astype(own["rate"].dtype)
        new = jax.tree.map(lambda x: rate.astype(x.dtype) * x, u)
        return new, {self.name: {"rate": rate, "last": u}, "inner": inner}


@technique(tx=chain(adam=scale_by_adam(), descent=scale(-1.0)), learning_rate=1e-3, hyper_learning_rate=1e-7)
def hypergradient(tx: Any, learning_rate: float, hyper_learning_rate: float) -> Transform:
    r"""Multiplies the updates of any optimizer by a rate that goes downhill itself, by the gradient along the last one.

    .. math::
        v' = \mathrm{tx}(g), \qquad \eta \leftarrow \eta - \beta \langle g, v \rangle, \qquad u = \eta v'

    The rate grows as long as the gradient points where the last update v pointed, and may become negative.

    Args:
        tx: any transformation whose updates are to be added, of rate 1: `oc.sgd(1.0)` makes this SGD-HD,
            `oc.nesterov(1.0)` SGDN-HD and `oc.adam(1.0)` Adam-HD.
        learning_rate: the first :math:`\eta`, at least 0.
        hyper_learning_rate: :math:`\beta`, at least 0, in units of the rate over those of the loss; the paper takes
            about 1e-3 for SGD and 1e-7 for Adam.

    Metrics: `hypergradient.rate`, :math:`\eta`.

    Shapes and dtypes: any; the slot `last`, v, is like the parameters, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range.

    References:
        Baydin et al., 2017, Algorithms 4 to 6. https://arxiv.org/abs/1703.04782

    >>> import optchain as oc
    >>> tx = oc.hypergradient(oc.adam(1.0), learning_rate=1e-3, hyper_learning_rate=1e-7)
    """
    numbers = {"learning_rate": learning_rate, "hyper_learning_rate": hyper_learning_rate}
    given = {name: checked("hypergradient", name, x, Range("[0, inf)")) for name, x in numbers.items()}
    return transform(Hypergradient(tx, **given))
