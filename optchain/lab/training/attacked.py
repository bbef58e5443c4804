"""Batches whose inputs are attacked before the model is trained on them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.leading import along
from optchain.lab.data.task import Task
from optchain.lab.models.adversary import Fgsm, Pgd, Trades
from optchain.lab.models.functional import Model
from optchain.lab.training.mixing import Pair
from optchain.lab.training.objective import Objective

# From parameters, rest and the key of dropout to outputs, the rest after it, and what is added to the loss
Pass = Callable[[Any, Any, jax.Array], tuple[Any, Any, Any]]


class Batch(NamedTuple):
    """A batch as it is trained on: after augmentation and mixing."""

    inputs: Any
    pairs: list[Pair]
    weights: Any


def trained_pass(
    table: Fgsm | Pgd | Trades | None,
    task: Task,
    model: Model,
    objective: Objective,
    variables: tuple[Any, Any],
    batch: Batch,
    key: jax.Array,
) -> Pass:
    """How a batch passes through a model in training, attacked if there is an adversary.

    The model that is attacked is that of evaluation: without dropout, noise and perturbation, and batch normalization
    takes its running statistics, which the attack therefore does not change. The training pass is as ever: dropout is
    drawn, and statistics are those of the attacked batch; with TRADES those of the batch as it is, and then of the
    attacked one, under the same dropout. What moves the inputs is constant to the gradient of the parameters.

    Args:
        table: which attack, whose numbers may be traced; None for none.
        task: whose training inputs say how far an entry can be moved where the table does not.
        model: of the task.
        objective: the training loss, which the attack raises.
        variables: the parameters and the rest before the step.
        batch: that is trained on.
        key: of what the attack draws.
    """
    if table is None:
        return _plain(model, batch)
    moving, choosing = jax.random.split(key)
    answers = lambda x: model.apply(*variables, x)[0]  # noqa: E731
    if isinstance(table, Trades):
        clean = answers(batch.inputs)
        losses = lambda x: objective.divergence(clean, answers(x), batch.pairs)  # noqa: E731
        return _both(table, model, objective, batch, table.moved(losses, batch.inputs, table.ends(task), moving))
    losses = lambda x: objective.of_each(answers(x), batch.pairs)  # noqa: E731
    moved = table.moved(losses, batch.inputs, table.ends(task), moving)
    chosen = jax.random.bernoulli(choosing, table.share, (len(moved),))
    return _plain(model, batch._replace(inputs=jnp.where(along(chosen, moved), moved, batch.inputs)))


def _plain(model: Model, batch: Batch) -> Pass:
    return lambda params, rest, key: model.apply(params, rest, batch.inputs, key, train=True)


def _both(table: Trades, model: Model, objective: Objective, batch: Batch, moved: jax.Array) -> Pass:
    """The batch as it is, with how far the answers to the attacked one are from those to it added to the loss."""

    def passed(params: Any, rest: Any, key: jax.Array) -> tuple[Any, Any, Any]:
        outputs, rest, more = model.apply(params, rest, batch.inputs, key, train=True)
        others, rest, _ = model.apply(params, rest, moved, key, train=True)
        apart = objective.divergence(outputs, others, batch.pairs, batch.weights).mean()
        return outputs, rest, more + table.beta * apart

    return passed
