"""One technique beside its dense steps: what all of its executions share, and how near their parameters must be."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optchain as oc
from optchain.core.dense import Dense
from optchain.core.registry import Registered, registered
from optchain.core.walk import definitions
from optchain.inspect.laws.check import Broken
from optchain.inspect.laws.steps import cast, compiled, every_extra, flat, gradients

STEPS, ROWS = 2, 8
# Square: which vectors span what a matrix multiplies by 0 is left open, and rounding decides it.
SHAPES = {"kernel": (ROWS, 8), "deep": {"kernel": (ROWS, 8)}, "bias": (5,)}


class Case:
    """A technique with the parameters and gradients that all of its executions share; bfloat16 holds them exactly.

    Args:
        name: under which it is exported.
        entry: how it is made.
    """

    def __init__(self, name: str, entry: Registered) -> None:
        self.name, self.make, self.arguments = name, entry.make, dict(entry.example)
        if "tx" in self.arguments and not any(link.Slots._fields for link in techniques_of(self.arguments["tx"])):
            # Around what has no slots a wrapper would show little.
            self.arguments["tx"] = oc.chain(oc.scale_by_adam(), oc.scale(-0.1))
        self.tx = self.make(**self.arguments)
        shapes, treedef = jax.tree.flatten(SHAPES, is_leaf=lambda x: isinstance(x, tuple))
        blank = treedef.unflatten([jax.ShapeDtypeStruct(shape, jnp.bfloat16) for shape in shapes])
        self.params, *self.grads = (cast(gradients(blank, seed), jnp.float32) for seed in range(STEPS + 1))

    @property
    def links(self) -> list[Any]:
        """The techniques of single leaves that it consists of."""
        return techniques_of(self.tx)

    def names(self) -> set[str]:
        """What an error may call it: its own name, or that of another technique that is exported and stands within."""
        return {self.name, *({link.name for _, link in definitions(self.tx)} & set(registered()))}

    def within(self, wrap: Callable[[Any], Any]) -> tuple[Any, str]:
        """The technique in a wrapper; or where that refuses a wrapper, the two the other way round.

        Returns:
            The transformation, and "inside" for the other way round.
        """
        try:
            return wrap(self.tx), ""
        except ValueError:
            if "tx" not in self.arguments:
                raise
            try:
                return self.make(**{**self.arguments, "tx": wrap(self.arguments["tx"])}), "inside"
            except ValueError:
                pass  # what is asked for first says why
            raise

    def dense(self, grads: list[Any], start: Any = None) -> Any:
        """The parameters after dense steps, from those of the case if no others are given."""
        start = self.params if start is None else start
        carry = (start, self.tx.init(start))
        for gs in grads:
            carry = compiled(self.tx)(carry, gs)
        return carry[0]

    def require_near(
        self, found: Any, bound: float, unit: float, grads: list[Any] | None = None, start: Any = None
    ) -> None:
        """The parameters are those after dense steps.

        Args:
            found: the parameters.
            bound: the largest error, as a part of the way that dense steps go.
            unit: what rounding of the parameters may add, as a part of their norm.
            grads: of the steps, if they are not those of the case.
            start: the parameters before them, if they are not those of the case.
        """
        start = self.params if start is None else start
        expected = flat(self.dense(grads or self.grads, start))
        error, way = (float(np.linalg.norm(flat(x) - expected)) for x in (found, start))
        if not error <= bound * way + unit * np.linalg.norm(expected):
            raise Broken(f"the parameters are off by {error:.2g} where dense steps go {way:.2g}")


def techniques_of(tx: Any) -> list[Any]:
    """The techniques of single leaves in a transformation."""
    return [link for _, link in definitions(tx) if isinstance(link, Dense)]


def stepped(tx: Any, params: Any, grads: list[Any], state: Any = None, layouts: Any = None) -> tuple[Any, Any]:
    """The parameters and the state after steps that are compiled once."""
    state = tx.init(params) if state is None else state
    step = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p, **every_extra()), out_shardings=layouts)
    for gs in grads:
        params, state = step(gs, state, params)
    return params, state
