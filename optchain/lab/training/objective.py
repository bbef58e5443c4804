"""What training minimizes: the loss with the changes that the configuration asks for, and penalties."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.mask import select
from optchain.lab.data.task import Task
from optchain.lab.models.functional import Model
from optchain.lab.models.losses import CrossEntropy, Loss, LossTable


class Pair(NamedTuple):
    """Targets, and the share that they have in a batch."""

    share: jax.Array | float
    targets: Any


class Objective:
    """The training loss of a task. What is evaluated is always the plain loss.

    Class weights and the priors of logit adjustment are counted from the training targets once, when this is made.

    References:
        Label smoothing: Szegedy et al., 2016, arXiv:1512.00567. Mixup: Zhang et al., 2018, arXiv:1710.09412. Focal
        loss: Lin et al., 2017, arXiv:1708.02002. Logit adjustment: Menon et al., 2021, arXiv:2007.07314.
    """

    def __init__(self, task: Task, table: Any, targets: Any) -> None:
        self.task, self.table, self.plain = task, table, Loss(table).of
        self.changed = isinstance(table, CrossEntropy) and bool(table.changes)
        if self.changed and (table.class_weights is not None or table.logit_adjustment is not None):
            if task.counted is None:
                counts = jax.nn.one_hot(targets.reshape(-1), task.classes or 0).sum(0)
            else:
                counts = jnp.asarray(task.counted.counts, jnp.float32)
            # A class without examples has no term that its weight, infinite, could multiply.
            self.weights = counts.sum() / ((counts > 0).sum() * jnp.maximum(counts, 1))
            self.log_priors = jnp.log(counts / counts.sum())

    def mix(self, key: jax.Array, inputs: Any, targets: Any) -> tuple[Any, list[Pair]]:
        """The batch and its targets; with mixup, each example mixed with that of another place of a permutation.

        One share is drawn for the batch, from Beta(alpha, alpha). The larger part is the example's own, so that the
        training metric is that of the targets seen most: the pairs are as likely the other way around.
        """
        alpha = self.table.mixup
        if alpha is None:
            return inputs, [Pair(1.0, targets)]
        draw, order = jax.random.split(key)
        # Alpha may be a traced 0, for which there is no such distribution and nothing is mixed.
        drawn = jax.random.beta(draw, jnp.maximum(alpha, 1e-3), jnp.maximum(alpha, 1e-3))
        share = jnp.where(alpha > 0, jnp.maximum(drawn, 1 - drawn), 1.0)
        others = jax.random.permutation(order, len(jax.tree.leaves(inputs)[0]))
        mixed = jax.tree.map(lambda x: share * x + (1 - share) * x[others], inputs)
        return mixed, [Pair(share, targets), Pair(1 - share, jax.tree.map(lambda x: x[others], targets))]

    def __call__(self, outputs: Any, pairs: list[Pair], params: Any, weights: Any = None) -> jax.Array:
        """The mean over the batch, and the penalties."""
        if len(pairs) == 1:
            return self.of(outputs, pairs[0].targets, params, weights)
        value = sum((pair.share * self._mean(outputs, pair.targets, weights) for pair in pairs), jnp.zeros(()))
        return value + penalty(self.table, params) if self.table.penalizes else value

    def of(self, outputs: Any, targets: Any, params: Any, weights: Any = None) -> jax.Array:
        """The mean over a batch that is not mixed, and the penalties."""
        value = self._mean(outputs, targets, weights)
        return value + penalty(self.table, params) if self.table.penalizes else value

    def applied(self, model: Model) -> Callable[..., tuple[jax.Array, Any, Any]]:
        """A function of parameters, rest, batch and key: the loss of the batch, the rest after it, and the outputs."""

        def apply(params: Any, rest: Any, batch: Any, key: jax.Array) -> tuple[jax.Array, Any, Any]:
            outputs, rest, more = model.apply(params, rest, batch.inputs, key, train=True)
            return self.of(outputs, batch.targets, params, batch.weights) + more, rest, outputs

        return apply

    def _mean(self, outputs: Any, targets: Any, weights: Any) -> jax.Array:
        losses = self._changed(outputs, targets) if self.changed else self.plain(outputs, targets)
        return losses.mean() if weights is None else (losses * weights).mean()

    def _changed(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The cross entropy of each example, with the changes that are asked for."""
        table = self.table
        logits = outputs if outputs.shape[-1] == self.task.classes else two_logits(outputs.reshape(*targets.shape, 1))
        if table.logit_adjustment is not None:
            logits = logits + table.logit_adjustment * self.log_priors.reshape((1,) * (logits.ndim - 1) + (-1,))
        losses = cross_entropy(logits, targets, table.label_smoothing, table.focal)
        if table.class_weights is not None:
            losses = losses * self.weights[targets]
        return losses.reshape(len(losses), -1).mean(-1)


def cross_entropy(logits: jax.Array, targets: jax.Array, smoothing: Any = None, focal: Any = None) -> jax.Array:
    """-sum_k q_k (1 - p_k)^focal log p_k, where q is one-hot, and smoothed (1 - smoothing) one_hot + smoothing / K."""
    classes = logits.shape[-1]
    wanted = jax.nn.one_hot(targets, classes)
    if smoothing is not None:
        wanted = (1 - smoothing) * wanted + smoothing / classes
    log_likely = jax.nn.log_softmax(logits)
    terms = wanted * log_likely
    if focal is not None:
        # As a power of what stays above 0, whose derivative is finite, and 1 where focal is a traced 0.
        terms = terms * jnp.exp(focal * jnp.log(jnp.maximum(1 - jnp.exp(log_likely), 1e-7)))
    return -terms.sum(-1)


def two_logits(outputs: jax.Array) -> jax.Array:
    """The logits of two classes whose softmax is the sigmoid of one output."""
    return jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=-1)


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
