"""The running mean of the parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.dense import lift
from optchain.core.numerics import ema
from optchain.core.rule import Decay, rule


class Average(NamedTuple):
    average: jax.Array  # like p, running mean of p + u


@rule
class ParameterAverage:
    r"""Leaves the update alone and keeps the running mean of the parameters that it leads to.

    .. math::
        u = g, \qquad a \leftarrow b a + (1 - b) (p + g)

    It is the last link of a chain: the incoming update must be the step that is taken. `averaged_params` reads a.

    Fields:
        decay: b, in [0, 1); about :math:`1 / (1 - b)` steps are averaged.

    Shapes and dtypes: any; the slot `average` is like the parameter and begins as its copy, in float32 or wider. It
    reads the parameters: `update` without them is an error.

    Differs from the paper: the weights decay, where the paper gives all steps the same.

    References:
        Polyak and Juditsky, 1992, equation 6. doi:10.1137/0330046
    """

    decay: Decay = 0.999

    needs_params = True

    def init(self, p):
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        return Average(jnp.copy(p))

    def update(self, g, s, p, t):
        return g, Average(ema(p + g, s.average, self.decay))


average_params = lift(ParameterAverage, "average_params")


def averaged_params(state: Any) -> Any | None:
    """The averaged parameters in an optimizer state, in float32 or wider, or None where no link keeps them.

    Raises:
        ValueError: more than one link keeps an average.
    """
    found = [x["average"] for x in jax.tree.leaves(state, is_leaf=_keeps_average) if _keeps_average(x)]
    if len(found) > 1:
        raise ValueError(f"{len(found)} links keep an average; read the one you mean from state['links']")
    return found[0] if found else None


def _keeps_average(x: Any) -> bool:
    # By all its keys: a link or a parameter may be called `average` too.
    return isinstance(x, dict) and set(x) == {"count", "average"} and jnp.shape(x["count"]) == ()
