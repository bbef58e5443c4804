"""The tasks, one a file: each has a function `load` from its table of the configuration to a `Task` of raw inputs."""

import importlib

from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.task import Task, prepared
from optchain.lab.settings import tables


def load(table: tables.Task, steps: dict[str, Step] | None = None) -> Task:
    """The task of a configuration, its inputs prepared by steps, or by its own; no other task is imported."""
    return prepared(importlib.import_module(f"{__name__}.{table.use}").load(table), steps)
