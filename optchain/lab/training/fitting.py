"""Whether what the user wrote fits together: each part is traced once, with two examples, before anything runs."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from optchain.core.door import AXES
from optchain.core.paths import named_leaves
from optchain.core.transform import takes
from optchain.lab.base.errors import InputError
from optchain.lab.data.augment import augment
from optchain.lab.data.task import Task
from optchain.lab.models.class_losses import OfClasses
from optchain.lab.models.gradients import ClientGradients, TaskGradients, WorkerGradients
from optchain.lab.models.losses import Heads
from optchain.lab.runs.config import Config
from optchain.lab.runs.sources import files_of
from optchain.lab.settings.own import Own
from optchain.lab.settings.places import raised_at
from optchain.lab.settings.train import Fixed
from optchain.lab.training import chunk
from optchain.lab.training.fitting_clients import require_clients, require_dealt
from optchain.lab.training.fitting_heads import described, require_heads, require_logits, require_losses, require_tasks
from optchain.lab.training.fitting_workers import require_divided, require_workers
from optchain.lab.training.objective import Objective
from optchain.lab.training.requirements import require_tables_unperturbed

if TYPE_CHECKING:
    from optchain.lab.training.experiment import Experiment


def started(experiment: "Experiment") -> chunk.Carry:
    """The shapes of the carry before the first step.

    Raises:
        InputError: the model of the user's does not take the inputs or has parameters that cannot be trained, or the
            optimizer does not take the parameters.
    """
    two = _two_examples(experiment)
    if isinstance(experiment.config.gradient, ClientGradients):
        require_dealt(experiment.config, experiment.task)
        require_descent(experiment.config.gradient.local, "gradient.local")
    if isinstance(experiment.config.gradient, WorkerGradients):
        require_divided(experiment.config)
    if isinstance(experiment.config.model, Own):
        with _blamed(experiment.config.model, "model", two):
            params, _ = jax.eval_shape(experiment.model.init, jax.random.key(0), two.inputs)
        _require_real(experiment.config.model.use, params)
    with of_chain(experiment.config):
        return jax.eval_shape(experiment.start)


def _require_real(model: str, params: Any) -> None:
    """All parameters that are trained have a gradient that the optimizer takes."""
    for path, x in named_leaves(params):
        if not jnp.issubdtype(x.dtype, jnp.floating):
            other = "a collection other than 'params' in linen, an nnx.Variable other than nnx.Param in nnx"
            cure = f"name it in train.freeze, or make it another kind of variable ({other})"
            raise InputError(f"model: {model}: the parameter {path!r} is {described(x)}; expected real numbers; {cure}")


@contextlib.contextmanager
def of_chain(config: Config) -> Iterator[None]:
    """Errors within that a link of the user's raised are those of the optimizer, with the line of the file."""
    try:
        yield
    except (InputError, ValueError):
        raise
    except Exception as error:
        files = files_of(config)
        if not files:
            raise
        told = InputError(f"optimizer: {raised_at(error, files)}")
        for note in getattr(error, "__notes__", ()):
            told.add_note(note)
        raise told from error


def require_answers(experiment: "Experiment", carry: chunk.Carry) -> None:
    """The model takes the inputs, the loss and the metrics its outputs, and changes of batches fit, or an error says
    which part did not."""
    task, config, two = experiment.task, experiment.config, _two_examples(experiment)
    require_tables_unperturbed(config, experiment.tx, carry["params"])
    with _blamed(config.model, "model", two):
        outputs = jax.eval_shape(
            lambda p, r, x: experiment.model.apply(p, r, x)[0], carry["params"], carry["rest"], two.inputs
        )
        if isinstance(task.loss.table, OfClasses):
            require_logits(outputs, two.targets, task.classes or 2)
        if isinstance(task.loss.table, Heads):
            require_heads(task, outputs, two.targets)
    said = jax.tree.map(described, (outputs, two.targets))
    with _blamed(task.loss.table, "loss", two):
        for name in task.loss.tasks:
            require_losses(jax.eval_shape(task.loss.each, outputs, two.targets)[name], f"for {name!r} ", two)
        losses = _traced(lambda: jax.eval_shape(task.loss.of, outputs, two.targets))
        if losses.shape not in ((), (2,)):
            of = f"outputs {said[0]} and targets {said[1]}"
            raise InputError(f"gives {described(losses)} for {of}; expected one number for each example")
        if not losses.shape and two.weights is not None:
            raise InputError("gives one number for a batch; expected one for each example, which have weights")
    for name, metric in task.metrics.items():
        with _blamed(metric.table, f"metrics.{name}", two):
            if metric.evaluator is None:
                _require_scores(jax.eval_shape(metric.of, outputs, two.targets), metric.whole)
    if isinstance(config.augment, Own):
        _require_augmented(config.augment, two)
    if isinstance(config.gradient, Own):
        _require_gradient(experiment, carry, two)
    if isinstance(config.gradient, TaskGradients):
        require_tasks(experiment, carry, of_chain)
    elif isinstance(config.gradient, ClientGradients):
        require_clients(experiment, carry, of_chain)
    elif isinstance(config.gradient, WorkerGradients):
        require_workers(experiment, carry, of_chain)
    elif config.gradient is None:
        for axis in COMBINED.keys() & takes(experiment.tx):
            cure = f"expected [gradient] use = {axis!r}, which makes {COMBINED[axis]}"
            raise InputError(f"optimizer: its first link combines the gradients of {axis}; {cure}")


