"""Raw inputs as they are handed to functions: arrays and the like, or a file."""

from pathlib import Path
from typing import Any

from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task


def raw_inputs(task: Task, inputs: Any, command: str) -> Any:
    """Raw inputs, or those in a file of the task's kind.

    Args:
        task: whose they are.
        inputs: they themselves, or the file.
        command: what they are for, to name in errors.
    """
    if not isinstance(inputs, str | Path):
        return inputs
    if task.read is None:
        raise InputError(f"{command}: got {str(inputs)!r}; the inputs of this task are arrays, expected some")
    return task.read(Path(inputs))
