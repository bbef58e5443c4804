"""The training loop: compiled chunks, and between them logs, evaluation, checkpoints and early stopping."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Signals
from optchain.lab.runs.callbacks import observed
from optchain.lab.runs.control import Control
from optchain.lab.runs.facts import Facts
from optchain.lab.runs.logs import Logs
from optchain.lab.runs.run import BY_HAND, Run, adopt
from optchain.lab.trackers.tracker import About, Trackers
from optchain.lab.training import divergence
from optchain.lab.training.checkpoints import Checkpoints
from optchain.lab.training.evaluate import choose, counted, evaluated_whole, floats
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.program import Program
from optchain.lab.training.progress import Display, Quiet
from optchain.lab.training.resume import beginning, resume
from optchain.lab.training.rows import (
    Diverged,
    evaluation_row,
    foreign_rates,
    is_sparse,
    require_numbers,
    sparsity,
    steps_before_divergence,
)
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
        rest: float = 0.0,  # seconds from one checkpoint to the next at least, and then none of the end
    ) -> None:
        self.experiment, self.run, self.table = experiment, run, experiment.config.train
        self.program, self.scored, self.prunes = program or Program(experiment), scored, prunes
        self.rest, self.saved = rest, time.monotonic()
        self.checkpoints = Checkpoints(run.folder / "checkpoints")
        self.logs = Logs(run.folder, self.table.log_every)
        self.snapshots = Snapshots(run.folder / "snapshots") if self.table.snapshots else None
        resumed = resume(self.checkpoints, experiment, run.folder, renames or {})
        self.carry, self.best, self.progress = resumed or beginning(self.program, experiment.config)
        adopt(run, experiment.config)
        Facts.of(experiment.task, experiment.config.metrics).write(run)
        self.logs.cut(self.progress["step"] if resumed else -1)
        self.checkpoints.cut(self.progress["step"])
        if self.snapshots:
            self.snapshots.cut(self.progress["step"])
        self.rates = foreign_rates(experiment.config.optimizer)
        self.display = display or Display(self.table.steps, self.progress["step"], experiment.task.shown)
        self.control = Control(run.folder, lambda x: require_numbers(experiment.tx, self.carry, x), self.display.say)
        self.stopped = False  # by hand
        about = About(run.folder, experiment.config.model_dump(), self.progress["step"])
        self.trackers = Trackers({} if self.ended else experiment.config.trackers, about, self.display.say)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to train."""
        return self.stopped or self.stopped_early or self.progress["step"] >= self.table.steps

    @property
    def stopped_early(self) -> bool:
        """Whether the validation loss has not fallen for `patience` evaluations."""
        stopping = self.table.early_stopping
        return stopping is not None and self.progress["stale"] >= stopping.patience

    def train(self) -> int | None:
        """Train to the end, whatever it is, or until a signal comes; the number of that signal, also of a late one."""
        with Signals() as signals, self.display as display:
            self._heed()
            if not self.ended:  # a run that was stopped by hand and goes on
                (self.run.folder / "result.json").unlink(missing_ok=True)
            while not self.ended and not signals.received:
                try:
                    row = self._chunk()
                except Diverged as error:
                    self._diverged(error)
                    return signals.received
                display.show(row)
                # The numbers in force from here on are in the checkpoint, and each change of them has one: what is
                # made anew after a kill is what was made before it.
                changed = self._heed()
                self._observe(row)
                if not self.ended and self.prunes(row):
                    self._end_without_scores("pruned", row["step"])
                    return signals.received
                if changed or signals.received or self._is_due():
                    self.checkpoints.save(self.carry, self.best, self.progress)
                    self.saved = time.monotonic()
        self.checkpoints.close()
        if self.ended:
            self.run.write("result.json", result := self.result())
            self.trackers.end(result["ending"], result)
            if self.snapshots:
                self.snapshots.close()
            return signals.received
        self.trackers.end("interrupted", {})
        self.display.say(f"stopped at step {self.progress['step']}, saved; continue with --resume")
        return signals.received

    def _observe(self, row: dict[str, Any]) -> None:
        """Call what observes the evaluations; what it raises ends the session, after saving."""
        try:
            self.stopped |= observed(self.experiment.config.callbacks, row, self.run.folder)
        except InputError as error:
            self.checkpoints.save(self.carry, self.best, self.progress)
            self.checkpoints.close()
            self.trackers.end("interrupted", {})
            raise InputError(f"{error} (step {row['step']} is saved; continue with --resume)") from error

    def _is_due(self) -> bool:
        """Whether the run is to be saved where nothing else demands it."""
        if self.rest and (self.ended or time.monotonic() - self.saved < self.rest):
            return False
        return self.ended or self.progress["step"] % self.table.save_every == 0

    def result(self) -> dict[str, Any]:
        """How the run ended, and the scores on every split of the models that count."""
        trained = choose(self.experiment, self.carry, self.best, self.progress)
        whole = self.progress["step"] >= self.table.steps
        kept = self.snapshots and self.snapshots.steps
        return {
            "ending": "stopped early" if self.stopped_early else "finished" if whole else BY_HAND,
            "step": self.progress["step"],
            "scored_step": trained.step,
            "scores": trained.scores(self.scored, self.program.evaluate),
            "seconds": {name: self.progress[name] for name in ("compiling", "training")},
            **({"sparsity": sparsity(trained)} if is_sparse(self.carry) else {}),
            **(self.snapshots.scored(self.experiment, self.carry, self.program.evaluate, self.scored) if kept else {}),
        }

    def _chunk(self) -> dict[str, Any]:
        """The steps up to the next evaluation, and the evaluation; its row."""
        before, every = self.progress["step"], self.table.evaluate_every
        steps = min(every - before % every, self.table.steps - before)
        config, hyper = self.experiment.config, self.progress["control"]
        self.carry, logs, seconds = self.program.run(config, self.carry, steps, hyper)
        self.progress |= {name: self.progress[name] + x for name, x in seconds.items()}
        self._log(before, logs)
        self.progress |= {"step": before + steps}
        if self.snapshots and self.progress["step"] in self.table.snapshots:
            self.snapshots.save(self.progress["step"], models(self.carry))
        row = self._evaluation(logs) | {
            "examples": int(self.carry["examples"]),
            "steps_per_second": steps / seconds["training"],
            "seconds": self.progress["training"],
        }
        self.logs.evaluation(row)
        self.trackers.evaluation(row)
        return row

    def _log(self, before: int, logs: dict[str, Any]) -> None:
        good = steps_before_divergence(logs)
        kept = jax.tree.map(lambda x: x[:good], logs)
        self.logs.steps(before, kept)
        self.trackers.steps(before, kept, self.table.log_every)
        if good < len(logs["loss"]):
            raise Diverged(before + good + 1)
        if self.progress["first_loss"] is None:
            self.progress |= {"first_loss": float(logs["loss"][0])}
        mean, first = float(np.mean(logs["loss"])), self.progress["first_loss"]
        if self.table.diverged_above is not None and mean > self.table.diverged_above * first:
            last = before + len(logs["loss"])
            raise Diverged(
                last, f"of the last {len(logs['loss'])} batches is {mean:.4g}, that of the first {first:.4g},"
            )

    def _evaluation(self, logs: dict[str, Any]) -> dict[str, Any]:
        """The row of an evaluation; notes whether it is the best."""
        task, step = self.experiment.task, self.progress["step"]
        split, current = task.held_out("validation"), models(self.carry)
        scores = {
            name: floats(self.program.evaluate(model, *self.program.data[split]))
            | evaluated_whole(self.experiment, model, task.splits[split])
            for name, model in current.items()
        }
        row = evaluation_row(step, logs, scores, split)
        loss = scores[counted(scores)]["loss"]
        if not math.isfinite(loss):
            raise Diverged(step)
        self.carry["validation"] = jnp.asarray(loss, jnp.float32)
        if loss < self.progress["best_loss"]:
            self.best = jax.tree.map(jnp.copy, current)
            self.progress |= {"best_loss": loss, "best_step": step}
        # The best model is the best by whatever margin; patience wants a loss that is lower by what counts.
        margin = self.table.early_stopping.min_delta if self.table.early_stopping else 0.0
        if loss < self.progress["stale_loss"] - margin:
            self.progress |= {"stale_loss": loss, "stale": 0}
        else:
            self.progress["stale"] += 1
        # Metrics hold what the last update used, and a schedule reads the number of updates before it.
        own = {name: float(x[-1]) for name, x in logs["optimizer"].items() if name.endswith("learning_rate")}
        return row | own | {name: float(rate(step - 1)) for name, rate in self.rates.items()}

    def _heed(self) -> bool:
        """Do as the run's `control.toml` says; whether a number changed."""
        orders = self.control.read()
        if orders is None:
            return False
        self.stopped = orders.stop
        changed = orders.hyper != self.progress["control"]
        if changed:
            self.progress |= {"control": orders.hyper}
            self.logs.control(self.progress["step"], orders.hyper)
            said = "  ".join(f"{name} {value:g}" for name, value in orders.hyper.items())
            self.display.say(f"from step {self.progress['step'] + 1} on: {said or 'the numbers of the configuration'}")
        return changed

    def _diverged(self, error: Diverged) -> None:
        saved = self.checkpoints.manager.latest_step()
        kept = f"the checkpoint of step {saved} is kept" if saved else "there is no checkpoint yet"
        cause = divergence.cause(error, self.program, self.experiment, self.checkpoints, self.run, self.progress)
        said = f"{cause[0].upper()}{cause[1:]}. " if cause else ""
        self.display.say(f"{error}; {kept}. {said}Try a lower learning rate.")
        self._end_without_scores("diverged", error.step, {"cause": cause} if cause else {})

    def _end_without_scores(self, ending: str, step: int, more: dict[str, Any] = {}) -> None:  # noqa: B006
        self.checkpoints.close()
        seconds = {name: self.progress[name] for name in ("compiling", "training")}
        self.run.write("result.json", {"ending": ending, "step": step, **more, "scores": {}, "seconds": seconds})
        self.trackers.end(ending, {})
