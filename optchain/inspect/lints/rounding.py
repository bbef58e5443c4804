"""Steps that are lost where parameters have few bits."""

from collections.abc import Iterator

from optchain.inspect.lints.finding import Finding
from optchain.inspect.lints.measure import attempt
from optchain.inspect.lints.subject import Subject

MOST = 0.5  # of the entries


def rounded_away(subject: Subject) -> Iterator[Finding]:
    """Parameters in bfloat16 or float16 of which most entries do not change in a step."""
    keeps = any(x.technique == "precision" and x.definition.params != "nearest" for x in subject.wrappers)
    if not subject.narrow or keeps:
        return
    moving = [path for path in subject.narrow if subject.is_normalized(path)]
    shares = attempt(subject.applied) if moving else None
    lost = {path: share for path, share in (shares or {}).items() if share > MOST and path in moving}
    if lost:
        dtypes = " and ".join(sorted({str(subject.shapes[path].dtype) for path in lost}))
        says = (
            f"{max(lost.values()):.0%} of the entries do not change in a step: it is less than half a digit of {dtypes}"
        )
        cure = 'wrap the whole optimizer: oc.precision(tx, params="kahan"), or "stochastic", "split" or "master"'
        yield Finding("rounded-away", "warning", tuple(lost), says, cure)
