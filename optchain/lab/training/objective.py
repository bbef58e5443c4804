"""What training minimizes: the loss with the changes that the configuration asks for, and penalties."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.mask import select
from optchain.lab.data.task import Task
from optchain.lab.models.functional import Model
from optchain.lab.models.loss_table import LossTable
from optchain.lab.models.losses import Heads, Loss
from optchain.lab.training.mixing import Pair, mixed
from optchain.lab.training.trained_loss import TrainedLoss


class Objective:
    """The training loss of a task. What is evaluated is always the plain loss.

    Class weights and the priors of logit adjustment are counted from the training targets once, when this is made.
    """

    def __init__(self, task: Task, table: Any, targets: Any) -> None:
        self.table, self.loss = table, Loss(table)
        if isinstance(table, Heads):
            own = {name: (x, targets[name], (task.heads or {})[name].classes) for name, x in table.heads.items()}
            self.heads = {name: TrainedLoss(*of_head) for name, of_head in own.items()}
        else:
            self.one = TrainedLoss(table, targets, task.classes, task.counted)

    def mix(self, key: jax.Array, inputs: Any, targets: Any) -> tuple[Any, list[Pair]]:
        """The batch and its targets, see `mixed`."""
        return mixed(self.table, key, inputs, targets)

    def __call__(self, outputs: Any, pairs: list[Pair], params: Any, weights: Any = None) -> jax.Array:
        """The mean over the batch, and the penalties."""
        value = self._total(outputs, pairs, weights)
        return value + penalty(self.table, params) if self.table.penalizes else value

    def of(self, outputs: Any, targets: Any, params: Any, weights: Any = None) -> jax.Array:
        """The mean over a batch that is not mixed, and the penalties."""
        return self(outputs, [Pair(1.0, targets)], params, weights)

    def each(self, outputs: Any, pairs: list[Pair], weights: Any = None) -> dict[str, jax.Array]:
        """The mean over the batch for each of several tasks, as it counts in their sum, without the penalties."""
        if len(pairs) == 1:
            return self._each(outputs, pairs[0].targets, weights)
        found = [jax.tree.map(lambda x, s=p.share: s * x, self._each(outputs, p.targets, weights)) for p in pairs]
        return {name: sum((one[name] for one in found), jnp.zeros(())) for name in self.loss.tasks}

    def of_each(self, outputs: Any, pairs: list[Pair]) -> jax.Array:
        """The loss of each example, of several tasks their sum as it counts, without the penalties. A loss that is one
        number for a batch is that of each."""
        found = sum((p.share * self._of_each(outputs, p.targets) for p in pairs), jnp.zeros(()))
        return jnp.broadcast_to(found, len(jax.tree.leaves(outputs)[0]))

    def divergence(self, outputs: Any, others: Any, pairs: list[Pair], weights: Any = None) -> jax.Array:
        """How far other outputs are from outputs, for each example, where the loss is of classes; see `TrainedLoss`."""
        each = sum((p.share * self.one.divergence(outputs, others, p.targets) for p in pairs), jnp.zeros(()))
        return each if weights is None else each * weights

    def penalty(self, params: Any) -> jax.Array | float:
        """The penalties of the parameters."""
        return penalty(self.table, params) if self.table.penalizes else 0.0

    def applied(self, model: Model) -> Callable[..., tuple[jax.Array, Any, Any]]:
        """A function of parameters, rest, batch and key: the loss of the batch, the rest after it, and the outputs."""

        def apply(params: Any, rest: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, Any, Any]:
            outputs, rest, more = model.apply(params, rest, batch.inputs, key, train=True)
            return self.of(outputs, batch.targets, params, batch.weights) + more, rest, outputs

        return apply

    def _total(self, outputs: Any, pairs: list[Pair], weights: Any) -> jax.Array:
        if self.loss.tasks:
            return sum(self.each(outputs, pairs, weights).values(), jnp.zeros(()))
        if len(pairs) == 1:
            return _mean(self.one(outputs, pairs[0].targets), weights)
        return sum((p.share * _mean(self.one(outputs, p.targets), weights) for p in pairs), jnp.zeros(()))

    def _of_each(self, outputs: Any, targets: Any) -> jax.Array:
        if not self.loss.tasks:
            return self.one(outputs, targets)
        return sum((self._counted(name, x) for name, x in self._of_tasks(outputs, targets).items()), jnp.zeros(()))

    def _each(self, outputs: Any, targets: Any, weights: Any) -> dict[str, jax.Array]:
        found = self._of_tasks(outputs, targets)
        return {name: self._counted(name, _mean(x, weights)) for name, x in found.items()}

    def _of_tasks(self, outputs: Any, targets: Any) -> dict[str, jax.Array]:
        """The losses of each task."""
        if not isinstance(self.table, Heads):
            return self.loss.each(outputs, targets)
        return {name: of(outputs[name], targets[name]) for name, of in self.heads.items()}

    def _counted(self, name: str, losses: jax.Array) -> jax.Array:
        """The losses of a task as they count in the sum."""
        return losses * self.table.weights.get(name, 1.0) if isinstance(self.table, Heads) else losses


def _mean(losses: jax.Array, weights: Any) -> jax.Array:
    return losses.mean() if weights is None else (losses * weights).mean()


def penalty(table: LossTable, params: Any) -> jax.Array:
    """l1 sum |w| + l2 / 2 sum w^2 over the penalized parameters; with both, the elastic net."""
    chosen = select(table.penalized, params)
    leaves = [x.astype(jnp.float32) for x, own in zip(jax.tree.leaves(params), chosen, strict=True) if own]
    total = jnp.zeros(())
    if table.l1 is not None:
        total += table.l1 * sum(jnp.abs(x).sum() for x in leaves)
    if table.l2 is not None:
        total += table.l2 / 2 * sum(jnp.square(x).sum() for x in leaves)
    return total
