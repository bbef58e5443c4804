"""The state of a running chain for an edited one: kept, created and dropped by name."""

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import jax

from optchain.core.walk import definitions
from optchain.inspect.carry import Carried, carry, clocks, names
from optchain.inspect.converted import Conversion
from optchain.inspect.earlier_weight import with_weights
from optchain.inspect.entries import Entry, entries, entries_within
from optchain.inspect.from_0_1 import from_0_1
from optchain.inspect.from_optax import from_optax
from optchain.inspect.growth import misfits
from optchain.inspect.nested import nested
from optchain.inspect.pairing import numbered, pair, target, unclear
from optchain.packing.packed_state import without_packing
from optchain.packing.packed_tree import is_packed, unpack
from optchain.sharding.distributed import without_owners
from optchain.sharding.owned_state import state_by_owners

SHOWN = 12  # names in a line of the report
# Techniques that stand within a wrapper regardless of its arguments, and only count.
PARTS = ("alignment", "rescaling")


@dataclasses.dataclass(frozen=True)
class Report:
    """What `migrate_state` did, by dotted names of links; `link.slot/path` is one array of a link that is kept.

    `(chain)` stands for the step that a chain counts, `(guard)` and the like for what a wrapper keeps itself. What
    holds nothing is not listed.
    """

    kept: tuple[str, ...]
    created: tuple[str, ...]
    dropped: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    continued: tuple[tuple[str, int], ...]  # counts that were set so that schedules go on where they were
    grown: tuple[tuple[str, tuple[int, ...]], ...]  # arrays that are larger now, with their shapes before
    converted: tuple[tuple[str, str, str], ...]  # slots that are in another format now, from which and to which

    @property
    def changed(self) -> bool:
        """Whether the chain holds anything else than before."""
        return bool(self.created or self.dropped or self.renamed or self.continued or self.grown or self.converted)

    def __str__(self) -> str:
        rows = {
            "kept": [_shown(name) for name in self.kept],
            "renamed": [f"{_shown(old)} -> {_shown(new)}" for old, new in self.renamed],
            "grown": [f"{name} from {list(shape)}" for name, shape in self.grown],
            "converted": [f"{name} from {before} to {after}" for name, before, after in self.converted],
            "created": [_shown(name) for name in self.created],
            "dropped": [_shown(name) for name in self.dropped],
            "continued": [f"{name} at {count}" for name, count in self.continued],
        }
        return "\n".join(f"{title:9}  {_listed(names)}" for title, names in rows.items() if names)


