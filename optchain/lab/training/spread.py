"""Runs side by side on several devices: each device has its share of them, and they never meet."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding

AXIS = "lanes"


@dataclasses.dataclass(frozen=True)
class Spread:
    """The first axis of stacked arrays divided over devices."""

    mesh: jax.sharding.Mesh

    @property
    def stacked(self) -> NamedSharding:
        """The sharding of what is stacked: each device has its share."""
        return NamedSharding(self.mesh, jax.P(AXIS))

    @property
    def copied(self) -> NamedSharding:
        """The sharding of what all runs read: each device has a copy."""
        return NamedSharding(self.mesh, jax.P())

    def mapped(self, function: Callable[..., Any], stacked: tuple[bool, ...]) -> Callable[..., Any]:
        """A function of stacked runs that each device calls with its share of them, which gives stacked results.

        Args:
            function: of the runs that lie on one device.
            stacked: of each argument, whether it is stacked; if not, the devices have copies.
        """
        specs = tuple(jax.P(AXIS) if own else jax.P() for own in stacked)
        return jax.shard_map(function, mesh=self.mesh, in_specs=specs, out_specs=jax.P(AXIS), check_vma=False)


def spread_over(width: int) -> Spread | None:
    """How so many runs are spread over the devices of this process; None where these do not divide them evenly, or
    where there is one device."""
    devices = jax.local_devices()
    if len(devices) == 1 or width % len(devices):
        return None
    return Spread(jax.sharding.Mesh(np.array(devices), (AXIS,)))
