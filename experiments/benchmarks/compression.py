"""Means of which a part is sent, beside the mean of whole gradients: bytes of a step, and the accuracy that is reached.

A dense network learns the digits on eight devices, each with its own part of every batch. The bytes are those of the
program that is compiled for eight devices. The training runs with the devices side by side in a `vmap`, which computes
the same (`tests/compression/test_feedback.py`) in less time where there are fewer cores than devices.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import optchain as oc
from experiments.benchmarks import record
from optchain import lab
from optchain.core.spread import marked  # JAX calls it by another name in each of its versions
from optchain.inspect.collectives import collectives, sent_by_each

DEVICES, AXIS, BATCH, TEST = 8, "data", 64, 360
WIDTHS = (64, 128, 64, 10)
RATE = 3e-3
DENSE = "dense mean"
CONTENDERS: dict[str, Callable[[], Any]] = {
    DENSE: lambda: None,
    "low_bit_mean(8)": lambda: oc.low_bit_mean(8, AXIS),
    "low_bit_mean(4)": lambda: oc.low_bit_mean(4, AXIS),
    "qsgd_mean(4)": lambda: oc.qsgd_mean(4, AXIS),
    "sign_mean()": lambda: oc.sign_mean(AXIS),
    "powersgd_mean(4)": lambda: oc.powersgd_mean(4, AXIS),
    "powersgd_mean(1)": lambda: oc.powersgd_mean(1, AXIS),
    "random_k_mean(0.05)": lambda: oc.random_k_mean(0.05, AXIS),
    "top_k_mean(0.01)": lambda: oc.top_k_mean(0.01, AXIS),
    "top_k_mean(0.002)": lambda: oc.top_k_mean(0.002, AXIS),
    "demo_mean(0.05)": lambda: oc.demo_mean(0.05, AXIS),
}


def run(steps: int, seeds: int, only: list[str], out: Path) -> Path:
    """Measure, print and record; the path of the record.

    Args:
        steps: of each run.
        seeds: runs of each contender.
        only: names of techniques, beside the dense mean; all if left out.
        out: file to append the rows to.
    """
    chosen = {name: make for name, make in CONTENDERS.items() if not only or name.partition("(")[0] in {DENSE, *only}}
    rows = list(measured(chosen, steps, seeds))
    record.show(f"Digits on {DEVICES} devices, {steps} steps, {seeds} seeds: mean and 95 % interval", rows)
    record.append(out, rows)
    return out


def measured(contenders: dict[str, Callable[[], Any]], steps: int, seeds: int) -> Iterator[record.Row]:
    """A row for each contender; the dense mean is the first."""
    dense: tuple[int, np.ndarray] | None = None
    for name, make in contenders.items():
        tx = chained(make(), steps)
        count, found = sent(tx)
        accuracies = trained(tx, steps, seeds)
        dense = dense or (count, accuracies)
        yield {
            "mean": name,
            "collectives": ", ".join(f"{x.count} {kind} ({x.bytes} B)" for kind, x in found.items()),
            "bytes sent a step": count,
            "dense / this": dense[0] / count,
            "accuracy %": str(lab.interval(accuracies.tolist())),
            "to dense": str(lab.interval((accuracies - dense[1]).tolist())),
        }


def chained(mean: Any, steps: int) -> Any:
    """Clipped Adam after a mean; without one, gradients come averaged."""
    links: dict[str, Any] = {} if mean is None else {"mean": mean}
    links |= {
        "clip": oc.clip_by_global_norm(1.0),
        "adam": oc.scale_by_adam(),
        "lr": oc.scale_by_learning_rate(oc.warmup_cosine(peak=RATE, warmup=min(50, steps // 4), total=steps)),
    }
    return oc.chain(**links)


def start(key: Any) -> Any:
    """The parameters of the network."""
    keys, sizes = jax.random.split(key, len(WIDTHS) - 1), list(zip(WIDTHS[:-1], WIDTHS[1:], strict=True))
    layer = lambda key, n, m: {"kernel": jax.random.normal(key, (n, m)) * (2 / n) ** 0.5, "bias": jnp.zeros(m)}  # noqa: E731
    return [layer(key, *size) for key, size in zip(keys, sizes, strict=True)]


def logits(params: Any, x: jax.Array) -> jax.Array:
    """What the network says of scans."""
    for layer in params[:-1]:
        x = jax.nn.relu(jnp.dot(x, layer["kernel"]) + layer["bias"][None])
    return jnp.dot(x, params[-1]["kernel"]) + params[-1]["bias"][None]


def loss(params: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """The cross entropy of a batch."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits(params, x)), y[:, None], axis=1))


def stepped(tx: Any, carry: Any, x: jax.Array, y: jax.Array) -> Any:
    """One step on this device's part of a batch."""
    params, state = carry
    own = jax.tree.map(lambda p: marked(p, {-1: (AXIS,)}), params)  # else JAX would sum the gradients of all devices
    grads = jax.grad(loss)(own, x, y)
    if "mean" not in tx.link.children():
        grads = jax.lax.pmean(grads, AXIS)
    return oc.apply(tx, grads, state, params)


def mesh() -> jax.sharding.Mesh:
    """All devices along one axis."""
    return jax.make_mesh((DEVICES,), (AXIS,), (jax.sharding.AxisType.Auto,))


def sent(tx: Any) -> tuple[int, Any]:
    """The bytes that each device sends in a compiled step, and the collectives."""
    params = jax.eval_shape(start, jax.random.key(0))
    specs = (jax.P(), oc.state_specs(tx, params, jax.P()))
    whole = jax.shard_map(tx.init, mesh=mesh(), in_specs=jax.P(), out_specs=specs[1])
    batch = jax.ShapeDtypeStruct((BATCH, WIDTHS[0]), jnp.float32), jax.ShapeDtypeStruct((BATCH,), jnp.int32)
    step = jax.shard_map(
        functools.partial(stepped, tx), mesh=mesh(), in_specs=(specs, jax.P(AXIS), jax.P(AXIS)), out_specs=specs
    )
    compiled = jax.jit(step).lower((params, jax.eval_shape(whole, params)), *batch).compile()
    found = collectives(compiled.as_text() or "")
    return sent_by_each(found, DEVICES), found


def trained(tx: Any, steps: int, seeds: int) -> np.ndarray:
    """The accuracy on test scans in percent after training, by seed; the seeds train side by side."""
    scans, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(digits))
    scans, digits = jnp.asarray(scans[order] / 8 - 1, jnp.float32), jnp.asarray(digits[order], jnp.int32)
    x, y = scans[TEST:], digits[TEST:]

    def train(key: Any) -> Any:
        params = start(key)

        def step(carry: Any, t: Any) -> Any:
            rows = jax.random.randint(jax.random.fold_in(key, t), (DEVICES, BATCH // DEVICES), 0, len(y))
            own = rows[jax.lax.axis_index(AXIS)]
            return stepped(tx, carry, x[own], y[own]), None

        return jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))[0][0]

    def right(key: Any) -> jax.Array:
        by_device = jax.vmap(lambda _: train(key), axis_name=AXIS)(jnp.arange(DEVICES))
        params = jax.tree.map(lambda p: p[0], by_device)  # the same on all
        return 100 * jnp.mean(jnp.argmax(logits(params, scans[:TEST]), axis=-1) == digits[:TEST])

    return np.asarray(jax.jit(jax.vmap(right))(jax.random.split(jax.random.key(1), seeds)))
