"""Runs the trials of a study in lanes."""

import contextlib
from collections.abc import Callable
from typing import Any

from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted, Signals
from optchain.lab.runs import run
from optchain.lab.runs.config import Config
from optchain.lab.runs.writer import sole_writer
from optchain.lab.training.program import Program
from optchain.lab.tuning.claim import Claim, run_folder
from optchain.lab.tuning.claims import Claims
from optchain.lab.tuning.constraints import parameters_of
from optchain.lab.tuning.lanes import MOST, Lane, Lanes, fitting, require_side_by_side
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.pruners import Median


class SideBySide:
    """The trials of a study in lanes, one set of lanes for each program."""

    def __init__(self, claims: Claims, programs: Programs, command: str, ended: Callable[[Claim], None]) -> None:
        """
        Args:
            claims: the trials.
            programs: what is compiled for them.
            command: of the study, for the runs to remember.
            ended: called for every trial that has ended.
        """
        self.claims, self.programs, self.command, self.ended = claims, programs, command, ended
        self.pools: dict[int, Lanes] = {}  # by the identity of their program
        self.held: dict[int, contextlib.ExitStack] = {}  # the locks of the trials in progress, and of their runs

    def perform(self) -> None:
        """Run all trials that are left.

        Raises:
            Interrupted: a signal came; the trials in progress will begin anew.
        """
        try:
            with Signals() as signals:
                while self._fill():
                    for pool in self.pools.values():
                        if pool.running:
                            self._advance(pool)
                    if signals.received:
                        raise Interrupted(signals.received)
        finally:
            for lock in self.held.values():
                lock.close()

    def _fill(self) -> bool:
        """Begin trials as long as there are lanes for their runs; whether anything is running."""
        runs = self.claims.study.search.runs
        width = self._width(runs)
        while sum(len(pool.running) for pool in self.pools.values()) + runs <= width:
            held = self.claims.next()
            if held is None:
                break
            lock = contextlib.ExitStack()
            claim = lock.enter_context(held)
            self.held[claim.number] = lock
            self._begin(claim)
            width = self._width(runs)
        return any(pool.running for pool in self.pools.values())

    def _width(self, runs: int) -> int:
        """How many runs may go on at once: all of them may be of the program that has the fewest lanes."""
        return min((len(pool.lanes) for pool in self.pools.values()), default=runs)

    def _begin(self, claim: Claim) -> None:
        """Give each of a trial's runs a lane; those that have ended already only count."""
        try:
            built = [self.programs.of(one, claim.numbers()) for one in claim.configs()]
            if "parameters" in claim.study.search.constraints:
                claim.parameters = parameters_of(built[0][0])
            for experiment, _ in built:
                require_side_by_side(experiment.config, experiment.task)
        except InputError as error:
            claim.infeasible(str(error))
            return self._end(claim)
        for experiment, program in built:
            resolved = experiment.config
            folder = run_folder(claim.folder, resolved)
            self.held[claim.number].enter_context(sole_writer(folder))
            trial_run = run.opened(folder, resolved, self.command)
            if trial_run.result is None:
                self._pool(program, resolved).begin(trial_run, resolved, claim)
            elif claim.ended(trial_run.result):
                return self._end(claim)

    def _pool(self, program: Program, resolved: Config) -> Lanes:
        if id(program) not in self.pools:
            search = self.claims.study.search
            runs = search.runs * (self.claims.budget or MOST)
            if isinstance(search.pruner, Median):  # of what has ended: see there
                runs = runs // 2
            self.pools[id(program)] = fitting(program, resolved, runs, search.lanes, search.runs)
        return self.pools[id(program)]

    def _advance(self, pool: Lanes) -> None:
        for lane, row in pool.advance():
            if lane.owner.number not in self.held:  # another run of its trial has just ended the trial
                continue
            ending = ending_of(lane, lane.owner, row)
            if ending == "finished" and self.claims.study.search.keep:
                pool.save(lane)
            if ending is not None and lane.owner.ended(pool.end(lane, ending)):
                self._end(lane.owner)

    def _end(self, claim: Claim) -> None:
        """Let go of a trial that has ended, and of its runs."""
        for pool in self.pools.values():
            for lane in pool.running:
                if lane.owner is claim:
                    pool.drop(lane)
        self.held.pop(claim.number).close()
        self.ended(claim)


def ending_of(lane: Lane, claim: Claim, row: dict[str, Any] | None) -> str | None:
    """How a trial's run has just ended, or None if it goes on; `row` is of its evaluation, None if it has diverged."""
    if row is None:
        return "diverged"
    if lane.step == lane.config.train.steps:
        return "finished"
    return "pruned" if claim.evaluated(lane.config, row) else None
