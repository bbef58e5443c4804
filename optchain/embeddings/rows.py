"""Large tables: any technique on the touched rows only."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import optax

from optchain.core.numerics import wide
from optchain.core.paths import nearest, path_of
from optchain.core.row_gradient import RowGradient, is_row_gradient
from optchain.core.runner import Result, left_out, require_aligned
from optchain.core.transform import Transform, add_update, ours, step, technique, transform
from optchain.core.wrapper import Wrapper
from optchain.embeddings.catch_up import CatchUp
from optchain.embeddings.requirements import are_tables, require_rows
from optchain.embeddings.touched import Touched, touched
from optchain.stepsize.scale import scale

MODES = ("decay_corrected", "lazy", "exact")


@dataclasses.dataclass(frozen=True)
class Rows(Wrapper):
    """Runs `inner` on the rows of the tables that a step touches, and on all other parameters as they are."""

    tables: tuple[str, ...]
    mode: str

    takes_rows = True

    def start(self, params: Any) -> dict[str, Any]:
        are_tables(self.tables, params)  # so that a pattern that matches nothing is an error at once
        return {}

    def step(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> Result:
        """One update; that of a table is a gradient of rows where its gradient is one."""
        if params is None:
            raise ValueError("rows reads the parameters: call update(grads, state, params)")
        found, us, state = self._run(updates, state, params, extra, few=True)

        def update(g: Any, pick: Touched | None, u: jax.Array) -> Any:
            return RowGradient(pick.rows, u, g.num_rows) if is_row_gradient(g) else u  # pyright: ignore

        return jax.tree.map(update, updates, found, us, is_leaf=is_row_gradient), state, {}

    def apply(self, grads: Any, state: Any, params: Any, **extra: Any) -> tuple[Any, Any]:
        """One step that writes the touched rows in place, where the buffers are donated."""
        found, us, state = self._run(grads, state, params, extra, few=False)

        def stored(p: Any, pick: Touched | None, u: jax.Array) -> jax.Array:
            return add_update(p, u) if pick is None else pick.put(p, wide(pick.take(p)) + u)

        return jax.tree.map(stored, params, found, us), state

    def _run(self, grads: Any, state: Any, params: Any, extra: dict[str, Any], few: bool) -> tuple[Any, Any, Any]:
        """The touched rows of each table (None for another leaf), the updates of these rows, and the new state."""
        require_aligned("rows", grads, params)
        found = self._touched(grads, params, few)
        rows = jax.tree.map(lambda p, pick: p if pick is None else pick.take(p), params, found)
        us = jax.tree.map(lambda g, pick: pick.gradient if pick else g, grads, found, is_leaf=is_row_gradient)
        slots = optax.tree.map_params(
            self.inner,
            _Slot,
            state["inner"],
            found,
            transform_non_params=lambda x: _Slot(x, None),
            is_leaf=left_out,
        )
        taken = jax.tree.map(_Slot.take, slots, is_leaf=_is_slot)
        us, new, _ = step(self.inner, us, taken, rows, extra)
        inner = jax.tree.map(_Slot.put, slots, new, is_leaf=_is_slot)
        return found, us, self._with_metrics(state | {"inner": inner})

    def _touched(self, grads: Any, params: Any, few: bool) -> Any:
        """For each table the rows that its gradient touches, in the structure of the parameters; None elsewhere."""
        paths, treedef = jax.tree.flatten_with_path(grads, is_leaf=is_row_gradient)
        found = []
        for (path, g), own in zip(paths, are_tables(self.tables, params), strict=True):
            if is_row_gradient(g) and not own:
                problem = f"leaf {path_of(path)!r} has a gradient of rows and is none of the tables"
                raise ValueError(f"rows: {problem} {', '.join(self.tables)}; add its path to them")
            found.append(touched(g, few) if own else None)
        return treedef.unflatten(found)


@dataclasses.dataclass(frozen=True)
class _Slot:
    """An array in the state, and the rows of the table that it belongs to, if it has some."""

    x: Any
    pick: Touched | None

    def take(self) -> Any:
        return self.x if self.pick is None or left_out(self.x) or not self.x.ndim else self.pick.take(self.x)

    def put(self, new: Any) -> Any:
        return new if self.pick is None or left_out(self.x) or not self.x.ndim else self.pick.put(self.x, new)


def _is_slot(x: Any) -> bool:
    return isinstance(x, _Slot)


@technique(tx=scale(-0.1), tables="*")
def rows(
    tx: optax.GradientTransformation, tables: str | Sequence[str] = "*embedding", mode: str = "decay_corrected"
) -> Transform:
    r"""Runs a transformation on the rows of tables that a step looks up, and on all other parameters as they are.

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

    Where a step looks up so many rows that all are read faster (`CROSSOVER` in `optchain/embeddings/touched.py`), the
    table is updated as a whole with the same result. A dense gradient of a table is taken as one that touches all rows.

    Args:
        tx: a technique, or a chain or groups of techniques, that does not look across the rows of a table (`core_ndim`
            0 or 1; a clip by global norm may). `guard` and `accumulate` stand outside: `guard(rows(tx))`.
        tables: a pattern on paths, or several. They have their rows along the first axis;
            scalars are none.
        mode: one of the three words above.

    Shapes and dtypes: tables with one axis or more. The state has the slots of `tx` for whole tables, and if rows catch
    up 4 bytes for each row, or 12 with weight decay. Tables may be sharded by rows.

    Differs from the paper: there it is the penalty of a rare coordinate that catches up; here moments do too. The lazy
    form is that of torch's SparseAdam.

    Raises:
        ValueError: an unknown mode; a link that looks across rows, is not of this library, or has no law for rows at
            rest; while tracing, a gradient of rows for a parameter that is no table.

    References:
        Duchi and Singer, 2009 (sparse high-dimensional gradients). Journal of Machine Learning Research 10:2899-2934

    >>> import optchain as oc
    >>> tx = oc.guard(oc.rows(oc.chain(oc.clip_by_global_norm(1.0), oc.adamw(1e-3)), tables="*/embedding"))
    """
    if not ours(tx):
        raise ValueError(f"rows: tx must be of ours, for its links say what they look across, got {tx!r}")
    if mode not in MODES:
        raise ValueError(f"rows: mode is {mode!r}; {nearest(str(mode), MODES)}")
    patterns = (tables,) if isinstance(tables, str) else tables
    if not isinstance(patterns, (list, tuple)) or not all(isinstance(x, str) for x in patterns) or not patterns:
        raise ValueError(f"rows: tables must be a pattern on paths, or several, got {tables!r}")
    require_rows(tx, mode)
    patterns = tuple(patterns)
    inner = transform(CatchUp(tx, patterns)) if mode == "decay_corrected" else tx
    return transform(Rows(inner, patterns, mode))
