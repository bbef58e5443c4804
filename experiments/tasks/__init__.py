"""The tasks, one a file: each has a function `load` from its table of the configuration to a `Task`."""

import importlib

from experiments import tables
from experiments.data import Task


def load(table: tables.Task) -> Task:
    """The task of a configuration; no other task is imported."""
    return importlib.import_module(f"{__name__}.{table.use}").load(table)
