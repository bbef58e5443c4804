"""What a configuration stands for: the task, the network and the optimizer."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optchain as oc
from optchain.core.mask import select
from optchain.core.paths import names_of, nearest
from optchain.core.walk import main_numbers
from optchain.lab.base.errors import InputError
from optchain.lab.data.augment import Augment
from optchain.lab.data.examples import Examples
from optchain.lab.data.loading import examples_of, made
from optchain.lab.data.task import Task
from optchain.lab.models.functional import Model
from optchain.lab.models.losses import CrossEntropy, Loss, OwnLoss, of_classes, resolved
from optchain.lab.models.metrics import metrics_of
from optchain.lab.runs.config import Config, Setup, with_values
from optchain.lab.settings.own import Own
from optchain.lab.training import batch_policies, fitting, owners
from optchain.lab.training.assemble import model_of
from optchain.lab.training.chunk import Carry, Parts, Setting, make_start
from optchain.lab.training.grow import require_growth
from optchain.lab.training.layout import Layout, layout_of, parts_of


@dataclasses.dataclass(frozen=True)
class Experiment:
    """All that a run is made of; nothing here changes during the run."""

    config: Config
    task: Task
    model: Model
    tx: optax.GradientTransformation

    def start(self) -> Carry:
        """The carry before the first step."""
        return make_start(self.task, self.parts, self.layout)(Setting(self.config.train.seed))

    @functools.cached_property
    def layout(self) -> Layout:
        """Where the arrays of the run lie."""
        first = jax.tree.map(lambda x: x[:1], self.task.splits["train"].inputs)
        start = functools.partial(make_start(self.task, self.parts), Setting(self.config.train.seed))
        return layout_of(self.config.mesh, self.tx, start, lambda: self.model.names(first))

    @functools.cached_property
    def turns(self) -> tuple[owners.Turn, owners.Turn]:
        """What brings the optimizer's state by owners to one by parameters, and back."""
        return owners.turns(self)

    def whole(self, variables: dict[str, Any]) -> dict[str, Any]:
        """The parameters and the rest of the module itself: with what is frozen, and what adapts it merged."""
        params, rest = self.model.whole(variables["params"], variables["rest"])
        return {"params": params, "rest": rest}

    @property
    def shapes(self) -> dict[str, Any]:
        """The parameters and the rest of the module before the first step, as shapes and dtypes."""
        return jax.eval_shape(lambda: self.whole(self.start()))

    def having(self, config: Config) -> "Experiment":
        """The same experiment with a configuration that differs in the seed, or in numbers of the network or of the
        optimizer."""
        return Experiment(config, self.task, model_of(config, self.task), owners.optimizer_of(config, self.task))

    def parts(self, numbers: dict[str, Any]) -> Parts:
        """What is built with other numbers, maybe traced ones, at dotted keys of the configuration."""
        if not numbers:
            return self._parts(self.config, self.model, self.tx)
        config = with_values(self.config, numbers)
        return self._parts(config, model_of(config, self.task), owners.optimizer_of(config, self.task))

    def _parts(self, config: Config, model: Model, tx: optax.GradientTransformation) -> Parts:
        loss = with_values(self.task.loss.table, _of("loss", self.config, config))
        policy = batch_policies.build(config.train)
        return Parts(model, tx, policy, config.augment, loss, config.gradient, config.train.sampling)


def _of(table: str, old: Config, new: Config) -> dict[str, Any]:
    """The values of a table that another configuration has, by their names; maybe traced."""
    before, after = getattr(old, table), getattr(new, table)
    names = type(after).model_fields
    return {name: getattr(after, name) for name in names if getattr(after, name) is not getattr(before, name)}


def load_task(config: Setup) -> Task:
    """The task of a configuration, with its loss and its metrics.

    Raises:
        InputError: the data cannot be read, split or prepared.
    """
    examples = examples_of(config.task)
    loss = resolved(config.loss, examples)
    if isinstance(examples, Examples) and isinstance(loss, OwnLoss) and not loss.scaled_targets:
        examples = dataclasses.replace(examples, scale=False)
    task = made(examples, config.task, config.preprocess, of_classes(loss, examples))
    if isinstance(loss, Own) and task.labels is not None and examples.outputs is None:
        task = dataclasses.replace(task, outputs=len(task.labels))  # of two classes two: its argmax is the class
    return dataclasses.replace(task, loss=Loss(loss), metrics=metrics_of(config.metrics, task, loss))


def build(config: Config, source: str) -> Experiment:
    """Load the task and build the network and the optimizer.

    Args:
        config: the configuration.
        source: where it comes from, to name in errors.

    Raises:
        InputError: what the configuration asks for does not exist or does not fit together.
    """
    try:
        task = load_task(config)
        config = config.in_steps(task.size)
        fitting.require_fixed_batches(config, task)
        _require_fit(config, task, loss := task.loss.table)
        experiment = Experiment(config, task, model_of(config, task), owners.optimizer_of(config, task))
        _require_batches(config, experiment.tx, task.size)
        fitting.require_descent(config.optimizer, "optimizer")
        params = (carry := fitting.started(experiment))["params"]
        fitting.require_answers(experiment, carry)
        if loss.penalizes:
            _require_whole(loss.penalized, oc.row_tables(experiment.tx), params)
        # The whole update is traced once here, so that what it refuses is an error of the configuration.
        told = {"value": 0.0, "validation": 0.0}
        if config.gradient is None:
            with fitting.of_chain(config):
                place, tx = experiment.layout.stepped, experiment.tx
                update = lambda p, state: oc.apply(tx, place(p), state, place(p), **told)  # noqa: E731
                jax.eval_shape(update, params, carry["opt_state"])
        require_growth(experiment)
    except (InputError, ValueError) as error:
        # JAX adds notes of its own, on its frames in the traceback.
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if note.startswith("in link"))
        raise InputError(f"{source}: {error}{notes}") from error
    return experiment


