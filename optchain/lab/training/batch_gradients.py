"""The gradients of a batch that are not those of its loss alone: one for each task, or what the user makes of it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.lab.data.task import Split
from optchain.lab.models.functional import Model
from optchain.lab.settings.own import Own
from optchain.lab.training.mixing import Pair
from optchain.lab.training.objective import Objective


class Result(NamedTuple):
    """What a batch tells."""

    value: jax.Array
    metrics: dict[str, jax.Array]
    rest: Any
    extras: dict[str, Any]  # told to the optimizer


def own_gradient(
    gradient: Own, model: Model, objective: Objective, means: Any, carry: Any, batch: Split, key: jax.Array
) -> tuple[Result, Any]:
    """What a function of the user's makes of a batch."""
    grads, value, rest, extras = gradient.build(objective.applied(model), carry["params"], carry["rest"], batch, key)
    outputs = model.apply(carry["params"], carry["rest"], batch.inputs)[0] if means else None
    scores = {name: jnp.mean(metric.of(outputs, batch.targets)) for name, metric in means.items()}
    return Result(value, scores, rest, extras), grads


def task_gradients(
    objective: Objective, forward: Callable[[Any], Any], pairs: list[Pair], weights: Any, params: Any
) -> tuple[Result, Any]:
    """What a batch tells, and a gradient for each task: one forward pass, and a backward pass for the loss of each.

    The gradients have a leading axis for the tasks, in the order of `objective.loss.tasks`. Penalties of the
    parameters, and what the model itself adds to the loss, belong to no task: each has an equal share of them, so that
    the sum of the gradients is that of the training loss.

    Args:
        objective: the training loss, of several tasks.
        forward: from parameters to outputs, what the model adds to the loss, and the pair of metrics and rest.
        pairs: the targets of the batch.
        weights: of its examples, or None.
        params: the parameters.
    """
    names = objective.loss.tasks

    def losses(params: Any) -> Any:
        outputs, more, said = forward(params)
        each = objective.each(outputs, pairs, weights)
        own = jnp.stack([each[name] for name in names])
        return own + (objective.penalty(params) + more) / len(names), (own, said)

    values, pull, (own, (scores, rest)) = jax.vjp(losses, params, has_aux=True)
    (grads,) = jax.vmap(pull)(jnp.eye(len(names), dtype=values.dtype))
    return Result(values.sum(), scores, rest, {"losses": own}), grads


def is_stacked(grads: Any, params: Any) -> bool:
    """Whether gradients have a leading axis that the parameters lack, for the optimizer's first link to take away."""
    pairs = zip(jax.tree.leaves(grads)[:1], jax.tree.leaves(params)[:1], strict=True)
    return any(g.ndim > p.ndim for g, p in pairs)
