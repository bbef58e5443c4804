"""The report of the claims: what is said, what was measured, and the verdict."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.charts import forest
from experiments.claims.tables import Claim, Verdict
from experiments.claims.verdict import Arm, Finding, verdict
from experiments.page import card, table, write_page

MARKS = {"holds": "✓", "holds in part": "~", "does not hold": "✗"}


class Tried(NamedTuple):
    """A claim with what was measured of it."""

    claim: Claim
    arms: Mapping[str, Arm]
    findings: Sequence[Finding]
    seconds: float
    command: str
    left_out: Sequence[str] = ()  # arms whose sampler is not installed

    @property
    def verdict(self) -> Verdict:
        """What the findings amount to."""
        return verdict(self.findings)


def write(tried: Sequence[Tried], path: Path, surroundings: str) -> None:
    """Write the report as one HTML file that needs nothing else."""
    body = [
        '<p class="sub">Every arm is tuned by as many trials as the others of its claim, unless it says otherwise, and '
        "its best is run anew with fresh seeds, the same for all arms. A check is seen, or its contrary, where the "
        "95 % interval of the paired differences leaves no doubt; else it is undecided. A claim holds if all checks "
        "are seen, in part if some are, and does not hold if none is.</p>",
        table([_row(one) for one in tried]),
        *(part for one in tried for part in _section(one)),
        f"<footer>{html.escape(surroundings)}</footer>",
    ]
    write_page(path, "A claim about tuning" if len(tried) == 1 else f"{len(tried)} claims about tuning", body)


def lines_of(tried: Sequence[Tried]) -> list[str]:
    """The verdicts in plain lines."""
    return [
        f"{one.claim.id:4} {MARKS[one.verdict]} {one.verdict:13} "
        + (f"(expected: {one.claim.expected}) " if one.verdict != one.claim.expected else "")
        + one.claim.statement
        + (f" ({_left_out(one)})" if one.left_out else "")
        for one in tried
    ]


def _row(one: Tried) -> dict[str, str]:
    return {
        "id": one.claim.id,
        "claim": one.claim.statement,
        "measured": f"{MARKS[one.verdict]} {one.verdict}",
        "expected": one.claim.expected,
        "seconds": f"{one.seconds:.0f}",
    }


def _section(one: Tried) -> list[str]:
    claim = one.claim
    scores = list(dict.fromkeys(["test loss", *(check.score for check in claim.checks)]))
    arms = [
        {
            "arm": arm.name.replace("_", " "),
            "best point": arm.best or "as it is",
            **{score: str(arm.mean(score)) for score in scores},
            "diverged": f"{arm.diverged} of {sum(map(len, arm.fresh))}",
        }
        for arm in one.arms.values()
    ]
    checks = [
        {
            "what would be seen": finding.check.says,
            "score": finding.check.score,
            "measured": str(finding.measured),
            "wanted": _wanted(finding),
            "outcome": finding.outcome,
        }
        for finding in one.findings
    ]
    charts = [
        forest(
            f"{score}: fresh runs, mean, 95 % interval",
            score,
            [(arm.name.replace("_", " "), arm.values(score), arm.mean(score)) for arm in one.arms.values()],
        )
        for score in scores
    ]
    return [
        f"<h2>{html.escape(claim.id)}: {html.escape(claim.statement)}</h2>",
        f"<p><b>{MARKS[one.verdict]} {one.verdict}</b>, expected: {claim.expected}. {html.escape(claim.because)}</p>",
        f"<p>{html.escape(_left_out(one).capitalize())}.</p>" if one.left_out else "",
        table(checks),
        table(arms),
        *(f'<div class="chart">{chart}</div>' for chart in charts),
        f"<details><summary>How to repeat it</summary>{card(one.command)}</details>",
    ]


def _left_out(one: Tried) -> str:
    return f"left out, for its sampler is not installed: {', '.join(one.left_out)}"


def _wanted(finding: Finding) -> str:
    check = finding.check
    if check.than is None:
        return f"{check.relation} {check.value:g}"
    than = check.than.replace("_", " ")
    return {
        "lower": f"below 0: lower than {than}",
        "higher": f"above 0: higher than {than}",
        "different": f"not 0: another than {than}",
        "equal": f"within ± {check.margin or 0:g} of {than}",
    }[check.relation]
