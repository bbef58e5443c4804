"""The report of one or several runs: one HTML file that needs nothing else."""

import html
import json
from pathlib import Path

from optchain.lab.base.errors import InputError
from optchain.lab.base.intervals import scored
from optchain.lab.reports.configurations import Configuration, colors_of, configurations
from optchain.lab.reports.curves import Rows, optimizer_charts, score_chart
from optchain.lab.reports.differences import differences
from optchain.lab.reports.doubts import doubts
from optchain.lab.reports.page import card, page_of, table, tiles, write_page
from optchain.lab.reports.privacy import privacy_tables
from optchain.lab.reports.scores import ending_of, score_rows, short, task_of
from optchain.lab.runs.config import shown_chain
from optchain.lab.runs.facts import Facts, named
from optchain.lab.runs.logs import evaluations, read
from optchain.lab.runs.run import Run
from optchain.lab.training.evaluate import counted
from optchain.lab.training.seconds import of_row


def write(runs: list[Run], path: Path) -> None:
    """Write the report of runs of one task to a file.

    Args:
        runs: whose report it is, ended or not.
        path: of the file.

    Raises:
        InputError: the runs are of different tasks.
    """
    write_page(path, page(runs))


def page(runs: list[Run]) -> str:
    """The report of runs of one task; nothing is written.

    Args:
        runs: whose report it is, ended or not.

    Raises:
        InputError: the runs are of different tasks.
    """
    configs = [run.config for run in runs]
    tasks_named = [named(config.task) for config in configs]
    if len(set(tasks_named)) > 1:
        raise InputError(f"runs of different tasks have no common report: {', '.join(tasks_named)}")
    task, names = task_of(runs[0]), _names(runs)
    groups = configurations(dict(zip(names, runs, strict=True)))
    colors = colors_of(groups)
    logs = {name: read(run.folder / "metrics.jsonl") for name, run in zip(names, runs, strict=True)}
    optimum = None if "validation" in task.examples else task.optimum
    charts = [score_chart("loss", logs, log=True, level=optimum, colors=colors)]
    charts += [score_chart(name, logs, colors=colors) for name in task.metrics]
    figures = "".join(f'<div class="chart">{svg}</div>' for svg in charts + optimizer_charts(logs, colors))
    body = [
        *(differences(groups) if len(runs) > 1 else [_tiles(runs[0], task, logs[names[0]])]),
        *_result(names, runs, groups, task),
        *doubts(names, runs),
        *_snapshots(names, runs),
        *privacy_tables(names, runs),
        *_sparsities(names, runs),
        *_growths(logs),
        *_changes(logs),
        f'<h2>Curves</h2>\n<div class="charts">{figures}</div>',
        "<h2>How</h2>" if len(runs) == 1 else "<h2>The runs</h2>",
        *(_details(name, run, unfold=len(runs) == 1) for name, run in zip(names, runs, strict=True)),
    ]
    title = f"{tasks_named[0]}: {names[0] if len(runs) == 1 else ', '.join(names)}"
    return page_of(title, body)


def _result(names: list[str], runs: list[Run], groups: list[Configuration], task: Facts) -> list[str]:
    """The scores: of each run and, where a configuration has several, their means before."""
    single = table(_rows(names, runs))
    if len(groups) == len(runs):
        return [f"<h2>Result</h2>\n{single}"]
    return [
        f"<h2>Result</h2>\n{table(_means(groups, task))}",
        '<p class="sub">Means over the runs of a configuration, with the 95 % confidence interval by '
        "Student's t. A run that diverged or has not ended has no scores and is not in them.</p>",
        f"<details><summary>Each run</summary>\n{single}</details>",
    ]


def _means(groups: list[Configuration], task: Facts) -> list[dict[str, str]]:
    rows = []
    for number, group in enumerate(groups, 1):
        first = {"configuration": str(number)} if len(groups) > 1 else {}
        scored = [run.result["scores"] for run in group.scored if run.result]
        for split in reversed(task.examples):
            for model in dict.fromkeys(model for scores in scored for model in scores.get(split, {})):
                means = {name: group.mean(split, model, name) for name in task.metrics}
                rows.append(
                    first
                    | {"split": split, "model": model, "loss": str(group.mean(split, model, "loss"))}
                    | {
                        name.replace("_", " "): mean.percent if task.is_share(name) else str(mean)
                        for name, mean in means.items()
                    }
                    | {"runs": f"{len(scored)} of {len(group.runs)}"}
                )
        rows += [] if scored else [first | {"runs": f"0 of {len(group.runs)}"}]
    return rows


