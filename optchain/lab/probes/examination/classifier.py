"""A trained model of classes as one function: from prepared inputs to a logit for each class."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task
from optchain.lab.models.adversary import is_smooth
from optchain.lab.models.class_losses import CrossEntropy
from optchain.lab.training.evaluate import Trained, counted
from optchain.lab.training.scoring import mapped


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A model whose answers are classes.

    Args:
        trained: the models of a run, of which the one that counts answers.
    """

    trained: Trained

    def __post_init__(self) -> None:
        task = self.task
        if task.heads is not None:
            raise InputError(
                f"examine: the task has several targets ({', '.join(task.heads)}); expected one of classes"
            )
        if task.classes is None or task.splits["train"].targets.ndim != 1:
            raise InputError("examine: the targets are no classes, one for each example; for numbers see `evaluate`")

    @property
    def task(self) -> Task:
        """What it was trained on."""
        return self.trained.experiment.task

    @property
    def names(self) -> list[str]:
        """Of the classes."""
        return [str(label) for label in self.task.labels or ()]

    @property
    def is_smooth(self) -> bool:
        """Whether its inputs are one array of real numbers, so that they have gradients."""
        return is_smooth(self.task)

    @property
    def of_images(self) -> bool:
        """Whether its inputs are images, as [height, width, channels]."""
        return self.is_smooth and self.task.splits["train"].inputs.ndim == 4

    @property
    def variables(self) -> Any:
        """The parameters and the rest of the model: arguments of what is compiled, where XLA does not fold them."""
        return self.trained.models[counted(self.trained.models)]

    def logits(self, model: Any, inputs: Any) -> jax.Array:
        """f32[examples, classes]; of one output, that of the second of two classes, the first class has 0."""
        outputs = self.trained.experiment.model.apply(model["params"], model["rest"], inputs)[0]
        outputs = outputs.astype(jnp.float32).reshape(len(outputs), -1)
        if outputs.shape[1] == 1:
            return jnp.concatenate([jnp.zeros_like(outputs), outputs], 1)
        return outputs

    def losses(self, model: Any, inputs: Any, targets: Any) -> jax.Array:
        """-log of the probability of the right class, of each example."""
        return CrossEntropy().of(self.logits(model, inputs), jnp.asarray(targets))

    @functools.cached_property
    def _compiled(self) -> Any:
        return jax.jit(lambda model, inputs: mapped(functools.partial(self.logits, model), inputs))

    def answers(self, inputs: Any) -> np.ndarray:
        """The logits of the model that counts, of many examples in parts."""
        return np.asarray(self._compiled(self.variables, inputs))

    def accuracy(self, inputs: Any, targets: Any) -> float:
        """The share of the examples whose likeliest class is the right one."""
        return float(np.mean(self.answers(inputs).argmax(1) == np.asarray(targets)))
