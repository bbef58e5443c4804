"""What `optchain.lint` has found in the optimizers of runs, in their report."""

import html

from optchain.inspect.lints.finding import shortened
from optchain.lab.reports.page import table
from optchain.lab.runs.run import Run


def doubts(names: list[str], runs: list[Run]) -> list[str]:
    """A table of what is probably a mistake in the optimizer, for each run that gives rise to doubts."""
    parts = []
    for name, run in zip(names, runs, strict=True):
        rows = [
            {
                "check": found["check"],
                "severity": found["severity"],
                "where": shortened(found["where"]),
                "reason": found["says"],
                "way out": found["cure"],
            }
            for found in run.doubts
        ]
        title = "Doubts about the optimizer" if len(runs) == 1 else f"Doubts about the optimizer: {name}"
        parts += [f"<h2>{html.escape(title)}</h2>\n{table(rows)}"] if rows else []
    return parts
