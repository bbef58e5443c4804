"""What a race says: how far optimizers are from the best of each task, how easily they are tuned, and how soon."""

import math
import statistics
from collections.abc import Mapping, Sequence

from experiments.race.measured import Entry, Race, Raced
from optchain import lab

CAP = 3.0  # distances beyond count as this one, or the worst task would be all that a mean tells


def distances(task: Raced) -> dict[str, float]:
    """How far each optimizer is from the best: its mean test loss of the fresh seeds, 0 for the best, 1 for the middle.

    A run that diverged counts as infinite.
    """
    return _scaled({name: _mean([run.test for run in entry.fresh]) for name, entry in task.entries.items()})


def chances(task: Raced) -> dict[str, list[float]]:
    """The chance that 1, 2, ... of an optimizer's trials, drawn at random, hold one that is good.

    Good: its validation loss is at most that of the middle optimizer after all of its trials. Of n trials with b bad
    ones, k hold none that is good in C(b, k) of C(n, k) draws.
    """
    losses = {name: [math.inf if x is None else x for x in entry.trials] for name, entry in task.entries.items()}
    middle = statistics.median(map(min, losses.values()))
    return {
        name: [1 - math.comb(sum(x > middle for x in row), k) / math.comb(len(row), k) for k in range(1, len(row) + 1)]
        for name, row in losses.items()
    }


def against(entry: Entry, other: Entry) -> lab.Interval:
    """By how much the test loss of one is above that of another, on the seeds that both finished."""
    theirs = {run.seed: run.test for run in other.fresh if run.test is not None}
    return lab.interval([
        run.test - theirs[run.seed] for run in entry.fresh if run.test is not None and run.seed in theirs
    ])  # fmt: skip


def is_apart(difference: lab.Interval) -> bool:
    """Whether the interval of a difference leaves no doubt of its sign; one without an interval does not."""
    return abs(difference.mean) > difference.half


def level_with_best(task: Raced) -> set[str]:
    """The optimizers that cannot be told apart from the best."""
    far = distances(task)
    best = task.entries[min(far, key=lambda name: far[name])]
    return {name for name, entry in task.entries.items() if not is_apart(against(entry, best))}


def steps_to_target(task: Raced) -> dict[str, float]:
    """The median steps until a fresh run is as good as the middle optimizer is at its end; infinite if it never is.

    Good: the validation loss of an evaluation is at most the middle of the optimizers' means.
    """
    target = statistics.median(_mean([run.validation for run in entry.fresh]) for entry in task.entries.values())
    return {
        name: statistics.median(
            next((float(step) for step, loss in run.curve if loss <= target), math.inf) for run in entry.fresh
        )
        for name, entry in task.entries.items()
    }


def within(costs: Mapping[str, Mapping[str, float]], factor: float) -> dict[str, float]:
    """The share of the tasks on which each cost at most so many times what the least did: a performance profile.

    Args:
        costs: by task, by optimizer.
        factor: of the least cost, from 1.

    Reference: Dolan and Moré, 2001, arXiv:cs/0102001.
    """
    names = list(next(iter(costs.values())))
    return {
        name: statistics.mean(float(row[name] <= factor * min(row.values()) < math.inf) for row in costs.values())
        for name in names
    }


def ranked(race: Race) -> list[str]:
    """The optimizers by their mean distance over the tasks."""
    far = {name: distances(task) for name, task in race.tasks.items()}
    names = next(iter(far.values()))
    return sorted(names, key=lambda name: statistics.mean(row[name] for row in far.values()))


def level_with_first(race: Race) -> list[str]:
    """The optimizers that cannot be told apart from the first, by the paired differences of distances over the tasks.

    An optimizer that has the same distances as the first on every task is among them.
    """
    far = [distances(task) for task in race.tasks.values()]
    first, *others = ranked(race)
    return [name for name in others if not is_apart(lab.interval([row[name] - row[first] for row in far]))]


def _mean(losses: Sequence[float | None]) -> float:
    return statistics.mean(math.inf if x is None else x for x in losses)


def _scaled(losses: Mapping[str, float]) -> dict[str, float]:
    finite = [x for x in losses.values() if math.isfinite(x)]
    best, middle = min(finite), statistics.median(finite)
    unit = (middle - best) or 1.0  # where the better half is as good as the best
    return {name: min((loss - best) / unit, CAP) for name, loss in losses.items()}
