"""Steps per second of the digits MLP 64-128-10, AdamW: the compiled loop, Python loops, eager torch."""

import dataclasses
import functools
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optchain as oc
from experiments.benchmarks import record
from experiments.benchmarks.contenders import no_torch
from experiments.benchmarks.timing import compile_timed, interleaved
from experiments.tasks.digits import digits as scans

# One chunk of the trainer's loop is timed, without the trainer.
from optchain.lab.data.augment import Augment
from optchain.lab.data.batches import batches
from optchain.lab.data.loading import made
from optchain.lab.data.tables import TaskTable
from optchain.lab.models import network
from optchain.lab.models.class_losses import CrossEntropy
from optchain.lab.models.losses import Loss
from optchain.lab.models.measured import metrics_of
from optchain.lab.models.tables import Network
from optchain.lab.settings.train import Fixed
from optchain.lab.training import batch_policies, chunk
from optchain.lab.training.start import make_start

RATE, DECAY = 1e-3, 1e-4
SEED, HIDDEN = 0, 128
COMPILED, TORCH = "compiled loop, optchain", "Python loop, eager torch"
PYTHON, READING = "Python loop, jitted optax step", "Python loop, jitted optax step, each loss read"

Steps = Callable[[], np.ndarray]  # takes the steps of one round; returns their losses


def run(steps: int, batch: int, repeats: int, out: Path) -> Path:
    """Measure, print and record; the path of the record."""
    reading = functools.partial(python_loop, read=True)
    loops = {COMPILED: compiled_loop, PYTHON: python_loop, READING: reading, TORCH: torch_loop}
    if (reason := no_torch()) is not None:
        print(reason)
        del loops[TORCH]
    prepared = {name: prepare(steps, batch) for name, prepare in loops.items()}
    seconds = interleaved({name: take for name, (take, _) in prepared.items()}, repeats)
    rows = [row(name, steps, batch, prepared[name][1], times, seconds[COMPILED]) for name, times in seconds.items()]
    goals = [
        record.goal(f"{COMPILED}: times faster than {name}", min(seconds[name]) / min(seconds[COMPILED]), limit, True)
        for name, limit in {PYTHON: 4, TORCH: 20}.items()
        if name in seconds
    ]
    record.show("Training loops (ratios of the least times)", rows)
    record.show("Goals", goals)
    record.append(out, [*rows, *goals])
    return out


def row(
    name: str, steps: int, batch: int, compile_s: float | None, seconds: list[float], compiled: list[float]
) -> record.Row:
    """What is shown and recorded of one loop."""
    return {
        "loop": name,
        "steps": steps,
        "batch": batch,
        "compile_s": compile_s,
        "us_per_step_min": 1e6 * min(seconds) / steps,
        "us_per_step_median": 1e6 * statistics.median(seconds) / steps,
        "steps_per_second": round(steps / min(seconds)),
        "to_compiled": min(seconds) / min(compiled),
    }


def digits() -> Any:
    """The scans that are trained on, flat, and the task."""
    task, loss = made(scans(), TaskTable(validation=360, test=360)), Loss(CrossEntropy())
    return dataclasses.replace(task, loss=loss, metrics=metrics_of(None, task, loss))


def fixed(batch: int) -> batch_policies.Policy:
    """All batches of one size."""
    return batch_policies.Policy(Fixed(use="fixed", size=batch))


def parts(model: Any, tx: Any, batch: int) -> chunk.Parts:
    """What the trainer's loop is made of."""
    return chunk.Parts(model, tx, fixed(batch), Augment(), CrossEntropy())


def start(task: Any, model: Any, tx: Any) -> chunk.Carry:
    """What every loop begins with."""
    return make_start(task, lambda _: parts(model, tx, 1))(chunk.Setting(SEED))


def compiled_loop(steps: int, batch: int) -> tuple[Steps, float | None]:
    """The trainer's: all steps of a round in one call, data on the device, each batch a function of seed and step."""
    task, tx = digits(), oc.adamw(RATE, weight_decay=DECAY)
    model = network.build(Network(hidden=[HIDDEN]), task)
    data = jax.device_put(task.splits["train"])
    setting = chunk.Setting(SEED)
    carry = start(task, model, tx)
    chunked = chunk.make_chunk(task, lambda _: parts(model, tx, batch))
    compiled, seconds = compile_timed(chunked, carry, data, setting, steps=steps)

    def take() -> np.ndarray:
        nonlocal carry
        carry, logs = jax.block_until_ready(compiled(carry, data, setting))
        return np.asarray(logs["loss"])

    return take, seconds


def python_loop(steps: int, batch: int, read: bool = False) -> tuple[Steps, float | None]:
    """One call of a jitted step for each batch: optax as in its tutorials, with the buffers donated.

    The losses are read at the end, so that the next step is dispatched while one is computed; or, with `read`, each at
    once, as a loop does that logs or shows it.
    """
    task, tx = digits(), optax.adamw(RATE, weight_decay=DECAY)
    model = network.build(Network(hidden=[HIDDEN]), task)
    params = start(task, model, tx)["params"]
    state, rows = tx.init(params), trainers_rows(steps, batch, task.splits["train"].size)
    inputs, targets, _ = task.splits["train"]

    def step(params: Any, state: Any, inputs: jax.Array, targets: jax.Array) -> tuple[Any, Any, jax.Array]:
        def loss(params: Any) -> jax.Array:
            return task.loss.of(model.apply(params, {}, inputs, jax.random.key(0), train=True)[0], targets).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    jitted = jax.jit(step, donate_argnums=(0, 1))
    compiled, seconds = compile_timed(jitted, params, state, inputs[rows[0]], targets[rows[0]])

    def take() -> np.ndarray:
        nonlocal params, state
        losses = []
        for at in rows:
            params, state, value = compiled(params, state, inputs[at], targets[at])
            losses.append(float(value) if read else value)
        return np.asarray(jax.block_until_ready(losses))

    return take, seconds


def torch_loop(steps: int, batch: int) -> tuple[Steps, float | None]:
    """The loop of torch's tutorials, from the same initial parameters over the same batches."""
    import torch

    task = digits()
    model = network.build(Network(hidden=[HIDDEN]), task)
    params = start(task, model, optax.identity())["params"]
    layers = {"Dense_0": torch.nn.Linear(64, HIDDEN), "Dense_1": torch.nn.Linear(HIDDEN, task.outputs)}
    net = torch.nn.Sequential(layers["Dense_0"], torch.nn.ReLU(), layers["Dense_1"])
    with torch.no_grad():
        for name, layer in layers.items():
            layer.weight.copy_(torch.from_numpy(np.array(params[name]["kernel"]).T))
            layer.bias.copy_(torch.from_numpy(np.array(params[name]["bias"])))
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=DECAY)
    criterion = torch.nn.CrossEntropyLoss()
    inputs, targets, _ = task.splits["train"]
    x, y = torch.from_numpy(inputs.reshape(len(inputs), -1)), torch.from_numpy(targets).long()
    rows = torch.from_numpy(trainers_rows(steps, batch, len(inputs)).astype(np.int64))

    def take() -> np.ndarray:
        losses = []
        for at in rows:
            optimizer.zero_grad()
            loss = criterion(net(x[at]), y[at])
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses).numpy()

    return take, None


def trainers_rows(steps: int, batch: int, size: int) -> np.ndarray:
    """The rows of the first batches of a run of the trainer's, whose third key orders the examples."""
    order = jax.random.split(jax.random.key(SEED), 3)[2]
    return np.asarray(batches(order, jnp.int32(0), steps, batch, size))
