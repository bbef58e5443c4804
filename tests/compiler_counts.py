"""The compiler's own counts of one step: exact, and independent of the machine's load."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

import optchain as oc


class Counts(NamedTuple):
    """Counts of a compiled step; the bytes are for each parameter."""

    accessed: float  # read and written by all operations, as XLA's cost analysis adds them up
    temporary: float  # allocated beside arguments and results
    passes: int  # operations of the entry computation that write an array as large as the largest leaf


def counts(tx: Any, params: Any, extra: Callable[[Any, Any], dict[str, Any]] = lambda grads, params: {}) -> Counts:
    """The counts of a step by `optchain.apply` with parameters and state donated.

    Args:
        tx: any optax transformation.
        params: of which only shapes and dtypes matter.
        extra: the extra arguments of the step, from gradients and parameters.
    """

    def step(params: Any, state: Any, grads: Any) -> Any:
        return oc.apply(tx, grads, state, params, **extra(grads, params))

    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(params, jax.eval_shape(tx.init, params), params)
    compiled, size = lowered.compile(), sum(x.size for x in jax.tree.leaves(params))
    cost: Any = compiled.cost_analysis()
    memory: Any = compiled.memory_analysis()
    largest = max(jax.tree.leaves(params), key=lambda x: x.size).shape
    passes = _passes(compiled.as_text() or "", largest)
    return Counts(cost["bytes accessed"] / size, memory.temp_size_in_bytes / size, passes)


def _passes(hlo: str, shape: tuple[int, ...]) -> int:
    """How many fusions, copies and calls of the entry computation write an array of this shape."""
    array = re.escape(f"f32[{','.join(map(str, shape))}]")
    return len(re.findall(rf"= [^=]*{array}[^=]* (?:fusion|copy|call)\(", hlo[hlo.index("\nENTRY") :]))
