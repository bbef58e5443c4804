"""How runs ended and what they scored, in lines and in rows of tables."""

from optchain.core.describe import in_columns
from optchain.lab.base.intervals import scored
from optchain.lab.reports.privacy import privacy_lines
from optchain.lab.runs.facts import Facts, facts
from optchain.lab.runs.run import Run
from optchain.lab.training.experiment import load_task

Scores = dict[str, dict[str, dict[str, float]]]  # by split, by model, by name


def summary(run: Run) -> list[str]:
    """How a run ended, and its scores, in plain lines."""
    task, result = task_of(run), run.result or {"scores": {}}
    lines = [ending_of(run), *score_lines(task, result["scores"])]
    if "ensemble" in result:
        lines += [f"{len(result['snapshots'])} snapshots together:", *score_lines(task, result["ensemble"])]
    return [*lines, *privacy_lines(run)]


def score_lines(task: Facts, scores: Scores) -> list[str]:
    """One plain line for each split and model."""
    named = ("loss", *task.metrics)
    rows = [[f"{key} {x}" if key in named else x for key, x in row.items()] for row in score_rows(task, scores)]
    return in_columns(rows)


def task_of(run: Run) -> Facts:
    """What is known of what a run learned."""
    return facts(run) or Facts.of(load_task(run.config))


def ending_of(run: Run) -> str:
    result = run.result
    if result is None:
        return run.ending
    text = f"{run.ending} at step {result['step']}{f': {cause}' if (cause := result.get('cause')) else ''}"
    best = result.get("scored_step", result["step"])
    return text if best == result["step"] else f"{text}, scored at the best step {best}"


def score_rows(task: Facts, scores: Scores) -> list[dict[str, str]]:
    return [
        {"split": split, "model": model, "loss": scored(values["loss"])}
        | {name: _metric(task, name, split, values) for name in task.metrics if name in values}
        for split in reversed(task.examples)  # the test examples, which took no part in any choice, first
        for model, values in scores.get(split, {}).items()
    ]


def _metric(task: Facts, name: str, split: str, values: dict[str, float]) -> str:
    """A metric; a share with the counts behind it."""
    value, examples = values[name], task.examples[split]
    counts = f" ({round(value * examples)} of {examples})" if task.is_share(name) else ""
    return f"{short(task, name, value)}{counts}"


def short(task: Facts, name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if task.is_share(name) else scored(value)
