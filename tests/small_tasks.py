"""The tasks of the experiments, for tests of the lab."""

from typing import Any

import pydantic

from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.task import Task
from optchain.lab.runs.config import AnyTask, Config
from optchain.lab.training.experiment import load_task

NAMES = {"tabular": "Tabular", "embedding": "Clicks", "text": "Text"}


def use(name: str) -> str:
    """The place of a task."""
    return f"experiments.tasks.{name}:{NAMES.get(name, name)}"


def table(name: str, **fields: Any) -> Any:
    """The table of a task."""
    return pydantic.TypeAdapter(AnyTask).validate_python({"use": use(name), **fields})


def load(name: str, steps: dict[str, Step] | None = None, **fields: Any) -> Task:
    """A task with its loss and metrics, its inputs prepared by steps or by its own."""
    return load_task(LIKE.model_copy(update={"task": table(name, **fields), "preprocess": steps}))


LIKE = Config.model_validate(
    {"task": {"use": use("circles")}, "model": {}, "train": {"steps": 1, "batch": 1}, "optimizer": {}}
)
