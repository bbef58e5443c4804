"""What the best trial of a study must keep to."""

import warnings

import jax
import numpy as np
import optuna

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task
from optchain.lab.training.experiment import Experiment
from optchain.lab.tuning.tables import Search

MEASURED = ("parameters", "steps_per_second")


def require_known(search: Search, task: Task) -> None:
    """What is constrained is measured.

    Raises:
        InputError: naming the key.
    """
    known = ["loss", *task.metrics, *MEASURED]
    for name in search.constraints:
        if name not in known:
            raise InputError(f"search.constraints.{name}: nothing measures that; {nearest(name, known)}")


def parameters_of(built: Experiment) -> int:
    """The number of parameters of a model."""
    return sum(int(np.prod(x.shape)) for x in jax.tree.leaves(jax.eval_shape(built.start)["params"]))


def set_constraints(trial: optuna.Trial, search: Search, values: dict[str, float] | None, broken: bool = False) -> None:
    """Tell Optuna how far each constrained value of a trial is off.

    Args:
        trial: which has not ended yet.
        search: with the constraints.
        values: by what is measured; None where nothing was.
        broken: whether a trial without values breaks them.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The constraint value is ignored")  # by a process that was killed
        for name, bound in search.constraints.items():
            trial.set_constraint(name, float(broken) if values is None else bound.excess(values[name]))
