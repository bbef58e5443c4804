"""What a worker trains: the run as an ordinary one, of all local steps together, by the chain of `[gradient.local]`."""

import dataclasses
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp

from optchain.lab.base.errors import InputError
from optchain.lab.models.gradients import WorkerGradients
from optchain.lab.runs.config import Config, counting_steps
from optchain.lab.training.assemble import optimizer_of

if TYPE_CHECKING:
    from optchain.lab.training.experiment import Experiment

WORKERS = 128  # at the same time
NONE = -1


def require_in_process(gradient: Any) -> None:
    """The steps can be made in this process.

    Raises:
        InputError: those of `gradient` are made by workers.
    """
    if isinstance(gradient, WorkerGradients):
        raise InputError("gradient.use: 'workers' train in processes of their own, which only `optchain train` starts")


def table_of(config: Config) -> WorkerGradients:
    """The table `[gradient]` of a run with workers."""
    assert isinstance(config.gradient, WorkerGradients)
    return config.gradient


def pieces_of(config: Config) -> int:
    """How often workers hand in something until the run ends."""
    return config.train.last_step * table_of(config).together


def local_config(config: Config) -> Config:
    """The configuration of a worker, whose steps are those of all workers together: each makes some pieces of them."""
    table, train = table_of(config), config.train
    steps = pieces_of(config) * table.local_steps
    whole = {"steps": steps, "evaluate_every": table.local_steps, "checkpoint_every": None, "log_every": 1}
    whole |= {"early_stopping": None, "diverged_above": None, "snapshots": []}
    return config.model_copy(
        update={
            "gradient": None,
            "optimizer": counting_steps(table.local, steps),
            "train": train.model_copy(update=whole),
            "start": None,  # the server's parameters are those that it begins with
            "callbacks": {},
            "trackers": {},
        }
    )


def local_experiment(built: "Experiment") -> "Experiment":
    """The experiment of a worker.

    Raises:
        ValueError: naming the dotted key, see `optchain.from_config`.
    """
    config = local_config(built.config)
    return dataclasses.replace(built, config=config, tx=optimizer_of(config, built.task))


def none_open() -> dict[str, jnp.ndarray]:
    """What the server carries of the pieces: the numbers of those that were given to workers and are not back."""
    return {"open": jnp.full(WORKERS, NONE, jnp.int32)}
