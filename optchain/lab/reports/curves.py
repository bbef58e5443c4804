"""From the logs of runs to the charts of a report."""

import itertools
from typing import Any

from optchain.lab.reports.charts import COLORS, chart
from optchain.lab.runs.logs import evaluations

Rows = list[dict[str, Any]]
# Of the rows of steps, by the titles of their charts.
VARYING = {"examples a step": "batch", "staleness": "staleness", "workers": "workers"}


def score_chart(
    name: str,
    logs: dict[str, Rows],
    log: bool = False,
    level: float | None = None,
    colors: dict[str, str] | None = None,
) -> str:
    """The chart of the loss or of a metric: of each training batch faintly, and of each evaluation.

    One run has a color for each evaluated split and model.

    Args:
        name: of the loss or the metric.
        logs: of each run, by name.
        log: a logarithmic axis.
        level: the least possible value, if it is known.
        colors: of several runs, by name; if left out, one for each.
    """
    colors = colors or _each(logs)
    curves = []
    for i, (run, rows) in enumerate(logs.items()):
        faint = COLORS[-1] if len(logs) == 1 else colors[run]
        label = "training batches" if len(logs) == 1 else ""
        curves.append({"points": points(rows, name), "label": label, "color": faint, "faint": True})
        for j, key in enumerate(_evaluated(rows, name)):
            what = key.removesuffix(f"_{name}").replace("_", ", ")
            label, color = (what, COLORS[j]) if len(logs) == 1 else (f"{run}: {what}", colors[run])
            scores = points(evaluations(rows), key)
            several = {"dashed": j > 0, "mark": i / len(logs)} if len(logs) > 1 else {}
            curves.append({"points": scores, "label": label, "color": color, **several})
    optimum = ("optimum", level) if level is not None else None
    return chart(name.replace("_", " "), curves, log, optimum, changes(logs))


def optimizer_charts(logs: dict[str, Rows], colors: dict[str, str] | None = None) -> list[str]:
    """Learning rates of all runs in one chart, their sparsities in one, where they vary the sizes of their batches in
    one, what clients have sent so far in one, the staleness of what workers hand in and their number; the norms of each
    run's links in one, and of several tasks how far they agree, and their weights.

    Args:
        logs: of each run, by name.
        colors: of several runs, by name; if left out, one for each.
    """
    colors = colors or _each(logs)
    rates, sparsities, sent, norms = [], [], [], []
    for run, rows in logs.items():
        table = [row["optimizer"] | {"step": row["step"]} for row in rows if "optimizer" in row]
        table += evaluations(rows)
        names = sorted({name for row in table for name in row})
        for j, name in enumerate(name for name in names if name.endswith("learning_rate")):
            label, color = (name, COLORS[j % len(COLORS)]) if len(logs) == 1 else (run, colors[run])
            rates.append({"points": points(table, name), "label": label, "color": color, "dashed": j > 0})
        for name in (name for name in names if name.endswith("sparse.sparsity")):
            label, color = (name, COLORS[0]) if len(logs) == 1 else (run, colors[run])
            sparsities.append({"points": points(table, name), "label": label, "color": color})
        steps, up = points(rows, "bytes_up")
        if steps:
            label, color = ("", COLORS[0]) if len(logs) == 1 else (run, colors[run])
            megabytes = [x / 1e6 for x in itertools.accumulate(up)]
            sent.append({"points": (steps, megabytes), "label": label, "color": color})
        watched = [name for name in names if name.endswith((".norm", ".out_norm"))]
        curves = [
            {"points": points(table, name), "label": name, "color": COLORS[j % len(COLORS)], "dashed": j >= len(COLORS)}
            for j, name in enumerate(watched)
        ]
        if curves:
            norms.append(
                chart("norms per link" + (f": {run}" if len(logs) > 1 else ""), curves, log=True, ylabel="norm")
            )
    titled = {"learning rate": rates, "sparsity": sparsities, "megabytes sent to the server": sent}
    titled |= {title: _varying(logs, name, colors) for title, name in VARYING.items()}
    charts = [chart(title, curves, changes=changes(logs)) for title, curves in titled.items() if curves]
    return [*charts, *norms, *_task_charts(logs)]


def _varying(logs: dict[str, Rows], name: str, colors: dict[str, str]) -> list[dict[str, Any]]:
    """The curves of a column of the steps' rows, of the runs where it varies."""
    curves = []
    for run, rows in logs.items():
        found = points(rows, name)
        if len(set(found[1])) > 1:
            label, color = ("", COLORS[0]) if len(logs) == 1 else (run, colors[run])
            curves.append({"points": found, "label": label, "color": color, "dots": name == "staleness"})
    return curves


def _task_charts(logs: dict[str, Rows]) -> list[str]:
    """Of each run whose optimizer combines gradients of tasks: how far these agree, and what each is multiplied by."""
    charts = []
    for run, rows in logs.items():
        table = [row["optimizer"] | {"step": row["step"]} for row in rows if "optimizer" in row]
        names = sorted({name for row in table for name in row})
        links = [name.removesuffix("min_cosine") for name in names if name.endswith(".min_cosine")]
        for link in links:
            of_tasks = [name for name in names if name.startswith(f"{link}weight_")]
            bounds = of_tasks or [f"{link}min_weight", f"{link}max_weight"]
            for title, shown in (
                ("agreement of tasks", [f"{link}min_cosine", f"{link}conflicts"]),
                ("weights of tasks", bounds),
            ):
                curves = [
                    {"points": points(table, name), "label": name, "color": COLORS[j % len(COLORS)]}
                    for j, name in enumerate(shown)
                ]
                charts.append(chart(title + (f": {run}" if len(logs) > 1 else ""), curves))
    return charts


def changes(logs: dict[str, Rows]) -> list[int]:
    """The steps after which a run was changed by hand or its model grew; none where there are several runs, whose lines
    nobody could tell apart."""
    if len(logs) > 1:
        return []
    ahead = {"control": 0, "growth": 1}  # the row of a growth is that of the first step after it
    return [row["step"] - n for rows in logs.values() for row in rows for key, n in ahead.items() if key in row]


def points(rows: Rows, name: str) -> tuple[list[int], list[float]]:
    """The steps and the values of a column, in the order of the steps."""
    pairs = sorted({row["step"]: row[name] for row in rows if row.get(name) is not None}.items())
    return [step for step, _ in pairs], [value for _, value in pairs]


def _each(logs: dict[str, Rows]) -> dict[str, str]:
    """A color for each run."""
    return {run: COLORS[i % len(COLORS)] for i, run in enumerate(logs)}


def _evaluated(rows: Rows, name: str) -> list[str]:
    """The columns of evaluations that hold a loss or metric, but for the mean of the training batches."""
    keys = dict.fromkeys(key for row in rows for key in row.get("evaluation", {}))
    return [key for key in keys if key.endswith(f"_{name}") and not key.startswith("batch_")]
