"""The loss of each example that training minimizes: the plain one with the changes that the configuration asks for."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.lab.data.counted import Counted
from optchain.lab.models.class_losses import OfClasses
from optchain.lab.models.losses import Loss


class TrainedLoss:
    """The training loss of one target, for each example.

    Class weights and the priors of logit adjustment are counted from the training targets once, when this is made.

    References:
        Label smoothing: Szegedy et al., 2016, arXiv:1512.00567. Logit adjustment: Menon et al., 2021, arXiv:2007.07314.
    """

    def __init__(self, table: Any, targets: Any, classes: int | None, counted: Counted | None = None) -> None:
        self.table, self.classes, self.plain = table, classes, Loss(table).of
        self.changed = isinstance(table, OfClasses) and bool(table.changes)
        if self.changed and (table.class_weights is not None or table.logit_adjustment is not None):
            if counted is None:
                counts = jax.nn.one_hot(targets.reshape(-1), classes or 0).sum(0)
            else:
                counts = jnp.asarray(counted.counts, jnp.float32)
            if table.ignored is not None:
                counts = counts.at[table.ignored].set(0)
            # A class without examples has no term that its weight, infinite, could multiply.
            self.weights = counts.sum() / ((counts > 0).sum() * jnp.maximum(counts, 1))
            self.log_priors = jnp.log(counts / counts.sum())

    def __call__(self, outputs: Any, targets: Any) -> jax.Array:
        """The loss of each example."""
        return self._changed(outputs, targets) if self.changed else self.plain(outputs, targets)

    def divergence(self, outputs: jax.Array, others: jax.Array, targets: jax.Array) -> jax.Array:
        """KL(p || q) of the probabilities p of the classes by outputs and q by others, for each example: the mean over
        its targets that count."""
        log_p, log_q = (jax.nn.log_softmax(self._logits(x, targets)) for x in (outputs, others))
        return self.table.mean_of_counted((jnp.exp(log_p) * (log_p - log_q)).sum(-1), targets)

    def _logits(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """A logit for each class."""
        return outputs if outputs.shape[-1] == self.classes else two_logits(outputs.reshape(*targets.shape, 1))

    def _changed(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The loss of each example, with the changes that are asked for."""
        table, logits = self.table, self._logits(outputs, targets)
        if table.logit_adjustment is not None:
            logits = logits + table.logit_adjustment * self.log_priors.reshape((1,) * (logits.ndim - 1) + (-1,))
        wanted = jax.nn.one_hot(targets, logits.shape[-1])
        if table.label_smoothing is not None:
            wanted = (1 - table.label_smoothing) * wanted + table.label_smoothing / logits.shape[-1]
        losses = table.trained(jax.nn.log_softmax(logits), wanted)
        if table.class_weights is not None:
            losses = losses * self.weights[targets]
        return table.mean_of_counted(losses, targets)


def two_logits(outputs: jax.Array) -> jax.Array:
    """The logits of two classes whose softmax is the sigmoid of one output."""
    return jnp.concatenate([jnp.zeros_like(outputs), outputs], axis=-1)
