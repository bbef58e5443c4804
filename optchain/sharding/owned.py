"""The runner of rules whose matrices have owners."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.definition import Result
from optchain.core.dense import Dense
from optchain.core.factors import factors_of, multiplied
from optchain.core.form import PLAIN, Form
from optchain.core.runner import Now
from optchain.core.slots import nested, shapes_of, unheld
from optchain.sharding.deals import Deal, Law, Member, Numbers, Step
from optchain.sharding.owners import Owners
from optchain.sharding.plan import Coded, Plan
from optchain.storage.dealt import apart, at_place, origins, over_places, together
from optchain.storage.stacked import coded_slots


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
            return nested({key: jnp.zeros((), jnp.int32) for key in self.arrays})
        made = {}
        for key, deal in plan.deals.items():
            coded = plan.coded[plan.owner[deal.members[0].piece]]
            numbers = [self.origins(plan, member) for member in deal.members]
            made[key] = deal.begun(plan.pieces, numbers, lambda place, own=coded: self._first(rule, own, *place))
        return self.by_slot(made)

    def run(self, rule: Any, updates: Any, slots: Any, params: Any, now: Now) -> Result:
        if now.given.around is not None:
            raise ValueError(f"{self.name}: rows of tables have no owners; leave the tables out of `distributed`")
        plan = self.plan(updates, params, slots)
        if not plan.deals:
            return updates, slots, {}
        tables = self.by_array(plan, slots)
        of_params = self.plan(params, updates, slots).pieces if rule.needs_params else None
        factors = [factors_of(now.given.factors, path) for path in plan.paths]
        for path, own in zip(plan.paths, factors, strict=True):
            multiplied(self.name, rule, own, path)  # refuses what cannot have factors
        step, us, news = self._step(rule, now), {}, {}
        for key, deal in plan.deals.items():
            olds = {name: table[key] for name, table in tables.items() if key in table}
            own = [factors[plan.owner[member.piece]] for member in deal.members]
            us[key], news[key] = deal.stepped(plan.pieces, of_params, olds, self._numbers(plan, deal, own), step)
        return plan.joined(plan.whole(us)), self.by_slot(news), {}

    @functools.cached_property
    def arrays(self) -> tuple[str, ...]:
        """The names of the arrays that hold the slots of a matrix."""
        return tuple(key for name in self.Slots._fields for key in self.storage.keys(name))

    def plan(self, tree: Any, *others: Any) -> Plan:
        """How the leaves of a tree are dealt out; the other trees may say on which mesh."""
        owners = Owners.of(self.name, self.owners, jax.tree.leaves((tree, others)))
        rule, _ = self._at(jnp.zeros((), jnp.int32), {})
        first = lambda shape, dtype, coded: jax.eval_shape(  # noqa: E731
            lambda x: self._first(rule, coded, x, {}), jax.ShapeDtypeStruct(shape, dtype)
        )
        coded = [tuple(own.slots) for own in coded_slots(self, tree)]
        return Plan.of(owners, first, self._forms(tree), coded, tree)

    def slot_shapes(self, form: Form, shape: tuple[int, ...]) -> Any:
        """The slots of a float32 array of this shape, as the law has them, abstract."""
        rule, _ = self._at(jnp.zeros((), jnp.int32), {})
        return shapes_of(rule, form, jax.ShapeDtypeStruct(shape, jnp.float32))

    def origins(self, plan: Plan, member: Member) -> dict[str, jax.Array]:
        """Where the random bits begin of those of the matrices' slots that are in codes.

        Of a leaf whose view has several parts, each has bits of its own.
        """
        leaf = plan.owner[member.piece]
        if not plan.coded[leaf]:
            return {}
        part = plan.owner[: member.piece].count(leaf)
        shapes = self.slot_shapes(PLAIN, plan.pieces[member.piece].shape[1:])
        sizes = {slot: getattr(shapes, slot).size for slot in plan.coded[leaf]}
        path = plan.paths[leaf] + (f"/{part}" if part else "")
        return origins(self.storage, self.name, path, sizes, range(member.start, member.stop))

    def by_slot(self, made: dict[str, Any]) -> dict[str, Any]:
        """The slots as the state has them, from their arrays by deal; what the matrices of a deal do not have is left
        out."""
        return nested(
            {name: {key: arrays[name] for key, arrays in made.items() if name in arrays} for name in self.arrays}
        )

    def by_array(self, plan: Plan, slots: dict[str, Any]) -> dict[str, Any]:
        """The arrays of the slots, by name and deal.

        Raises:
            ValueError: they are for other owners, or in other formats.
        """
        arrays = self.storage.trees(self.name, slots)
        held = dict.fromkeys(key for tables in arrays.values() if isinstance(tables, dict) for key in tables)
        if held.keys() == {"codes", "scales"}:
            raise unheld(self.name, *next(iter(slots.items())), dict.fromkeys(plan.deals, 0))
        if held.keys() - plan.deals.keys():
            stacks = f"the state holds stacks {', '.join(held)}, expected {', '.join(plan.deals)}"
            cure = "see `state_by_parameters`, on the mesh that it was for, and `state_by_owners`"
            raise ValueError(f"{self.name}: {stacks} (rows x columns @ owners along {', '.join(self.owners)}); {cure}")
        return arrays

    def _first(self, rule: Any, coded: Coded, x: jax.Array, numbers: Numbers) -> dict[str, Any]:
        """The arrays of the first slots of a matrix."""
        slots = dict(zip(self.Slots._fields, rule.init(x) or (), strict=False))
        # JAX takes the devices of a compiled function from the arguments that it uses, and zeros like a matrix use
        # none. Besides, XLA would encode constants while it compiles.
        slots = {name: jax.lax.optimization_barrier((own, x))[0] for name, own in slots.items() if own is not None}
        storage = at_place(self.storage, numbers)
        return apart(storage, slots | {name: storage.encoded(self.name, name, "", slots[name]) for name in coded})

    def _step(self, rule: Any, now: Now) -> Step:
        """The law of one matrix, from the arrays that it takes besides. Constants stay constants."""
        leaves, treedef = jax.tree.flatten((rule, now.t, now.seen, now.scalars))
        numerical = [i for i, x in enumerate(leaves) if isinstance(x, jax.Array)]

        def made(arrays: Sequence[jax.Array]) -> tuple[Law, Law]:
            given = dict(zip(numerical, arrays, strict=True))
            rule, t, seen, scalars = treedef.unflatten([given.get(i, x) for i, x in enumerate(leaves)])
            here = dataclasses.replace(now, t=t, seen=seen, scalars=scalars)

            def step(place: Any) -> Any:
                g, olds, p, numbers = place
                factors = {name: x for name, x in numbers.items() if "/" not in name}
                own = dataclasses.replace(rule, **{name: getattr(rule, name) * x for name, x in factors.items()})
                row = (g, self.Slots(**together(self.storage, self.Slots._fields, olds)), p, {})
                shape, law = "x".join(map(str, g.shape)), self.law(own, g.dtype, here)
                law = at_place(self.storage, numbers).around(law, self, own, shape, PLAIN, here)
                (u,), (news,) = self.checked([law(*row)], [row], {shape: g})
                return u, apart(self.storage, dict(zip(self.Slots._fields, news, strict=True)))

            return step, lambda places: over_places(self.storage, step, places, t)

        return Step(made, [leaves[i] for i in numerical])

    def _numbers(self, plan: Plan, deal: Deal, factors: Sequence[dict[str, Any]]) -> list[Numbers]:
        """For the matrices of each member what the numbers of the rule are multiplied by, and where bits begin."""
        names = {name: None for own in factors for name in own}
        return [
            {name: jnp.full(member.count, own.get(name, 1.0), jnp.float32) for name in names}
            | self.origins(plan, member)
            for member, own in zip(deal.members, factors, strict=True)
        ]
