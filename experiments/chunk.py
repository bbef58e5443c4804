"""The training loop's inside: many steps compiled as one, and the evaluation of a model."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.augment import augment
from experiments.batches import balanced_batches, batches
from experiments.data import Task
from experiments.objective import Objective
from experiments.regularizers import Augment, Loss
from optchain.core.paths import path_of

EVALUATED = 512  # examples at once
# params, batch_stats, opt_state, step, and the validation loss not yet told to the optimizer (NaN if it was): all that
# changes from step to step
Carry = dict[str, Any]


class Setting(NamedTuple):
    """In what runs may differ and yet share what is compiled."""

    seed: jax.Array | int
    numbers: dict[str, jax.Array | float] = {}  # of the configuration, by dotted key


class Parts(NamedTuple):
    """What the numbers of a setting decide."""

    model: nn.Module
    tx: optax.GradientTransformation
    augment: Augment = Augment()
    loss: Loss = Loss()


Evaluate = Callable[..., dict[str, jax.Array]]
Build = Callable[[dict[str, Any]], Parts]  # from the numbers of a setting, which may be traced


def make_start(task: Task, build: Build) -> Callable[..., Carry]:
    """A compiled function `start(setting, given={})`: the carry before the first step, with given leaves by path."""

    # In one compiled call, so that a slot that begins as the parameter does not share its buffer: both are donated.
    @jax.jit
    def start(setting: Setting, given: dict[str, jax.Array] | None = None) -> Carry:
        parts = build(setting.numbers)
        model, tx = parts.model, parts.tx
        variables = model.init(_keys(setting.seed)[0], jnp.asarray(task.splits["train"][0][:1]), train=False)
        variables = {
            part: jax.tree.map_with_path(lambda path, x: (given or {}).get(path_of(path), x), tree)
            for part, tree in variables.items()
        }
        carry = {
            "params": variables["params"],
            "batch_stats": variables.get("batch_stats", {}),
            "opt_state": tx.init(variables["params"]),
            "step": jnp.zeros((), jnp.int32),
            "validation": jnp.full((), jnp.nan, jnp.float32),
        }
        # Weak types would change after the first step, and with them the type of the carry.
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), carry)

    return start


def make_chunk(task: Task, build: Build, batch: int, sampling: str = "epochs") -> jax.stages.Wrapped:
    """A compiled function `chunk(carry, data, setting, steps=...) -> (carry, logs)`: so many steps in one call.

    The carry is donated. `data`, the inputs and targets of the training examples on the device, stays as it is. The
    logs have one entry for each step: the training `loss` and the task's metric of the batch before the step, and
    `optimizer`, the metrics of the chain. Two calls of one step each and one call of two steps compute the same.
    """

    def one(
        carry: Carry, data: Any, rows: jax.Array, keys: tuple[jax.Array, ...], parts: Parts, objective: Objective
    ) -> tuple[Carry, dict[str, Any]]:
        model, tx = parts.model, parts.tx
        inputs, targets = (x.at[rows].get(mode="promise_in_bounds") for x in data)
        dropout, changes, mixing = (jax.random.fold_in(key, carry["step"]) for key in keys)
        inputs, pairs = objective.mix(mixing, augment(parts.augment, changes, inputs), targets)

        def loss(params: Any) -> Any:
            outputs, changed = model.apply(
                {"params": params, "batch_stats": carry["batch_stats"]},
                inputs,
                train=True,
                rngs={"dropout": dropout},
                mutable=["batch_stats"],
            )
            metric = task.metric(outputs, targets).mean()
            return objective(outputs, pairs, params), (metric, changed.get("batch_stats", {}))

        tables = oc.row_tables(tx)
        differentiate = functools.partial(oc.row_value_and_grad, tables=tables) if tables else jax.value_and_grad
        (value, (metric, stats)), grads = differentiate(loss, has_aux=True)(carry["params"])
        told = {"value": value, "validation": carry["validation"]}
        params, opt_state = oc.apply(tx, grads, carry["opt_state"], carry["params"], **told)
        new = {
            "params": params,
            "batch_stats": stats,
            "opt_state": opt_state,
            "step": carry["step"] + 1,
            "validation": jnp.full_like(carry["validation"], jnp.nan),
        }
        return new, {"loss": value, task.metric_name: metric, "optimizer": oc.metrics(opt_state)}

    def chunk(carry: Carry, data: Any, setting: Setting, steps: int) -> tuple[Carry, dict[str, Any]]:
        _, dropout, order = _keys(setting.seed)
        keys, parts = (dropout, *_changing_keys(setting.seed)), build(setting.numbers)
        objective = Objective(task, parts.loss, data[1])
        if sampling == "balanced":
            rows = balanced_batches(order, carry["step"], steps, batch, data[1], task.classes or 0)
        else:
            rows = batches(order, carry["step"], steps, batch, len(data[0]))
        return jax.lax.scan(lambda carry, rows: one(carry, data, rows, keys, parts, objective), carry, rows)

    return jax.jit(chunk, static_argnames="steps", donate_argnums=0)


def make_evaluate(task: Task, model: nn.Module) -> Evaluate:
    """A compiled function `evaluate(variables, inputs, targets)`: the mean loss and metric of a model."""

    @jax.jit
    def evaluate(variables: Any, inputs: jax.Array, targets: jax.Array) -> dict[str, jax.Array]:
        def one(example: Any) -> dict[str, jax.Array]:
            inputs, target = jax.tree.map(lambda x: x[None], example)
            outputs = model.apply(variables, inputs, train=False)
            return {"loss": task.loss(outputs, target)[0], task.metric_name: task.metric(outputs, target)[0]}

        # In parts, for the outputs of all examples at once may be larger than the memory.
        found = jax.lax.map(one, (inputs, targets), batch_size=EVALUATED)
        return jax.tree.map(jnp.mean, found)

    return evaluate


def models(carry: Carry) -> dict[str, Any]:
    """The models of a carry: its own `parameters`, and their `average` where a link of the chain keeps one."""
    params = oc.awake_params(carry["opt_state"], carry["params"])
    found = {"parameters": {"params": params, "batch_stats": carry["batch_stats"]}}
    average = oc.averaged_params(carry["opt_state"], carry["params"])
    if average is not None:
        found["average"] = {"params": average, "batch_stats": carry["batch_stats"]}
    return found


def _keys(seed: jax.Array | int) -> jax.Array:
    """The keys of the initial parameters, of dropout and of the batches."""
    return jax.random.split(jax.random.key(seed), 3)


def _changing_keys(seed: jax.Array | int) -> jax.Array:
    """The keys of augmentation and of mixup, other than those of `_keys`."""
    return jax.random.split(jax.random.fold_in(jax.random.key(seed), 3), 2)
