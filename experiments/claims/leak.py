"""The leak of preparing data before it is split, for the claim that measures it; no other configuration can have it."""

import dataclasses

import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data import preprocess
from optchain.lab.runs.config import Config
from optchain.lab.training.experiment import Experiment, build, load_task


def leaking(config: Config, source: str) -> Experiment:
    """The experiment of a configuration whose steps have learned from all rows, those of the test too.

    Raises:
        InputError: steps that leave out rows.
    """
    built, raw = build(config, source), load_task(config.model_copy(update={"preprocess": {}}))
    inputs, targets = (np.concatenate([part[i] for part in raw.splits.values()]) for i in (0, 1))
    fitted = preprocess.fit(config.preprocess or {}, inputs, targets)
    if len(fitted.kept) < len(inputs):
        raise InputError(f"{source}: preprocess: steps that drop rows do not leak by themselves")
    splits = {name: part._replace(inputs=fitted.transform(part.inputs)) for name, part in raw.splits.items()}
    return dataclasses.replace(built, task=dataclasses.replace(built.task, splits=splits, prepare=fitted.transform))
