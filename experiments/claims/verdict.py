"""From the fresh runs of the arms to a verdict."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from experiments.claims.tables import Check, Claim, Verdict
from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.base.intervals import Interval, interval
from optchain.lab.data.task import Task
from optchain.lab.runs.run import Run
from optchain.lab.training.evaluate import scores_of


@dataclasses.dataclass(frozen=True)
class Arm:
    """An arm of a claim when all of its runs have ended."""

    name: str
    best: str  # the values that were chosen, in words
    fresh: Sequence[Sequence[Run]]  # of each study, in the same order of seeds for every arm

    def values(self, score: str) -> list[float]:
        """A score of each fresh run; of several studies, the mean of each one's fresh runs. NaN where it diverged."""
        if len(self.fresh) == 1:
            return [value(run, score) for run in self.fresh[0]]
        studies = [[x for run in runs if not math.isnan(x := value(run, score))] for runs in self.fresh]
        return [sum(xs) / len(xs) if xs else math.nan for xs in studies]

    def mean(self, score: str) -> Interval:
        """Its mean over the runs that did not diverge."""
        return interval([x for x in self.values(score) if not math.isnan(x)])

    @property
    def diverged(self) -> int:
        """How many of its fresh runs did."""
        return sum(run.ending == "diverged" for runs in self.fresh for run in runs)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was seen of one check."""

    check: Check
    measured: Interval  # the mean of the arm, or by how much it is higher than the other
    outcome: str  # seen, the contrary, or undecided


def require_scores(claim: Claim, arm: str, task: Task) -> None:
    """All checks of an arm, which learns a task, are of scores that its runs have, or an error names the nearest."""
    names = [
        f"{split} {name}"
        for split in task.splits
        for name in ("loss", *(name.replace("_", " ") for name in task.metrics))
    ]
    for i, check in enumerate(claim.checks):
        if arm in (check.arm, check.than) and check.score not in (
            valid := [*names, "gap", "steps", "seconds", "diverged"]
        ):
            raise InputError(f"checks[{i}]: score {check.score!r}; {nearest(check.score, valid)}")


def value(run: Run, score: str) -> float:
    """A score of a run; NaN if it was not scored because it diverged."""
    result = run.result or {}
    match score:
        case "steps":
            return float(result["step"])
        case "diverged":
            return float(result["ending"] == "diverged")
        case "seconds":
            return result["seconds"]["training"]
        case "gap":
            return scores_of(result, "test").get("loss", math.nan) - scores_of(result, "train").get("loss", math.nan)
    split, _, metric = score.partition(" ")
    return scores_of(result, split).get(metric.replace(" ", "_"), math.nan)


def judged(check: Check, arms: Mapping[str, Arm]) -> Finding:
    """Hold a check against the runs."""
    mine = arms[check.arm].values(check.score)
    if check.than is None:
        measured = interval([x for x in mine if not math.isnan(x)])
        return Finding(check, measured, _side(check.relation, measured, check.value or 0.0))
    pairs = zip(mine, arms[check.than].values(check.score), strict=True)
    measured = interval([a - b for a, b in pairs if not (math.isnan(a) or math.isnan(b))])
    return Finding(check, measured, _difference(check, measured))


def verdict(findings: Sequence[Finding]) -> Verdict:
    """What the findings amount to."""
    seen = sum(finding.outcome == "seen" for finding in findings)
    return "holds" if seen == len(findings) else "holds in part" if seen else "does not hold"


def _difference(check: Check, measured: Interval) -> str:
    low, high = _ends(measured)
    if check.relation == "equal":
        margin = check.margin or 0.0
        return "seen" if -margin <= low and high <= margin else _contrary(low > margin or high < -margin)
    if check.relation == "different":
        return "seen" if low > 0 or high < 0 else "undecided"
    return _side({"higher": "above", "lower": "below"}[check.relation], measured, 0.0)


def _side(relation: str, measured: Interval, at: float) -> str:
    low, high = _ends(measured)
    above, below = low > at, high < at
    return "seen" if (above if relation == "above" else below) else _contrary(below if relation == "above" else above)


def _ends(measured: Interval) -> tuple[float, float]:
    half = math.inf if math.isnan(measured.half) else measured.half  # one number says nothing of how sure it is
    return measured.mean - half, measured.mean + half


def _contrary(is_contrary: bool) -> str:
    return "the contrary" if is_contrary else "undecided"


def outcomes(claim: Claim, arms: Mapping[str, Arm]) -> list[Finding]:
    """All findings of a claim."""
    return [judged(check, arms) for check in claim.checks]
