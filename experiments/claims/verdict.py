"""From the fresh runs of the arms to a verdict."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from experiments.claims.tables import Check, Claim, Verdict
from optchain import lab


@dataclasses.dataclass(frozen=True)
class Arm:
    """An arm of a claim when all of its runs have ended."""

    name: str
    best: str  # the values that were chosen, in words
    fresh: Sequence[Sequence[lab.Run]]  # of each study, in the same order of seeds for every arm

    def values(self, score: str) -> list[float]:
        """A score of each fresh run; of several studies, the mean of each one's fresh runs. NaN where it diverged."""
        if len(self.fresh) == 1:
            return [value(run, score) for run in self.fresh[0]]
        studies = [[x for run in runs if not math.isnan(x := value(run, score))] for runs in self.fresh]
        return [sum(xs) / len(xs) if xs else math.nan for xs in studies]

    def mean(self, score: str) -> lab.Interval:
        """Its mean over the runs that did not diverge."""
        return lab.interval([x for x in self.values(score) if not math.isnan(x)])

    @property
    def diverged(self) -> int:
        """How many of its fresh runs did."""
        return sum(run.ending == "diverged" for runs in self.fresh for run in runs)


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was seen of one check."""

    check: Check
    measured: lab.Interval  # the mean of the arm, or by how much it is higher than the other
    outcome: str  # seen, the contrary, or undecided


def require_scores(claim: Claim, arm: str, study: lab.Configuration) -> None:
    """All checks of an arm are of scores that the runs of its study have.

    Raises:
        InputError: naming the check, its score, and those that there are.
    """
    metrics = ["loss", *(name.replace("_", " ") for name in study.task.metrics)]
    names = [f"{split} {metric}" for split in study.task.splits for metric in metrics]
    valid = [*names, "gap", "steps", "seconds", "diverged"]
    for i, check in enumerate(claim.checks):
        if arm in check.arms and check.score not in valid:
            expected = f"expected one of {', '.join(valid)}"
            raise lab.InputError(f"{study.source}: checks[{i}]: got score {check.score!r}; {expected}")


def value(run: lab.Run, score: str) -> float:
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
            return value(run, "test loss") - value(run, "train loss")
    split, _, metric = score.partition(" ")
    return run.scores.get(split, {}).get(metric.replace(" ", "_"), math.nan)


def judged(check: Check, arms: Mapping[str, Arm]) -> Finding:
    """Hold a check against the runs."""
    signs = (1, -1, -1, 1)  # of the arm, of that it is compared with, and of two whose difference is taken away
    rows = zip(*(arms[name].values(check.score) for name in check.arms), strict=True)
    measured = lab.interval([
        sum(sign * x for sign, x in zip(signs, row, strict=False)) for row in rows if not any(map(math.isnan, row))
    ])  # fmt: skip
    if check.than is None:
        return Finding(check, measured, _side(check.relation, measured, check.value or 0.0))
    return Finding(check, measured, _difference(check, measured))


def verdict(findings: Sequence[Finding]) -> Verdict:
    """What the findings amount to."""
    seen = sum(finding.outcome == "seen" for finding in findings)
    return "holds" if seen == len(findings) else "holds in part" if seen else "does not hold"


def _difference(check: Check, measured: lab.Interval) -> str:
    low, high = _ends(measured)
    if check.relation == "equal":
        margin = check.margin or 0.0
        return "seen" if -margin <= low and high <= margin else _contrary(low > margin or high < -margin)
    if check.relation == "different":
        return "seen" if low > 0 or high < 0 else "undecided"
    return _side({"higher": "above", "lower": "below"}[check.relation], measured, 0.0)


def _side(relation: str, measured: lab.Interval, at: float) -> str:
    low, high = _ends(measured)
    above, below = low > at, high < at
    return "seen" if (above if relation == "above" else below) else _contrary(below if relation == "above" else above)


def _ends(measured: lab.Interval) -> tuple[float, float]:
    half = math.inf if math.isnan(measured.half) else measured.half  # one number says nothing of how sure it is
    return measured.mean - half, measured.mean + half


def _contrary(is_contrary: bool) -> str:
    return "the contrary" if is_contrary else "undecided"


def outcomes(claim: Claim, arms: Mapping[str, Arm]) -> list[Finding]:
    """All findings of a claim."""
    return [judged(check, arms) for check in claim.checks]
