"""What a trained model is worth: its scores on every split, and its answers to new inputs."""

import csv
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import jax
import jax.numpy as jnp
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Reader
from optchain.lab.data.task import Split
from optchain.lab.models.answering import answers
from optchain.lab.runs.run import Run
from optchain.lab.training import experiment
from optchain.lab.training.checkpoints import Checkpoints
from optchain.lab.training.chunk import Carry
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.grow import staged
from optchain.lab.training.scoring import Evaluate, make_evaluate, models


@dataclasses.dataclass(frozen=True)
class Trained:
    """The models of a run that count: the best ones where the run may stop early, else the last ones.

    `models` holds the `parameters`, and their `average` where a link of the chain keeps one.
    """

    experiment: Experiment
    models: dict[str, Any]
    step: int

    @property
    def whole(self) -> dict[str, Any]:
        """The parameters and the rest of the module of the model that counts."""
        return self.experiment.whole(self.models[counted(self.models)])

    def scores(
        self, splits: Sequence[str] = ("train", "validation", "test"), evaluate: Evaluate | None = None
    ) -> dict[str, dict[str, dict[str, float]]]:
        """The mean loss and metric of each model on each of the splits that the task has.

        Args:
            splits: names of splits.
            evaluate: what `make_evaluate` made of the task and the network, where it has been compiled already.
        """
        evaluate = evaluate or make_evaluate(self.experiment.task, self.experiment.model)
        return {
            split: {
                name: floats(evaluate(model, *data)) | evaluated_whole(self.experiment, model, data)
                for name, model in self.models.items()
            }
            for split, data in self.experiment.task.splits.items()
            if split in splits
        }

    def answers(self, raw: Any) -> dict[str, np.ndarray]:
        """Columns with the answers to raw inputs, by the model that counts.

        Args:
            raw: arrays as the task has them; or, where its examples are those of a table or texts, columns by name or a
                list of texts.
        """
        task, model = self.experiment.task, self.models[counted(self.models)]
        outputs = self.experiment.model.apply(model["params"], model["rest"], self.prepared(raw, "predict"))[0]
        return answers(task.loss, task, outputs)

    def read(self, path: Path) -> Any:
        """The raw inputs in a file as those of the task, or in one with rows of raw features."""
        task = self.experiment.task
        return read_rows(path, task.features, missing=task.imputes) if task.read is None else task.read(path)

    def prepared(self, raw: Any, command: str) -> Any:
        """Raw inputs as the network takes them.

        Args:
            raw: as for `answers`.
            command: what they are for, to name in errors.
        """
        task = self.experiment.task
        if isinstance(task.read, Reader) and task.read.encode.takes(raw):
            try:
                raw = task.read.encode(raw)
            except ValueError as error:
                raise InputError(f"{command}: {error}") from error
        return task.prepare(raw)


def evaluated_whole(built: Experiment, model: Any, data: Split) -> dict[str, float]:
    """What evaluators say, functions of the user's that get the model.

    Raises:
        InputError: one gives no number.
    """
    scores: dict[str, float] = {}
    for name, metric in built.task.metrics.items():
        if metric.evaluator is not None:
            answer = jax.jit(lambda model, inputs: built.model.apply(model["params"], model["rest"], inputs)[0])
            score = metric.evaluator(functools.partial(answer, model), data.inputs, data.targets)
            if np.ndim(score):
                raise InputError(f"metrics.{name}: got {score!r}; expected a number")
            scores[name] = float(score)
    return scores


def choose(built: Experiment, carry: Any, best: Any, progress: dict[str, Any]) -> Trained:
    """The models of a run that count."""
    stopping = built.config.train.early_stopping
    if stopping is None or not stopping.restore_best:
        return Trained(built, models(carry), progress["step"])
    return Trained(built, best, progress["best_step"])


def restore(run: Run) -> Trained:
    """The models of a run's newest checkpoint that can be read.

    Raises:
        InputError: the run has no checkpoint yet, one with another layout of states, or none that can be read.
    """
    run.require_layout()
    run.say_changed()
    checkpoints = Checkpoints(run.checkpoints)
    built: list[Experiment] = []

    def fresh(progress: dict[str, Any]) -> Carry:
        # The configuration may already ask for another optimizer than that of the checkpoint.
        config = run.config.model_copy(update={"optimizer": progress["optimizer"], "mesh": None})
        built.append(staged(experiment.rebuild(config, str(run.folder / "config.json")), progress.get("stage", 0)))
        # Nothing is drawn, for only structure, shapes and dtypes count: compiling that would take seconds.
        return jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(built[-1].start))

    contents = checkpoints.restore(fresh)
    checkpoints.close()
    if contents is None:
        why = "; of a study the search.keep best trials have one: train its config.json" if run.result else " yet"
        raise InputError(f"{run.folder} has no checkpoint{why}")
    return choose(built[-1], *contents)


def counted(models: dict[str, Any]) -> str:
    """The name of the model that is compared and that answers: the average where there is one."""
    return "average" if "average" in models else "parameters"


def scores_of(result: dict[str, Any], split: str) -> dict[str, float]:
    """The loss and the metric of the model that counts, from the result of a run; none if it was not scored there."""
    scores = result["scores"].get(split)
    return scores[counted(scores)] if scores else {}


def evaluated(row: dict[str, Any], name: str) -> float:
    """The loss or the metric of the model that counts, from the row of an evaluation on the validation examples."""
    return row.get(f"validation_average_{name}", row[f"validation_{name}"])


def floats(scores: dict[str, jax.Array]) -> dict[str, float]:
    """Scores as plain numbers."""
    return {name: float(value) for name, value in scores.items()}


def read_rows(path: Path, features: int, missing: bool = False) -> np.ndarray:
    """Raw rows of features from a `.npy` file or from a CSV file with or without a header.

    Args:
        path: the file. In a CSV file a value is missing where a cell is empty or `nan`.
        features: in each row.
        missing: whether values may be missing; they are NaN.

    Raises:
        InputError: no such file, not numbers, or rows of another length.
    """
    try:
        rows = np.load(path, allow_pickle=False) if path.suffix == ".npy" else _read_csv(path)
        rows = np.asarray(rows, np.float64)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}") from None
    rows = rows.reshape(len(rows), -1) if rows.ndim > 1 else rows.reshape(-1, features if rows.size == features else 1)
    if rows.shape[1] != features:
        raise InputError(f"{path}: rows of {rows.shape[1]} numbers; expected {features}")
    wrong = np.isinf(rows) if missing else ~np.isfinite(rows)
    if wrong.any():
        raise InputError(f"{path}: row {int(np.argwhere(wrong)[0][0]) + 1} is not finite")
    return rows


def write_answers(answers: dict[str, np.ndarray], file: TextIO) -> None:
    """Write columns as CSV."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(answers)
    writer.writerows(zip(*(column.tolist() for column in answers.values()), strict=True))


def _read_csv(path: Path) -> list[list[float]]:
    with path.open(newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and not all(map(_is_number, rows[0])):
        rows = rows[1:]
    if not rows:
        raise ValueError("holds no rows")
    for number, row in enumerate(rows, 1):
        if len(row) != len(rows[0]):
            raise ValueError(f"row {number} has {len(row)} numbers, the first one {len(rows[0])}")
    return [[float(cell or "nan") for cell in row] for row in rows]


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True
