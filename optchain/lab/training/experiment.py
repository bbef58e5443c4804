"""What a configuration stands for: the task, the network and the optimizer."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import optax

import optchain as oc
from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.loading import examples_of, made
from optchain.lab.data.stream import Stream
from optchain.lab.data.task import Task
from optchain.lab.models.functional import Model
from optchain.lab.models.gradients import WorkerGradients
from optchain.lab.models.losses import Heads, Loss, OfData, OwnLoss
from optchain.lab.models.measured import metrics_of
from optchain.lab.models.resolved import of_classes, resolved
from optchain.lab.runs.config import Config, Setup, with_values
from optchain.lab.settings.own import Own
from optchain.lab.training import batch_policies, fitting, owners, requirements
from optchain.lab.training.assemble import model_of
from optchain.lab.training.chunk import Carry, Parts, Setting
from optchain.lab.training.grow import require_growth
from optchain.lab.training.layout import Layout, layout_of
from optchain.lab.training.local import local_experiment
from optchain.lab.training.start import make_start


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
        loss = _loss_of(self.task.loss.table, _of("loss", self.config, config))
        policy = batch_policies.build(config.train)
        more = config.gradient, config.train.sampling, config.adversary
        return Parts(model, tx, policy, config.augment, loss, *more)


def _of(table: str, old: Config, new: Config) -> dict[str, Any]:
    """The values of a table that another configuration has, by their names; maybe traced."""
    before, after = getattr(old, table), getattr(new, table)
    names = type(after).model_fields
    return {name: getattr(after, name) for name in names if getattr(after, name) is not getattr(before, name)}


def _loss_of(table: Any, values: dict[str, Any]) -> Any:
    """The table of the loss with other values; the losses of heads that the configuration leaves out stay."""
    if isinstance(table, Heads) and "heads" in values:
        given = {name: x for name, x in values["heads"].items() if not isinstance(x, OfData)}
        values = values | {"heads": table.heads | given}
    return with_values(table, values)


def load_task(config: Setup, examples: Examples | Stream | None = None) -> Task:
    """The task of a configuration, with its loss and its metrics.

    Args:
        config: the configuration.
        examples: those of its table `[task]`, where they have been read already.

    Raises:
        InputError: the data cannot be read, split or prepared.
    """
    if examples is None:
        examples = examples_of(config.task)
    loss = resolved(config.loss, examples)
    if isinstance(examples, Examples) and isinstance(loss, OwnLoss) and not loss.scaled_targets:
        examples = dataclasses.replace(examples, scale=False)
    task = made(examples, config.task, config.preprocess, of_classes(loss, examples))
    if isinstance(loss, Own) and task.labels is not None and examples.outputs is None:
        task = dataclasses.replace(task, outputs=len(task.labels))  # of two classes two: its argmax is the class
    if task.heads is not None:
        tables = loss.heads if isinstance(loss, Heads) else dict.fromkeys(task.heads, loss)
        own = {name: head.classes for name, head in task.heads.items() if isinstance(tables[name], Own)}
        outputs = {name: own.get(name) or head.outputs for name, head in task.heads.items()}
        task = dataclasses.replace(task, outputs=outputs)
    return dataclasses.replace(task, loss=Loss(loss), metrics=metrics_of(config.metrics, task, Loss(loss)))


def build(config: Config, source: str, task: Task | None = None) -> Experiment:
    """Load the task, build the network and the optimizer, and see that all of it fits together.

    Args:
        config: the configuration.
        source: where it comes from, to name in errors.
        task: that of the configuration, where it has been loaded already.

    Raises:
        InputError: what the configuration asks for does not exist or does not fit together.
    """
    with _naming(source):
        experiment = _assembled(config, task)
        _require_whole(experiment)
    return experiment


def rebuild(config: Config, source: str) -> Experiment:
    """What `build` makes of the configuration of a run, which was seen to fit together when the run began."""
    with _naming(source):
        return _assembled(config)


@contextlib.contextmanager
def _naming(source: str) -> Iterator[None]:
    """Errors within name where the configuration comes from."""
    try:
        yield
    except (InputError, ValueError) as error:
        # JAX adds notes of its own, on its frames in the traceback.
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()) if note.startswith("in link"))
        raise InputError(f"{source}: {error}{notes}") from error


def _assembled(config: Config, task: Task | None = None) -> Experiment:
    task = load_task(config) if task is None else task
    config = config.in_steps(task.size)
    fitting.require_fixed_batches(config, task)
    requirements.require_fit(config, task, task.loss.table)
    requirements.require_attackable(config, task, task.loss.table)
    return Experiment(config, task, model_of(config, task), owners.optimizer_of(config, task))


def _require_whole(experiment: Experiment) -> None:
    """All parts fit together, which tracing them shows."""
    config, loss = experiment.config, experiment.task.loss.table
    requirements.require_batches(config, experiment.tx, experiment.task.size)
    fitting.require_descent(config.optimizer, "optimizer")
    carry = fitting.started(experiment)
    params = carry["params"]
    fitting.require_answers(experiment, carry)
    if loss.penalizes:
        requirements.require_whole(loss.penalized, oc.row_tables(experiment.tx), params)
    # The whole update is traced once here, so that what it refuses is an error of the configuration.
    told = {"value": 0.0, "validation": 0.0}
    if config.gradient is None:
        with fitting.of_chain(config):
            place, tx = experiment.layout.stepped, experiment.tx
            update = lambda p, state: oc.apply(tx, place(p), state, place(p), **told)  # noqa: E731
            jax.eval_shape(update, params, carry["opt_state"])
    require_growth(experiment)
    if isinstance(config.gradient, WorkerGradients):
        try:
            _require_whole(local_experiment(experiment))
        except (InputError, ValueError) as error:
            raise InputError(f"gradient.local, the optimizer of a worker: {error}") from error
