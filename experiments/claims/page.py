"""What the claims have come to, as a file, and the page of the documentation that is made from it."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pydantic

from experiments.claims.report import MARKS, Tried, wanted
from experiments.claims.tables import STRICT, Verdict
from experiments.markdown import table
from optchain import lab


class Seen(pydantic.BaseModel):
    """What was seen of a check; `half` is None where there is no interval."""

    model_config = STRICT

    says: str
    score: str
    mean: float
    half: float | None
    wanted: str
    outcome: str

    @property
    def measured(self) -> lab.Interval:
        """The mean and its interval."""
        return lab.Interval(self.mean, math.nan if self.half is None else self.half)


class Kept(pydantic.BaseModel):
    """What a claim has come to."""

    model_config = STRICT

    id: str
    statement: str
    because: str
    expected: Verdict
    verdict: Verdict
    seen: list[Seen]
    seconds: float
    command: str

    @classmethod
    def of(cls, tried: Tried) -> "Kept":
        """What is kept of a claim that was tried."""
        claim = tried.claim
        seen = [
            Seen(
                says=finding.check.says,
                score=finding.check.score,
                mean=finding.measured.mean,
                half=None if math.isnan(finding.measured.half) else finding.measured.half,
                wanted=wanted(finding),
                outcome=finding.outcome,
            )
            for finding in tried.findings
        ]
        told = {"id": claim.id, "statement": claim.statement, "because": claim.because, "expected": claim.expected}
        return cls(**told, verdict=tried.verdict, seen=seen, seconds=round(tried.seconds, 1), command=tried.command)


def write(tried: Sequence[Tried], folder: Path) -> None:
    """Write `claims.json` and `claims.md`; what the file has of other claims stays."""
    path = folder / "claims.json"
    kept = {one.command: one for one in read(path)} if path.exists() else {}
    kept |= {one.command: Kept.of(one) for one in tried}
    claims = sorted(kept.values(), key=lambda one: int(one.id[1:]))
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([one.model_dump() for one in claims], indent=1, ensure_ascii=False) + "\n", "utf-8")
    (folder / "claims.md").write_text(markdown(claims), "utf-8")


def read(path: Path) -> list[Kept]:
    """The claims in a file.

    Raises:
        InputError: it is not there, or holds something else.
    """
    try:
        return [Kept.model_validate(one) for one in json.loads(path.read_text("utf-8"))]
    except (OSError, ValueError) as error:
        raise lab.InputError(f"{path}: {error}") from None


def markdown(claims: Sequence[Kept]) -> str:
    """The page of the documentation."""
    counts = ", ".join(f"{verdict}: {sum(one.verdict == verdict for one in claims)}" for verdict in MARKS)
    total = sum(one.seconds for one in claims)
    parts = [
        "# Common claims about training, put to the test",
        f"{len(claims)} claims that articles make about training and tuning, each tested by experiments on small "
        f"tasks, in {total:.0f} s altogether ({counts}). This page is generated from `claims.json` by "
        "`python -m experiments claims --docs docs`; do not edit it.",
        "The arms of a claim are the ways of training that it compares, such as small and large batches. All arms of a "
        "claim are tuned with the same number of trials, unless a claim says otherwise, and the best of each is run "
        "again with fresh seeds, the same for all arms. The column `measured` has the mean over these seeds with its "
        "95 % interval; where two arms are compared, it is the mean of the paired differences.",
        "The outcome of a check is `seen` if the interval agrees with the claim, `the contrary` if it contradicts the "
        "claim, and `undecided` otherwise. A claim holds if all its checks are seen, holds in part if some are, and "
        "does not hold if none is. Below, `expected` is the verdict that the author of the experiment "
        "predicts in its configuration.",
        table([_row(one) for one in claims]),
    ]
    for one in claims:
        parts += [
            f"## {one.id}",
            f"**{one.statement}** {MARKS[one.verdict]} {one.verdict}, expected: {one.expected}. {one.because}",
            table([_check(seen) for seen in one.seen]),
            f"`{one.command}`, {one.seconds:.0f} s",
        ]
    return "\n\n".join(parts) + "\n"


def _row(one: Kept) -> dict[str, str]:
    verdict, seconds = f"{MARKS[one.verdict]} {one.verdict}", f"{one.seconds:.0f}"
    link = f"[{one.id}](#{one.id.lower()})"
    return {"": link, "claim": one.statement, "verdict": verdict, "expected": one.expected, "seconds": seconds}


def _check(seen: Seen) -> dict[str, str]:
    return {
        "what would be seen if it were true": seen.says,
        "score": seen.score,
        "measured": str(seen.measured),
        "expected": seen.wanted,
        "outcome": seen.outcome,
    }
