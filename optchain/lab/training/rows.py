"""What the training loop reads off its logs: where a run diverged, the row of an evaluation, rates, sparsity."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import optchain as oc
from optchain.inspect.config import schedule_from_config
from optchain.lab.settings.places import target
from optchain.lab.training.evaluate import Trained


class Diverged(Exception):
    """The loss became infinite or no number, or rose above what the configuration bears."""

    def __init__(self, step: int, what: str = "is not finite") -> None:
        super().__init__(f"the loss {what} at step {step}")
        self.step, self.above = step, what != "is not finite"  # whether it only rose too far


def steps_before_divergence(logs: dict[str, Any]) -> int:
    """The steps of a chunk before the first one whose loss is not finite; all of them if there is none."""
    # A guard refuses what is not finite; only when it has had enough of it the run has diverged.
    guards = [x for name, x in logs["optimizer"].items() if name.endswith("guard.exhausted")]
    bad = np.flatnonzero(np.any(guards, axis=0) if guards else ~np.isfinite(logs["loss"]))
    return int(bad[0]) if len(bad) else len(logs["loss"])


def require_below(bound: float | None, first: float, before: int, losses: Any) -> None:
    """The mean loss of the batches since the evaluation before is not above the first one times a bound, if any.

    Raises:
        Diverged: it is.
    """
    mean, count = float(np.mean(losses)), len(losses)
    if bound is not None and mean > bound * first:
        raise Diverged(before + count, f"of the last {count} batches is {mean:.4g}, that of the first {first:.4g},")


def evaluation_row(step: int, logs: dict[str, Any], scores: dict[str, dict[str, float]], split: str) -> dict[str, Any]:
    """The scores of a run's models on a split, and the means over the batches since the evaluation before."""
    row: dict[str, Any] = {"step": step}
    names = sorted(next(iter(scores.values())), key=lambda name: name != "loss")  # the loss comes first
    row |= {f"batch_{name}": float(np.mean(logs[name])) for name in names if name in logs}
    for name, values in scores.items():
        prefix = split if name == "parameters" else f"{split}_{name}"
        row |= {f"{prefix}_{key}": value for key, value in values.items()}
    return row


def sparsity(trained: Trained) -> list[dict[str, Any]]:
    """The parameters of the model that counts, with the entries of each that are exactly 0."""
    leaves = oc.sparsity(trained.whole["params"])
    return [leaf._asdict() | {"sparsity": leaf.sparsity} for leaf in (*leaves, leaves.total)]


def is_sparse(carry: dict[str, Any]) -> bool:
    """Whether the optimizer holds weights at 0."""
    return any(name.endswith("sparse.sparsity") for name in oc.metrics(carry["opt_state"]))


def foreign_rates(links: dict[str, Any]) -> dict[str, Callable[[int], Any]]:
    """The learning rates of links that are optax's own, which keep no metrics: by name, as functions of the step."""
    rates = {}
    for name, table in links.items():
        if isinstance(table, dict) and str(table.get("use")).startswith("optax.") and "learning_rate" in table:
            number = table["learning_rate"]
            number = schedule_from_config(number, name, resolve=target) if isinstance(number, dict) else number
            rates[f"{name}.learning_rate"] = number if callable(number) else lambda _, number=number: number
    return rates


def require_numbers(tx: Any, carry: dict[str, Any], hyper: dict[str, float]) -> None:
    """The chain has these numbers, which lie in their ranges, or a ValueError says what is wrong."""

    def step(params: Any, opt_state: Any) -> Any:
        return oc.apply(tx, params, opt_state, params, value=0.0, validation=0.0, hyper=hyper)

    if hyper:
        jax.eval_shape(step, carry["params"], carry["opt_state"])
