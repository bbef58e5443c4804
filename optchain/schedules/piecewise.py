"""Constant pieces."""

from collections.abc import Sequence
from typing import Annotated, Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import Range, Scalar
from optchain.core.schedule import known, schedule

Steps = Annotated[Sequence[Scalar], Range("[0, inf)")]


def _fit(values, boundaries) -> str | None:
    return miscounted("values", values, boundaries) or unordered("boundaries", boundaries)


@schedule(example={"values": (1.0, 0.1, 0.01), "boundaries": (5, 15)}, check=_fit)
def piecewise(step, values: Annotated[Sequence[Scalar], Range("(-inf, inf)")], boundaries: Steps):
    r"""One value after the other, each from its boundary on.

    .. math::
        \eta_t = v_i, \qquad b_i \le t < b_{i+1}, \qquad b_0 = 0

    Args:
        values: finite numbers, one more than there are boundaries.
        boundaries: the steps at which the second and later values begin, at least 0, strictly rising.

    Raises:
        ValueError: a constant outside its range, boundaries that do not rise, a wrong number of values.

    Differs from the paper: nothing.

    >>> import optchain as oc
    >>> [float(oc.piecewise([1.0, 0.5], [10])(step)) for step in (0, 9, 10)]
    [1.0, 1.0, 0.5]
    """
    return step_function(step, values, boundaries)


def step_function(step: jax.Array, values: Sequence[Any], boundaries: Sequence[Any]) -> Any:
    """The value of the last boundary that was reached; the first value before."""
    value, *later = values
    for boundary, new in zip(boundaries, later, strict=True):
        value = jnp.where(step >= boundary, new, value)
    return value


def miscounted(name: str, pieces: Sequence[Any], boundaries: Sequence[Any]) -> str | None:
    """What is wrong with the number of pieces between boundaries, if anything."""
    expected = len(boundaries) + 1
    return (
        f"{len(boundaries)} boundaries need {expected} {name}, got {len(pieces)}" if len(pieces) != expected else None
    )


def unordered(name: str, steps: Sequence[Any]) -> str | None:
    """What is wrong with the order of steps, if anything."""
    for i, (a, b) in enumerate(zip(steps, steps[1:], strict=False)):
        if known(a, b) and not a < b:
            return f"{name} must rise strictly, got {a:g} before {b:g} at {name}[{i + 1}]"
    return None
