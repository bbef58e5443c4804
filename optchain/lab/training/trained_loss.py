"""The loss of each example that training minimizes: the plain one with the changes that the configuration asks for."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.lab.data.counted import Counted
from optchain.lab.models.losses import CrossEntropy, Loss


class TrainedLoss:
    """The training loss of one target, for each example.

    Class weights and the priors of logit adjustment are counted from the training targets once, when this is made.

    References:
        Label smoothing: Szegedy et al., 2016, arXiv:1512.00567. Focal loss: Lin et al., 2017, arXiv:1708.02002. Logit
        adjustment: Menon et al., 2021, arXiv:2007.07314.
    """

    def __init__(self, table: Any, targets: Any, classes: int | None, counted: Counted | None = None) -> None:
        self.table, self.classes, self.plain = table, classes, Loss(table).of
        self.changed = isinstance(table, CrossEntropy) and bool(table.changes)
        if self.changed and (table.class_weights is not None or table.logit_adjustment is not None):
            if counted is None:
                counts = jax.nn.one_hot(targets.reshape(-1), classes or 0).sum(0)
            else:
                counts = jnp.asarray(counted.counts, jnp.float32)
            # A class without examples has no term that its weight, infinite, could multiply.
            self.weights = counts.sum() / ((counts > 0).sum() * jnp.maximum(counts, 1))
            self.log_priors = jnp.log(counts / counts.sum())

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        """The loss of each example."""
        return self._changed(outputs, targets) if self.changed else self.plain(outputs, targets)

    def _changed(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The cross entropy of each example, with the changes that are asked for."""
        table = self.table
        logits = outputs if outputs.shape[-1] == self.classes else two_logits(outputs.reshape(*targets.shape, 1))
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
