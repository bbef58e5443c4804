"""The runner of rules whose matrices have owners."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import get_abstract_mesh

from optchain.core.definition import Result
from optchain.core.dense import Dense
from optchain.core.factors import factors_of, multiplied
from optchain.core.form import Form
from optchain.core.gather import scattered, whole_rows
from optchain.core.paths import named_leaves, nearest
from optchain.core.runner import Now
from optchain.sharding.moves import at_owners, first_mesh, is_explicit, through, way
from optchain.sharding.stacks import Stack, leaf_of, pieces_of, stacks_of


@dataclasses.dataclass(frozen=True)
class Owned(Dense):
    """Runs a rule on stacks of whole matrices, whose first axis is split over the mesh axes `owners`.

    State: that of `Dense`, but each slot is a table of stacks, `{"64x128@8": f32[8,64,128]}`, by the matrices' shapes.
    """

    owners: tuple[str, ...] = ()

    def slots(self, rule: Any, params: Any) -> dict[str, Any]:
        plan = self.plan(params)
        if not plan.stacks:
            # `optax.tree.map_params` asks for the state of no arrays: what is no tree then is no parameter's.
            return {name: jnp.zeros((), jnp.int32) for name in self.Slots._fields}
        made = {key: self._alone(plan, tied(jax.vmap(rule.init)), plan.inward(key)) for key in plan.stacks}
        return self.by_slot({key: slots or () for key, slots in made.items()})

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, now: Now) -> Result:
        if now.given.around is not None:
            raise ValueError(f"{self.name}: rows of tables have no owners; leave the tables out of `distributed`")
        plan = self.plan(updates, params, slots)
        if not plan.stacks:
            return updates, slots, {}
        self.require_owners(plan, slots)
        of_params = self.plan(params, updates, slots) if rule.needs_params else None
        paths = [path for path, _ in named_leaves(updates)]
        factors = [factors_of(now.given.factors, path) for path in paths]
        for path, own in zip(paths, factors, strict=True):
            multiplied(self.name, rule, own, path)  # refuses what cannot have factors
        us: list[Any] = [None] * len(plan.pieces)
        news = {}
        for key, stack in plan.stacks.items():
            olds = self.Slots(*(slots[name].get(key) for name in self.Slots._fields))
            olds = jax.tree.map(lambda x: through(plan.mesh, x, [at_owners(self.owners, x)]), olds)
            g = plan.inward(key)
            p = None if of_params is None else of_params.inward(key)
            numbers = self._numbers(plan, stack, [factors[plan.owner[i]] for i in stack.members])
            law, numerical = self._law(key, stack, rule, now)
            u, news[key] = self._alone(plan, law, (g, olds, p, numbers), numerical)
            u = through(plan.mesh, u, plan.ways[key][::-1])
            for i, x in zip(stack.members, stack.collected(u), strict=True):
                us[i] = x
        return plan.joined(us), self.by_slot(news), {}

    def plan(self, tree: Any, *others: Any) -> "Plan":
        """How the leaves of a tree are dealt out; the other trees may say on which mesh."""
        return Plan.of(self, self._forms(tree), tree, others)

    def by_slot(self, made: dict[str, Any]) -> dict[str, Any]:
        """The slots by name and stack; what the matrices of a stack do not have is left out."""
        return {
            name: {key: slots[i] for key, slots in made.items() if slots[i] is not None}
            for i, name in enumerate(self.Slots._fields)
        }

    def _law(self, key: str, stack: Stack, rule: Any, now: Now) -> tuple[Callable[..., Any], list[jax.Array]]:
        """The law of the places of one owner, and the arrays that it takes besides: the same for all owners.

        The places that are filled at all owners go through one call, the last one is skipped where it is empty.
        Constants stay constants.
        """
        leaves, treedef = jax.tree.flatten((rule, now.t, now.seen, now.scalars))
        numerical = [i for i, x in enumerate(leaves) if isinstance(x, jax.Array)]

        def law(places: Any, *arrays: jax.Array) -> Any:
            given = dict(zip(numerical, arrays, strict=True))
            rule, t, seen, scalars = treedef.unflatten([given.get(i, x) for i, x in enumerate(leaves)])
            here = dataclasses.replace(now, t=t, seen=seen, scalars=scalars)

            def step(place: Any) -> Any:
                g, olds, p, factors = place
                own = dataclasses.replace(rule, **{name: getattr(rule, name) * x for name, x in factors.items()})
                row = (g, olds, p, {})
                (u,), (slots,) = self.checked([self.law(own, g.dtype, here)(*row)], [row], {key: g})
                return u, slots

            full, rest = stack.filled
            made = [jax.vmap(step)(jax.tree.map(lambda x: x[:full], places))] if full else []
            if rest:
                filled = jnp.mod(jax.lax.axis_index(self.owners) - stack.first, stack.owners) < rest
                last = jax.tree.map(lambda x: x[-1], places)
                one = jax.lax.cond(filled, step, lambda place: (place[0], place[1]), last)
                made.append(jax.tree.map(lambda x: x[None], one))
            return made[0] if len(made) == 1 else jax.tree.map(lambda *xs: jnp.concatenate(xs), *made)

        return law, [leaves[i] for i in numerical]

    def _alone(self, plan: "Plan", law: Callable[..., Any], places: Any, numerical: Sequence[jax.Array] = ()) -> Any:
        """A law run by each owner on its own places: nothing in it can communicate."""
        if plan.mesh is None:
            return law(places, *numerical)
        own, same = jax.P(self.owners), [jax.P()] * len(numerical)
        # JAX cannot check what varies in the LAPACK calls of some rules within a `cond`.
        inside = jax.shard_map(law, mesh=plan.mesh, in_specs=(own, *same), out_specs=own, check_vma=False)
        return inside(places, *numerical)

    def _numbers(self, plan: "Plan", stack: Stack, factors: list[dict[str, Any]]) -> dict[str, jax.Array]:
        """What the numbers of a rule are multiplied by at each place; nothing where no member has factors."""
        numbers = {}
        for name in {name: None for own in factors for name in own}:
            column = [own.get(name, 1.0) for own in factors]
            dealt = stack.dealt([jnp.full(n, x, jnp.float32) for n, x in zip(stack.counts, column, strict=True)])
            numbers[name] = through(plan.mesh, dealt, [at_owners(self.owners, dealt)])
        return numbers

    def require_owners(self, plan: "Plan", slots: dict[str, Any]) -> None:
        """The slots are for the owners that there are."""
        held = dict.fromkeys(key for stacks in slots.values() if isinstance(stacks, dict) for key in stacks)
        if held.keys() - plan.stacks.keys():
            stacks = f"the state holds stacks {', '.join(held)}, expected {', '.join(plan.stacks)}"
            cure = "see `state_by_parameters`, on the mesh that it was for, and `state_by_owners`"
            raise ValueError(f"{self.name}: {stacks} (rows x columns @ owners along {', '.join(self.owners)}); {cure}")


@dataclasses.dataclass(frozen=True)
class Plan:
    """The leaves of a tree as pieces, and the stacks that these are dealt out to."""

    treedef: Any
    leaves: list[jax.Array]
    forms: list[Form]
    mesh: Any  # None without one
    owners: tuple[str, ...]
    pieces: list[jax.Array]
    owner: list[int]  # the number of the leaf that each piece is of
    stacks: dict[str, Stack]

    @classmethod
    def of(cls, link: Owned, forms: list[Form], tree: Any, others: Any) -> "Plan":
        leaves, treedef = jax.tree.flatten(tree)
        mesh = _mesh(link, [*leaves, *jax.tree.leaves(others)])
        owners = 1 if mesh is None else math.prod(mesh.shape[name] for name in link.owners)
        pieces, owner = [], []
        for i, (form, x) in enumerate(zip(forms, leaves, strict=True)):
            # An axis that is split and explicit can be neither merged nor cut.
            if is_explicit(mesh):
                x = whole_rows(x, form.depth if form.view is None else x.ndim)
            apart = pieces_of(form, x)
            pieces += apart
            owner += [i] * len(apart)
        return cls(treedef, leaves, forms, mesh, link.owners, pieces, owner, stacks_of(pieces, owners))

    @functools.cached_property
    def joint(self) -> dict[str, jax.Array]:
        """Each stack in the order of its owners, in the layout of its first member."""
        stacks = {}
        for key, stack in self.stacks.items():
            pieces = [self.pieces[i] for i in stack.members]
            stacks[key] = stack.dealt([scattered(x, pieces[0]) for x in pieces] if is_explicit(self.mesh) else pieces)
        return stacks

    @functools.cached_property
    def ways(self) -> dict[str, list[Any]]:
        """The layouts of each stack on its way to the owners."""
        return {key: [] if self.mesh is None else way(self.mesh, x, self.owners) for key, x in self.joint.items()}

    def inward(self, key: str) -> jax.Array:
        """A stack with its owners."""
        return through(self.mesh, self.joint[key], self.ways[key])

    def joined(self, pieces: list[jax.Array]) -> Any:
        """The tree of these pieces, in the layouts of its leaves."""
        leaves = self.by_leaf(leaf_of, pieces)
        return self.treedef.unflatten([scattered(new, x) for new, x in zip(leaves, self.leaves, strict=True)])

    def by_leaf(self, function: Callable[..., Any], pieces: list[Any]) -> list[Any]:
        """A function of the form, the pieces and the shape of each leaf."""
        apart, counts = iter(pieces), map(self.owner.count, range(len(self.leaves)))
        return [
            function(form, [next(apart) for _ in range(n)], x.shape)
            for form, n, x in zip(self.forms, counts, self.leaves, strict=True)
        ]


def _mesh(link: Owned, arrays: list[Any]) -> Any:
    """The mesh of the first array that has one, which must have the owners' axes; None where none has."""
    inside = sorted(set(link.owners) & set(get_abstract_mesh().manual_axes))
    if inside:
        raise ValueError(f"{link.name}: distributed over {inside}, inside a shard_map over it; step outside of it")
    mesh = first_mesh(arrays)
    names = link.owners if mesh is None else mesh.axis_names
    for name in link.owners:
        if name not in names:
            raise ValueError(f"{link.name}: distributed over {name!r}; {nearest(name, names)}")
    return mesh


def tied(init: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
    """First slots that are made on the devices of their matrices: JAX takes the devices of a compiled function from
    the arguments that it uses, and zeros like a matrix use none."""

    def made(x: jax.Array) -> Any:
        return jax.tree.map(lambda slot: jax.lax.optimization_barrier((slot, x))[0], init(x))

    return made
