"""The leak of preparing data before it is split, for the claim that measures it; no other configuration can have it."""

import dataclasses

import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data import preprocess, tasks
from optchain.lab.settings.tables import Config
from optchain.lab.training.experiment import Experiment, build


def leaking(config: Config, source: str) -> Experiment:
    """The experiment of a configuration whose steps have learned from all rows, those of the test too.

    Raises:
        InputError: steps that leave out rows.
    """
    built, raw = build(config, source), tasks.load(config.task, {})
    inputs, targets = (np.concatenate(parts) for parts in zip(*raw.splits.values(), strict=True))
    fitted = preprocess.fit(config.preprocess or raw.steps or {}, inputs, targets)
    if len(fitted.kept) < len(inputs):
        raise InputError(f"{source}: preprocess: steps that drop rows do not leak by themselves")
    splits = {name: (fitted.transform(rows), labels) for name, (rows, labels) in raw.splits.items()}
    return dataclasses.replace(built, task=dataclasses.replace(built.task, splits=splits, prepare=fitted.transform))