def _require_batches(config: Config, tx: optax.GradientTransformation, examples: int) -> None:
    policy = batch_policies.build(config.train)
    largest = config.train.policy.largest
    if largest > examples and config.train.sampling != "balanced":  # which draws with replacement
        raise InputError(f"train.batch: {largest} examples, more than the {examples} that are trained on")
    _require_divided(config)
    changed = "compute" if config.train.compute != "float32" else "remat" if config.train.remat else None
    if changed and oc.row_tables(tx):
        cure = f"leave train.{changed} out, or take the optimizer without `rows`"
        raise InputError(f"train.{changed}: the gradients of touched rows are those of the table itself; {cure}")
    if policy.micro:
        if config.train.sampling == "balanced":
            raise InputError("train.sampling: balanced batches are drawn whole; leave train.batch.micro out")
        if oc.row_tables(tx):
            cure = "leave micro out, or take the optimizer without `rows`"
            raise InputError(f"train.batch.micro: gradients of touched rows cannot be added up; {cure}")
        jax.eval_shape(policy.count, jax.random.key(0), jnp.int32(0), policy.start())
    rates = [name for name in main_numbers(tx) if name.split(".")[-1] == "learning_rate"]
    if config.train.policy.scale_rate != "none" and not rates:
        hint = nearest("learning_rate", main_numbers(tx))
        raise InputError(f"train.batch.scale_rate: no link of optchain's in the optimizer has a learning_rate; {hint}")


def _require_divided(config: Config) -> None:
    """Each device of a mesh gets as many examples of a batch, or of a micro-batch."""
    parts, micro = parts_of(config.mesh), config.train.policy.micro
    for name, size in ({"micro": micro} if micro else config.train.policy.sizes_named()).items():
        if size % parts:
            near = size // parts * parts or parts
            cure = f"expected a multiple of the {parts} devices of mesh.data and mesh.fsdp, such as {near}"
            raise InputError(f"train.batch: got {name} = {size}; {cure}")


def _require_fit(config: Config, task: Task, loss: Any) -> None:
    inputs = task.splits["train"].inputs
    if not isinstance(inputs, np.ndarray):
        return
    shape, whole = inputs.shape[1:], np.issubdtype(inputs.dtype, np.integer)
    if not isinstance(config.model, Own):
        _require_built_in(config.model, task, shape, whole)
    if isinstance(config.augment, Augment):
        if config.augment.of_images and len(shape) != 3:
            raise InputError(f"augment.{config.augment.of_images[0]}: the inputs of the task are no images")
        if config.augment.noise is not None and whole:
            raise InputError("augment.noise: the inputs of the task are whole numbers")
    if loss.mixup is not None and whole:
        raise InputError("loss.mixup: the inputs of the task are whole numbers")
    if loss.mixup is not None and config.gradient is not None:
        raise InputError("loss.mixup: a gradient of your own gets batches as they are; leave mixup out")
    _require_classes(config, task, loss)


def _require_built_in(model: Any, task: Task, shape: tuple[int, ...], whole: bool) -> None:
    wanted = (
        "embedding" if task.ids and len(shape) == 1 and task.outputs == 1 else "transformer" if whole else "network"
    )
    if model.use != wanted:
        what = "ids" if wanted == "embedding" else "bytes" if whole else "numbers"
        raise InputError(f"model.use: the inputs of the task are {what}; expected {wanted!r}, or a model of your own")
    halvings = len(getattr(model, "channels", ()))
    if halvings and len(shape) != 3:
        raise InputError("model.channels: the inputs of the task are vectors, not images")
    if halvings and min(shape[:2]) < 2**halvings:
        size = " x ".join(map(str, shape[:2]))
        raise InputError(f"model.channels: {halvings} convolutions halve images of {size} to nothing")


def _require_classes(config: Config, task: Task, loss: Any) -> None:
    """What is said of classes is said of a task that has them, each with a training example."""
    asked = [f"loss.{name}" for name in loss.changes] if isinstance(loss, CrossEntropy) else []
    asked += ["train.sampling"] if config.train.sampling == "balanced" else []
    if task.classes is None:
        if asked:
            raise InputError(f"{asked[0]}: the targets of the task are no classes")
        return
    targets = task.splits["train"].targets
    if "train.sampling" in asked and targets.ndim > 1:
        raise InputError("train.sampling: an example of the task is of no one class; expected 'epochs'")
    every = [key for key in asked if key in ("loss.logit_adjustment", "train.sampling")]
    if not every:
        return
    present = targets if task.counted is None else np.flatnonzero(task.counted.counts)
    absent = np.setdiff1d(np.arange(task.classes), present)
    if len(absent):
        raise InputError(f"{every[0]}: there is no training example of class {absent[0]}")


def _require_whole(penalized: Any, tables: Any, params: Any) -> None:
    """A penalty has a gradient in every row, and so is not for tables whose rows are updated where looked up."""
    by_row = select(tables, params) if tables else [False] * len(jax.tree.leaves(params))
    both = zip(names_of(params), select(penalized, params), by_row, strict=True)
    for path, own, rows in both:
        if own and rows:
            cure = "expected others, or weight decay in the chain, which sleeping rows make up for"
            raise InputError(f"loss.penalized: the optimizer updates rows of {path!r}; {cure}")
