"""Whether the tables of a configuration fit together and the task: what can be said before anything is traced."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optchain as oc
from optchain.core.mask import select
from optchain.core.paths import matches, names_of, nearest
from optchain.core.walk import main_numbers
from optchain.lab.base.errors import InputError
from optchain.lab.data.augment import Changes, Policy, ends_of
from optchain.lab.data.task import Task
from optchain.lab.models.adversary import Trades, is_smooth
from optchain.lab.models.adversary import ends_of as ends_of_inputs
from optchain.lab.models.class_losses import OfClasses
from optchain.lab.models.gradients import ClientGradients
from optchain.lab.models.losses import Heads
from optchain.lab.runs.config import Config
from optchain.lab.settings.own import Own
from optchain.lab.training import batch_policies
from optchain.lab.training.layout import parts_of

SEEN = 1024  # training images, at most, in which the range is looked for


def require_batches(config: Config, tx: optax.GradientTransformation, examples: int) -> None:
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
    """Each device of a mesh gets as many examples of a batch or of a micro-batch, or clients of a round."""
    parts, micro = parts_of(config.mesh), config.train.policy.micro
    if isinstance(config.gradient, ClientGradients):
        if rest := config.gradient.round % parts:
            near = config.gradient.round - rest or parts
            cure = f"expected a multiple of the {parts} devices of mesh.data and mesh.fsdp, such as {near}"
            raise InputError(f"gradient.round: got {config.gradient.round}; {cure}")
        return
    for name, size in ({"micro": micro} if micro else config.train.policy.sizes_named()).items():
        if size % parts:
            near = size // parts * parts or parts
            cure = f"expected a multiple of the {parts} devices of mesh.data and mesh.fsdp, such as {near}"
            raise InputError(f"train.batch: got {name} = {size}; {cure}")


def require_fit(config: Config, task: Task, loss: Any) -> None:
    inputs = task.splits["train"].inputs
    if not isinstance(inputs, np.ndarray):
        _require_images(config, task, loss, ())
        return
    shape, whole = inputs.shape[1:], np.issubdtype(inputs.dtype, np.integer)
    if not isinstance(config.model, Own):
        _require_built_in(config.model, task, shape, whole)
    _require_images(config, task, loss, shape)
    if isinstance(config.augment, Changes) and config.augment.noise is not None and whole:
        raise InputError("augment.noise: the inputs of the task are whole numbers")
    if loss.mixup is not None and whole:
        raise InputError("loss.mixup: the inputs of the task are whole numbers")
    for name in ("mixup", "cutmix"):
        if getattr(loss, name) is not None and isinstance(config.gradient, Own):
            raise InputError(f"loss.{name}: a gradient of your own gets batches as they are; leave {name} out")
    if isinstance(loss, Heads):
        for name, head in (task.heads or {}).items():
            of_head = dataclasses.replace(task, labels=head.labels, counted=None)
            targets = task.splits["train"].targets[name]
            _require_classes(f"loss.heads.{name}", [], loss.heads[name], of_head, targets)
    sampling = ["train.sampling"] if config.train.sampling == "balanced" else []
    _require_classes("loss", sampling, loss, task, task.splits["train"].targets)


def _require_images(config: Config, task: Task, loss: Any, shape: tuple[int, ...]) -> None:
    """What is made of images is asked of images, in the range that they have."""
    changes = config.augment.of_images if isinstance(config.augment, Changes) else []
    asked = [f"augment.{name}" for name in changes] + (["loss.cutmix"] if loss.cutmix is not None else [])
    if asked and len(shape) != 3:
        raise InputError(f"{asked[0]}: the inputs of the task are no images")
    table, ends = config.augment, ends_of(config.augment, task)
    if ends is None or not isinstance(table, Policy):
        return
    black, white = ends
    if not (white > black).all():
        raise InputError("augment.range: some step of preparation does not keep white above black; expected none such")
    shown = (task.splits["train"].inputs[:SEEN] - black) / (white - black)
    if shown.min() < -1e-3 or shown.max() > 1 + 1e-3:
        low, high = table.range
        found = " to ".join(f"{low + (high - low) * float(x):.4g}" for x in (shown.min(), shown.max()))
        raise InputError(f"augment.range: got {low:g} to {high:g}, and training images reach from {found}")


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


def _require_classes(key: str, sampling: list[str], loss: Any, task: Task, targets: Any) -> None:
    """What is said of classes is said of targets that are some, each with a training example."""
    ignored = loss.ignored if isinstance(loss, OfClasses) else None
    if ignored is not None and task.classes is not None and ignored >= task.classes:
        raise InputError(f"{key}.ignored: got {ignored}; expected the number of a class, 0 to {task.classes - 1}")
    asked = [f"{key}.{name}" for name in loss.changes] if isinstance(loss, OfClasses) else []
    asked += sampling
    if task.classes is None:
        if asked:
            raise InputError(f"{asked[0]}: the targets of the task are no classes")
        return
    if "train.sampling" in asked and targets.ndim > 1:
        raise InputError("train.sampling: an example of the task is of no one class; expected 'epochs'")
    every = [name for name in asked if name in (f"{key}.logit_adjustment", "train.sampling")]
    if not every:
        return
    present = targets if task.counted is None else np.flatnonzero(task.counted.counts)
    absent = np.setdiff1d(np.arange(task.classes), present)
    if len(absent):
        raise InputError(f"{every[0]}: there is no training example of class {absent[0]}")


def require_whole(penalized: Any, tables: Any, params: Any) -> None:
    """A penalty has a gradient in every row, and so is not for tables whose rows are updated where looked up."""
    by_row = select(tables, params) if tables else [False] * len(jax.tree.leaves(params))
    both = zip(names_of(params), select(penalized, params), by_row, strict=True)
    for path, own, rows in both:
        if own and rows:
            cure = "expected others, or weight decay in the chain, which sleeping rows make up for"
            raise InputError(f"loss.penalized: the optimizer updates rows of {path!r}; {cure}")


def require_attackable(config: Config, task: Task, loss: Any) -> None:
    """An adversary has inputs that it can move, and a loss that it can raise."""
    table = config.adversary
    if table is None:
        return
    if not is_smooth(task):
        found = jax.tree.map(lambda x: f"{x.dtype.name}{list(x.shape[1:])}", task.splits["train"].inputs)
        cure = "for noise on weights, or on what layers such as embeddings answer, see [perturb]"
        raise InputError(f"adversary: expected inputs that are one array of real numbers; got {found}; {cure}")
    if isinstance(config.gradient, Own):
        raise InputError("adversary: a gradient of your own gets batches as they are; leave one of the two out")
    if isinstance(table, Trades) and not isinstance(loss, OfClasses):
        raise InputError(
            "adversary.use: got 'trades', and the loss is not that of classes of one target; expected 'pgd'"
        )
    least, greatest = ends_of_inputs(task)
    said = f"training inputs, as they are prepared, reach from {least:.4g} to {greatest:.4g}"
    if table.low is not None and table.low > least:
        raise InputError(f"adversary.low: got {table.low:g}, and {said}")
    if table.high is not None and table.high < greatest:
        raise InputError(f"adversary.high: got {table.high:g}, and {said}")


def require_tables_unperturbed(config: Config, tx: optax.GradientTransformation, params: Any) -> None:
    """Tables whose rows are updated where looked up train as they are: other gradients would be those of all rows."""
    tables, perturb = oc.row_tables(tx), config.perturb
    if not tables or perturb is None or (perturb.drop is None and perturb.weights is None):
        return
    for path, rows in zip(names_of(params), select(tables, params), strict=True):
        if rows and any(matches(path, pattern) for pattern in perturb.paths):
            raise InputError(f"perturb.paths: the optimizer updates rows of {path!r}; expected others")
