"""The executions that a technique may run in, each compared with its dense steps: a function per column of the page."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import optchain as oc
from experiments.benchmarks.cases import ROWS, Case, stepped
from optchain.core.holes import is_hole
from optchain.core.rule import core_of
from optchain.inspect.laws.check import BROKEN, EXEMPT, SKIPPED, Broken, Refused, Skipped
from optchain.inspect.laws.steps import cast, take_step
from optchain.storage.split import joined

AXIS = "x"


class Exempt(Exception):
    """The table of exceptions says why this technique is another algorithm here."""


def of_law(law: str) -> Callable[[Case], str]:
    """A column that is a law of composition already, whose comparison it takes."""

    def run(case: Case) -> str:
        (finding,) = oc.check_laws(case.tx, case.params, only=[law]).findings
        if finding.outcome == BROKEN:
            raise Broken(finding.reason)
        if finding.outcome == EXEMPT:
            raise Exempt(finding.reason)
        if finding.outcome == SKIPPED:
            raise Skipped(finding.reason)
        if finding.reason:
            raise Refused(finding.reason)
        return ""

    return run


def eagerly(case: Case) -> str:
    """Steps of which each operation is dispatched by itself."""
    carry = (case.params, case.tx.init(case.params))
    for gs in case.grads:
        carry = take_step(case.tx, carry, gs)
    case.require_near(carry[0], EXACT, ROUNDING)
    return ""


def by_rows(case: Case) -> str:
    """Gradients of the kernels' rows."""
    tx, mode, place = _of_rows(case)
    touched = ROWS // 2 if mode == "exact" else ROWS  # rows at rest are another algorithm in the other modes
    mask = (jnp.arange(ROWS) < touched)[:, None]
    dense = [jax.tree.map(lambda g: jnp.where(mask, g, 0) if g.ndim == 2 else g, gs) for gs in case.grads]
    start = case.dense(case.grads[:1])  # within a range, where the technique keeps parameters in one
    found, _ = stepped(tx, start, [jax.tree.map(lambda g: _rowed(g, touched), gs) for gs in dense])
    case.require_near(found, EXACT, ROUNDING, dense, start)
    return " ".join(filter(None, (mode, place)))


def _of_rows(case: Case) -> tuple[Any, str, str]:
    """The technique on rows, in the mode nearest to dense steps that it has a law for."""
    *others, last = "exact", "decay_corrected", "lazy"
    for mode in others:
        try:
            tx, place = case.within(lambda tx, mode=mode: oc.rows(tx, "*kernel", mode))
        except ValueError:
            continue
        return tx, mode, place
    tx, place = case.within(lambda tx: oc.rows(tx, "*kernel", last))
    return tx, last, place


def _rowed(g: jax.Array, touched: int) -> Any:
    """The first rows of a kernel's gradient from last to first, the last of them in two halves."""
    if g.ndim < 2:
        return g
    rows = jnp.array([*range(touched - 1, -1, -1), touched - 1])
    halves = jnp.where((rows == touched - 1)[:, None], 0.5, 1.0)
    return oc.RowGradient(rows, g[rows] * halves, ROWS)


def in_bfloat16(case: Case) -> str:
    """Parameters and gradients in bfloat16."""
    found, _ = stepped(case.tx, cast(case.params, jnp.bfloat16), [cast(gs, jnp.bfloat16) for gs in case.grads])
    case.require_near(found, COARSE, ROUNDING_BFLOAT16)
    return ""


def in_shares(case: Case) -> str:
    """The state split over an axis of a mesh along which the parameters are copies."""
    try:
        tx, place = case.within(lambda tx: oc.flat(tx, AXIS, 1))
        note = " ".join(filter(None, ("flat", place)))
    except ValueError:
        tx, note = case.tx, ""
    _on_mesh(case, tx, lambda p: jax.P(), AXIS)
    return note


def by_owners(case: Case) -> str:
    """Each matrix stepped whole by one device."""
    if not any(core_of(link.rule, 2) == 2 for link in case.links):
        raise Skipped("no link of it declares `core_ndim = 2`, that it looks across a matrix")
    tx, note = case.within(lambda tx: oc.distributed(tx, AXIS))
    _on_mesh(case, tx, lambda p: jax.P(AXIS) if p.ndim == 2 else jax.P(), None)
    return note


