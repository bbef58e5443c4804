"""What is shown while a study goes on: the best trials so far on a terminal, a line for each trial elsewhere."""

import sys
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from optchain.lab.base.doing import say
from optchain.lab.base.intervals import scored
from optchain.lab.training.seconds import bound, total
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.trials import Trial, ranked

ROWS = 12


class Standings:
    """Shows the trials of a study as they end."""

    def __init__(self, budget: int | None, objective: Objective) -> None:
        self.budget, self.objective = budget, objective
        self.console = Console(file=sys.stderr, highlight=False)
        self.live = Live(console=self.console, refresh_per_second=4) if self.console.is_terminal else None
        self.seen: set[int] = set()

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
            self.live.update("compiling; the first trials are shown once they have ended")
        else:
            say("compiling, and training the first trials")
        return self

    def __exit__(self, *_: object) -> None:
        if self.live:
            self.live.stop()

    def show(self, trials: list[Trial]) -> None:
        """Show what has become of the trials."""
        ended = [trial for trial in trials if trial.ended]
        if self.live:
            self.live.update(self._table(trials, ended))
        else:
            for trial in ended:
                if trial.number not in self.seen:
                    self.seen.add(trial.number)
                    # A budget that was made smaller may have been used up before.
                    budget = max(self.budget, len(self.seen)) if self.budget else "?"
                    print(f"{len(self.seen)}/{budget}  {trial}", file=sys.stderr, flush=True)

    def _table(self, trials: list[Trial], ended: list[Trial]) -> Table:
        states = [trial.state for trial in trials]
        counts = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states) if state != "waiting")
        broken = sum(trial.state == "finished" and not trial.counts for trial in ended)
        counts += f"; {broken} of the finished ones break search.constraints" if broken else ""
        table = Table(title=f"{len(ended)} of {self.budget or 'any number of'} trials: {counts}", title_justify="left")
        finished = ranked(ended, self.objective)[:ROWS]
        names = list(dict.fromkeys(name for trial in finished for name in trial.labels))
        for heading in ("trial", self.objective.name.replace("_", " "), *names, "compiling", "training", "other"):
            table.add_column(heading, justify="right")
        for trial in finished:
            labels = [trial.words.get(name, "-") for name in names]
            compiling, training, *others = total([trial.seconds]).values()
            seconds = (f"{x:.1f} s" for x in (compiling, training, sum(others)))
            table.add_row(str(trial.number), scored(trial.score), *labels, *seconds)
        table.caption, table.caption_justify = bound(total(trial.seconds for trial in ended)), "left"
        return table