def require_descent(links: dict[str, Any], path: str) -> None:
    """No constant learning rate ascends the loss."""
    for name, x in links.items():
        if isinstance(x, dict):
            require_descent(x, f"{path}.{name}")
        elif name == "learning_rate" and isinstance(x, int | float) and x < 0 and links.get("flip_sign", True):
            cure = f"expected {-x:g}, for the link descends by itself; or flip_sign = false where it has that argument"
            raise InputError(f"{path}.{name} = {x:g} would raise the loss; {cure}")


def require_fixed_batches(config: Config, task: Task) -> None:
    """Sizes of batches that only the compiled step knows are not asked of a stream.

    Raises:
        InputError: naming the key.
    """
    policy = config.train.policy
    if task.stream is not None and not isinstance(policy, Fixed):
        cure = "expected one size, with micro if gradients are to be added up"
        raise InputError(f"train.batch: got sizes of {policy}, and the batches of a stream are read ahead; {cure}")


def _require_scores(scores: Any, whole: bool) -> None:
    if whole and scores.shape:
        raise InputError(f"gives {described(scores)}; expected one number for the whole split")
    if not whole and scores.shape[:1] not in ((), (2,)):
        cure = "expected one for each, or whole = true for a number of the whole split"
        raise InputError(f"gives {described(scores)} for two examples; {cure}")


def _require_augmented(table: Own, two: Any) -> None:
    with table.blamed("augment"):
        changed = jax.eval_shape(lambda key, x: augment(table, key, x), jax.random.key(0), two.inputs)
        found, expected = (jax.tree.map(described, x) for x in (changed, two.inputs))
        if found != expected:
            raise InputError(f"{table.use} gives {found} for inputs {expected}; expected the same")


def _require_gradient(experiment: "Experiment", carry: chunk.Carry, two: Any) -> None:
    """A gradient of the user's gives what a step needs."""
    table, parts = experiment.config.gradient, experiment.parts({})
    objective = Objective(experiment.task, parts.loss, experiment.task.splits["train"].targets)

    def made(carry: chunk.Carry, batch: Any) -> Any:
        apply, key = objective.applied(parts.model), jax.random.key(0)
        found = table.build(apply, carry["params"], carry["rest"], batch, key)
        if not isinstance(found, tuple | list) or len(found) != 4:
            raise InputError(f"{table.use} gives {type(found).__name__}; {EXPECTED}")
        return found

    with table.blamed("gradient"):
        grads, value, rest, extras = jax.eval_shape(made, carry, two)
        for name, found, expected in (("grads", grads, carry["params"]), ("rest", rest, carry["rest"])):
            shapes, expected = jax.tree.map(lambda x: x.shape, found), jax.tree.map(lambda x: x.shape, expected)
            stacked = name == "grads" and bool(AXES & takes(experiment.tx))  # examples or tasks may come first
            if shapes != expected and not (stacked and jax.tree.map(lambda x: x.shape[1:], found) == expected):
                raise InputError(f"{table.use} gives {name} of shapes {shapes}; expected {expected}")
        if value.shape or not isinstance(extras, dict):
            raise InputError(f"{table.use} gives a value {described(value)} and extras {extras}; {EXPECTED}")


COMBINED = {"tasks": "a gradient for each of several tasks", "clients": "an update of each of several clients"}
EXPECTED = "expected (grads, value, rest, extras): gradients like params, the loss, rest, and a dict, {} for none"


def _two_examples(experiment: "Experiment") -> Any:
    """The shapes of a batch of two examples."""
    part = experiment.task.splits["train"]
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((2, *x.shape[1:]), x.dtype), part)


def _traced(trace: Any) -> Any:
    """What a loss gives, which is differentiated."""
    try:
        return trace()
    except jax.errors.JAXTypeError as error:
        raise InputError(
            f"is not written with jax.numpy alone, and so has no derivative: {str(error).partition(chr(10))[0]}"
        ) from error


@contextlib.contextmanager
def _blamed(table: Any, key: str, two: Any) -> Any:
    """Errors within are those of one table of the configuration, and say what two examples are."""
    try:
        with table.blamed(key) if isinstance(table, Own) else contextlib.nullcontext():
            yield
    except (TypeError, ValueError, InputError) as error:
        shapes = jax.tree.map(described, two)
        said = str(error) if str(error).startswith(key) else f"{key}: {error}"
        told = f"two examples have inputs {shapes.inputs} and targets {shapes.targets}".replace("'", "")
        raise InputError(f"{said} ({told})") from error
