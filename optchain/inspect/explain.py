"""What each link of a transformation does to one parameter in a step."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import optax
from jax.core import Tracer

from optchain.core.describe import aligned, is_only_links, maker_or_type, technique
from optchain.core.door import Door
from optchain.core.holes import is_hole
from optchain.core.paths import named_leaves, names_of, nearest
from optchain.core.routing import received
from optchain.core.row_gradient import is_row_gradient
from optchain.core.states import is_outer_state, metrics
from optchain.core.transform import definition_of, forwarding, propose
from optchain.core.walk import walk
from optchain.inspect.effect import Effect, effect

HEADER = ("link", "technique", "norm", "factor", "turned", "to gradient", "largest", "zeros", "what it did")


@dataclasses.dataclass(frozen=True)
class Stepped:
    """What one link did.

    Attributes:
        link: its dotted name.
        technique: the function that made it.
        effect: what it made of the update, see `Effect`; None where it is computed in pieces that are not seen alone.
        metrics: the numbers that it has told of this step, by their names.
    """

    link: str
    technique: str
    effect: Effect | None
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What `explain` finds; its text is a table.

    Attributes:
        path: the parameter.
        gradient: the norm of its gradient.
        parameter: the norm of the parameter.
        update: what the whole step adds to it, see `Effect`.
        steps: what each link did, in the order in which they end.
    """

    path: str
    gradient: float
    parameter: float
    update: Effect
    steps: tuple[Stepped, ...]

    def __str__(self) -> str:
        rows = [_row(step) for step in self.steps]
        told = [f"{name} {x:.4g}" for step in self.steps for name, x in step.metrics.items()]
        whole = self.update
        share = f", {whole.norm / self.parameter:.3g} of the parameter's" if self.parameter else ""
        lines = [
            f"{self.path}: a gradient of norm {self.gradient:.4g}, a parameter of norm {self.parameter:.4g}",
            aligned([HEADER, *rows]),
            f"update: norm {whole.norm:.4g}{share}; {_descent(whole.angle)}",
        ]
        return "\n".join([*lines, *(["metrics: " + ", ".join(told)] if told else [])])

    def plot(self) -> Any:
        """The norm after each link and its angle to the gradient, as a figure of matplotlib.

        Raises:
            ImportError: matplotlib is not installed.
        """
        from matplotlib.figure import Figure  # an extra, which nothing else of optchain needs

        seen = [(step.link, step.effect) for step in self.steps if step.effect is not None]
        names, norms = ["gradient", *(name for name, _ in seen)], [self.gradient, *(x.norm for _, x in seen)]
        figure = Figure(figsize=(9, 0.9 + 0.36 * len(names)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        rows = range(len(names))
        left.barh(rows, norms, color="#1f5fa8")
        if all(x > 0 for x in norms):
            left.set_xscale("log")
        left.set_yticks(rows, names)
        left.invert_yaxis()
        left.set_xlabel(f"norm of the update of {self.path}")
        right.barh(rows, [0.0, *(x.angle for _, x in seen)], color="#d9661f")
        right.axvline(90, color="#5b6570", linewidth=1, linestyle="--")
        right.set_xlim(0, 180)
        right.set_xlabel("degrees to the gradient; 180: steepest descent")
        return figure


def explain(
    tx: optax.GradientTransformation, grads: Any, state: Any, params: Any, path: str, **extra: Any
) -> Explanation:
    """What each link does to one parameter in a step, without the step being made.

    The step is computed once, without `jit`, and the update of the parameter is looked at before and after each link
    and wrapper: its norm, its angles, its largest entry, and in words what was clipped, masked, scaled or decayed. A
    transformation of optax is one row, together with all that stands within it.

    Args:
        tx: any optax transformation.
        grads: the gradients of the step.
        state: the state before it.
        params: the parameters before it.
        path: the parameter, as in `"dense/kernel"`.
        **extra: extra arguments of the step.

    Returns:
        An `Explanation`, whose fields are numbers and whose text is a table.

    Raises:
        ValueError: no parameter has this path, or it does not move; or what the step raises.

    >>> import jax.numpy as jnp
    >>> import optchain as oc
    >>> params = {"w": jnp.array([2.5, -2.5, 2.5, 2.5])}
    >>> tx = oc.chain(clip=oc.clip_by_global_norm(1.0), lr=oc.scale_by_learning_rate(0.1))
    >>> [step.effect.did for step in oc.explain(tx, params, tx.init(params), params, "w").steps]
    ['times 0.2', 'times -0.1']
    """
    if any(isinstance(x, Tracer) for x in jax.tree.leaves((grads, state, params))):
        raise ValueError("explain computes a step to look at it: call it outside of jit, grad and vmap")
    names = names_of(params)
    if path not in names:
        raise ValueError(f"explain: no parameter {path!r}; {nearest(path, names)}")
    seen: list[tuple[Any, Any, Any]] = []
    with jax.disable_jit():
        inside, updates, new_state, given = _step(tx, grads, state, params, extra, seen)
    before, after, param = (_leaf(tree, path) for tree in (given, updates, inside))
    if before is None or after is None:
        raise ValueError(f"explain: {path!r} does not move, because a mask, a group or its dtype leaves it out")
    prefixes = _prefixes(tx)
    rows, told = [], metrics(new_state) if definition_of(tx) is not None and is_outer_state(new_state) else {}
    for stepped, entering, leaving in seen:
        places = prefixes.get(_key(stepped), [])
        prefix = places.pop(0) if places else ""
        if is_only_links(stepped):
            continue  # a chain, whose links have rows
        pair = _leaf(entering, path), _leaf(leaving, path)
        if pair[0] is None or pair[1] is None:
            continue  # not of its group, or behind its mask
        alone = not any(isinstance(x, Tracer) for x in pair)
        made = effect(_dense(pair[0]), _dense(pair[1]), _dense(before), _dense(param)) if alone else None
        if made is not None and _passes(stepped, inside, path):
            made = dataclasses.replace(made, did=f"{made.did}: its mask leaves {path} out")
        rows.append(Stepped(prefix or _name(stepped), technique(stepped), made, _metrics_of(told, prefix, stepped)))
    whole = effect(_dense(before), _dense(after), _dense(before), _dense(param))
    gradient, parameter = (float(np.linalg.norm(_dense(x).ravel())) for x in (before, param))
    return Explanation(path, gradient, parameter, whole, tuple(rows))


def _step(tx: Any, grads: Any, state: Any, params: Any, extra: Mapping[str, Any], seen: list[Any]) -> tuple[Any, ...]:
    """Parameters, updates, the new state and gradients as they are within, with every inner step entered in `seen`."""
    definition = definition_of(tx)
    if definition is None:
        updates, after = forwarding(tx).update(grads, state, params, **extra)
        seen.append((tx, grads, updates))
        return params, updates, after, grads
    definition.require_state(state)
    door = Door(definition, params, grads)
    given = dataclasses.replace(
        received(definition, door.extra(dict(extra)), state, door.unmovable), told=lambda *x: seen.append(x)
    )
    updates, after, _ = propose(tx, door.updates, state, door.params, given)
    return door.params, updates, after, door.updates


def _prefixes(tx: Any) -> dict[int, list[str]]:
    """The dotted names of each transformation within, of one that stands in several places in their order."""
    found: dict[int, list[str]] = {}
    for prefix, inner in walk(tx):
        found.setdefault(_key(inner), []).append(prefix)
    return found


def _key(tx: Any) -> int:
    definition = definition_of(tx)
    return id(tx.update if definition is None else definition)


def _leaf(tree: Any, path: str) -> Any:
    """The leaf of a parameter; None where there is a hole, or nothing."""
    x = dict(named_leaves(tree, lambda x: is_hole(x) or is_row_gradient(x))).get(path)
    return None if is_hole(x) else x


def _dense(x: Any) -> np.ndarray:
    return np.asarray(x.dense() if is_row_gradient(x) else x, np.float64)


def _passes(tx: Any, params: Any, path: str) -> bool:
    """Whether a link leaves a parameter as it is, by its mask."""
    definition = definition_of(tx)
    return definition is not None and _leaf(definition.within(params), path) is None


def _metrics_of(told: Mapping[str, Any], prefix: str, tx: Any) -> dict[str, float]:
    """What stands under a link's name in the metrics, without the numbers that are the same in every step."""
    definition = definition_of(tx)
    numbers = {} if definition is None else definition.numbers
    constant = {f"{prefix}.{name}" for name, x in numbers.items() if not callable(x)}
    own = {name: x for name, x in told.items() if prefix and name.rpartition(".")[0] == prefix}
    return {name: float(x) for name, x in own.items() if name not in constant}


def _row(step: Stepped) -> tuple[str, ...]:
    found = step.effect
    if found is None:
        return (step.link, step.technique, *"------", "computed together with others")
    at = f" at {list(found.at)}" if found.at else ""
    numbers = (f"{found.norm:.4g}", f"{found.factor:.3g}", _degrees(found.turned), _degrees(found.angle))
    return (step.link, step.technique, *numbers, f"{found.largest:.3g}{at}", f"{found.zeros:.0%}", found.did)


def _degrees(angle: float) -> str:
    return "-" if math.isnan(angle) else f"{angle:.1f}°"


def _descent(angle: float) -> str:
    """What the angle between an update and the gradient says of the step."""
    if math.isnan(angle):
        return "it does not move"
    if angle > 90:
        return f"downhill, {_degrees(180 - angle)} from the steepest direction"
    return "UPHILL: the sign is not flipped, or flipped twice"


def _name(tx: Any) -> str:
    definition = definition_of(tx)
    return maker_or_type(tx) if definition is None else definition.name
