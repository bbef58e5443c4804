"""Sentences of the report of a study."""

from collections import Counter

from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.outcome import Outcome
from optchain.lab.tuning.samplers import described, is_repeatable
from optchain.lab.tuning.tables import Study

UNSEEDED = "; the sampler takes no seed, so that a study that is resumed or repeated has other points"


def how(study: Study, objective: Objective) -> str:
    """What was searched for, and how."""
    search, train = study.search, study.train
    aims = [f"{o.name.replace('_', ' ')}, as {'low' if o.sign > 0 else 'high'}" for o in objective.all]
    parts = [f"The validation {', and '.join(aims)} as"]
    parts += [f"{described(search.sampler)} finds it; {train.length}"]
    parts += [f", {search.runs} runs a trial, whose mean counts" if search.runs > 1 else ""]
    parts += ["; the best evaluation of each trial counts"] if search.judge == "best" else []
    parts += [f"; constrained: {', '.join(search.constraints)}"] if search.constraints else []
    parts += [f"; trials pruned by {search.pruner.use.rpartition(':')[2]}" if search.pruner else ""]
    parts += [] if is_repeatable(search.sampler) else [UNSEEDED]
    return f"{parts[0]} {''.join(parts[1:])}. The test examples were scored by the runs with fresh seeds only."


def none_keeps(result: Outcome) -> str:
    """Why there is no best trial."""
    finished = [trial for trial in result.trials if trial.state == "finished"]
    if not finished:
        return "No trial has finished yet."
    counts = Counter(name for trial in finished for name in trial.broken)
    names = ", ".join(f"{name} ({count} trials)" for name, count in counts.items())
    return f"none of {len(finished)} finished trials keeps to search.constraints: {names}"


def earlier(result: Outcome) -> str:
    """Of which earlier studies the sampler has seen trials."""
    folders = dict.fromkeys(trial.why.rpartition(", ")[0] for trial in result.trials if trial.state == "earlier")
    return (
        f"The sampler also saw {result.count('earlier')} trials of earlier studies ({', '.join(folders)}), which are "
        "no part of the budget and cannot be the best."
    )
