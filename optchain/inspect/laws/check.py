"""Checking laws: what a law is, and the report of many."""

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax
import optax

from optchain.core.transform import forwarding
from optchain.core.walk import definitions
from optchain.inspect.laws.exceptions import EXCEPTIONS

HELD, BROKEN, EXEMPT, SKIPPED = "holds", "broken", "exempt", "skipped"


@dataclasses.dataclass(frozen=True)
class Finding:
    """What came of one law.

    `outcome` is "holds", "broken", "exempt" (broken, as the table of exceptions says of a technique) or "skipped" (not
    applicable); `reason` says why it does not hold, or is the error of what is refused, as the law allows.
    """

    law: str
    statement: str
    outcome: str
    reason: str = ""


@dataclasses.dataclass(frozen=True)
class Report:
    """What came of all laws; printed it is a table."""

    findings: tuple[Finding, ...]

    @property
    def broken(self) -> tuple[Finding, ...]:
        """The laws that do not hold."""
        return tuple(finding for finding in self.findings if finding.outcome == BROKEN)

    def __str__(self) -> str:
        width = max(len(finding.law) for finding in self.findings)
        lines = [f"{f.law.ljust(width)}  {f.outcome.ljust(7)}  {f.reason or f.statement}" for f in self.findings]
        count = Counter(finding.outcome for finding in self.findings)
        rest = ", ".join(f"{count[outcome]} {outcome}" for outcome in (BROKEN, EXEMPT, SKIPPED))
        return "\n".join([*lines, f"{count[HELD]} of {len(lines)} hold, {rest}"])

    def require(self) -> None:
        """Raise an AssertionError that lists the broken laws, if there are any."""
        if self.broken:
            raise AssertionError("\n".join(f"{f.law} ({f.statement}): {f.reason}" for f in self.broken))


class Broken(Exception):
    """A law does not hold; the message says what was found and what was expected."""


class Skipped(Exception):
    """A law cannot be checked here; the message says why."""


class Refused(Exception):
    """A law holds because what it runs is an error that says what does not fit; the message is that of the error."""


Law = Callable[[Any, Any], None]
LAWS: dict[str, Law] = {}


def law(check: Law) -> Law:
    """Register a law: a function of a transformation and parameters that raises `Broken`, with its statement as doc."""
    LAWS[check.__name__] = check
    return check


def check_laws(tx: optax.GradientTransformation, params: Any = None, only: list[str] | None = None) -> Report:
    """Check that a transformation, optchain's, optax's or your own, composes with everything else.

    An exception in a law means that it is broken; it is reported, not raised. What a technique of optchain is exempt
    from (`optchain.inspect.laws.exceptions`) is reported with the reason, and does not count as broken.

    Args:
        tx: the transformation.
        params: parameters to check it on, with floating leaves; a matrix, a vector and a scalar if left out.
        only: names of laws; all if left out.

    Returns:
        A report: `print` it, read its `findings`, or call its `require` in a test.

    Raises:
        ValueError: an unknown law.

    >>> import optax
    >>> import optchain as oc
    >>> oc.check_laws(optax.sgd(0.1), only=["one_trace", "abstract_init"]).require()
    """
    for name in only or []:
        if name not in LAWS:
            raise ValueError(f"check_laws: there is no law {name!r}; valid: {', '.join(LAWS)}")
    chosen = {name: check for name, check in LAWS.items() if only is None or name in only}
    tx, params = forwarding(tx), _example() if params is None else params
    return Report(tuple(_found(name, check, tx, params) for name, check in chosen.items()))


def _found(name: str, check: Law, tx: Any, params: Any) -> Finding:
    statement = (check.__doc__ or "").splitlines()[0]
    try:
        check(tx, params)
    except Skipped as reason:
        return Finding(name, statement, SKIPPED, str(reason))
    except Refused as error:
        return Finding(name, statement, HELD, str(error).splitlines()[0])
    except Exception as error:  # noqa: BLE001  # a law may be broken in any way
        text = str(error) if isinstance(error, Broken) else f"{type(error).__name__}: {error}"
        exempt = exemption(name, tx)
        return Finding(name, statement, BROKEN if exempt is None else EXEMPT, exempt or text.splitlines()[0][:200])
    return Finding(name, statement, HELD)


def exemption(law: str, tx: Any) -> str | None:
    """Why a transformation is exempt from a law: the first technique in it of which the table says so."""
    table = EXCEPTIONS.get(law, {})
    return next((f"{link.name}: {table[link.name]}" for _, link in definitions(tx) if link.name in table), None)


def _example() -> Any:
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = {"kernel": (4, 3), "bias": (3,), "scale": ()}
    return {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, shapes.items(), strict=True)}
