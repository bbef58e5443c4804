"""The report of the claims: what is said, what was measured, and the verdict."""

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.claims.tables import Claim, Verdict
from experiments.claims.verdict import Arm, Finding, verdict
from optchain import lab

MARKS = {"holds": "✓", "holds in part": "~", "does not hold": "✗"}


class Tried(NamedTuple):
    """A claim with what was measured of it."""

    claim: Claim
    arms: Mapping[str, Arm]
    findings: Sequence[Finding]
    seconds: float
    command: str
    left_out: Sequence[str] = ()  # arms that need what is not installed

    @property
    def verdict(self) -> Verdict:
        """What the findings amount to."""
        return verdict(self.findings)


def write(tried: Sequence[Tried], path: Path) -> None:
    """Write the report as one HTML file that needs nothing else."""
    page = lab.Page("A claim about tuning" if len(tried) == 1 else f"{len(tried)} claims about tuning")
    page.text(
        "All arms of a claim are tuned with the same number of trials, unless a claim says otherwise, and the best of "
        "each is run again with fresh seeds, the same for all arms. A check is seen, or its contrary, if the 95 % "
        "interval of the paired differences leaves no doubt; otherwise it is undecided. A claim holds if all checks "
        "are seen, in part if some are, and does not hold if none is."
    )
    page.table([_row(result) for result in tried])
    for result in tried:
        _add_section(page, result)
    page.write(path)


def lines_of(tried: Sequence[Tried]) -> list[str]:
    """The verdicts in plain lines."""
    return [
        f"{result.claim.id:4} {MARKS[result.verdict]} {result.verdict:13} "
        + (f"(expected: {result.claim.expected}) " if result.verdict != result.claim.expected else "")
        + result.claim.statement
        + (f" ({_left_out(result)})" if result.left_out else "")
        for result in tried
    ]


def _row(result: Tried) -> dict[str, str]:
    return {
        "id": result.claim.id,
        "claim": result.claim.statement,
        "measured": f"{MARKS[result.verdict]} {result.verdict}",
        "expected": result.claim.expected,
        "seconds": f"{result.seconds:.0f}",
    }


def _add_section(page: lab.Page, result: Tried) -> None:
    claim = result.claim
    scores = list(dict.fromkeys(["test loss", *(check.score for check in claim.checks)]))
    arms = [
        {
            "arm": arm.name.replace("_", " "),
            "best point": arm.best or "as it is",
            **{score: str(arm.mean(score)) for score in scores},
            "diverged": f"{arm.diverged} of {sum(map(len, arm.fresh))}",
        }
        for arm in result.arms.values()
    ]
    checks = [
        {
            "what would be seen": finding.check.says,
            "score": finding.check.score,
            "measured": str(finding.measured),
            "expected": wanted(finding),
            "outcome": finding.outcome,
        }
        for finding in result.findings
    ]
    verdict = f"<b>{MARKS[result.verdict]} {result.verdict}</b>, expected: {claim.expected}"
    page.heading(f"{claim.id}: {claim.statement}")
    page.html(f"<p>{verdict}. {html.escape(claim.because)}</p>")
    if result.left_out:
        page.text(f"{_left_out(result).capitalize()}.")
    page.table(checks)
    page.table(arms)
    for score in scores:
        values = {arm.name.replace("_", " "): arm.values(score) for arm in result.arms.values()}
        page.forest(f"{score}: fresh runs, mean, 95 % interval", score, values)
    page.code(result.command, "How to repeat it")


def _left_out(result: Tried) -> str:
    return f"left out, because what it needs is not installed: {', '.join(result.left_out)}"


def wanted(finding: Finding) -> str:
    """What the measured number would be if its check were seen, in words."""
    check = finding.check
    if check.than is None:
        return f"{check.relation} {check.value:g}"
    than = check.than.replace("_", " ")
    if check.beyond:
        than = f"{than}, beyond what {check.beyond[0]} is to {check.beyond[1]}".replace("_", " ")
    return {
        "lower": f"below 0: lower than {than}",
        "higher": f"above 0: higher than {than}",
        "different": f"not 0: another than {than}",
        "equal": f"within ± {check.margin or 0:g} of {than}",
    }[check.relation]
