"""The tasks, one a file: each has a function `load` from its table of the configuration to a `Task` of raw inputs."""

import importlib

from experiments import tables
from experiments.data import Task, prepared
from experiments.preprocess.step import Step


def load(table: tables.Task, steps: dict[str, Step] | None = None) -> Task:
    """The task of a configuration, its inputs prepared by steps, or by its own; no other task is imported."""
    return prepared(importlib.import_module(f"{__name__}.{table.use}").load(table), steps)
