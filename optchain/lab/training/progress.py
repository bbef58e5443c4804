"""What is shown while a run goes on: a bar on a terminal, plain lines elsewhere."""

import sys
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from optchain.lab.base.doing import say
from optchain.lab.base.intervals import unsigned_zero
from optchain.lab.training.seconds import COLUMNS, in_words, of_row


class Display:
    """Shows the evaluations of a run, with loss, metric, learning rate and steps per second."""

    def __init__(self, steps: int, done: int, metric_name: str | None) -> None:
        self.console = Console(file=sys.stderr, highlight=False)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
        self.bar = Progress(*columns, console=self.console) if self.console.is_terminal else None
        if self.bar:
            self.task = self.bar.add_task("compiling", total=steps, completed=done)
        self.steps, self.metric_name, self.ended = steps, metric_name, done >= steps

    def __enter__(self) -> Self:
        if self.bar:
            self.bar.start()
        elif not self.ended:
            say("compiling")
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def show(self, row: dict[str, Any]) -> None:
        """Show the row of an evaluation, and what the time was spent on so far."""
        spent = in_words(of_row(row))
        if self.bar:
            self.bar.update(self.task, completed=row["step"], description=f"{self._brief(row)}  {spent}")
        else:
            apart = {"step", *COLUMNS.values()}
            text = "  ".join(f"{name} {shown(value)}" for name, value in row.items() if name not in apart)
            print(f"step {row['step']}/{self.steps}  {text}  {spent}", file=sys.stderr, flush=True)

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        self.console.print(text, soft_wrap=True, markup=False)

    def _brief(self, row: dict[str, Any]) -> str:
        """What fits beside a bar: the training loss, the held out metric of the model that counts, and the rates."""
        held = [name for name in row if self.metric_name and name.endswith(self.metric_name)]
        metric = f"{self.metric_name} {shown(row[held[-1]])}  " if held else ""
        rates = "".join(f"lr {shown(value)}  " for name, value in row.items() if name.endswith("learning_rate"))
        speed = f"{row['steps_per_second']:.0f} steps/s"
        return f"loss {shown(row['batch_loss'])}  {metric}{rates}{speed}"


class Quiet:
    """Shows nothing of a run that is part of something larger."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, row: dict[str, Any]) -> None: ...

    def say(self, text: str) -> None: ...


def shown(value: Any) -> str:
    """A number as short as it can be read."""
    return unsigned_zero(f"{value:.4g}") if isinstance(value, float) else str(value)