def migrate_state(
    old: Any, tx: Any, params: Any, renames: Mapping[str, str | None] | None = None
) -> tuple[Any, Report]:
    """Carry the state of a running chain over to an edited one, by name; anything ambiguous is an error.

    A link that both chains have keeps its arrays bit for bit, wherever it now stands, but for slots and masters that
    `precision` keeps in another format now: they are decoded and encoded, and are as exact as the coarser format. A new
    one starts from its own beginning (its own count is 0), one that is gone is dropped. Names are dotted paths of
    links. Wrappers (`accumulate`, `guard`, `precision`, `groups`) have no part in them, so that links keep their names
    when they are wrapped or unwrapped; a chain within a chain has. Schedules go on where they were: a new `accumulate`,
    `guard` or outer chain takes over the count that the links within have read.

    Args:
        old: the state of the earlier chain, or of an optax transformation, live or restored from Orbax, msgpack
            (`flax.serialization`), npz with the keys of `jax.tree_util.keystr`, or a flat table whose names are joined
            by `/` or `.`; with metrics or without.
        tx: the edited transformation.
        params: the parameters now.
        renames: from old to new names of links, `{"moments": "adam"}`. The name of a chain takes all its links along,
            `""` is the whole optimizer, `{"": "adamw"}`; None drops a link, `{"adam": None}`, and starts a new one of
            the same name afresh. The own arrays of wrappers and chains are called `(guard)` or `outer.(chain)`.

    Returns:
        The new state, with the structure of `tx.init(params)`, ready for `update`, and a `Report` to print. Arrays that
        are kept may be those of `old`, not copies.

    Shapes and dtypes: those of `tx.init(params)`; arrays that are kept must have them already. A parameter that has
    grown along one axis, such as the table of a larger vocabulary, keeps its old rows in every slot, and its new rows
    are those of a fresh state; so are the slots of a parameter that is new. The link's count, and the weight that its
    means have seen, are those of the old rows, so that nothing corrects the bias of the new ones: with Adam they step
    as far too large as after `reset_state(leaves=...)`, whose docstring has the numbers.

    **From optax.** The names in a state of optax are positions: its parts are paired with the links of `tx` by their
    fields (`mu`, `nu`, `count`, ...) and their order, and within a partition by the parameters. The next step is the
    one that optax would make, with the numbers that stand in `tx`: those of `inject_hyperparams` are reported as
    dropped where `tx` has others. Read are the states of `adam(w)`, `nadam(w)`, `amsgrad`, `adamax(w)`, `adabelief`,
    `yogi`, `radam`, `novograd`, `lamb`, `lion`, `signum`, `sgd` and `trace`, `rmsprop`, `adagrad`, `adadelta`,
    `adafactor`, `optimistic_gradient_descent`, `ema`, `lbfgs`; their chains; `masked`; `partition` and
    `multi_transform`, as groups or as one link; `MultiSteps`, as `accumulate` (of means; its sums are not told apart);
    and `apply_if_finite`, as `guard` (which never gives in after several errors). What has no counterpart is an error
    until `renames` drops it by its position, `{"1.0": None}`, or says which link continues it, `{"0": "fast"}`.

    What a state cannot tell: two links of one kind that swapped their numbered names (`trace`, `trace_2`) while nothing
    else changed. Name your links. In a state of optax, which of the techniques with the same fields made it: Adam,
    AdaBelief and Yogi look the same.

    Where `tx` has owners (`distributed`) or packs leaves (`packed`), the old state is one by parameters, as
    `state_by_parameters` makes it, or one of a transformation without either; the new one is by owners, on the mesh of
    `params`, and packed.

    A state of version 0.1 is read too. It does not say which techniques it is of: a link that is another technique
    with the same slots goes on, and the weight that means have seen is found from the link's count and the decays of
    `tx`, for a schedule those of the steps that the link has counted. Of what stands within optax's wrappers, only
    chains that are nothing else than before go on.

    Raises:
        ValueError: no such link in `renames`; a link that is gone and a new one with the same slots; numbered names in
            a chain whose links have changed; a kept link with another technique, other slots, shapes or dtypes, or with
            a new parameter beside one of the same shape that is gone; a grown parameter whose slots do not follow its
            axes; links that counted differently under one count; a part of an optax state that no link continues, or
            several may; nothing that is kept. All that is found is in one message.

    >>> import optchain as oc
    >>> import jax.numpy as jnp
    >>> params = {"w": jnp.ones(3)}
    >>> old = oc.chain(adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(0.1)).init(params)
    >>> new = oc.chain(moments=oc.scale_by_adam(), decay=oc.add_decayed_weights(0.1), lr=oc.scale_by_learning_rate(0.1))
    >>> state, report = oc.migrate_state(old, oc.accumulate(new, 4), params, renames={"adam": "moments"})
    >>> print(report)
    kept       (chain), lr
    renamed    adam -> moments
    created    (accumulate), decay

    >>> import optax
    >>> state, report = oc.migrate_state(optax.adamw(0.1).init(params), oc.guard(oc.adamw(0.1)), params)
    >>> print(report)
    kept       (chain), adam, decay, lr
    created    (guard)
    """
    plain, together = without_packing(without_owners(tx)), params
    params = unpack(params) if is_packed(params) else params
    leaves, treedef = jax.tree.flatten_with_path(plain.init(params))
    after, renames = entries(treedef.unflatten(range(len(leaves)))), renames or {}
    before = entries_within(from_0_1(nested(old), after, renames))
    if not before:
        raise ValueError("migrate_state: the old state holds no arrays")
    before, of_optax, problems = from_optax(before, after, list(definitions(plain)), renames)
    pairs, wrong = pair(before, after, renames)
    named = {name: entry for name, entry in before.items() if name not in of_optax}
    problems += [*wrong, *numbered(named, after, renames), *unclear(named, after, pairs, renames)]
    if not pairs and not problems and after and any(target(name, renames) is not None for name in before):
        held, expected = _described(before), _described(after)
        problems.append(f"nothing of the old state would be kept: it holds {held}; expected {expected}")
    carried, conversion = Carried(), Conversion(plain, params, leaves)
    for new, name in pairs.items():
        earlier = with_weights(before[name], after[new], plain, leaves)
        carry(carried, conversion.of(earlier, after[new]), after[new], leaves, is_named=name in renames)
    continued = clocks(before, after, pairs, leaves, carried)
    problems += [*conversion.problems, *carried.problems]
    if carried.grown:
        fresh = treedef.unflatten([x for _, x in leaves])
        problems += misfits(plain, fresh, params, carried.grown)
    if problems:
        raise ValueError("migrate_state: " + "\n  ".join(problems))
    state = treedef.unflatten([carried.values.get(i, x) for i, (_, x) in enumerate(leaves)])
    return state_by_owners(tx, state, together), Report(
        kept=tuple(new for new, name in pairs.items() if new == name),
        created=(*_without(after, pairs), *carried.created),
        dropped=(*_without(before, set(pairs.values())), *carried.dropped),
        renamed=tuple((name, new) for new, name in pairs.items() if new != name),
        continued=tuple(continued),
        grown=tuple(carried.grown.values()),
        converted=tuple((name, *formats) for name, formats in conversion.done.items()),
    )


def _without(table: dict[str, Entry], paired: Collection[str]) -> list[str]:
    """The names of entries that have no counterpart, and hold something."""
    return [name for name, entry in table.items() if name not in paired and entry.technique not in PARTS]


def _described(table: dict[str, Entry]) -> str:
    """The entries in a line, each with its slots."""
    return _listed([f"{_shown(name)} ({names(entry.slots)})" for name, entry in table.items()])


def _shown(name: str) -> str:
    return name or "(unnamed)"


def _listed(names: list[str]) -> str:
    more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])
