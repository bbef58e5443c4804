"""The step of the server: from what workers have handed in to the next parameters."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

import optchain as oc
from optchain.core.numerics import wide
from optchain.core.walk import readers
from optchain.lab.models.frozen import bound
from optchain.lab.training.chunk import Carry
from optchain.lab.training.experiment import Experiment


@dataclasses.dataclass(frozen=True)
class Handed:
    """What a worker hands in after its steps."""

    difference: Any  # the parameters that it began with minus those that it has arrived at
    rest: Any  # of the model, but for what is frozen
    logs: dict[str, float]  # the means of its losses and metrics
    staleness: int  # the steps that the server has made meanwhile
    began: Any  # the parameters that it began with, where an optimizer reads them


class Outer:
    """The step of an experiment's server, compiled."""

    def __init__(self, built: Experiment, examples: int) -> None:
        """
        Args:
            built: the experiment.
            examples: that are trained on for a step.
        """
        self.built, self.examples = built, examples
        self.reads_began = bool(readers(built.tx, "stale_params"))
        self._step = jax.jit(self._stepped)

    def __call__(self, carry: Carry, handed: list[Handed], hyper: dict[str, float]) -> tuple[Carry, dict[str, Any]]:
        """The carry after a step, and its row for the logs.

        Args:
            carry: before it.
            handed: of the workers that step together, in the order of their pieces.
            hyper: numbers of the chain for those of the configuration.
        """
        logs = {name: sum(one.logs[name] for one in handed) / len(handed) for name in handed[0].logs}
        told = {"value": jnp.float32(logs["loss"]), "staleness": jnp.int32(max(one.staleness for one in handed))}
        told |= {"hyper": hyper} if hyper else {}
        told |= {"stale_params": handed[0].began} if self.reads_began else {}
        carry, optimizer = self._step(carry, [one.difference for one in handed], [one.rest for one in handed], told)
        return carry, logs | {"staleness": told["staleness"], "optimizer": optimizer}

    def _stepped(
        self, carry: Carry, differences: list[Any], rests: list[Any], told: dict[str, Any]
    ) -> tuple[Carry, dict[str, Any]]:
        way = jax.tree.map(_mean, *differences)
        told = told | {"validation": carry["validation"]}
        params, opt_state = oc.apply(self.built.tx, way, carry["opt_state"], carry["params"], **told)
        _, _, back = bound(self.built.model, carry["rest"])
        new = carry | {
            "params": params,
            "rest": back(jax.tree.map(_mean, *rests)),
            "opt_state": opt_state,
            "step": carry["step"] + 1,
            "examples": carry["examples"] + self.examples,
            "validation": jnp.full_like(carry["validation"], jnp.nan),
        }
        return new, oc.metrics(opt_state)


def _mean(*xs: jax.Array) -> jax.Array:
    """The mean of what several workers have; of what are no real numbers, such as counts, that of the last."""
    if len(xs) == 1 or not jnp.issubdtype(xs[-1].dtype, jnp.floating):
        return xs[-1]
    return (sum(map(wide, xs[1:]), wide(xs[0])) / len(xs)).astype(xs[-1].dtype)
