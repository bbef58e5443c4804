"""The training loop: compiled chunks, and between them logs, evaluation, checkpoints and early stopping."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.lab.base import compiled, processes
from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted, Signals
from optchain.lab.runs.callbacks import observed
from optchain.lab.runs.control import Control
from optchain.lab.runs.facts import Facts
from optchain.lab.runs.logs import Logs
from optchain.lab.runs.run import BY_HAND, Run, adopt
from optchain.lab.trackers.tracker import About, Trackers
from optchain.lab.training import divergence, owners, rates, rows, seconds
from optchain.lab.training.checkpoints import Checkpoints
from optchain.lab.training.evaluate import counted, evaluated_whole, floats
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.grow import grown, in_words, is_due, loss_after, staged
from optchain.lab.training.patience import is_best
from optchain.lab.training.program import Program
from optchain.lab.training.progress import Display, Quiet
from optchain.lab.training.result import Ending, result_of
from optchain.lab.training.resume import beginning, resume
from optchain.lab.training.rows import Diverged
from optchain.lab.training.scoring import models
from optchain.lab.training.snapshots import Snapshots


class Trainer:
    """A run in progress. `carry` changes from step to step, `best` and `progress` from evaluation to evaluation."""

    def __init__(
        self,
        experiment: Experiment,
        run: Run,
        renames: dict[str, str | None] | None = None,
        program: Program | None = None,  # of this experiment, or of one that differs in the seed and varied numbers
        display: Display | Quiet | None = None,
        scored: Sequence[str] = ("train", "validation", "test"),  # splits on which the run is scored at its end
        prunes: Callable[[dict[str, Any]], bool] = lambda row: False,  # whether an evaluation's row ends the run
        rest: float = 0.0,  # seconds from one checkpoint to the next at least
        keeps: bool = True,  # a checkpoint of the end
    ) -> None:
        self.origin, self.run, self.table = experiment, run, experiment.config.train  # before the model has grown
        self.programs, self.scored, self.prunes = program or Program(experiment), scored, prunes
        self.rest, self.keeps, self.saved = rest, keeps, time.monotonic()
        self.checkpoints = Checkpoints(run.checkpoints)
        self.logs = Logs(run.folder, self.table.log_every)
        self.snapshots = Snapshots(run.snapshots) if self.table.snapshots else None
        resumed = resume(self.checkpoints, experiment, run.folder, renames or {})
        self.carry, self.best, self.progress = resumed or beginning(self.programs, experiment.config)
        self.experiment = staged(experiment, self.progress["stage"])
        adopt(run, experiment.config)
        Facts.of(experiment.task).write(run)
        self.logs.cut(self.progress["step"] if resumed else -1)
        self.checkpoints.cut(self.progress["step"])
        if self.snapshots:
            self.snapshots.cut(self.progress["step"])
        self.rates = rows.foreign_rates(experiment.config.optimizer)
        self.display = display or Display(self.table.last_step, self.progress["step"], experiment.task.shown)
        self.control = Control(
            run.folder, lambda x: rows.require_numbers(experiment.tx, self.carry, x), self.display.say
        )
        self.stopped = False  # by hand
        about = About(run.folder, experiment.config.model_dump(), self.progress["step"])
        self.trackers = Trackers({} if self.ended else experiment.config.trackers, about, self.display.say)

    @property
    def program(self) -> Program:
        """What is compiled for the model as it is now."""
        return self.programs.at_stage(self.progress["stage"])

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train."""
        return self.stopped or self.stopped_early or self.progress["step"] >= self.table.steps

    @property
    def stopped_early(self) -> bool:
        """Whether the validation loss has not fallen for `patience` evaluations."""
        return (stopping := self.table.early_stopping) is not None and self.progress["stale"] >= stopping.patience

    @compiled.kept()
    def train(self) -> int | None:
        """Train to the end, whatever it is, or until a signal comes; the number of that signal, also of a late one."""
        with Signals() as signals, self.display as display, self.program:
            for doubt in rates.doubts(self.experiment.config, self.experiment.tx):
                display.say(doubt)
            self._heed()
            if not self.ended:  # a run that was stopped by hand and goes on
                (self.run.folder / "result.json").unlink(missing_ok=True)
            signal = processes.any_of(signals.received)
            while not self.ended and signal is None:
                try:
                    row = self._chunk()
                except Diverged as error:
                    self._diverged(error)
                    return signals.received
                except Interrupted:  # before workers have made a step
                    self._save()
                    break
                display.show(row)
                # Each change of the numbers in force has a checkpoint: what is made anew after a kill is as it was.
                changed = self._heed()
                self._observe(row)
                if not self.ended and self.prunes(row):
                    self._end_without_scores("pruned", row["step"])
                    return signals.received
                # All processes agree once an evaluation, before the saving: what ends the loop has its checkpoint.
                signal = processes.any_of(signals.received)
                if changed or signal or processes.of_first(self._is_due):
                    self._save()
        self.checkpoints.close()
        if self.ended:
            self.run.write("result.json", result := self.result())
            self.trackers.end(result["ending"], result)
            if self.snapshots:
                self.snapshots.close()
        else:
            self.trackers.end("interrupted", {})
            self.display.say(f"stopped at step {self.progress['step']}, saved; continue with --resume")
        return processes.any_of(signals.received)

    def _observe(self, row: dict[str, Any]) -> None:
        """Call what observes the evaluations; what it raises ends the session, after saving."""
        try:
            self.stopped |= observed(self.experiment.config.callbacks, row, self.run.folder)
        except InputError as error:
            self._save()
            self.checkpoints.close()
            self.trackers.end("interrupted", {})
            raise InputError(f"{error} (step {row['step']} is saved; continue with --resume)") from error

    def _save(self) -> None:
        with seconds.spent(self.progress, "saving"):
            self.checkpoints.save(owners.by_parameters(self.experiment, self.carry), self.best, self.progress)
        self.saved = time.monotonic()

    def _is_due(self) -> bool:
        """Whether the run is to be saved where nothing else demands it."""
        is_early = time.monotonic() - self.saved < self.rest
        return self.keeps if self.ended else not is_early and self.progress["step"] % self.table.save_every == 0

    def result(self) -> dict[str, Any]:
        """How the run ended, and the scores on every split of the models that count."""
        ended = "finished" if self.progress["step"] >= self.table.steps else BY_HAND
        end = Ending("stopped early" if self.stopped_early else ended, self.scored, self.snapshots)
        return result_of(self.experiment, self.program, self.carry, self.best, self.progress, end)

    def _chunk(self) -> dict[str, Any]:
        """The steps up to the next evaluation, and the evaluation; its row."""
        if is_due(self.origin, self.progress):
            self._grow()
        before, every, config = self.progress["step"], self.table.evaluate_every, self.experiment.config
        steps = min(every - before % every, self.table.steps - before)
        self.carry, logs, took = self.program.run(config, self.carry, steps, self.progress["control"])
        self.progress |= {name: self.progress[name] + x for name, x in took.items()}
        self._log(before, logs)
        self.progress |= {"step": before + (made := len(logs["loss"]))}  # workers make fewer if a signal comes
        if self.snapshots and self.progress["step"] in self.table.snapshots:
            with seconds.spent(self.progress, "saving"):
                self.snapshots.save(self.progress["step"], models(self.carry))
        with seconds.spent(self.progress, "evaluating"):
            row = self._evaluation(logs)
        row |= {"examples": int(self.carry["examples"]), "steps_per_second": made / took["training"]}
        row |= seconds.columns(self.progress)
        self.logs.evaluation(row)
        self.trackers.evaluation(row)
        return row

    def _grow(self) -> None:
        """Go on with the larger model that is due."""
        larger, progress = staged(self.origin, self.progress["stage"] + 1), self.progress
        with seconds.spent(progress, "training"):
            self.carry, self.best, row = grown(self.experiment, larger, self.carry, self.best, progress)
            self.experiment = larger
            row |= loss_after(self.program, self.carry)
        self.logs.growth(progress["step"], row)
        self.display.say(f"after step {progress['step']} {in_words(row)}")

    def _log(self, before: int, logs: dict[str, Any]) -> None:
        kept = jax.tree.map(lambda x: x[: rows.steps_before_divergence(logs)], logs)
        self.logs.steps(before, kept)
        self.trackers.steps(before, kept, self.table.log_every)
        if (good := len(kept["loss"])) < len(logs["loss"]):
            raise Diverged(before + good + 1)
        if self.progress["first_loss"] is None:
            self.progress |= {"first_loss": float(logs["loss"][0])}
        rows.require_below(self.table.diverged_above, self.progress["first_loss"], before, logs["loss"])

    def _evaluation(self, logs: dict[str, Any]) -> dict[str, Any]:
        """The row of an evaluation; notes whether it is the best."""
        task, step, current = self.experiment.task, self.progress["step"], models(self.carry)
        split = task.held_out("validation")
        scores = {
            name: floats(self.program.evaluate(model, *self.program.data[split]))
            | evaluated_whole(self.experiment, model, task.splits[split])
            for name, model in current.items()
        }
        row = rows.evaluation_row(step, logs, scores, split)
        loss = scores[counted(scores)]["loss"]
        if not math.isfinite(loss):
            raise Diverged(step)
        self.carry["validation"] = jax.device_put(np.float32(loss), self.program.layout.replicated)
        if is_best(self.progress, loss, self.table.early_stopping):
            self.best = jax.tree.map(jnp.copy, current)
        # Metrics hold what the last update used, and a schedule reads the number of updates before it.
        own = {name: float(x[-1]) for name, x in logs["optimizer"].items() if name.endswith("learning_rate")}
        return row | own | {name: float(rate(step - 1)) for name, rate in self.rates.items()}

    def _heed(self) -> bool:
        """Do as the run's `control.toml` says; whether a number changed."""
        orders = self.control.read()
        if orders is None:
            return False
        self.stopped = orders.stop
        if changed := orders.hyper != self.progress["control"]:
            self.progress |= {"control": orders.hyper}
            self.logs.control(self.progress["step"], orders.hyper)
            said = "  ".join(f"{name} {value:g}" for name, value in orders.hyper.items())
            self.display.say(f"from step {self.progress['step'] + 1} on: {said or 'the numbers of the configuration'}")
        return changed

    def _diverged(self, error: Diverged) -> None:
        cause = divergence.cause(error, self.program, self.origin, self.checkpoints, self.run, self.progress)
        self.display.say(divergence.in_words(error, self.checkpoints, cause))
        self._end_without_scores("diverged", error.step, {"cause": cause} if cause else {})

    def _end_without_scores(self, ending: str, step: int, more: dict[str, Any] = {}) -> None:  # noqa: B006
        self.checkpoints.close()
        result = {"ending": ending, "step": step, **more, "scores": {}, "seconds": seconds.of(self.progress)}
        self.run.write("result.json", result)
        self.trackers.end(ending, {})
