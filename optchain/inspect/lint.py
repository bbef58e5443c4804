"""What is probably a mistake in an optimizer."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import optax

from optchain.core.door import is_floating
from optchain.core.numbers import whole
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


def not_tried(subject: Subject) -> Iterator[Finding]:
    """A step that fails on random arrays: what is looked at is only what stands in the transformation."""
    if subject.problem is not None:
        cure = "give lint the extra arguments that update needs"
        says = f"no step could be tried: {subject.problem}"
        yield Finding("not-tried", "note", (subject.everything[0].where,), says, cure)


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
    wrappers.average_within,
    wrappers.precision_without_effect,
    rounding.rounded_away,
    not_tried,
)


def lint(tx: optax.GradientTransformation, params: Any, *, steps: int | None = None, **extra: Any) -> Lint:
    """Find what is probably a mistake in an optimizer: in its order, its signs, its sizes, its masks, its schedules.

    Two things are looked at: what the transformation consists of, and what it does in a few steps on random parameters
    and gradients with these shapes and dtypes: with small gradients and large ones, with these mirrored, and without
    any. So a transformation of optax is looked at too, one within a chain of optchain link by link, a chain of optax as
    a whole. No finding is made where a doubt remains: an empty `Lint` is no proof. What a paper demands, such as the
    clip of Adafactor after its moments, is not a mistake.

    Checks, by theme, with what they find:

    - sign: `uphill` (never flipped, or twice).
    - rate: `no-rate`, `two-rates`, `step-too-large`, `step-too-small`, `out-of-reach-of-rate` (a mask leaves parameters
      without a rate), `masks-overlap` (of two rates or moments), `rounded-away` (bfloat16 and float16).
    - decay: `growth`, `decay-too-large`, `decay-before-moments` (L2 through a preconditioner), `decay-of-vectors` (at
      least 0.05, on biases and scales).
    - clips: `clip-after-moments`, `clip-after-rate`, `idle-clip`, `clips-micro-batches`.
    - moments: `moments-twice`, `out-of-reach-of-moments`, `momentum-after-rate` (of a rate that is scheduled),
      `momentum-outlives-squares` (b1 at least the root of b2).
    - reach: `never-moves`, `moves-again` (set to zero by one link, moved by a later one).
    - the run, with `steps`: `schedule-cut-off`, `rate-zero-at-the-end`, `rate-always-zero`, `warmup-too-long`,
      `average-too-long`, `moment-too-long`.
    - wrappers: `counts-micro-batches`, `guard-too-narrow`, `average-before-the-end`, `average-within`,
      `precision-without-effect`.
    - `not-tried`: a step needs what is not known here, such as a mesh or an extra argument.

    It compiles two small programs, a step and the links of it one by one, and runs some twenty steps. On one core of a
    CPU that takes about half a second for a small model, and as much again for each million of parameters; in memory
    it takes the parameters times the number of links and slots. Of a large model, give a smaller twin with the same
    names and ranks.

    Args:
        tx: any optax transformation: the whole optimizer.
        params: arrays, or `jax.ShapeDtypeStruct`s. Of arrays only the root mean square of each counts.
        steps: how often the run calls `update`; under `accumulate` these are micro-batches. If left out, nothing is
            said about the length of schedules and averages.
        **extra: extra arguments that the transformation needs, such as `losses`; `value`, `value_fn`, `grad_fn` and
            their like are made up.

    Returns:
        A `Lint`: a tuple of `Finding`s, errors first, false where there are none, whose text is a list.

    Raises:
        ValueError: `steps` is not a whole number of at least 1; a mask or a group that does not fit the parameters.

    >>> import jax
    >>> import optchain as oc
    >>> params = {"kernel": jax.ShapeDtypeStruct((4, 4), "float32")}
    >>> tx = oc.chain(adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(1e-3), decay=oc.add_decayed_weights(0.1))
    >>> [(x.check, x.severity, x.where) for x in oc.lint(tx, params)]
    [('growth', 'error', ('decay',))]
    """
    if steps is not None:
        whole("lint", "steps", steps, 1)
    subject = Subject(tx, jax.tree.map(lambda x: x if is_floating(x) else None, params), steps, extra)
    _ = subject.first  # what does not fit the parameters is an error here
    found = [finding for check in CHECKS for finding in check(subject)]
    return Lint(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity)))
