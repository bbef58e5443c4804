"""Large tables: any technique on the touched rows only."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import optax

from optchain.core.around import Around, stepped
from optchain.core.definition import Result
from optchain.core.door import rounded_sum, widened
from optchain.core.holes import is_hole
from optchain.core.lift import technique
from optchain.core.numerics import wide
from optchain.core.paths import named_leaves, nearest
from optchain.core.places import at_places
from optchain.core.routing import Given
from optchain.core.row_gradient import RowGradient, is_row_gradient
from optchain.core.transform import Transform, ours, takes, transform
from optchain.core.walk import definitions
from optchain.embeddings.catch_up import CatchUp
from optchain.embeddings.requirements import are_tables, require_codes_of_rows, require_rows
from optchain.embeddings.touched import Touched, touched
from optchain.stepsize.scale import scale

MODES = ("decay_corrected", "lazy", "exact")


@dataclasses.dataclass(frozen=True)
class Rows(Around):
    """Runs `inner` on the rows of the tables that a step touches, and on all other parameters as usual."""

    tables: tuple[str, ...]
    mode: str

    name = "rows"

    def takes(self) -> frozenset[str]:
        return frozenset({"rows"})

    def begin(self, params: Any) -> dict[str, Any]:
        require_codes_of_rows(self.inner, params, are_tables(self.tables, params))
        return {}

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        return self.propose(updates, state, params, given)

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        """One update; that of a table is a gradient of rows where its gradient is one."""
        self.require_params(params)
        picks, us, state = self._run(grads, state, params, given, few=True)

        def update(g: Any, pick: Touched | None, u: jax.Array) -> Any:
            return RowGradient(pick.rows, u, g.num_rows) if is_row_gradient(g) else u  # pyright: ignore

        return jax.tree.map(update, grads, picks, us, is_leaf=is_row_gradient), state, {}

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        """One step that writes the touched rows in place, where the buffers are donated."""
        picks, us, state = self._run(grads, state, params, given, few=False)

        def stored(p: Any, pick: Touched | None, u: jax.Array) -> jax.Array:
            return rounded_sum(p, u) if pick is None else pick.put(p, wide(pick.take(p)) + u)

        return jax.tree.map(stored, params, picks, us), state, {}

    def _run(self, grads: Any, state: Any, params: Any, given: Given, few: bool) -> tuple[Any, Any, Any]:
        """The touched rows of each table (None for another leaf), the updates of these rows, and the new state."""
        self.require_state(state)
        picks = self._touched(grads, params, few)
        rows = jax.tree.map(lambda p, pick: p if pick is None else pick.take(p), params, picks)
        us = jax.tree.map(lambda g, pick: pick.gradient if pick else g, grads, picks, is_leaf=is_row_gradient)
        slots = at_places(
            self.inner,
            lambda x, p, pick: _Slot(x, pick),
            state["inner"],
            params,
            picks,
            otherwise=lambda x: _Slot(x, None),
        )
        taken = jax.tree.map(_Slot.take, slots, is_leaf=_is_slot)
        us, held = stepped("", self.inner, widened(us), taken, widened(rows), given.split(self.children())[""])
        inner = jax.tree.map(_Slot.put, slots, held.state, is_leaf=_is_slot)
        return picks, us, self.with_shown(state | {"inner": held._replace(state=inner)})

    def _touched(self, grads: Any, params: Any, few: bool) -> Any:
        """For each table the rows that its gradient touches, in the structure of the parameters; None elsewhere."""
        treedef = jax.tree.structure(grads, is_leaf=is_row_gradient)
        picks = []
        for (leaf, g), is_table in zip(
            named_leaves(grads, is_row_gradient), are_tables(self.tables, params), strict=True
        ):
            if is_row_gradient(g) and not is_table:
                problem = f"leaf {leaf!r} has a gradient of rows and is none of the tables"
                raise ValueError(f"rows: {problem} {', '.join(self.tables)}; add its path to them")
            picks.append(touched(g, few) if is_table else None)
        return treedef.unflatten(picks)


@dataclasses.dataclass(frozen=True)
class _Slot:
    """An array in the state, and the rows of the table that it belongs to, if it has some."""

    x: Any
    pick: Touched | None

    def take(self) -> Any:
        return self.x if self.pick is None or is_hole(self.x) or not self.x.ndim else self.pick.take(self.x)

    def put(self, new: Any) -> Any:
        return new if self.pick is None or is_hole(self.x) or not self.x.ndim else self.pick.put(self.x, new)


def _is_slot(x: Any) -> bool:
    return isinstance(x, _Slot)


@technique(tx=scale(-0.1), tables="*")
def rows(
    tx: optax.GradientTransformation, tables: str | Sequence[str] = "*embedding", mode: str = "decay_corrected"
) -> Transform:
    r"""Runs a transformation on the rows of tables that a step looks up, and on all other parameters as usual.

    The touched rows and their slots are gathered, updated as a small table, and scattered back, in place where the
    buffers are donated: time and temporary memory depend on the number of look-ups, not on the table. `optchain.apply`
    does it; `update` returns gradients of rows, which `optax.apply_updates` cannot add. Rows looked up more than once
    are summed first, so that norms are those of the dense gradient.

    Where zero gradients move a parameter, as under momentum or weight decay, touching some rows is another algorithm
    than the dense one. What becomes of a row that sleeps for k steps is the `mode`:

    - `"decay_corrected"`: it makes up for them when it wakes. The slots decay by k updates with a gradient of 0 at once
      (:math:`\mu \leftarrow b_1^k \mu`), and weight decay that follows the moments catches up with every rate that it
      slept through, :math:`p \leftarrow p \prod_i (1 - \eta_i \lambda)`. What it leaves out, against the dense
      algorithm, are the steps that old momentum would take meanwhile. Until it wakes, the row in the table is stale:
      evaluate with `optchain.awake_params`.
    - `"lazy"`: it rests, slots and weights, as in SparseAdam of torch.
    - `"exact"`: there is nothing to make up for, and this is the dense algorithm (SGD, Adagrad, row-wise Adagrad,
      FTRL); an error where it is not.

    Where a step looks up so large a share of the rows that reading all of them is faster (`CROSSOVER` in
    `optchain/embeddings/touched.py`), the table is updated as a whole with the same result. A dense gradient of a table
    touches all rows.

    Args:
        tx: a technique, or a chain or groups of techniques, that does not mix the rows of a table (`core_ndim` 0 or 1;
            a clip by global norm may). `guard` and `accumulate` stand outside: `guard(rows(tx))`.
        tables: a pattern on paths, or several. Tables have their rows along the first axis; a scalar is not one.
        mode: one of the three words above.

    Shapes and dtypes: tables with one axis or more. The state has the slots of `tx` for whole tables, and if rows catch
    up 4 bytes for each row, or 12 with weight decay. Tables may be sharded by rows.

    Differs from the paper: there it is the penalty of a rare coordinate that catches up; here moments do too. The lazy
    form is that of torch's SparseAdam.

    Raises:
        ValueError: an unknown mode; a link that mixes rows, is not one of optchain's, or has no law for rows at rest;
            while tracing, a gradient of rows for a parameter that is not a table.

    References:
        Duchi and Singer, 2009 (sparse high-dimensional gradients). Journal of Machine Learning Research 10:2899-2934

    >>> import optchain as oc
    >>> tx = oc.guard(oc.rows(oc.chain(oc.clip_by_global_norm(1.0), oc.adamw(1e-3)), tables="*/embedding"))
    """
    if not ours(tx):
        raise ValueError(f"rows: tx must be built from optchain techniques, which declare what they mix, got {tx!r}")
    if mode not in MODES:
        raise ValueError(f"rows: mode is {mode!r}; {nearest(str(mode), MODES)}")
    patterns = (tables,) if isinstance(tables, str) else tables
    if not isinstance(patterns, (list, tuple)) or not all(isinstance(x, str) for x in patterns) or not patterns:
        raise ValueError(f"rows: tables must be a pattern on paths, or several, got {tables!r}")
    require_rows(tx, mode)
    patterns = tuple(patterns)
    inner = transform(CatchUp(tx, patterns)) if mode == "decay_corrected" else tx
    return transform(Rows(inner, patterns, mode))


def row_tables(tx: optax.GradientTransformation) -> tuple[str, ...]:
    """The patterns of the tables whose gradients a transformation takes as rows, such as those of `oc.rows`; or none.

    Args:
        tx: any optax transformation.
    """
    tables = [link.tables for _, link in definitions(tx) if isinstance(link, Rows)]
    return tables[0] if tables and "rows" in takes(tx) else ()
