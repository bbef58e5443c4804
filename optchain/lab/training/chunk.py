"""The training loop's inside: many steps compiled as one, and the evaluation of a model."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from optchain.core.door import widened
from optchain.core.paths import names_of
from optchain.lab.data.augment import AnyAugment, augment, ends_of
from optchain.lab.data.batches import balanced_batches, batches
from optchain.lab.data.task import Split, Task
from optchain.lab.models.frozen import bound
from optchain.lab.models.functional import Model
from optchain.lab.models.gradients import ClientGradients, TaskGradients, WorkerGradients
from optchain.lab.settings.own import Own
from optchain.lab.training import clients
from optchain.lab.training.attacked import Batch, trained_pass
from optchain.lab.training.batch_gradients import Result, is_stacked, own_gradient, task_gradients
from optchain.lab.training.batch_policies import Policy
from optchain.lab.training.keys import Keys, folded, keys_of_run, keys_of_steps
from optchain.lab.training.layout import ONE_DEVICE, Layout
from optchain.lab.training.local import require_in_process
from optchain.lab.training.objective import Objective, Pair

NO_EPOCH = 2**32 - 1  # folded into the key of the batches it is that of their sizes
# All that changes from step to step: params, rest (of the model: statistics of batches and the like), opt_state, step,
# examples seen, the state of the batch policy, the validation loss not yet told to the optimizer (NaN if it was), what is
# kept of clients, which pieces of the run workers have
Carry = dict[str, Any]


class Setting(NamedTuple):
    """In what runs may differ and yet share what is compiled."""

    seed: jax.Array | int
    numbers: dict[str, jax.Array | float] = {}  # of the configuration, by dotted key
    hyper: Mapping[str, jax.Array | float] = {}  # of the chain, by dotted name, for those of the configuration


class Parts(NamedTuple):
    """What the numbers of a setting decide."""

    model: Model
    tx: optax.GradientTransformation
    batch: Policy
    augment: AnyAugment
    loss: Any  # its table
    gradient: Own | TaskGradients | ClientGradients | WorkerGradients | None = None
    sampling: str = "epochs"
    adversary: Any = None  # its table, see `models.adversary`


Loss = Callable[[Any], Any]  # of the parameters
Build = Callable[[dict[str, Any]], Parts]  # from the numbers of a setting, which may be traced


def make_chunk(task: Task, build: Build, layout: Layout = ONE_DEVICE) -> jax.stages.Wrapped:
    """A compiled function `chunk(carry, data, setting, steps=...) -> (carry, logs)`: so many steps in one call.

    The carry is donated. `data` stays as it is: the training examples on the device, or, where they are a stream, the
    batches of these steps, with the steps along the first axis and the examples along the second. The logs have one
    entry for each step: the training `loss` and the metrics of the batch before the step, and `optimizer`, the metrics
    of the chain; where batches are computed in micro-batches also their size. Two calls of one step each and one call
    of two steps compute the same.
    """
    means = {name: metric for name, metric in task.metrics.items() if not metric.whole}

    def losses(
        params: Any, rest: Any, batch: Split, keys: Keys, parts: Parts, objective: Objective
    ) -> tuple[Split, list[Pair], Loss, Loss]:
        """A batch and targets to train on, for an adversary of these parameters; functions of them: outputs, loss."""
        dropout, changes, mixing, attacking = keys
        ends = ends_of(parts.augment, task)
        batch = batch._replace(inputs=augment(parts.augment, changes, batch.inputs, ends))
        inputs, pairs = objective.mix(mixing, batch.inputs, batch.targets)
        passing = Batch(inputs, pairs, batch.weights)
        through = trained_pass(parts.adversary, task, parts.model, objective, (params, rest), passing, attacking)

        def forward(params: Any) -> Any:
            outputs, after, more = through(params, rest, dropout)
            scores = {name: jnp.mean(metric.of(outputs, batch.targets)) for name, metric in means.items()}
            return outputs, more, (scores, after)

        def loss(params: Any) -> Any:
            outputs, more, said = forward(params)
            return objective(outputs, pairs, params, batch.weights) + more, said

        return batch, pairs, forward, loss

    def gradient(carry: Carry, batch: Split, keys: Keys, parts: Parts, objective: Objective) -> tuple[Result, Any]:
        """What a batch tells, and the gradients."""
        batch = layout.divided(batch)
        params = layout.used(carry["params"])
        batch, pairs, forward, loss = losses(params, carry["rest"], batch, keys, parts, objective)
        if isinstance(parts.gradient, TaskGradients):
            return task_gradients(objective, forward, pairs, batch.weights, params)
        if isinstance(parts.gradient, Own):
            carry = carry | {"params": params}
            return own_gradient(parts.gradient, parts.model, objective, means, carry, batch, keys[0])
        tables = oc.row_tables(parts.tx)
        differentiate = functools.partial(oc.row_value_and_grad, tables=tables) if tables else jax.value_and_grad
        (value, (scores, rest)), grads = differentiate(loss, has_aux=True)(params)
        return Result(value, scores, rest, {}), grads

    def update(
        carry: Carry, result: Result, grads: Any, size: Any, setting: Setting, parts: Parts
    ) -> tuple[Carry, dict[str, Any]]:
        """The step of the optimizer, after a batch of some size."""
        told = {"value": result.value, "validation": carry["validation"]} | result.extras
        logs = {"loss": result.value, **result.metrics}
        if setting.hyper:
            told["hyper"] = setting.hyper
        if parts.batch.table.scale_rate != "none":
            logs["rate_factor"] = parts.batch.rate_factor(size)
            told["factors"] = {"learning_rate": dict.fromkeys(names_of(carry["params"]), logs["rate_factor"])}
        if not isinstance(parts.gradient, ClientGradients):  # whose updates stay where they were made
            grads = layout.stepped(grads, is_stacked(grads, carry["params"]))
        params = layout.stepped(carry["params"])
        params, opt_state = oc.apply(parts.tx, grads, carry["opt_state"], params, **told)
        new = carry | {
            "params": params,
            "rest": result.rest,
            "opt_state": opt_state,
            "step": carry["step"] + 1,
            "examples": carry["examples"] + size,
            "validation": jnp.full_like(carry["validation"], jnp.nan),
        }
        return layout.pinned(new), logs | {"optimizer": oc.metrics(opt_state)}

    def whole(
        carry: Carry, data: Split, setting: Setting, parts: Parts, objective: Objective, steps: int
    ) -> tuple[Carry, dict[str, Any]]:
        """Steps whose batches are computed at once."""
        order, keys, size = keys_of_run(setting.seed)[2], keys_of_steps(setting.seed), parts.batch.table.largest
        if task.stream is not None:
            each = data
        elif parts.sampling == "balanced":
            each = balanced_batches(order, carry["examples"], steps, size, data.targets, task.classes or 0)
        else:
            each = batches(order, carry["examples"], steps, size, data.size)

        def step(carry: Carry, of_step: Any) -> tuple[Carry, dict[str, Any]]:
            carry = layout.pinned(carry)
            batch = _rows(data, of_step) if task.stream is None else of_step
            result, grads = gradient(carry, batch, folded(keys, carry["step"]), parts, objective)
            return update(carry, result, grads, size, setting, parts)

        return jax.lax.scan(step, carry, each)

    def parted(
        carry: Carry, data: Split, setting: Setting, parts: Parts, objective: Objective, steps: int
    ) -> tuple[Carry, dict[str, Any]]:
        """Steps whose batches are some micro-batches, how many only the step knows: one shape serves all sizes."""
        order, keys = keys_of_run(setting.seed)[2], keys_of_steps(setting.seed)
        policy, micro = parts.batch, parts.batch.micro or 1

        def step(carry: Carry, of_step: Any) -> tuple[Carry, dict[str, Any]]:
            carry = layout.pinned(carry)
            step_keys = folded(keys, carry["step"])
            count = policy.count(jax.random.fold_in(order, NO_EPOCH), carry["step"], carry["batch"])

            def part(i: jax.Array) -> tuple[Result, Any]:
                if task.stream is None:
                    batch = _rows(data, batches(order, carry["examples"] + i * micro, 1, micro, data.size)[0])
                else:
                    batch = jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, i * micro, micro), of_step)
                result, grads = gradient(carry, batch, folded(step_keys, i), parts, objective)
                return result, layout.stepped(widened(grads), is_stacked(grads, carry["params"]))

            def add(i: jax.Array, state: Any) -> Any:
                sums, small = state
                more = part(i)
                small = small + _squared(more[1], carry["params"]) if policy.measures else small
                return jax.tree.map(_added, sums, more), small

            nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(part, jnp.int32(0)))
            sums, small = jax.lax.fori_loop(0, count, add, (nothing, jnp.zeros(())))
            (result, grads), small = jax.tree.map(lambda x: _divided(x, count), sums), small / count
            logs = {"batch": count * micro} | policy.metrics(carry["batch"])
            if policy.measures:
                carry |= {"batch": policy.follow(carry["batch"], small, _squared(grads, carry["params"]), count)}
            grads = jax.tree.map(lambda x, p: x.astype(p.dtype), grads, carry["params"])
            carry, more = update(carry, result, grads, count * micro, setting, parts)
            return carry, logs | more

        return jax.lax.scan(step, carry, None if task.stream is None else data, length=steps)

    def rounds(
        carry: Carry, data: Split, setting: Setting, parts: Parts, objective: Objective, steps: int
    ) -> tuple[Carry, dict[str, Any]]:
        """Steps that are rounds of federated learning."""

        def differentiate(params: Any, rest: Any, rows: jax.Array, keys: Keys) -> Any:
            *_, loss = losses(params, rest, _rows(data, rows), keys, parts, objective)
            return jax.value_and_grad(loss, has_aux=True)(params)

        assert isinstance(parts.gradient, ClientGradients)
        order, keys, size = keys_of_run(setting.seed)[2], keys_of_steps(setting.seed), parts.batch.table.largest
        make_round = clients.Round(parts.gradient, differentiate, size, order, layout)

        def step(carry: Carry, _: None) -> tuple[Carry, dict[str, Any]]:
            carry = layout.pinned(carry)
            result, updates, kept = make_round(carry, folded(keys, carry["step"]))
            return update(carry | {"clients": kept}, result, updates, make_round.examples, setting, parts)

        return jax.lax.scan(step, carry, length=steps)

    def chunk(carry: Carry, data: Split, setting: Setting, steps: int) -> tuple[Carry, dict[str, Any]]:
        parts = build(setting.numbers)
        require_in_process(parts.gradient)
        objective = Objective(task, parts.loss, data.targets)
        model, rest, back = bound(parts.model, carry["rest"])  # what is frozen is not carried from step to step
        steps_of = rounds if isinstance(parts.gradient, ClientGradients) else parted if parts.batch.micro else whole
        new, logs = steps_of(carry | {"rest": rest}, data, setting, parts._replace(model=model), objective, steps)
        return new | {"rest": back(new["rest"])}, logs

    return jax.jit(chunk, static_argnames="steps", donate_argnums=0, out_shardings=(layout.carry, layout.replicated))


def _rows(data: Split, rows: jax.Array) -> Split:
    return jax.tree.map(lambda x: x.at[rows].get(mode="promise_in_bounds"), data)


def _squared(grads: Any, params: Any) -> jax.Array:
    """The squared norm of gradients, of several tasks that of their sum."""
    summed = jax.tree.map(lambda x: x.sum(0), grads) if is_stacked(grads, params) else grads
    return optax.tree.norm(summed, squared=True)


def _added(total: jax.Array, more: jax.Array) -> jax.Array:
    """The sum over micro-batches; of what are no real numbers, such as counts of calls, the last."""
    return total + more if jnp.issubdtype(more.dtype, jnp.floating) else more


def _divided(total: jax.Array, count: jax.Array) -> jax.Array:
    return (total / count).astype(total.dtype) if jnp.issubdtype(total.dtype, jnp.floating) else total
