"""How long to train, and what follows from it: the schedule, the memory of the moments, and the decay."""

import math
from collections.abc import Iterator

from optchain.lab.probes.advice.advice import Advice

SHOWN = 300_000  # examples that a run sees, some of them often
FEWEST, MOST = 5, 300  # times that each is seen
EVALUATIONS = 50
SHARE = 0.1  # of the steps: a warm-up is no longer, and no memory reaches further


def epochs(examples: int) -> Advice:
    """Passes over the training examples."""
    count = min(max(round(SHOWN / examples), FEWEST), MOST)
    why = f"{count * examples:,} examples are seen in all; {SHOWN:,} are usual, in {FEWEST} to {MOST} passes"
    return Advice("train.epochs", count, why)


def evaluations(steps: int, validated: bool) -> Iterator[Advice]:
    """How often to evaluate, and when to stop."""
    every = max(steps // EVALUATIONS, 1)
    yield Advice("train.evaluate_every", every, f"{math.ceil(steps / every)} points on the curves")
    if validated:
        patience = EVALUATIONS // 5
        why = f"{patience * every} steps without a lower validation loss end the run; the best model is kept"
        yield Advice("train.early_stopping.patience", patience, why)


def b2(steps: int) -> Advice:
    """The decay of the second moment."""
    memory = steps * SHARE
    value = 0.999 if memory >= 1000 else 0.99 if memory >= 100 else 0.95
    return Advice("optimizer.adam.b2", value, f"the mean then reaches back {1 / (1 - value):.0f} of {steps:,} steps")


def warmup(steps: int, b2: float) -> Advice:
    """Steps in which the rate rises."""
    usual, most = round(2 / (1 - b2)), max(round(steps * SHARE), 1)
    why = "2 / (1 - b2) (arXiv:1910.04209)" if usual <= most else f"{SHARE:.0%} of the steps; 2 / (1 - b2) is longer"
    return Advice("optimizer.lr.learning_rate.warmup", min(usual, most), why)


def decay(steps: int, rate: float) -> Advice:
    """The decoupled decay of the kernels."""
    usual, most = 1 / (rate * steps), 0.5
    why = "1 / (peak x steps): they average over the whole run (arXiv:2405.13698)"
    if usual > most:
        why = f"the most that is advised; 1 / (peak x steps) is {usual:.2g}, for the run is short"
    return Advice("optimizer.decay.weight_decay", float(f"{min(usual, most):.2g}"), why)
