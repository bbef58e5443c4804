"""How far slots in few bits lead away from where exact slots lead, for many techniques on the same gradients."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optchain as oc
from experiments.benchmarks import record
from optchain.core.walk import definitions

NAMES = """adam belief adan ademamix adopt amsgrad laprop nadam radam yogi rms rss adadelta lion signum trace
muon soap factored_rms sm3""".split()
FORMATS = ("bfloat16", "int8", "int4")
SHAPE = (64, 256)


def technique(name: str) -> optax.GradientTransformation:
    """A technique by its short name."""
    return oc.trace(0.9) if name == "trace" else getattr(oc, f"scale_by_{name}")()


def run(steps: int, only: list[str]) -> Iterator[record.Row]:
    """A row for each technique: the relative errors of the sum of its updates.

    Args:
        steps: how many.
        only: names of techniques; all if left empty.
    """
    grads = gradients(steps)
    for name in only or NAMES:
        plain = technique(name)
        with jax.enable_x64(True):
            exact = displacement(plain, grads.astype(np.float64))
        coded = {word: oc.precision(plain, slots=word, min_size=0) for word in FORMATS}
        formats = {word: stored(tx) for word, tx in coded.items()}
        error = lambda tx, exact=exact: float(np.linalg.norm(displacement(tx, grads) - exact) / np.linalg.norm(exact))  # noqa: E731
        yield {
            "technique": name,
            "float32": error(plain),
            "bfloat16": error(coded["bfloat16"]),
            "int8": error(coded["int8"]) if formats["int8"] else None,
            "int4": error(coded["int4"]) if formats["int4"] != formats["int8"] else None,
            "stored by int8": formats["int8"] or "float32: it has no slot that bears a code",
        }


def stored(tx: Any) -> str:
    """The formats of the slots in codes."""
    return " ".join(str(link.storage) for _, link in definitions(tx) if getattr(link, "storage", None))


def gradients(steps: int) -> np.ndarray:
    """Noise about a mean, float32[steps, rows, columns]: rows differ by three decades, and entries within them too.

    A quarter of the columns has a gradient at one of eight steps alone, as a rare byte has.
    """
    draw = np.random.default_rng(0)
    rows, entries = 10.0 ** draw.uniform(-3, 0, (SHAPE[0], 1)), draw.lognormal(0, 1, SHAPE)
    noise = draw.standard_normal((steps, *SHAPE)) + 0.3 * draw.standard_normal(SHAPE)
    noise[:, :, ::4] *= draw.random((steps, 1, SHAPE[1] // 4)) < 1 / 8
    return (rows * entries * noise).astype(np.float32)


def displacement(tx: Any, grads: np.ndarray) -> np.ndarray:
    """The sum of the updates that these gradients lead to, float64."""
    params = {"w": jnp.ones(SHAPE, grads.dtype)}

    def step(carry: Any, g: jax.Array) -> tuple[Any, None]:
        total, state = carry
        updates, state = tx.update({"w": g}, state, params)
        return (total + updates["w"], state), None

    run = jax.jit(lambda grads: jax.lax.scan(step, (jnp.zeros_like(params["w"]), tx.init(params)), grads)[0][0])
    return np.asarray(run(grads), np.float64)
