"""Population-based training: the members of a population train side by side, and the worst take over from the best.

Reference: Jaderberg et al., 2017, arXiv:1711.09846.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted, Signals
from optchain.lab.runs import run
from optchain.lab.runs.config import Config
from optchain.lab.runs.logs import write_table
from optchain.lab.runs.writer import sole_writer
from optchain.lab.training.checkpoints import Checkpoints
from optchain.lab.training.chunk import Carry
from optchain.lab.training.experiment import build
from optchain.lab.training.scoring import models
from optchain.lab.tuning.claim import Claim, run_folder
from optchain.lab.tuning.claims import Claims
from optchain.lab.tuning.lanes import Lane, Lanes
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.trials import folder_of, trials

History = list[dict[str, Any]]  # of a member: from which step on it had which numbers, and whose model it took over


class Population:
    """All members of a study's population, one lane each.

    Every so many steps each of the worst members takes over the parameters, the optimizer's state and the numbers of
    one of the best, and changes the numbers: each is drawn anew, or multiplied by a factor, within its range. All is
    saved then; what is random depends on the study's seed and the step.
    """

    def __init__(self, claims: Claims, programs: Programs, command: str, ended: Callable[[], None]) -> None:
        self.claims, self.programs, self.command, self.ended = claims, programs, command, ended
        self.study: Study = claims.study
        self.table = self.study.search.population

    def perform(self) -> None:
        """Train the members to their end, from where they were stopped if they were begun before.

        Raises:
            InputError: another process trains these members, or none of their checkpoints can be read.
            Interrupted: a signal came; what has been trained since the last change is lost.
        """
        with contextlib.ExitStack() as locks, Signals() as signals:
            claims: list[Claim] = []
            while (held := self.claims.next()) is not None:
                claims.append(locks.enter_context(held))
            if claims:
                self._begin(claims, locks)
                self._train(signals)
                for i, lane in enumerate(list(self.lanes.running)):
                    self._end(i, lane)
                self.checkpoints.close()

    def _begin(self, claims: list[Claim], locks: contextlib.ExitStack) -> None:
        """Put the members in their lanes, those too that had ended when the study was stopped."""
        mine = {claim.number: claim for claim in claims}
        members = trials(self.claims.optuna_study, self.claims.folder, self.claims.objective, self.study.space)
        configs = [self._config(trial.number, mine) for trial in members]
        built, program = self.programs.of(configs[0], claims[0].numbers())
        configs = [resolved.in_steps(built.task.size) for resolved in configs]
        self.steps, self.every = configs[0].train.last_step, self.table.every or configs[0].train.evaluate_every
        self.lanes = Lanes(program, configs[0], len(members))
        self.checkpoints = Checkpoints(self.claims.folder / "population")
        runs = []
        for trial, resolved in zip(members, configs, strict=True):
            folder = run_folder(trial.folder, resolved)
            locks.enter_context(sole_writer(folder))
            runs.append(run.opened(folder, resolved, self.command))

        def fresh(_: dict[str, Any]) -> Carry:
            for member_run in runs:
                member_run.require_layout()
            return jax.tree.map(jnp.copy, self.lanes.carry)  # whose own buffers lanes donate as they begin

        restored = self.checkpoints.restore(fresh)
        step = restored[-1]["step"] if restored else 0
        self.checkpoints.cut(step)
        for trial, resolved, member_run in zip(members, configs, runs, strict=True):
            self.lanes.begin(member_run, resolved, mine.get(trial.number), step)
        self.step, self.losses = step, [math.inf] * len(members)
        self.histories: list[History] = [[{"step": 0, "from": i, **member.labels}] for i, member in enumerate(members)]
        if restored:
            self.lanes.carry, _, progress = restored
            self.histories = progress["histories"]
            for lane, seconds in zip(self.lanes.running, progress["seconds"], strict=True):
                lane.seconds = seconds
            self._set_numbers()

    def _train(self, signals: Signals) -> None:
        while self.step < self.steps:
            rows = self.lanes.advance()
            self.losses = [math.inf if row is None else self.claims.objective.of_row(row) for _, row in rows]
            self.step += self.lanes.every
            for lane in self.lanes.running:
                lane.step = self.step  # a member that has diverged goes on as another
            if signals.received:
                raise Interrupted(signals.received)
            if self.step % self.every == 0 and self.step < self.steps:
                self._exploit()
                self._save()

    def _exploit(self) -> None:
        """Let the worst members go on as the best, with other numbers."""
        draw = np.random.default_rng(np.random.SeedSequence(self.study.search.seed, spawn_key=(2, self.step)))
        order, count = np.argsort(self.losses, kind="stable"), math.ceil(self.table.share * len(self.losses))
        parents = np.arange(len(order))
        for worst in order[-count:]:
            parents[worst] = draw.choice(order[:count])
            numbers = self.histories[parents[worst]][-1]
            changed = {name: self._explored(draw, name, numbers[name]) for name in self.study.space}
            change = {"step": self.step, "from": int(parents[worst]), **changed}
            # The line of ancestors is taken over with the model.
            self.histories[worst] = [*self.histories[parents[worst]], change]
        self.lanes.carry = _taken_over(self.lanes.carry, jnp.asarray(parents))
        self._set_numbers()

    def _explored(self, draw: np.random.Generator, name: str, number: float) -> float:
        dimension = self.study.space[name]
        anew, factor = draw.random() < self.table.resample, draw.choice(self.table.factors)
        return float(dimension.quantile(draw.random()) if anew else dimension.nearest(number * factor))

    def _set_numbers(self) -> None:
        for i, history in enumerate(self.histories):
            for name in self.study.space:
                self.lanes.settings.numbers[self.study.key(name)][i] = history[-1][name]

    def _save(self) -> None:
        progress = {
            "step": self.step,
            "histories": self.histories,
            "seconds": [lane.seconds for lane in self.lanes.running],
        }
        self.checkpoints.save(self.lanes.carry, models(self.lanes.carry), progress)
        rows = [{"member": i, **piece} for i, history in enumerate(self.histories) for piece in history]
        write_table(rows, self.claims.folder / "population.csv")
        self.ended()

    def _end(self, member: int, lane: Lane) -> None:
        result = self.lanes.end(lane, "diverged" if math.isinf(self.losses[member]) else "finished")
        if lane.owner is not None:
            schedule = scheduled(self.study, self.histories[member], self.programs.source)
            lane.owner.trial.set_user_attr("schedule", schedule)
            lane.owner.ended(result)
            self.ended()

    def _config(self, number: int, mine: dict[int, Claim]) -> Config:
        if number in mine:
            return mine[number].configs()[0]
        (folder,) = folder_of(self.claims.folder, number).glob("seed=*")
        return run.find(folder).config


@jax.jit
def _taken_over(carry: Any, parents: jax.Array) -> Any:
    return jax.tree.map(lambda x: x[parents], carry)


def require_numbers(study: Study, programs: Programs) -> None:
    """Every dimension of a study is a number that may change while a model is trained, and changes come at evaluations.

    Raises:
        InputError: naming one that is not, or the number of steps between changes.
    """
    keys = [study.key(name) for name in study.space]
    built, program = programs.of(study.config({}), keys)
    every, evaluations = study.search.population.every, built.config.train.evaluate_every
    if every is not None and every % evaluations:
        cure = f"expected a multiple of train.evaluate_every = {evaluations} steps"
        raise InputError(f"search.population.every: got {every}; {cure}")
    if fixed := set(keys) - set(program.varied):
        raise InputError(f"space.{min(fixed)!r} decides what is compiled; a population changes numbers only")


def scheduled(study: Study, history: History, source: str) -> dict[str, Any]:
    """The values that a configuration needs for training as a member was, one after the other.

    A number that may be a schedule becomes one; of another, such as one within a schedule, the last value is taken.
    """
    values: dict[str, Any] = {}
    for name in study.space:
        last = history[-1][name]
        pieces = {"values": [piece[name] for piece in history], "boundaries": [piece["step"] for piece in history[1:]]}
        values[name] = {"use": "piecewise", **pieces} if len(history) > 1 else last
        try:
            build(study.config(values), source)
        except (InputError, ValueError):
            values[name] = last
    return values
