"""What trainings, studies and comparisons give: their folders, and what is in them."""

import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np

from optchain.lab.api.inputs import raw_inputs
from optchain.lab.base.errors import InputError
from optchain.lab.comparison import compare
from optchain.lab.comparison import report as comparison_report
from optchain.lab.comparison.standings import Standing, standings
from optchain.lab.comparison.tables import Comparison as ComparisonTable
from optchain.lab.data.task import Task
from optchain.lab.models.functional import Model
from optchain.lab.reports import report
from optchain.lab.reports.scores import summary
from optchain.lab.runs import run as runs
from optchain.lab.runs.config import Config
from optchain.lab.runs.logs import evaluations, read
from optchain.lab.training import export
from optchain.lab.training.evaluate import Trained, counted, restore, scores_of
from optchain.lab.tuning import report as tuning_report
from optchain.lab.tuning import space, tune
from optchain.lab.tuning.outcome import Outcome, outcome
from optchain.lab.tuning.tune import Tuning


@dataclasses.dataclass(frozen=True)
class Run:
    """A run in its folder, finished or not."""

    folder: Path

    @property
    def _run(self) -> runs.Run:
        return runs.find(self.folder)

    @property
    def config(self) -> Config:
        """Its resolved configuration."""
        return self._run.config

    @property
    def ending(self) -> str:
        """How it ended, in words; `unfinished` while it has not."""
        return self._run.ending

    @property
    def result(self) -> dict[str, Any] | None:
        """What `result.json` says: `ending`, `step`, `seconds` and more; None while the run has not ended."""
        return self._run.result

    @property
    def scores(self) -> dict[str, dict[str, float]]:
        """The loss and the metrics on each split, of the model that counts: the average where there is one."""
        result = self._run.result or {"scores": {}}
        return {split: scores_of(result, split) for split in result["scores"]}

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of its evaluations."""
        return evaluations(read(self.folder / "metrics.jsonl"))

    @property
    def losses(self) -> np.ndarray:
        """The training loss of each step."""
        return np.array([row["loss"] for row in read(self.folder / "metrics.jsonl") if "loss" in row])

    @functools.cached_property
    def trained(self) -> Trained:
        """Its models and its task, from the newest checkpoint."""
        return restore(self._run)

    @property
    def task(self) -> Task:
        """What it was trained on: prepared examples by split, the classes and more."""
        return self.trained.experiment.task

    @property
    def model(self) -> Model:
        """Its network as pure functions: `apply(params, rest, inputs)` gives the outputs first."""
        return self.trained.experiment.model

    @property
    def params(self) -> Any:
        """The parameters of the model that counts."""
        return self.trained.models[counted(self.trained.models)]["params"]

    @property
    def rest(self) -> Any:
        """What that model has besides, such as statistics of batches."""
        return self.trained.models[counted(self.trained.models)]["rest"]

    def predict(self, inputs: Any) -> dict[str, np.ndarray]:
        """Columns with the answers to raw inputs, or to those in a file of the task's kind."""
        return self.trained.answers(raw_inputs(self.task, inputs, "predict"))

    def export(self, file: Path | str, overwrite: bool = False) -> Path:
        """Write its model to one file; the file.

        Args:
            file: `.safetensors` or `.npz` for the parameters by path, which `start` reads back; `.zip` for all that
                answers raw inputs with jax and numpy alone: `sys.path.insert(0, "flowers.zip")`, `import flowers`,
                `flowers.predict(inputs)`.
            overwrite: whether the file is replaced if there is one.

        Raises:
            InputError: the file is there, has another ending, or cannot hold the model.
        """
        export.require_place(Path(file), overwrite)
        export.write(Path(file), self.trained)
        return Path(file)

    def report(self) -> Path:
        """Write the report; its file."""
        path = self.folder / "report.html"
        report.write([self._run], path)
        return path

    def __repr__(self) -> str:
        return "\n".join([f"Run({str(self.folder)!r})", *(f"  {line}" for line in summary(self._run))])


@dataclasses.dataclass(frozen=True)
class Study:
    """A study in its folder, finished or not."""

    folder: Path

    @functools.cached_property
    def _tuning(self) -> Tuning:
        return tune.reopened(self.folder)

    @property
    def _outcome(self) -> Outcome:
        return outcome(self._tuning)

    @property
    def best(self) -> dict[str, Any]:
        """The values of the best trial, by dimension.

        Raises:
            InputError: no trial has finished.
        """
        winner = self._tuning.winner
        if winner is None:
            raise InputError(f"{self.folder}: no trial has finished")
        return winner.schedule or space.values(winner.labels, self._tuning.study.space)

    @property
    def score(self) -> float:
        """That of the best trial: the mean of its runs on the validation examples."""
        winner = self._tuning.winner
        return float("nan") if winner is None else winner.score

    @property
    def config(self) -> Config:
        """The configuration with the best values."""
        return self._tuning.study.config(self.best)

    @property
    def trials(self) -> list[dict[str, Any]]:
        """A row for each trial, as in `trials.csv`: `pandas.DataFrame(study.trials)` is a table of them."""
        return [trial.row() for trial in self._outcome.trials]

    @property
    def fresh(self) -> list[Run]:
        """The runs of the best values with seeds that no trial had: what they are worth."""
        return [Run(entry.run.folder) for entry in self._outcome.fresh]

    def report(self) -> Path:
        """Write the report; its file."""
        tuning_report.write(self._tuning)
        return self.folder / "report.html"

    def __repr__(self) -> str:
        lines = tuning_report.lines_of(self._tuning, self._outcome)
        return "\n".join([f"Study({str(self.folder)!r})", *(f"  {line}" for line in lines)])


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A comparison in its folder, finished or not."""

    folder: Path

    @functools.cached_property
    def _opened(self) -> tuple[ComparisonTable, dict[str, Tuning]]:
        return compare.reopened(self.folder)

    @property
    def _standings(self) -> list[Standing]:
        return standings(self._opened[1])

    @property
    def studies(self) -> dict[str, Study]:
        """The study of each optimizer."""
        return {name: Study(tuning.folder) for name, tuning in self._opened[1].items()}

    @property
    def trials(self) -> list[dict[str, Any]]:
        """A row for each trial and for each run with a fresh seed, as in `trials.csv`."""
        return compare.rows(self._opened[1])

    @property
    def standings(self) -> list[dict[str, str]]:
        """A row for each optimizer, the best first: its mean on fresh seeds, and how it compares with the first."""
        return comparison_report.rows_of(self._standings)

    @property
    def warnings(self) -> list[str]:
        """What makes the standings doubtful: best values at an end of a space, few seeds, and the like."""
        return comparison_report.warnings_of(self._standings)

    def report(self) -> Path:
        """Write the report; its file."""
        comparison_report.write(*self._opened, self.folder)
        return self.folder / "report.html"

    def __repr__(self) -> str:
        lines = comparison_report.lines_of(self._standings, self._opened[0])
        return "\n".join([f"Comparison({str(self.folder)!r})", *(f"  {line}" for line in lines)])


def open(folder: Path | str) -> Run | Study | Comparison:  # noqa: A001, `lab.open`
    """The run, the study or the comparison in a folder.

    Raises:
        InputError: there is none.
    """
    for name, kind in {"config.json": Run, "study.json": Study, "comparison.json": Comparison}.items():
        if (Path(folder) / name).is_file():
            return kind(Path(folder))
    raise InputError(f"{folder} holds no run, no study and no comparison")
