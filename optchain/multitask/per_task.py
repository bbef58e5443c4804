"""The runner of rules that combine the gradients of several tasks, and what these rules have in common."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.leading import Leading, length, weighted
from optchain.core.paths import named_leaves
from optchain.core.routing import Given
from optchain.core.runner import Now
from optchain.core.trees import widest
from optchain.multitask.agreement import agreement_of

Tasks = int | tuple[str, ...] | None  # how many there are, or their names in the order of the leading axis


class PerTask(Leading):
    """Runs a joint rule on gradients with a leading axis for the tasks, which the rule takes away.

    Gradients in the parameters' own shapes are those of one task. A rule that names or counts its tasks takes the
    gradients of as many and no others. Leaves outside of the mask are summed over the tasks.
    """

    axis = "tasks"

    def rest(self, u: jax.Array, given: Given) -> jax.Array:
        return u.sum(0)

    def require_length(self, stacked: Any) -> None:
        leaves, tasks = named_leaves(stacked), self.rule.tasks
        expected = count_of(tasks)
        if leaves and expected not in (None, length(stacked)):
            (leaf, g), names = leaves[0], tasks if isinstance(tasks, tuple) else ()
            of = f" ({', '.join(names)})" if names else ""
            problem = f"{self.name}: leaf {leaf!r} has the gradients of {len(g)} {_plural(len(g))}"
            cure = f"a leading axis of {expected} in every leaf" if len(g) == 1 else "or other `tasks`"
            raise ValueError(f"{problem}, expected {expected}{of}: {cure}")

    def _with_extras(self, now: Now, updates: Any) -> Now:
        """The losses of the tasks, one number for each; None in a step that has none."""
        losses = self.numbers_of("losses", updates, now.given)
        return dataclasses.replace(now, scalars={"losses": losses})


class CombinesTasks:
    """A base class of the rules: a subclass says in `weigh` what the gradient of each task is multiplied by.

    A subclass has a field `tasks`, and calls `checked_tasks` on it.
    """

    tasks: Tasks
    weigh: Callable[..., tuple[jax.Array, Any]]  # from agreement, slots, count and extras to weights and new slots

    core_ndim = None
    on_shards = True

    @property
    def metrics(self) -> tuple[str, ...]:
        """The least cosine of two gradients, the share of pairs below 0, and weights, of each task that is declared."""
        return ("min_cosine", "conflicts", "min_weight", "max_weight", *self.shown_weights)

    @property
    def shown_weights(self) -> tuple[str, ...]:
        """The names of the metrics that are the weights of single tasks."""
        names = range(self.tasks) if isinstance(self.tasks, int) else self.tasks or ()
        return tuple(f"weight_{name}" for name in names)

    def measured(self, g: Any) -> Any:
        """The leaves that norms and cosines are taken of, with holes for all others."""
        return g

    def update(self, g: Any, s: Any, p: Any, t: jax.Array, **extras: Any) -> tuple[Any, Any, dict[str, jax.Array]]:
        """The weighted sum of the gradients."""
        if not jax.tree.leaves(g):  # of a mask that leaves everything out
            return g, s, dict.fromkeys(self.metrics, jnp.zeros(()))
        agreement = agreement_of(self.measured(g))
        weights, s = self.weigh(agreement, s, t, **extras)
        pairs = agreement.pairs()
        shown = {
            "min_cosine": jnp.min(pairs, initial=1),
            "conflicts": jnp.sum(pairs < 0) / jnp.maximum(pairs.size, 1),
            "min_weight": jnp.min(weights),
            "max_weight": jnp.max(weights),
        }
        return weighted(weights, g), s, shown | dict(zip(self.shown_weights, weights, strict=False))


def checked_tasks(rule: Any, owner: str, required: bool = False) -> None:
    """The field `tasks` of a rule, of a list as a tuple; anything but a count or names that differ is an error."""
    tasks = rule.tasks
    if tasks is None and required:
        raise ValueError(f"{owner}: tasks must say how many there are, or their names: it keeps a number for each")
    if isinstance(tasks, (list, tuple)):
        names = [name for name in tasks if isinstance(name, str) and name and "." not in name]
        if not tasks or len(set(names)) < len(tasks):
            expected = "names that differ, without dots, or how many there are"
            raise ValueError(f"{owner}: tasks must be {expected}; got {tasks!r}")
        object.__setattr__(rule, "tasks", tuple(tasks))
    elif tasks is not None and (type(tasks) is not int or tasks < 1):
        raise ValueError(f"{owner}: tasks must be a number of at least 1, or names; got {tasks!r}")


def count_of(tasks: Tasks) -> int | None:
    """How many tasks are declared."""
    return len(tasks) if isinstance(tasks, tuple) else tasks


def each_task(tasks: Tasks, value: float, params: Any) -> jax.Array:
    """A slot with one number for each task, in the dtype of sums over the parameters."""
    return jnp.full(count_of(tasks) or 1, value, widest(params))


def _plural(count: int) -> str:
    return "task" if count == 1 else "tasks"
