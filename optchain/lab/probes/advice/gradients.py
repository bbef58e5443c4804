"""What the first steps say: the learning rate, the size of batches, and the norm of gradients."""

import math
from collections.abc import Callable

import numpy as np

from optchain.lab.base.doing import say
from optchain.lab.data.task import Task
from optchain.lab.probes import find_batch, find_lr
from optchain.lab.probes.advice.advice import Advice
from optchain.lab.runs.config import Config
from optchain.lab.training import experiment
from optchain.lab.training.program import Program

LOW, HIGH, RATES = 1e-5, 1.0, 200  # of the range test
STEPS = 200  # in which the noise and the norms are measured
SMALLEST, LARGEST = 8, 1024  # batches
PASSES = 20  # batches that an epoch has at least
QUANTILE = 0.9  # of the norms of gradients, beyond which they are clipped


def rate(config: Config, key: str, source: str, task: Task) -> float:
    """A tenth of the rate with the lowest loss in a range test.

    Of a transformer the loss falls fastest where the head learns how often each output is, at a rate that is far too
    low for the rest.
    """
    rising = find_lr.with_sweep(config, key, LOW, HIGH, RATES)
    return find_lr.sweep(experiment.build(rising, source, task), key, LOW, HIGH, RATES).lowest / 10


def batch(config: Config, source: str, task: Task) -> Advice:
    """The size of batches that is nearest to the noise scale, within bounds.

    Args:
        config: with the rate to be trained with.
        source: of the configuration, to name in errors.
        task: that of the configuration.
    """
    built = experiment.build(config, source, task)
    most = power_of_two(min(LARGEST, max(built.task.size / PASSES, min(SMALLEST, built.task.size))), math.floor)
    noise = find_batch.measure_noise(built, STEPS)
    if noise is None:
        why = "usual: the noise scale is not measured, because gradients of touched rows cannot be added up"
        return Advice("train.batch", min(32, most), why)
    size = min(power_of_two(max(noise.end, SMALLEST)) if math.isfinite(noise.end) else most, most)
    why = f"the noise scale of the gradient is {noise.end:.3g} examples after {STEPS} steps (arXiv:1812.06162)"
    if size == most < noise.end:
        why += f"; no larger, so that an epoch has {PASSES} batches" if most < LARGEST else "; no larger one is advised"
    return Advice("train.batch", size, why)


def clip(config: Config, key: str, source: str, task: Task) -> Advice:
    """The norm beyond which gradients are clipped: a quantile of those of the first steps.

    Args:
        config: whose optimizer has a link `clip` that clips nothing yet.
        key: of the norm.
        source: of the configuration, to name in errors.
        task: that of the configuration.
    """
    built = experiment.build(config, source, task)
    program = Program(built)
    say(f"norms of gradients: training {STEPS} steps")
    _, logs, _ = program.run(config, program.start(config), STEPS)
    norms = np.asarray(logs["optimizer"]["clip.norm"], np.float64)[STEPS // 10 :]
    value = float(f"{np.quantile(norms, QUANTILE):.2g}")
    why = (
        f"{QUANTILE:.0%} of the gradients of {STEPS} steps are shorter (arXiv:2007.14469); their median is "
        f"{np.median(norms):.2g}, the longest {norms.max():.2g}"
    )
    return Advice(key, value, why)


def power_of_two(size: float, rounded: Callable[[float], int] = round) -> int:
    """The power of two that is nearest to a size of 1 or more, by their ratio; or the largest within it, by `floor`."""
    return 2 ** rounded(math.log2(size))
