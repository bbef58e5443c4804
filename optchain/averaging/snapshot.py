"""Snapshots of the parameters."""

from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Range, Scalar
from optchain.core.rule import rule


class Snapshot(NamedTuple):
    snapshot: jax.Array  # like p, the parameter at the last snapshot


@rule
class PeriodicSnapshot:
    r"""Leaves the update alone and keeps the parameters that stood at the end of the last period.

    .. math::
        u = g, \qquad q \leftarrow \begin{cases} p + g & \text{at the updates } t = k, 2k, ... \\ q & \text{else}
        \end{cases}

    It is the last link of a chain: the incoming update must be the step that is taken. With the period of a cyclic
    schedule it holds the end of the last cycle, a member of a snapshot ensemble; `averaged_params` reads it.

    Fields:
        every: k, updates in a period, at least 1; rounded to a whole number. As a schedule it may change over time.

    Shapes and dtypes: any; the slot `snapshot` is like the parameter and begins as its copy, in float32 or wider. It
    reads the parameters: `update` without them is an error.

    Differs from the paper: one snapshot is held; an ensemble reads it once in every period.

    References:
        Huang et al., 2017, section 3 (snapshot ensembles). https://arxiv.org/abs/1704.00109
    """

    every: Annotated[Scalar, Range("[1, inf)")]

    needs_params = True
    example = {"every": 2.0}

    def init(self, p):
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        return Snapshot(jnp.copy(p))

    def update(self, g, s, p, t):
        return g, Snapshot(jnp.where(jnp.mod(t, jnp.round(self.every)) == 0, p + g, s.snapshot))


snapshot_params = lift(PeriodicSnapshot, "snapshot_params")
