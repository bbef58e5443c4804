"""A step size that follows the loss."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.definition import Definition, Result
from optchain.core.lift import technique
from optchain.core.numbers import Range, checked, whole
from optchain.core.numerics import incremented
from optchain.core.routing import Given
from optchain.core.transform import Transform, transform


@dataclasses.dataclass(frozen=True)
class Plateau(Definition):
    """Scales updates by a factor that the loss moves.

    State under its name: `factor`; `heard`, values so far; `best`, the value that the next one is compared with;
    `stale`, values since it; `rest` of the cooldown.
    """

    factor: float
    patience: int
    tolerance: float
    cooldown: int
    minimum: float
    raise_by: float
    against: str

    name = "scale_on_plateau"
    reads = ("validation", "value")

    def metrics(self) -> dict[str, Any]:
        return self._shown(self.begin(None))

    def begin(self, params: Any) -> dict[str, jax.Array]:
        counts = {name: jnp.zeros((), jnp.int32) for name in ("heard", "stale", "rest")}
        return counts | {"factor": jnp.ones((), jnp.float32), "best": jnp.zeros((), jnp.float32)}

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        self.require_state(state)
        value = given.extra["validation"] if "validation" in given.extra else given.asked("value", self.name)
        own = self._heard(jnp.asarray(jnp.nan if value is None else value, jnp.float32), state[self.name])
        new = jax.tree.map(lambda g: g * own["factor"].astype(g.dtype), updates)
        return new, {self.name: own}, self._shown(own)

    def _heard(self, value: jax.Array, state: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The state after one value; one that is not finite says nothing."""
        best, first, resting = state["best"], state["heard"] == 0, state["rest"] > 0
        # The margin is in the units of the value's size, so that a negative loss can improve too.
        better = first | (value < best - self.tolerance * jnp.abs(best))
        stale = jnp.where(better | resting, 0, state["stale"] + 1)
        lowers = stale > self.patience
        factor = state["factor"] * jnp.where(lowers, self.factor, jnp.where(better & ~first, self.raise_by, 1.0))
        new = {
            "heard": incremented(state["heard"]),
            "factor": jnp.maximum(factor, self.minimum),
            "best": jnp.where(better | (self.against == "last"), value, best),
            "stale": jnp.where(lowers, 0, stale),
            "rest": jnp.where(lowers, self.cooldown, jnp.maximum(state["rest"] - 1, 0)),
        }
        return jax.tree.map(lambda new, old: jnp.where(jnp.isfinite(value), new, old).astype(old.dtype), new, state)

    def _shown(self, state: dict[str, jax.Array]) -> dict[str, jax.Array]:
        return {name: state[name] for name in ("factor", "best", "stale")}


@technique()
def scale_on_plateau(
    factor: float = 0.1,
    patience: int = 10,
    tolerance: float = 1e-4,
    cooldown: int = 0,
    minimum: float = 0.0,
    raise_by: float = 1.0,
    against: str = "best",
) -> Transform:
    r"""Scales the update by a factor that falls while the loss does not.

    .. math::
        u = c g, \qquad c \leftarrow \begin{cases}
        \max(f c, c_{min}) & \text{after more than `patience` values without a better one} \\
        r c & \text{at a better value} \\ c & \text{else} \end{cases}

    A value v is better than the best b so far where :math:`v < b - \epsilon |b|`, for negative values too. The bold
    driver, `scale_on_plateau(0.5, patience=0, tolerance=0.0, raise_by=1.05, against="last")`, lowers the step whenever
    the loss has not fallen since the last value, and raises it whenever it has.

    Args:
        factor: f, in (0, 1).
        patience: how many values without a better one are tolerated, at least 0.
        tolerance: :math:`\epsilon`, in [0, 1).
        cooldown: values after a fall that are not counted, at least 0.
        minimum: :math:`c_{min}`, in [0, 1].
        raise_by: r, at least 1.
        against: compare with the "best" value so far, or with the "last".

    `update` and `oc.apply` take the extra argument `validation` or, without it, `value`; to give neither is an error.
    A NaN, an infinity or None changes nothing: feed a validation loss once, and NaN until there is a new one.

    Metrics: `factor`, `best`, `stale`.

    Differs from the paper: the bold driver there also undoes a step that failed; a guard does that.

    Raises:
        ValueError: a number out of its range, or another word than "best" or "last".

    References:
        Vogl et al., 1988, section 3 (bold driver). doi:10.1007/BF00332914

    >>> import optchain as oc
    >>> tx = oc.chain(oc.adam(1e-3), oc.scale_on_plateau(0.5, patience=5))
    """
    numbers = {"factor": (factor, "(0, 1)"), "tolerance": (tolerance, "[0, 1)"), "minimum": (minimum, "[0, 1]")}
    numbers["raise_by"] = (raise_by, "[1, inf)")
    given = {name: checked("scale_on_plateau", name, x, Range(interval)) for name, (x, interval) in numbers.items()}
    for name, x in (("patience", patience), ("cooldown", cooldown)):
        whole("scale_on_plateau", name, x, 0)
    if against not in ("best", "last"):
        raise ValueError(f"scale_on_plateau: against must be 'best' or 'last', got {against!r}")
    return transform(Plateau(patience=patience, cooldown=cooldown, against=against, **given))
