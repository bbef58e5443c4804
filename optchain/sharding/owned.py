"""The runner of rules whose matrices have owners."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.definition import Result
from optchain.core.dense import Dense
from optchain.core.factors import factors_of, multiplied
from optchain.core.paths import named_leaves
from optchain.core.runner import Now
from optchain.sharding.deals import Step
from optchain.sharding.owners import Owners
from optchain.sharding.plan import Plan


@dataclasses.dataclass(frozen=True)
class Owned(Dense):
    """Runs a rule on whole matrices, which are dealt out to the devices along the mesh axes `owners`.

    State: that of `Dense`, but each slot is a table by deal: stacks by the shapes of matrices, `{"64x128@8":
    f32[8,64,128]}`, and the buffer of what remains of them, `{"rest@8": f32[8,5120]}`, where there is one.
    """

    owners: tuple[str, ...] = ()

    def slots(self, rule: Any, params: Any) -> dict[str, Any]:
        plan = self.plan(params)
        if not plan.deals:
            # `optax.tree.map_params` asks for the state of no arrays: what is no tree then is no parameter's.
            return {name: jnp.zeros((), jnp.int32) for name in self.Slots._fields}
        init = _tied(lambda x: self.first(rule, x))
        return self.by_slot({key: deal.begun(plan.pieces, init) for key, deal in plan.deals.items()})

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, now: Now) -> Result:
        if now.given.around is not None:
            raise ValueError(f"{self.name}: rows of tables have no owners; leave the tables out of `distributed`")
        plan = self.plan(updates, params, slots)
        if not plan.deals:
            return updates, slots, {}
        self.require_owners(plan, slots)
        of_params = self.plan(params, updates, slots).pieces if rule.needs_params else None
        paths = [path for path, _ in named_leaves(updates)]
        factors = [factors_of(now.given.factors, path) for path in paths]
        for path, own in zip(paths, factors, strict=True):
            multiplied(self.name, rule, own, path)  # refuses what cannot have factors
        step, us, news = self._step(rule, now), {}, {}
        for key, deal in plan.deals.items():
            olds = {name: table[key] for name, table in slots.items() if key in table}
            own = [factors[plan.owner[member.piece]] for member in deal.members]
            us[key], news[key] = deal.stepped(plan.pieces, of_params, olds, own, step)
        return plan.joined(plan.whole(us)), self.by_slot(news), {}

    def plan(self, tree: Any, *others: Any) -> Plan:
        """How the leaves of a tree are dealt out; the other trees may say on which mesh."""
        owners = Owners.of(self.name, self.owners, jax.tree.leaves((tree, others)))
        rule, _ = self._at(jnp.zeros((), jnp.int32), {})
        return Plan.of(owners, lambda x: self.first(rule, x), self._forms(tree), tree)

    def first(self, rule: Any, x: jax.Array) -> dict[str, Any]:
        """The first slots of a matrix, by name; what it does not have is left out."""
        return self.named(rule.init(x) or ())

    def named(self, slots: Any) -> dict[str, Any]:
        """Slots by name, without those that are not there."""
        return {name: x for name, x in zip(self.Slots._fields, slots, strict=True) if x is not None}

    def by_slot(self, made: dict[str, Any]) -> dict[str, Any]:
        """The slots by name and deal; what the matrices of a deal do not have is left out."""
        names = self.Slots._fields
        return {name: {key: slots[name] for key, slots in made.items() if name in slots} for name in names}

    def _step(self, rule: Any, now: Now) -> Step:
        """The law of one matrix, from the arrays that it takes besides. Constants stay constants."""
        leaves, treedef = jax.tree.flatten((rule, now.t, now.seen, now.scalars))
        numerical = [i for i, x in enumerate(leaves) if isinstance(x, jax.Array)]

        def made(arrays: Sequence[jax.Array]) -> Callable[[Any], Any]:
            given = dict(zip(numerical, arrays, strict=True))
            rule, t, seen, scalars = treedef.unflatten([given.get(i, x) for i, x in enumerate(leaves)])
            here = dataclasses.replace(now, t=t, seen=seen, scalars=scalars)

            def step(place: Any) -> Any:
                g, olds, p, factors = place
                own = dataclasses.replace(rule, **{name: getattr(rule, name) * x for name, x in factors.items()})
                row = (g, self.Slots(*map(olds.get, self.Slots._fields)), p, {})
                shape = "x".join(map(str, g.shape))
                (u,), (news,) = self.checked([self.law(own, g.dtype, here)(*row)], [row], {shape: g})
                return u, self.named(news)

            return step

        return Step(made, [leaves[i] for i in numerical])

    def require_owners(self, plan: Plan, slots: dict[str, Any]) -> None:
        """The slots are for the owners that there are."""
        held = dict.fromkeys(key for tables in slots.values() if isinstance(tables, dict) for key in tables)
        if held.keys() - plan.deals.keys():
            stacks = f"the state holds stacks {', '.join(held)}, expected {', '.join(plan.deals)}"
            cure = "see `state_by_parameters`, on the mesh that it was for, and `state_by_owners`"
            raise ValueError(f"{self.name}: {stacks} (rows x columns @ owners along {', '.join(self.owners)}); {cure}")


def _tied(init: Callable[[jax.Array], Any]) -> Callable[[jax.Array], Any]:
    """First slots that are made on the devices of their matrices: JAX takes the devices of a compiled function from
    the arguments that it uses, and zeros like a matrix use none."""

    def made(x: jax.Array) -> Any:
        return jax.tree.map(lambda slot: jax.lax.optimization_barrier((slot, x))[0], init(x))

    return made
