"""The training loop's inside: many steps compiled as one, and the evaluation of a model."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import optchain as oc
from optchain.core.door import widened
from optchain.core.paths import map_named, names_of
from optchain.lab.data.augment import augment
from optchain.lab.data.batches import Window, balanced_batches, batches, slide, window
from optchain.lab.data.task import Task
from optchain.lab.settings.regularizers import Augment, Loss
from optchain.lab.training.batch_policies import Policy
from optchain.lab.training.objective import Objective

EVALUATED = 512  # examples at once
NO_EPOCH = 2**32 - 1  # folded into the key of the batches it is that of their sizes
# params, batch_stats, opt_state, step, examples seen, the state of the batch policy, and the validation loss not yet
# told to the optimizer (NaN if it was): all that changes from step to step
Carry = dict[str, Any]


class Setting(NamedTuple):
    """In what runs may differ and yet share what is compiled."""

    seed: jax.Array | int
    numbers: dict[str, jax.Array | float] = {}  # of the configuration, by dotted key
    hyper: dict[str, jax.Array | float] = {}  # of the chain, by dotted name, for those of the configuration


class Parts(NamedTuple):
    """What the numbers of a setting decide."""

    model: nn.Module
    tx: optax.GradientTransformation
    batch: Policy
    augment: Augment = Augment()
    loss: Loss = Loss()
    sampling: str = "epochs"


Keys = tuple[jax.Array, ...]  # of dropout, of augmentation and of mixup
Evaluate = Callable[..., dict[str, jax.Array]]
Build = Callable[[dict[str, Any]], Parts]  # from the numbers of a setting, which may be traced


def make_start(task: Task, build: Build) -> Callable[..., Carry]:
    """A compiled function `start(setting, given={})`: the carry before the first step, with given leaves by path."""

    # In one compiled call, so that a slot that begins as the parameter does not share its buffer: both are donated.
    @jax.jit
    def start(setting: Setting, given: dict[str, jax.Array] | None = None) -> Carry:
        parts = build(setting.numbers)
        model, tx, batch = parts.model, parts.tx, parts.batch
        variables = model.init(_keys(setting.seed)[0], jnp.asarray(task.splits["train"][0][:1]), train=False)
        variables = {
            part: map_named(lambda path, x: (given or {}).get(path, x), tree) for part, tree in variables.items()
        }
        carry = {
            "params": variables["params"],
            "batch_stats": variables.get("batch_stats", {}),
            "opt_state": tx.init(variables["params"]),
            "step": jnp.zeros((), jnp.int32),
            "examples": jnp.zeros((), jnp.int32),
            "batch": batch.start(),
            "validation": jnp.full((), jnp.nan, jnp.float32),
        }
        # Weak types would change after the first step, and with them the type of the carry.
        return jax.tree.map(lambda x: jax.lax.convert_element_type(x, x.dtype), carry)

    return start


def make_chunk(task: Task, build: Build) -> jax.stages.Wrapped:
    """A compiled function `chunk(carry, data, setting, steps=...) -> (carry, logs)`: so many steps in one call.

    The carry is donated. `data`, the inputs and targets of the training examples on the device, stays as it is. The
    logs have one entry for each step: the training `loss` and the task's metric of the batch before the step, and
    `optimizer`, the metrics of the chain; where batches are computed in micro-batches also their size. Two calls of
    one step each and one call of two steps compute the same.
    """

    def gradient(
        carry: Carry, data: Any, rows: jax.Array, keys: Keys, parts: Parts, objective: Objective
    ) -> tuple[Any, Any]:
        """Loss, metric and batch statistics of a batch, and the gradients."""
        dropout, changes, mixing = keys
        model, tx = parts.model, parts.tx
        inputs, targets = (x.at[rows].get(mode="promise_in_bounds") for x in data)
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
        return (value, metric, stats), grads

    def update(
        carry: Carry, seen: Any, grads: Any, size: Any, setting: Setting, parts: Parts
    ) -> tuple[Carry, dict[str, Any]]:
        """The step of the optimizer, after a batch of some size."""
        value, metric, stats = seen
        told = {"value": value, "validation": carry["validation"]}
        logs = {"loss": value, task.metric_name: metric}
        if setting.hyper:
            told["hyper"] = setting.hyper
        if parts.batch.table.scale_rate != "none":
            logs["rate_factor"] = parts.batch.rate_factor(size)
            told["factors"] = {"learning_rate": dict.fromkeys(names_of(carry["params"]), logs["rate_factor"])}
        params, opt_state = oc.apply(parts.tx, grads, carry["opt_state"], carry["params"], **told)
        new = {
            "params": params,
            "batch_stats": stats,
            "opt_state": opt_state,
            "step": carry["step"] + 1,
            "examples": carry["examples"] + size,
            "batch": carry["batch"],
            "validation": jnp.full_like(carry["validation"], jnp.nan),
        }
        return new, logs | {"optimizer": oc.metrics(opt_state)}

    def whole(
        carry: Carry, data: Any, setting: Setting, parts: Parts, objective: Objective, steps: int
    ) -> tuple[Carry, dict[str, Any]]:
        """Steps whose batches are computed at once."""
        order, keys, size = _keys(setting.seed)[2], _keys_of_steps(setting.seed), parts.batch.table.largest
        if parts.sampling == "balanced":
            rows = balanced_batches(order, carry["step"], steps, size, data[1], task.classes or 0)
        else:
            rows = batches(order, carry["examples"], steps, size, len(data[0]))

        def step(carry: Carry, rows: jax.Array) -> tuple[Carry, dict[str, Any]]:
            seen, grads = gradient(carry, data, rows, _folded(keys, carry["step"]), parts, objective)
            return update(carry, seen, grads, size, setting, parts)

        return jax.lax.scan(step, carry, rows)

    def parted(
        carry: Carry, data: Any, setting: Setting, parts: Parts, objective: Objective, steps: int
    ) -> tuple[Carry, dict[str, Any]]:
        """Steps whose batches are some micro-batches, how many only the step knows: one shape serves all sizes."""
        order, keys, size = _keys(setting.seed)[2], _keys_of_steps(setting.seed), len(data[0])
        policy, micro = parts.batch, parts.batch.micro or 1

        def step(state: tuple[Carry, Window], _: None) -> tuple[tuple[Carry, Window], dict[str, Any]]:
            carry, at = state
            step_keys = _folded(keys, carry["step"])
            count = policy.count(jax.random.fold_in(order, NO_EPOCH), carry["step"], carry["batch"])

            def add(i: jax.Array, state: Any) -> Any:
                at, seen, grads, small = state
                at, rows = slide(order, at, carry["examples"] + i * micro, micro, size)
                results, more = gradient(carry, data, rows, _folded(step_keys, i), parts, objective)
                more = widened(more)
                small = small + optax.tree.norm(more, squared=True) if policy.measures else small
                return at, *jax.tree.map(jnp.add, (seen, grads), (results, more)), small

            zeros = jnp.zeros(()), jnp.zeros(()), jax.tree.map(jnp.zeros_like, carry["batch_stats"])
            nothing = at, zeros, jax.tree.map(jnp.zeros_like, widened(carry["params"])), jnp.zeros(())
            at, seen, grads, small = jax.lax.fori_loop(0, count, add, nothing)
            seen, grads, small = jax.tree.map(lambda x: x / count, (seen, grads, small))
            logs = {"batch": count * micro} | policy.metrics(carry["batch"])
            if policy.measures:
                carry |= {"batch": policy.follow(carry["batch"], small, optax.tree.norm(grads, squared=True), count)}
            grads = jax.tree.map(lambda x, p: x.astype(p.dtype), grads, carry["params"])
            carry, more = update(carry, seen, grads, count * micro, setting, parts)
            return (carry, at), logs | more

        first = window(order, carry["examples"], micro, size)
        (carry, _), logs = jax.lax.scan(step, (carry, first), length=steps)
        return carry, logs

    def chunk(carry: Carry, data: Any, setting: Setting, steps: int) -> tuple[Carry, dict[str, Any]]:
        parts = build(setting.numbers)
        objective = Objective(task, parts.loss, data[1])
        return (parted if parts.batch.micro else whole)(carry, data, setting, parts, objective, steps)

    return jax.jit(chunk, static_argnames="steps", donate_argnums=0)


def make_evaluate(task: Task, model: nn.Module, members: bool = False) -> Evaluate:
    """A compiled function `evaluate(variables, inputs, targets)`: the mean loss and metric of a model.

    With `members` the variables are those of several models, stacked, which answer together: by the mean of what they
    hold probable, or of their outputs where the task has no classes.
    """

    def answer(variables: Any, inputs: jax.Array) -> jax.Array:
        if not members:
            return model.apply(variables, inputs, train=False)
        return task.together(jax.vmap(lambda member: model.apply(member, inputs, train=False))(variables))

    @jax.jit
    def evaluate(variables: Any, inputs: jax.Array, targets: jax.Array) -> dict[str, jax.Array]:
        def score(example: Any) -> dict[str, jax.Array]:
            inputs, target = jax.tree.map(lambda x: x[None], example)
            outputs = answer(variables, inputs)
            return {"loss": task.loss(outputs, target)[0], task.metric_name: task.metric(outputs, target)[0]}

        # In parts, for the outputs of all examples at once may be larger than the memory.
        scores = jax.lax.map(score, (inputs, targets), batch_size=EVALUATED)
        return jax.tree.map(jnp.mean, scores)

    return evaluate


def models(carry: Carry) -> dict[str, Any]:
    """The models of a carry: its own `parameters`, and their `average` where a link of the chain keeps one."""
    params = oc.awake_params(carry["opt_state"], carry["params"])
    variables = {"parameters": {"params": params, "batch_stats": carry["batch_stats"]}}
    average = oc.averaged_params(carry["opt_state"], carry["params"])
    if average is not None:
        variables["average"] = {"params": average, "batch_stats": carry["batch_stats"]}
    return variables


def _keys(seed: jax.Array | int) -> jax.Array:
    """The keys of the initial parameters, of dropout and of the batches."""
    return jax.random.split(jax.random.key(seed), 3)


def _keys_of_steps(seed: jax.Array | int) -> Keys:
    """The keys of dropout, of augmentation and of mixup."""
    changing = jax.random.split(jax.random.fold_in(jax.random.key(seed), 3), 2)  # other than those of `_keys`
    return _keys(seed)[1], changing[0], changing[1]


def _folded(keys: Keys, number: jax.Array) -> Keys:
    return tuple(jax.random.fold_in(key, number) for key in keys)
