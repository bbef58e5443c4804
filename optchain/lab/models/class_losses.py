"""Losses of classes: the cross entropy, and those that are trained on in its place."""

from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import optax
import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt

from optchain.lab.models.loss_table import LossTable, mean_of_each
from optchain.lab.settings.table import Fraction


class OfClasses(LossTable):
    """A loss of classes, from logits: one for each class, or one alone, that of the second of two.

    What is evaluated is the cross entropy, -log of the probability of the right class, whichever is trained on.
    """

    label_smoothing: Fraction | None = None  # of the target, shared among all classes
    class_weights: Literal["balanced"] | None = None  # each class as much as any other, by the training counts
    logit_adjustment: NonNegativeFloat | None = None  # times the log of each class's share, added to its logit
    ignored: NonNegativeInt | None = None  # the number of a class that does not count as a target, such as filling

    @pydantic.model_validator(mode="after")
    def _counts_are_of_all(self) -> "OfClasses":
        if self.ignored is not None and self.logit_adjustment is not None:
            raise ValueError("logit_adjustment needs the share of every class, and ignored leaves one out")
        return self

    def of(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        """The plain loss of each example."""
        if outputs.size == targets.size:
            each = optax.losses.sigmoid_binary_cross_entropy(outputs.reshape(targets.shape), targets)
        else:
            # One-hot, because the gradient with integer labels is a scatter, which is slow on a CPU.
            each = optax.losses.softmax_cross_entropy(outputs, jax.nn.one_hot(targets, outputs.shape[-1]))
        return self.mean_of_counted(each, targets)

    def mean_of_counted(self, values: jax.Array, targets: jax.Array) -> jax.Array:
        """The mean of each example's values at targets that count; 0 where none does."""
        if self.ignored is None:
            return mean_of_each(values)
        counted = (targets != self.ignored).reshape(len(values), -1)
        sums = jnp.sum(values.reshape(counted.shape), -1, where=counted)
        return sums / jnp.maximum(counted.sum(-1), 1)

    def trained(self, log_likely: jax.Array, wanted: jax.Array) -> jax.Array:
        """What is trained on, at each target.

        Args:
            log_likely: the logarithms of the classes' probabilities, along the last axis.
            wanted: the probabilities that they should have.
        """
        raise NotImplementedError

    @property
    def changes(self) -> list[str]:
        """What is asked for of the loss that is trained on."""
        names = ("label_smoothing", "focal", "class_weights", "logit_adjustment")
        return [name for name in names if getattr(self, name, None) is not None]


class CrossEntropy(OfClasses):
    """The cross entropy -sum_k q_k log p_k of the targets q and the probabilities p; with `focal` the terms are times
    (1 - p_k)^focal.

    References:
        Focal loss: Lin et al., 2017, arXiv:1708.02002.
    """

    use: Literal["cross_entropy"] = "cross_entropy"
    focal: NonNegativeFloat | None = None  # the power of 1 - probability by which sure examples weigh less

    def trained(self, log_likely: jax.Array, wanted: jax.Array) -> jax.Array:
        terms = wanted * log_likely
        if self.focal is not None:
            # As a power of what stays above 0, whose derivative is finite, and 1 where focal is a traced 0.
            terms = terms * jnp.exp(self.focal * jnp.log(jnp.maximum(1 - jnp.exp(log_likely), 1e-7)))
        return -terms.sum(-1)


class GeneralizedCrossEntropy(OfClasses):
    """(1 - p^q) / q of the probability p of the right class, which bears wrong labels: between the cross entropy, its
    limit for q = 0, and 1 - p at q = 1. Of targets that are smoothed it is the mean by their shares.

    Differs from the paper: nothing is pruned (its truncated loss).

    References:
        Zhang and Sabuncu, 2018, arXiv:1805.07836, the loss L_q.
    """

    use: Literal["generalized_cross_entropy"] = "generalized_cross_entropy"
    q: Annotated[float, Field(gt=0, le=1)] = 0.7

    def trained(self, log_likely: jax.Array, wanted: jax.Array) -> jax.Array:
        return (wanted * -jnp.expm1(self.q * log_likely)).sum(-1) / self.q

    @property
    def changes(self) -> list[str]:
        return ["q", *super().changes]


class SymmetricCrossEntropy(OfClasses):
    """alpha times the cross entropy -sum_k q_k log p_k and beta times the reverse one, -sum_k p_k log q_k, which bears
    wrong labels. The logarithm of a target of 0 counts as `log_zero`, and none counts as less.

    References:
        Wang et al., 2019, arXiv:1908.06112.
    """

    use: Literal["symmetric_cross_entropy"] = "symmetric_cross_entropy"
    alpha: NonNegativeFloat = 0.1
    beta: NonNegativeFloat = 1.0
    log_zero: Annotated[float, Field(lt=0)] = -4.0  # A in the paper

    def trained(self, log_likely: jax.Array, wanted: jax.Array) -> jax.Array:
        log_wanted = jnp.maximum(jnp.log(jnp.maximum(wanted, jnp.finfo(wanted.dtype).tiny)), self.log_zero)
        forth, back = wanted * log_likely, jnp.exp(log_likely) * log_wanted
        return -(self.alpha * forth + self.beta * back).sum(-1)

    @property
    def changes(self) -> list[str]:
        return ["alpha", *super().changes]
