"""The report of a study, of one in progress too: one HTML file that needs nothing else."""

import html
from collections.abc import Sequence

from optchain.core.describe import in_columns
from optchain.lab.base.intervals import scored
from optchain.lab.base.plural import plural
from optchain.lab.reports.page import notes, page_of, table, tiles, write_page
from optchain.lab.runs.facts import named
from optchain.lab.training.seconds import bound
from optchain.lab.tuning import study_charts as charts
from optchain.lab.tuning.best_so_far import best_so_far
from optchain.lab.tuning.front import front_charts
from optchain.lab.tuning.importance import importances
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.outcome import Fresh, Outcome, mean, outcome
from optchain.lab.tuning.reproduction import reproduction
from optchain.lab.tuning.samplers import is_adaptive
from optchain.lab.tuning.tables import Search
from optchain.lab.tuning.trials import Trial, front, ranked
from optchain.lab.tuning.tune import Tuning
from optchain.lab.tuning.wording import earlier, how, none_keeps

ROWS = 20  # of the table of the best
SPLITS = ("test", "validation")


def write(tuning: Tuning) -> Outcome:
    """Write `report.html` in the folder of a study; what it shows."""
    text, result = page(tuning)
    write_page(tuning.folder / "report.html", text)
    return result


def page(tuning: Tuning) -> tuple[str, Outcome]:
    """The report of a study, and what it shows; nothing is written."""
    result, objective, study = outcome(tuning), tuning.objective, tuning.study
    limit = bound(result.seconds)
    body = [
        f'<p class="sub">{html.escape(how(study, objective))}</p>',
        tiles(_tiles(result, objective)),
        *([f'<p class="sub">{html.escape(limit[0].upper() + limit[1:])}.</p>'] if limit else []),
        *(
            _winner(result.winner, result, objective)
            if result.winner
            else [f"<h2>The best trial</h2><p>{html.escape(none_keeps(result))}</p>"]
        ),
        *_front(result, objective),
        *_charts(tuning, result),
        "<h2>Trials</h2>",
        f'<p class="sub">{html.escape(earlier(result))}</p>' if result.count("earlier") else "",
        table([_row(trial, objective) for trial in ranked(result.ended, objective)[:ROWS]] or [{"trial": "none yet"}]),
        f"<details><summary>Every trial that has ended: {len(result.ended)}</summary>",
        table([_row(trial, objective) for trial in result.ended] or [{"trial": "none yet"}]),
        "</details>",
        *reproduction(tuning, result),
    ]
    title = f"{named(study.task)}: a search over {plural(len(study.space), 'dimension')}"
    return page_of(title, body), result


def lines_of(tuning: Tuning, result: Outcome) -> list[str]:
    """What a study has come to, in plain lines."""
    objective, winner = tuning.objective, result.winner
    if winner is None:
        if result.count("finished"):
            return [none_keeps(result)]
        cure = "; extend the space downwards" if result.count("diverged") else ""
        why = [f"trial {trial.number}: {trial.why}" for trial in result.ended if trial.why][:1]
        return [f"no trial has finished: {_states(result)}{cure}", *why]
    name = objective.name.replace("_", " ")
    values = ", ".join(f"{key} = {words}" for key, words in winner.words.items())
    lines = [f"best of {plural(len(result.ended), 'trial')}: number {winner.number}, {values}"]
    lines += in_columns([[row["score"], row[name]] for row in _verdict(winner, result.fresh, objective)])
    lines += [_doubt(result)] if _doubt(result) else []
    lines += [f"{edge}; extend the space and search again" for edge in result.edges]
    if objective.others:
        best = ", ".join(str(trial.number) for trial in front(result.trials, objective))
        names = ", ".join(one.name for one in objective.all)
        lines.append(f"on the front of {names}: trials {best}, in {tuning.folder / 'front'}")
    lines += [bound(result.seconds)]
    return [*lines, f"best: {tuning.folder / 'best.toml'}"]


def _tiles(result: Outcome, objective: Objective) -> list[tuple[str, str]]:
    name = objective.name.replace("_", " ")
    best = scored(result.winner.score) if result.winner else "-"
    steps, fresh = sum(trial.steps for trial in result.ended), result.fresh
    # First what took no part in choosing the winner: the test examples where there are some.
    honest = [split for split in ("test", "validation") if any(run.scores(split) for run in fresh)]
    return [
        *((str(mean(fresh, split, objective.name)), f"{split} {name}, {len(fresh)} fresh seeds") for split in honest),
        (best, f"best validation {name} in the search" + (", too good" if honest else "")),
        (str(len(result.ended)), f"trials: {_states(result)}"),
        *((f"{seconds:.1f} s", f"{what}, all trials") for what, seconds in result.seconds.items()),
        (f"{steps:,}", "steps, all trials"),
    ]


def _states(result: Outcome) -> str:
    states = ("finished", "pruned", "diverged", "infeasible", "running", "earlier")
    return ", ".join(f"{result.count(state)} {state}" for state in states if result.count(state)) or "none has begun"