def _names(runs: list[Run]) -> list[str]:
    """The names of the runs' folders, or their paths where two have the same name."""
    names = [run.folder.resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _rows(names: list[str], runs: list[Run]) -> list[dict[str, str]]:
    """The rows of the table of results: a run without scores has one that says how it ended."""
    rows = []
    for name, run in zip(names, runs, strict=True):
        task, first = task_of(run), {"run": name, "ending": ending_of(run)}
        optimum = {} if task.optimum is None else {"least possible training loss": f"{task.optimum:.4f}"}
        scored = score_rows(task, run.result["scores"] if run.result else {})
        scored = [{key.replace("_", " "): text for key, text in row.items()} for row in scored]
        rows += [(first if len(runs) > 1 else {}) | row | optimum for row in scored or [{"ending": ending_of(run)}]]
    return rows


def _sparsities(names: list[str], runs: list[Run]) -> list[str]:
    """A table of the entries of each parameter that are exactly 0, for each run whose optimizer prunes."""
    parts = []
    for name, run in zip(names, runs, strict=True):
        rows = [
            {
                "parameter": leaf["path"],
                "shape": " x ".join(map(str, leaf["shape"])),
                "entries": str(leaf["entries"]),
                "zeros": str(leaf["zeros"]),
                "sparsity": f"{leaf['sparsity']:.4f}",
            }
            for leaf in (run.result or {}).get("sparsity", [])
        ]
        title = "Sparsity" if len(runs) == 1 else f"Sparsity: {name}"
        parts += [f"<h2>{html.escape(title)}</h2>\n{table(rows)}"] if rows else []
    return parts


def _snapshots(names: list[str], runs: list[Run]) -> list[str]:
    """A table of the scores of each snapshot and of all together, for each run that keeps some."""
    parts = []
    for name, run in zip(names, runs, strict=True):
        result, task = run.result or {}, task_of(run)
        rows = [
            {"models of": f"step {kept['step']}"} | row
            for kept in result.get("snapshots", [])
            for row in score_rows(task, kept["scores"])
        ]
        rows += [{"models of": "all, together"} | row for row in score_rows(task, result.get("ensemble", {}))]
        title = "Snapshots" if len(runs) == 1 else f"Snapshots: {name}"
        parts += [f"<h2>{html.escape(title)}</h2>\n{table(rows)}"] if rows else []
    return parts


def _growths(logs: dict[str, Rows]) -> list[str]:
    """A table of when the model became larger, for each run whose model did."""
    parts = []
    for name, rows in logs.items():
        grown = [
            {
                "after step": str(row["step"] - 1),
                "model": "  ".join(f"{key} = {value}" for key, value in row["growth"]["model"].items()),
                "parameters": " to ".join(f"{n:,}" for n in row["growth"]["parameters"]),
                "function": "kept" if row["growth"]["way"] == "keep" else "changed, by stacking",
                **{key: f"{x:.4g}" for key, x in row["growth"].items() if key.endswith(" loss")},
                "started again": ", ".join(row["growth"]["again"]) or "nothing",
            }
            for row in rows
            if "growth" in row
        ]
        title = "Growth of the model" if len(logs) == 1 else f"Growth of the model: {name}"
        parts += [f"<h2>{html.escape(title)}</h2>\n{table(grown)}"] if grown else []
    return parts


def _changes(logs: dict[str, Rows]) -> list[str]:
    """A table of what was changed by hand, for each run that was."""
    parts = []
    for name, rows in logs.items():
        changed = [
            {
                "after step": str(row["step"]),
                "numbers": "  ".join(f"{key} = {value:g}" for key, value in row["control"].items()) or "as configured",
            }
            for row in rows
            if "control" in row
        ]
        title = "Changes by hand" if len(logs) == 1 else f"Changes by hand: {name}"
        parts += [f"<h2>{html.escape(title)}</h2>\n{table(changed)}"] if changed else []
    return parts


def _tiles(run: Run, task: Facts, rows: Rows) -> str:
    """The numbers that matter most, large; the seconds of a run that has not ended are those at its last evaluation."""
    result, evaluated = run.result or {"scores": {}}, evaluations(rows)
    spent = result.get("seconds") or (of_row(evaluated[-1]) if evaluated else {})
    held, most = task.held_out("test"), []
    scores = result["scores"].get(held, {})
    for model in sorted(scores, key=lambda model: model != counted(scores)):  # first the one that answers
        values = scores[model]
        of = "" if model == "parameters" else f" of the {model}"
        most += [
            (short(task, name, values[name]), f"{held} {name.replace('_', ' ')}{of}")
            for name in task.metrics
            if name in values
        ]
        most += [(scored(values["loss"]), f"{held} loss{of}")]
    most += [
        (str(result.get("step", evaluated[-1]["step"] if evaluated else "-")), f"steps of {run.config.train.steps}")
    ]
    most += [(f"{x:.2f} s", name) for name, x in spent.items()]
    return f'<p class="sub">{html.escape(ending_of(run))}</p>\n{tiles(most)}'


def _details(name: str, run: Run, unfold: bool) -> str:
    """The command, the chain, the configuration and the machine of a run."""
    config = run.config
    sections = {
        "Command": run.about["command"],
        "Chain": shown_chain(config),
        "Resolved configuration": json.dumps(config.model_dump(exclude_none=True), indent=2),
        "Machine": run.surroundings,
    }
    blocks = "\n".join(f"<h3>{title}</h3>{card(text)}" for title, text in sections.items())
    return f"<details{' open' if unfold else ''}><summary>{html.escape(name)}</summary>\n{blocks}\n</details>"
