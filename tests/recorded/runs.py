"""The recorded runs: every export as the link of a chain, and the compositions as they are."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from techniques import build

import optchain as oc
from optchain.core.row_gradient import is_row_gradient
from recorded.inputs import EXAMPLES, EXTRAS, FLOAT64, STEPS, batched, bowl, by_path, extra_arguments, inputs

RECORDED_STEPS = [0, 1, STEPS - 1]  # whose updates are recorded


@dataclasses.dataclass(frozen=True)
class Case:
    """A transformation and how it is run; the functions take the step, from 0, gradients and parameters."""

    tx: Any
    extras: tuple[str, ...] = ()
    examples: bool = False
    gradients: Callable[[Any, Any, Any], Any] = lambda t, grads, params: grads
    more: Callable[[Any, Any, Any], dict[str, Any]] = lambda t, grads, params: {}  # more extra arguments
    dtype: str = "float32"  # of parameters and gradients


@dataclasses.dataclass(frozen=True)
class Run:
    """What is recorded of a run: for each quantity the leaves by path, and the metrics after the last step."""

    trees: dict[str, dict[str, np.ndarray]]
    metrics: dict[str, float]


# What numbers were by default that are others now.
DEFAULTS = {
    "muon": {"*adam.b2": 0.999, "*adam_lr.learning_rate": 0.01},
    "muon_clip": {"*adam.b2": 0.999},
    "adan": {"*eps_root": 1e-8},
}


def export(name: str) -> Case:
    """The case of an export: the one link of a chain, which shows its metrics."""
    if name in DEFAULTS:
        return Case(
            oc.chain(link=build(name)), EXTRAS.get(name, ()), more=lambda t, grads, params: {"hyper": DEFAULTS[name]}
        )
    case = Case(oc.chain(link=build(name)), EXTRAS.get(name, ()), name in EXAMPLES)
    case = dataclasses.replace(case, dtype="float64" if name in FLOAT64 else case.dtype)
    return dataclasses.replace(case, gradients=downhill, more=searched) if name == "lbfgs" else case


def downhill(t: Any, grads: Any, params: Any) -> Any:
    """The gradients of the function that is the same at every step."""
    return jax.grad(bowl)(params)


def searched(t: Any, grads: Any, params: Any) -> dict[str, Any]:
    """What a line search on that function receives."""
    return {"value": bowl(params), "value_fn": bowl}


def trained(case: Case, params: Any, grads: Any) -> Any:
    """The parameters and the state after the last step, and the updates of all steps."""

    def step(carry: Any, x: Any) -> Any:
        (params, state), (t, grads) = carry, x
        grads = case.gradients(t, grads, params)
        extra = extra_arguments(case.extras, t, grads, params) | case.more(t, grads, params)
        updates, _ = case.tx.update(grads, state, params, **extra)
        dense = jax.tree.map(lambda u: u.dense() if is_row_gradient(u) else u, updates, is_leaf=is_row_gradient)
        return oc.apply(case.tx, grads, state, params, **extra), dense

    return jax.lax.scan(step, (params, case.tx.init(params)), (jnp.arange(STEPS), grads))


def begun(case: Case, leaves: str) -> Any:
    """The parameters and the gradients of a case."""
    params, grads = jax.tree.map(lambda x: jnp.asarray(x, case.dtype), inputs(leaves))
    return params, batched(grads) if case.examples else grads


def run(case: Case, leaves: str) -> Run:
    """Run a case on the leaves that are called so."""
    with jax.enable_x64(case.dtype == "float64"):
        (params, state), updates = jax.jit(lambda *given: trained(case, *given))(*begun(case, leaves))
        trees = {"params": by_path(params)}
        trees |= {f"update {t + 1}": by_path(jax.tree.map(lambda u, t=t: u[t], updates)) for t in RECORDED_STEPS}
        averaged = oc.averaged_params(state, params)
        trees |= {} if averaged is None else {"averaged": by_path(averaged)}
        return Run(trees, {name: float(x) for name, x in oc.metrics(state).items()})


def refused(case: Case, leaves: str) -> str | None:
    """Why a case does not take the leaves that are called so, or None where it does."""
    with jax.enable_x64(case.dtype == "float64"):
        try:
            jax.eval_shape(lambda *given: trained(case, *given), *begun(case, leaves))
        except ValueError as error:
            return str(error)
    return None
