"""`find_lr` on objects."""

from pathlib import Path
from typing import Any

from optchain.lab.api.calls import COMMAND, made, setup
from optchain.lab.api.objects import Objects
from optchain.lab.api.tables import Tables
from optchain.lab.probes import find_lr as probing
from optchain.lab.probes.find_lr import Sweep
from optchain.lab.runs.config import Config
from optchain.lab.training import experiment


def find_lr(
    *,
    task: Any,
    model: Any,
    optimizer: Any,
    batch: Any,
    key: str | None = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 200,
    out: Path | str | None = None,
    **more: Any,
) -> Sweep:
    """Train with a rising learning rate; where the loss falls fastest is `steepest` of what it gives.

    Args:
        task: as for `train`; so are
        model, optimizer, batch: the optimizer has one learning rate, or
        key: says which, such as `"optimizer.lr.learning_rate"`.
        low: the first rate.
        high: the last.
        steps: rates that are tried, one a step.
        out: a folder for `rates.csv` and `report.html`, if any.
        more: as for `train`.

    Raises:
        InputError: no such rate, or several.
    """
    tables = Tables(Objects(Path(out or ".")))
    described = setup(tables, task, model, steps, batch, more) | {"optimizer": tables.optimizer(optimizer)}
    resolved = made(Config, described)
    named, limits = probing.rate_of(resolved, key), (low, high, steps)
    built = experiment.build(probing.with_sweep(resolved, named, *limits), "find_lr")
    if out is not None:
        probing.prepare(Path(out))
    sweep = probing.sweep(built, named, *limits)
    if out is not None:
        probing.write(sweep, Path(out), f"{COMMAND}lab.find_lr")
    return sweep
