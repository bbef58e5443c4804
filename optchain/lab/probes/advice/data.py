"""What the examples say: how many to hold out, how to prepare them, and how to treat rare classes."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from optchain.lab.data.examples import Examples
from optchain.lab.data.stream import Stream
from optchain.lab.data.task import Task
from optchain.lab.probes.advice.advice import Advice

FEW, MANY = 5_000, 50_000  # examples: a fifth is held out below the first, 5,000 beyond the second
HELD_OUT = 5_000
FAR = 5.0  # interquartile ranges beyond the quartiles, where a value is far out
OFTEN = 1e-3  # the share of such values from which on they are clipped
UNEQUAL, RARE = 1.5, 10.0  # times that the most frequent class is more frequent than the rarest


def of_split(examples: Examples | Stream, task: Mapping[str, Any]) -> Iterator[Advice]:
    """How many examples to validate and to test with, unless the data or the table `[task]` say so."""
    said = isinstance(examples, Examples) and examples.split is not None
    if said or "folds" in task or isinstance(examples, Stream):
        return
    n = len(examples)
    held: float | int = 0.2 if n < FEW else 0.1 if n < MANY else HELD_OUT
    count = int(held * n) if held < 1 else int(held)
    error = 100 * 0.5 / math.sqrt(count) if count else math.inf
    why = f"{count:,} of {n:,} examples: an accuracy then has a standard error of {error:.1f} points at most"
    for name in ("validation", "test"):
        if name not in task:
            yield Advice(f"task.{name}", held, why)


def of_preparation(examples: Examples, training: np.ndarray) -> Iterator[Advice]:
    """Steps that the training inputs of a table ask for, beside those that the data have anyway.

    Args:
        examples: as they were read.
        training: the rows of the training examples.
    """
    rows = examples.inputs[training].astype(np.float64)
    own = {**examples.first, **(examples.steps or {})}
    kinds = {getattr(step, "use", name) for name, step in own.items()}
    missing = float(np.isnan(rows).mean())
    found = []
    if missing and "impute" not in kinds:
        found.append(
            Advice("preprocess.fill.use", "impute", f"{100 * missing:.2g} % of the training values are missing")
        )
        found.append(Advice("preprocess.fill.by", "median", "which outliers do not move"))
    far = far_out(rows)
    if far > OFTEN:
        why = f"{100 * far:.2g} % of the values lie {FAR:g} interquartile ranges beyond the quartiles, or further"
        found.append(Advice("preprocess.clip.use", "clip_outliers", why))
        found.append(Advice("preprocess.clip.by", "iqr", "quartiles are not moved by what is clipped"))
        found.append(Advice("preprocess.clip.limit", FAR, "so far out, values say no more than that they are"))
    scales = np.nanstd(rows, axis=0)
    scaled = kinds & {"standardize", "min_max", "power", "quantile"}
    spread = float(scales.max() / max(scales[scales > 0].min(initial=math.inf), 1e-300)) if (scales > 0).any() else 1.0
    if found or not scaled:
        level = float(np.abs(np.nanmean(rows, axis=0) / np.where(scales > 0, scales, 1.0)).max())
        why = f"deviations differ by a factor of {spread:.2g}, and means lie up to {level:.2g} deviations from 0"
        found.append(Advice("preprocess.scale.use", "standardize", why))
    yield from found


def of_classes(task: Task) -> Iterator[Advice]:
    """How classes that differ in size are treated."""
    if task.classes is None or task.splits["train"].targets.ndim > 1:
        return
    counts = np.bincount(task.splits["train"].targets, minlength=task.classes)
    if counts.min() == 0:
        return
    ratio = counts.max() / counts.min()
    rarest, most = (str(list(task.labels or ())[i]) for i in (counts.argmin(), counts.argmax()))
    why = f"class {most} has {counts.max()} training examples, class {rarest} {counts.min()}"
    if ratio > RARE:
        yield Advice("train.sampling", "balanced", f"{why}: many batches would lack it")
    elif ratio > UNEQUAL:
        yield Advice("loss.class_weights", "balanced", why)


def far_out(rows: np.ndarray) -> float:
    """The share of values that lie far beyond the quartiles of their feature, of the features that have quartiles."""
    first, third = np.nanquantile(rows, [0.25, 0.75], axis=0)
    reach = FAR * (third - first)
    varied = reach > 0
    if not varied.any():
        return 0.0
    inner = rows[:, varied]
    beyond = (inner < (first - reach)[varied]) | (inner > (third + reach)[varied])
    return float(beyond.mean())


def is_table(examples: Examples) -> bool:
    """Whether the inputs are rows of real numbers, and may be prepared."""
    inputs = examples.inputs
    return (
        isinstance(inputs, np.ndarray) and inputs.ndim == 2 and inputs.dtype.kind == "f" and examples.steps is not None
    )