def _on_mesh(case: Case, tx: Any, spec: Callable[[Any], Any], over: str | None) -> None:
    devices = jax.devices()[:2]
    if len(devices) < 2:
        raise Skipped("there is one device")
    mesh = jax.make_mesh((2,), (AXIS,), (jax.sharding.AxisType.Auto,), devices=devices)
    of_params = jax.tree.map(lambda p: jax.NamedSharding(mesh, spec(p)), case.params)
    params, *grads = (jax.device_put(tree, of_params) for tree in (case.params, *case.grads))
    of_state = oc.shardings(tx, params, over=over)
    state = jax.jit(tx.init, out_shardings=of_state)(params)
    found, _ = stepped(tx, params, grads, state, (of_params, of_state))
    case.require_near(found, EXACT, ROUNDING)


def in_buffers(case: Case) -> str:
    """Parameters of equal treatment packed together."""
    tx, note = case.within(oc.packed)
    found, _ = stepped(tx, oc.pack(tx, case.params), [oc.pack(tx, gs) for gs in case.grads])
    case.require_near(oc.unpack(found), EXACT, ROUNDING)
    return note


def in_codes(slots: str, bound: float) -> Callable[[Case], str]:
    """A column of slots in few bits."""

    def run(case: Case) -> str:
        if not any(link.rule.kinds for link in case.links):
            raise Skipped("no link of it declares in `kinds` a slot that bears a code")
        tx, note = case.within(lambda tx: oc.precision(tx, slots=slots, min_size=0))
        found, _ = stepped(tx, case.params, case.grads)
        case.require_near(found, bound, ROUNDING)
        return note

    return run


def in_parts(case: Case) -> str:
    """Parameters in bfloat16 and the bits that they lack, which together are compared."""
    tx = oc.precision(case.tx, params="split")
    grads = [cast(gs, jnp.bfloat16) for gs in case.grads]
    params, state = stepped(tx, cast(case.params, jnp.bfloat16), grads)
    whole = lambda rest, p: p if is_hole(rest) else joined(p, rest)  # noqa: E731
    case.require_near(jax.tree.map(whole, state["precision"]["rest"], params, is_leaf=is_hole), EXACT, ROUNDING)
    return ""


EXACT, COARSE, INT8, INT4 = 1e-4, 0.02, 0.3, 0.6
ROUNDING, ROUNDING_BFLOAT16 = 1e-6, 2.0**-8


@dataclasses.dataclass(frozen=True)
class Way:
    """A column of the page.

    Attributes:
        run: compares; a word on how it was run.
        says: what is run.
        near: how near the result must be.
        called: the names of what makes this execution, one of which an error may say.
    """

    run: Callable[[Case], str]
    says: str
    near: str
    called: tuple[str, ...] = ()


WAYS = {
    "dense": Way(eagerly, "steps compiled by `jax.jit` beside eager ones", f"{EXACT:g}"),
    "rows": Way(by_rows, "`oc.rows`, gradients of the kernels' rows", f"{EXACT:g}", ("rows",)),
    "vmap": Way(of_law("vmap"), "a batch of two steps under `jax.vmap` beside a loop", "1e-4 and 1e-5"),
    "stacked": Way(
        of_law("stacked_layers"), "`oc.over_layers` on two stacked layers beside each alone", "1e-4 and 1e-5"
    ),
    "bfloat16": Way(in_bfloat16, "parameters and gradients in bfloat16", f"{COARSE:g}"),
    "ZeRO-1": Way(
        in_shares, "`oc.flat` where it is taken, and `oc.shardings(over=)`, two devices", f"{EXACT:g}", ("flat",)
    ),
    "owners": Way(by_owners, "`oc.distributed`, two devices", f"{EXACT:g}", ("distributed",)),
    "packed": Way(in_buffers, "`oc.packed` with parameters of `oc.pack`", f"{EXACT:g}", ("packed", "pack")),
    "int8": Way(in_codes("int8", INT8), '`oc.precision(slots="int8")`', f"{INT8:g}", ("precision",)),
    "int4": Way(in_codes("int4", INT4), '`oc.precision(slots="int4")`', f"{INT4:g}", ("precision",)),
    "split": Way(
        in_parts, '`oc.precision(params="split")`, bfloat16 and the bits it lacks', f"{EXACT:g}", ("precision",)
    ),
    "over_axes": Way(
        of_law("over_axes"), "`oc.over_axes` inside `jax.shard_map`, two devices", "1e-4 and 1e-5", ("over_axes",)
    ),
}
