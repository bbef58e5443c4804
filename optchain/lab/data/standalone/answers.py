"""What outputs of a network say: classes by their names and how probable they are, or numbers in their own units."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Answers:
    """How outputs become columns of answers."""

    labels: list[Any] | None  # of the classes; None if the targets are numbers
    logits: bool  # whether outputs are logits of classes; those of a loss of the user's may mean anything
    names: list[str]  # of the targets
    mean: np.ndarray | None  # of the targets, by which they were shifted for training
    deviation: np.ndarray | None  # by which they were divided

    def __call__(self, outputs: np.ndarray) -> dict[str, np.ndarray]:
        outputs, names, said = np.asarray(outputs), self.names, {}
        if self.labels is not None:
            called, labels = names[0] if names else "class", np.asarray(self.labels)
            if self.logits:
                return _classes(outputs, labels, called)
            names = []  # what the outputs mean is the business of the user's loss: they are shown too
            if outputs.ndim > 1 and outputs.shape[-1] == len(labels):
                outputs = outputs.reshape(len(outputs), -1, len(labels))[:, -1]
                said = {called: labels[outputs.argmax(-1)]}
        numbers = outputs.reshape(len(outputs), -1)
        if self.mean is not None:
            numbers = self.mean + self.deviation * numbers
        called = names if len(names) == numbers.shape[1] else [f"output_{i}" for i in range(numbers.shape[1])]
        return said | {name: numbers[:, i] for i, name in enumerate(called)}


@dataclasses.dataclass(frozen=True)
class HeadAnswers:
    """How the outputs of several heads become columns, which begin with the name of the head."""

    heads: dict[str, Answers]

    def __call__(self, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        said = {}
        for head, answers in self.heads.items():
            columns = answers(outputs[head])
            said |= {name if name == head else f"{head}_{name}": column for name, column in columns.items()}
        return said


def _classes(outputs: np.ndarray, labels: np.ndarray, name: str) -> dict[str, np.ndarray]:
    if outputs.ndim > 2:  # of a sequence, what follows its end
        outputs = outputs[:, -1]
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        logits = outputs.reshape(len(outputs))
        return {name: labels[(logits > 0).astype(int)], "probability": 1 / (1 + np.exp(-np.abs(logits)))}
    likely = np.exp(outputs - outputs.max(-1, keepdims=True))
    return {name: labels[outputs.argmax(-1)], "probability": likely.max(-1) / likely.sum(-1)}
