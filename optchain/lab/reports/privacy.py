"""What runs have told of each of their clients, in words and as a table."""

from optchain.lab.reports.page import table
from optchain.lab.runs.run import Run


def privacy_lines(run: Run) -> list[str]:
    """One plain line, where a link of the optimizer hides clients."""
    found = (run.result or {}).get("privacy")
    if found is None:
        return []
    told = f"no epsilon: {found['reason']}" if "reason" in found else f"epsilon {_short(found)} at delta"
    return [f"privacy of each client: {told}" + (f" {found['delta']:.3g}" if "delta" in found else "")]


def privacy_tables(names: list[str], runs: list[Run]) -> list[str]:
    """A table of the runs whose optimizer hides clients; none where there are no such runs."""
    rows = [
        ({"run": name} if len(runs) > 1 else {})
        | ({"epsilon": _short(found), "delta": f"{found['delta']:.3g}"} if "epsilon" in found else {"epsilon": "none"})
        | ({"why": found["reason"]} if "reason" in found else {})
        for name, run in zip(names, runs, strict=True)
        if (found := (run.result or {}).get("privacy"))
    ]
    return [f"<h2>Privacy of each client</h2>\n{table(rows)}"] if rows else []


def _short(found: dict[str, float]) -> str:
    return f"{found['epsilon']:.3g}"