def _winner(winner: Trial, result: Outcome, objective: Objective) -> list[str]:
    values = [{"value": name, "best": words} for name, words in winner.words.items()]
    line = (
        '<p class="sub">A value that changed is shown as all values that it had, one after the other, with the step '
        "after which each held; best.toml has them as a schedule.</p>"
    )
    searched = _doubt(result) or (
        "The score of the search is that of the luckiest of many trials and therefore too good. What the configuration "
        "is worth is the mean over fresh seeds, which took no part in choosing it."
    )
    return [
        f"<h2>The best trial: number {winner.number}</h2>",
        notes([f"{edge}. The best may lie outside: extend the space and search again." for edge in result.edges]),
        f'<div class="charts">{table(values)}{table(_verdict(winner, result.fresh, objective))}</div>',
        line if winner.schedule else "",
        f'<p class="sub">{html.escape(searched)}</p>',
    ]


def _verdict(winner: Trial, fresh: Sequence[Fresh], objective: Objective) -> list[dict[str, str]]:
    """The scores of the best trial in the search, and with fresh seeds."""
    names = list(dict.fromkeys([objective.name, *winner.scores]))
    rows = [
        {"score": f"{split}, mean of {len(fresh)} fresh seeds"} | {n: str(mean(fresh, split, n)) for n in names}
        for split in SPLITS
        if any(run.scores(split) for run in fresh)
    ]
    rows += [{"score": "validation, in the search"} | {n: scored(winner.scores[n]) for n in names}]
    return [{key.replace("_", " "): text for key, text in row.items()} for row in rows]


def _doubt(result: Outcome) -> str:
    """What is missing from the runs with fresh seeds."""
    if not result.fresh:
        return "No run with a fresh seed has ended: the score is that of the luckiest of many trials, and too good."
    lost = sum(run.diverged for run in result.fresh)
    return f"{lost} of {len(result.fresh)} runs with fresh seeds diverged; the means are of the others" if lost else ""


def _charts(tuning: Tuning, result: Outcome) -> list[str]:
    study, objective = tuning.study, tuning.objective
    curve = best_so_far(result.trials, study.search, objective.sign)
    if result.winner is None or curve is None:
        return []
    best = [
        charts.best_chart(curve, against, label, objective)
        for against, label in (("trials", "trials"), ("seconds", "seconds of compiling, training and evaluating"))
    ]
    slices = [
        charts.slice_chart(name, dimension, result.ended, result.winner, objective)
        for name, dimension in study.space.items()
    ]
    shares = importances(tuning.claims.optuna_study, result.trials)
    importance = (
        f'<p class="sub">{html.escape(shares[0].upper() + shares[1:])}.</p>'
        if isinstance(shares, str)
        else _chart(charts.importance_chart(shares))
        + '<p class="sub">By fANOVA: a random forest over the finished and the pruned trials; a pruned one has its '
        "last score, or that of the worst finished one where this is better. A rough guide, and where trials were "
        "chosen by earlier ones it knows little of what they avoided.</p>"
    )
    return [
        "<h2>Best so far</h2>",
        f'<div class="charts">{"".join(map(_chart, best))}</div>',
        f'<p class="sub">{_said(study.search)}</p>',
        "<h2>Slices</h2>",
        f'<div class="slices">{"".join(map(_chart, slices))}</div>',
        '<p class="sub">Every trial at its value of one dimension. Orange: the best; grey: the last score of a pruned '
        "one; red, at the edge: diverged. Scores beyond the frame lie on its edge; dotted lines are the ends of the "
        "range.</p>",
        "<h2>Together</h2>",
        _chart(charts.parallel_chart(study.space, result.trials, objective)),
        '<p class="sub">Orange: the best; else the darker the worse. What is worse than nine in ten lies at the end of '
        "the last axis.</p>",
        "<h2>Importance</h2>",
        importance,
        "<h2>Learning curves</h2>",
        _chart(charts.learning_chart(result.ended, result.winner, objective)),
    ]


def _said(search: Search) -> str:
    if is_adaptive(search.sampler):
        return "As observed: later trials were chosen by what earlier ones had found, so that their order matters."
    return (
        "The expected best of so many of the trials, drawn without replacement, with a 95 % bootstrap interval; a "
        "pruned or diverged trial counts as the worst that finished. Which trial came first was an accident."
    )


def _front(result: Outcome, objective: Objective) -> list[str]:
    """Where there are several objectives: the trials than which no other is better in all."""
    best = front(result.trials, objective)
    if not best:
        return []
    return [
        f"<h2>The front: {plural(len(best), 'trial')}</h2>",
        f'<div class="charts">{"".join(map(_chart, front_charts(result.trials, objective)))}</div>',
        '<p class="sub">Orange: no other trial is better in one objective and at least as good in all others. The '
        "best trial above is the best in the first objective; the folder front has the configurations of all.</p>",
        table([_row(trial, objective) for trial in best]),
    ]


def _row(trial: Trial, objective: Objective) -> dict[str, str]:
    ending = f"{trial.state} at step {trial.steps}"
    if trial.state in ("finished", "infeasible"):
        ending = f"breaks {', '.join(trial.broken)}" if trial.broken else trial.why or trial.state
    return {
        "trial": str(trial.number),
        objective.name.replace("_", " "): scored(trial.score) if trial.state == "finished" else "-",
        **trial.words,
        **{name.replace("_", " "): scored(x) for name, x in trial.scores.items() if name != objective.name},
        "steps": str(trial.steps),
        "seconds": f"{sum(trial.seconds.values()):.2f}",
        "ending": ending,
    }


def _chart(svg: str) -> str:
    return f'<div class="chart">{svg}</div>'
