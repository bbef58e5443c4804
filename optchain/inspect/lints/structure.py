"""What a transformation consists of: its links by parameter, and its schedules."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optchain.control.accumulate import Accumulate
from optchain.core.paths import named_leaves
from optchain.core.transform import moving
from optchain.inspect.lints.curves import Curve
from optchain.inspect.lints.links import Link, is_wrapper, placed
from optchain.inspect.lints.measure import attempt

RATES = ("learning_rate", "step_size")


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """A transformation, its run, and those of its parameters that are real floating arrays."""

    tx: Any
    params: Any
    steps: int | None
    extra: Mapping[str, Any]

    @functools.cached_property
    def shapes(self) -> dict[str, Any]:
        """The shapes and dtypes of the parameters, by path."""
        return {path: jax.ShapeDtypeStruct(x.shape, x.dtype) for path, x in named_leaves(self.params)}

    @functools.cached_property
    def everything(self) -> list[Link]:
        """All transformations within, wrappers before what they wrap."""
        return placed(self.tx, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self.params))

    @functools.cached_property
    def links(self) -> list[Link]:
        """The links that make the update, in the order in which they step."""
        return [link for link in self.everything if link.line and not is_wrapper(link)]

    @functools.cached_property
    def wrappers(self) -> list[Link]:
        """All that other transformations stand within."""
        return [link for link in self.everything if is_wrapper(link)]

    @functools.cached_property
    def lines(self) -> dict[str, list[Link]]:
        """The links that step each parameter, in order."""
        paths = {path: [link for link in self.links if path in link.paths] for path in self.shapes}
        return {path: line for path, line in paths.items() if line}

    @property
    def is_open(self) -> bool:
        """Whether all that stands within can be seen."""
        return not any(link.is_opaque for link in self.links)

    def steps_of(self, link: Link) -> int | None:
        """How often a link steps in the run."""
        steps = self.steps
        for wrapper in link.around:
            if steps is not None and isinstance(wrapper.definition, Accumulate):
                every = wrapper.definition.every
                steps = None if callable(every) else max(int(steps // round(float(every))), 1)
        return steps

    @functools.cached_property
    def curves(self) -> list[Curve]:
        """All schedules within: of the numbers of links, and of links of optax by what they make of updates."""
        found = []
        for link in self.everything:
            steps = self.steps_of(link)
            found += [Curve(link.where, name, x, steps) for name, x in link.numbers.items() if callable(x)]
            if link.definition is None and link.technique == "scale_by_schedule":
                found.append(Curve(link.where, "step_size", functools.partial(_factor_at, link.tx), steps))
        values = {curve: attempt(lambda curve=curve: curve.values) for curve in found}
        return [curve for curve, x in values.items() if x is not None and np.isfinite(x).all()]

    @functools.cached_property
    def peaks(self) -> dict[tuple[str, str], float]:
        """The largest value of each rate that is a schedule, by link and number."""
        return {(curve.where, curve.number): curve.peak for curve in self.curves if curve.number in RATES}

    @functools.cached_property
    def narrow(self) -> list[str]:
        """The parameters in bfloat16 or float16."""
        return [path for path, x in self.shapes.items() if x.dtype.itemsize < 4]

    @functools.cached_property
    def frozen(self) -> set[str]:
        """The parameters that a group freezes."""
        kept = {path for path, _ in named_leaves(moving(self.tx, self.params))}
        return set(self.shapes) - kept


def _factor_at(tx: Any, step: Any) -> Any:
    """By what a link of optax multiplies updates at one step, which it counts itself."""
    state = optax.tree.set(tx.init({"x": jnp.ones(())}), count=jnp.asarray(step, jnp.int32))
    return tx.update({"x": jnp.ones(())}, state, {"x": jnp.ones(())})[0]["x"]
