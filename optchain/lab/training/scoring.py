"""The models of a carry, and what they are worth on a split."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import optchain as oc
from optchain.core.paths import named_leaves
from optchain.lab.data.task import Task
from optchain.lab.models.answering import together
from optchain.lab.models.functional import Model
from optchain.lab.training.layout import ONE_DEVICE, Layout

EVALUATED = 512  # examples at once
Evaluate = Callable[..., dict[str, jax.Array]]


def make_evaluate(task: Task, model: Model, members: bool = False, layout: Layout = ONE_DEVICE) -> Evaluate:
    """A compiled function `evaluate(variables, inputs, targets, weights=None)`: the mean loss and the metrics of a
    model.

    With `members` the variables are those of several models, stacked, which answer together: by the mean of what they
    hold probable, or of their outputs where the task has no classes.
    """
    programs = {name: metric for name, metric in task.metrics.items() if metric.evaluator is None}
    whole = [name for name, metric in programs.items() if metric.whole]

    def answer(variables: Any, inputs: Any) -> Any:
        if not members:
            return model.apply(variables["params"], variables["rest"], inputs)[0]
        outputs = jax.vmap(lambda member: model.apply(member["params"], member["rest"], inputs)[0])(variables)
        return together(task.loss, outputs)

    @functools.partial(jax.jit, out_shardings=layout.replicated)
    def evaluate(variables: Any, inputs: Any, targets: Any, weights: Any = None) -> dict[str, jax.Array]:
        if not members:
            variables = variables | {"params": layout.used(variables["params"])}

        def score(example: Any) -> Any:
            inputs, target = jax.tree.map(lambda x: x[None], example)
            outputs = answer(variables, inputs)
            means = {name: metric.of(outputs, target) for name, metric in programs.items() if not metric.whole}
            means = {name: jnp.mean(x) for name, x in means.items()}
            first = jax.tree.map(lambda x: x[0], outputs) if whole else ()
            return {"loss": jnp.mean(task.loss.of(outputs, target))} | means, first

        # In parts, for the outputs of all examples at once may be larger than the memory.
        scores, outputs = mapped(lambda block: jax.vmap(score)(layout.divided(block)), (inputs, targets))
        if weights is not None:
            scores["loss"] = scores["loss"] * weights / weights.mean()
        return jax.tree.map(jnp.mean, scores) | {name: programs[name].of(outputs, targets) for name in whole}

    return evaluate


def mapped(score: Callable[[Any], Any], examples: Any) -> Any:
    """What is made of all examples, of so many at once."""
    size = len(jax.tree.leaves(examples)[0])
    blocks = size // EVALUATED
    last = jax.tree.map(lambda x: x[blocks * EVALUATED :], examples)
    if not blocks:
        return score(last)
    first = jax.tree.map(lambda x: x[: blocks * EVALUATED].reshape(blocks, EVALUATED, *x.shape[1:]), examples)
    made = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), jax.lax.map(score, first))
    return jax.tree.map(lambda *xs: jnp.concatenate(xs), made, score(last)) if size % EVALUATED else made


def by_path(tree: dict[str, Any]) -> dict[str, Any]:
    """The parameters and the rest of a carry or of a model, by their paths."""
    return {path: leaf for part in ("params", "rest") for path, leaf in named_leaves(tree[part])}


def models(carry: dict[str, Any]) -> dict[str, Any]:
    """The models of a carry: its own `parameters`, and their `average` where a link of the chain keeps one."""
    params = oc.awake_params(carry["opt_state"], carry["params"])
    variables = {"parameters": {"params": params, "rest": carry["rest"]}}
    average = oc.averaged_params(carry["opt_state"], carry["params"])
    if average is not None:
        variables["average"] = {"params": average, "rest": carry["rest"]}
    return variables
