"""The compiler's own counts of one optimizer step: exact, and independent of the machine's load."""

import dataclasses
import re
from collections.abc import Callable
from typing import Any

import jax
import optax

import optchain as oc
from experiments.benchmarks import trees
from optchain.core.transform import forwarding

Step = Callable[[Any, Any, Any], tuple[Any, Any]]


@dataclasses.dataclass(frozen=True)
class Counts:
    """Counts of a compiled step, bytes for each parameter."""

    accessed: float  # bytes read and written by all operations, as XLA's cost analysis adds them up
    temporary: float  # bytes allocated beside arguments and results
    passes: int  # operations of the entry computation that write an array as large as the largest leaf


def donated(step: Step) -> Any:
    """Jit `step(params, state, grads) -> (params, state)` with parameters and state donated.

    The arguments stand in the order of the results: JAX pairs donated buffers with results of the same shape in order,
    and pairs that are not each other's old value cost XLA a copy of every slot.
    """
    return jax.jit(step, donate_argnums=(0, 1))


def chained(tx: optax.GradientTransformation) -> Step:
    """One step through `optchain.apply`, told a loss for what follows it; nothing else is measured in this step."""
    given = {"value": 1.0} | dict.fromkeys(["hessian", "max_logits", "stale_params", "staleness"])
    return lambda params, state, grads: oc.apply(tx, grads, state, params, **given)


def plain(tx: optax.GradientTransformation) -> Step:
    """One step as optax's users write it: `update`, then `apply_updates`."""

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = forwarding(tx).update(grads, state, params, value=1.0)
        return optax.apply_updates(params, updates), state

    return step


def count(step: Step, tx: optax.GradientTransformation, params: Any) -> Counts:
    """The counts of a step on these parameters, of which only shapes and dtypes matter."""
    return counts(donated(step).lower(params, jax.eval_shape(tx.init, params), params).compile(), params)


def counts(compiled: jax.stages.Compiled, params: Any) -> Counts:
    """The counts of a compiled step."""
    parameters = trees.size(params)
    cost: Any = compiled.cost_analysis()
    memory: Any = compiled.memory_analysis()
    return Counts(
        accessed=cost["bytes accessed"] / parameters,
        temporary=memory.temp_size_in_bytes / parameters,
        passes=passes(compiled.as_text() or "", max(jax.tree.leaves(params), key=lambda x: x.size).shape),
    )


def passes(hlo: str, shape: tuple[int, ...]) -> int:
    """How many fusions, copies and calls of the entry computation write an array of this shape."""
    entry = hlo[hlo.index("\nENTRY") :]
    array = re.escape(f"f32[{','.join(map(str, shape))}]")
    return len(re.findall(rf"= [^=]*{array}[^=]* (?:fusion|copy|call)\(", entry))


def floor(tx: optax.GradientTransformation, params: Any) -> float:
    """The bytes for each parameter that no elementwise step can avoid: g, p and slots read, p and slots written."""
    slots = trees.size([x for x in jax.tree.leaves(jax.eval_shape(tx.init, params)) if x.ndim])
    return 4 * (3 + 2 * slots / trees.size(params))
