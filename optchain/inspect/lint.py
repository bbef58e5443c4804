"""What is probably a mistake in an optimizer."""

from collections.abc import Callable, Iterator
from typing import Any

import optax

from optchain.inspect.lints import (
    clipping,
    decay,
    direction,
    moments,
    rates,
    reach,
    rounding,
    schedules,
    wrappers,
)
from optchain.inspect.lints.finding import SEVERITIES, Finding, Lint
from optchain.inspect.lints.subject import Subject

CHECKS: tuple[Callable[[Subject], Iterator[Finding]], ...] = (
    direction.uphill,
    rates.no_rate,
    rates.two_rates,
    rates.rate_beside_own,
    rates.rate_out_of_reach,
    rates.too_large,
    rates.too_small,
    decay.growth,
    decay.too_large,
    decay.before_moments,
    decay.of_vectors,
    clipping.late,
    clipping.idle,
    moments.twice,
    moments.out_of_reach,
    moments.momentum_after_rate,
    moments.momentum_outlives_squares,
    moments.too_long,
    reach.never_moves,
    reach.moves_again,
    schedules.always_zero,
    schedules.cut_off,
    schedules.zero_at_the_end,
    schedules.warm_up,
    schedules.average_too_long,
    wrappers.counts_micro_batches,
    wrappers.clips_micro_batches,
    wrappers.guard_too_narrow,
    wrappers.average_before_the_end,
    wrappers.precision_without_effect,
    rounding.rounded_away,
)


def lint(tx: optax.GradientTransformation, params: Any, *, steps: int | None = None, **extra: Any) -> Lint:
    """Find what is probably a mistake in an optimizer."""
    subject = Subject(tx, params, steps, extra)
    found = [finding for check in CHECKS for finding in check(subject)]
    return Lint(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))
