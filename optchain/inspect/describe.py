"""What a transformation keeps and what a step of it reads, writes and sends, for these parameters."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import jax
import optax

from optchain.core.describe import in_columns
from optchain.core.door import ARRAYS, is_floating
from optchain.core.holes import is_hole
from optchain.core.paths import named_leaves
from optchain.core.places import places
from optchain.core.states import owners
from optchain.core.transform import apply
from optchain.inspect.collectives import Sent, collectives
from optchain.sharding.moves import is_explicit
from optchain.sharding.shardings import shapes_of_state, shardings


@dataclasses.dataclass(frozen=True)
class Slot:
    """The arrays of one slot, of one dtype, of all parameters; or counts and metrics, which belong to none."""

    link: str  # the dotted name of the link, or where the arrays stand in a state of optax; empty for one alone
    technique: str  # empty for what a technique of optchain does not keep
    name: str
    dtype: str
    arrays: int
    entries: int
    bytes: int
    held: int  # bytes on one device
    on_host: bool  # whether they lie in the memory of the host, where one device has these bytes then


@dataclasses.dataclass(frozen=True)
class Description:
    """What `describe` finds; its text is a table.

    Attributes:
        parameters: how many numbers the parameters have that are real and floating.
        parameter_bytes: their bytes.
        devices: how many devices the parameters are laid out on.
        slots: the state, by link, slot and dtype.
        accessed: bytes that one step reads and writes on a device, as the compiler counts them.
        temporaries: bytes that it needs besides its arguments and results on a device.
        sent: what the devices send one another in a step, by the kind of collective: how many, and bytes of their
            results on a device.
    """

    parameters: int
    parameter_bytes: int
    devices: int
    slots: tuple[Slot, ...]
    accessed: int
    temporaries: int
    sent: dict[str, Sent]

    @property
    def bytes(self) -> int:
        """Bytes of the state."""
        return sum(slot.bytes for slot in self.slots)

    @property
    def held(self) -> int:
        """Bytes of the state on one device."""
        return sum(slot.held for slot in self.slots)

    @property
    def by_dtype(self) -> dict[str, int]:
        """Bytes of the state by dtype."""
        return {
            name: sum(x.bytes for x in self.slots if x.dtype == name) for name in sorted({x.dtype for x in self.slots})
        }

    def __str__(self) -> str:
        where = f" on {self.devices} devices" if self.devices > 1 else ""
        head = f"{self.parameters:,} parameters of {self.parameter_bytes:,} bytes{where}"
        lines = in_columns([self._header(), *self._rows(), self._row("state", "", "", "", self.bytes, self.held)])
        rule = "-" * max(map(len, lines))
        return "\n".join([head, "", lines[0], rule, *lines[1:-1], rule, lines[-1], "", *self._of_a_step()])

    def _header(self) -> list[str]:
        return ["link", "technique", "slot", "dtype", "bytes", "bytes/param", *["on a device"] * (self.devices > 1)]

    def _rows(self) -> Iterator[list[str]]:
        scalars = [slot for slot in self.slots if slot.entries == slot.arrays]
        for slot in self.slots:
            if slot not in scalars:
                yield self._row(slot.link, slot.technique, slot.name, slot.dtype, slot.bytes, slot.held)
        if scalars:
            small = f"scalars: {sum(slot.arrays for slot in scalars)}"
            yield self._row("-", "-", small, "-", sum(x.bytes for x in scalars), sum(x.held for x in scalars))

    def _row(self, link: str, technique: str, slot: str, dtype: str, size: int, held: int) -> list[str]:
        share = f"{size / self.parameters:.3g}"
        return [link or technique, technique, slot, dtype, f"{size:,}", share, *[f"{held:,}"] * (self.devices > 1)]

    def _of_a_step(self) -> Iterator[str]:
        each = " on each device" if self.devices > 1 else ""
        on_host = sum(slot.held for slot in self.slots if slot.on_host)
        if on_host:
            yield f"of the state, {on_host:,} bytes{each} lie in the memory of the host"
        share = f"{self.accessed / self.parameters:.3g} for each parameter"
        yield f"a step reads and writes {self.accessed:,} bytes{each}, {share}"
        yield f"and needs {self.temporaries:,} bytes of temporaries"
        if self.devices > 1:
            kinds = [f"{sent.count} {kind} of {sent.bytes:,} bytes" for kind, sent in sorted(self.sent.items())]
            yield "it sends " + (", ".join(kinds) or "nothing")


def describe(tx: optax.GradientTransformation, params: Any, **extra: Any) -> Description:
    """What the state takes and what one step reads, writes and sends, without a step being made.

    The step is `oc.apply` with parameters and state donated; it is compiled, which may take seconds, and no array is
    allocated. On a mesh, the state is laid out as `oc.shardings(tx, params)` says and gradients as their parameters.
    The compiler's counts are those of the whole program of one device: where it fuses less, on a CPU, they are higher.
    `print(tx)` shows the slots without parameters.

    Args:
        tx: any optax transformation. The slots of one from optax stand by their place in its state.
        params: arrays, or `jax.ShapeDtypeStruct`s with or without a sharding.
        **extra: extra arguments that the transformation reads, such as `value`: arrays, shapes or functions.

    Returns:
        A `Description`, whose fields are numbers and whose text is a table.

    Raises:
        ValueError: no parameter is a real floating array, or what `tx.init`, `oc.apply` and `oc.shardings` raise.

    >>> import jax
    >>> import optchain as oc
    >>> report = oc.describe(oc.adamw(1e-3), {"w": jax.ShapeDtypeStruct((64, 32), "float32")})
    >>> [(slot.link, slot.name, slot.dtype, slot.bytes) for slot in report.slots if slot.entries > slot.arrays]
    [('adam', 'mu', 'float32', 8192), ('adam', 'nu', 'float32', 8192)]
    """
    moving = [x for _, x in named_leaves(params) if is_floating(x)]
    size = sum(x.size for x in moving)
    if not size:
        leaves = [f"{path!r} {_found(x)}" for path, x in named_leaves(params)]
        expected = "arrays or jax.ShapeDtypeStructs of a real floating dtype, with entries"
        found = ", ".join(leaves[:5]) or "no leaves"
        raise ValueError(f"describe: there are no parameters to step: found {found}; expected {expected}")
    mesh = _mesh(moving)
    state, on_host = shapes_of_state(tx, params)
    layouts = jax.tree.map(_of_one_device, on_host) if mesh is None else shardings(tx, params)
    compiled = _step(tx, params, state, layouts, mesh, extra)
    cost: Any = compiled.cost_analysis()
    return Description(
        parameters=size,
        parameter_bytes=sum(map(_bytes, moving)),
        devices=1 if mesh is None else mesh.size,
        slots=tuple(_slots(tx, state, params, layouts, on_host)),
        accessed=round(cost["bytes accessed"]),
        temporaries=compiled.memory_analysis().temp_size_in_bytes,
        sent=collectives(compiled.as_text()),
    )


def _slots(tx: Any, state: Any, params: Any, layouts: Any, on_host: Any) -> Iterator[Slot]:
    """The arrays of a state, those of one slot, dtype and memory together, in the order of the state."""
    found: dict[tuple[Any, ...], list[tuple[int, int, int]]] = {}
    columns = zip(_names(tx, state, params), *map(jax.tree.leaves, (state, layouts, on_host)), strict=True)
    for name, x, layout, away in columns:
        share = math.prod(layout.shard_shape(x.shape)) * x.dtype.itemsize
        found.setdefault((*name, str(x.dtype), away), []).append((x.size, _bytes(x), share))
    for (link, technique, slot, dtype, away), arrays in found.items():
        yield Slot(link, technique, slot, dtype, len(arrays), *map(sum, zip(*arrays, strict=True)), on_host=away)


def _names(tx: Any, state: Any, params: Any) -> list[tuple[str, str, str]]:
    """Link, technique and slot of each array of a state."""
    leaves, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    names: dict[int, tuple[str, str, str]] = {}
    for prefix, technique, table in owners(treedef.unflatten(range(len(leaves)))):
        for slot, tree in table.items():
            names |= dict.fromkeys(jax.tree.leaves(tree), (prefix.rstrip("."), technique, slot))
    of_params = [path for path, _ in named_leaves(params, is_hole)]
    placed = zip(named_leaves(state, is_hole), places(tx, state, params), strict=True)
    for i, ((path, _), param) in enumerate(placed):
        if i not in names:
            inside = path if param is None else path.removesuffix(of_params[param]).rstrip("/")
            link, _, slot = inside.rpartition("/")
            names[i] = link, "", slot
    return [names[i] for i, x in enumerate(leaves) if not is_hole(x)]


def _step(tx: Any, params: Any, state: Any, layouts: Any, mesh: Any, extra: dict[str, Any]) -> Any:
    """The compiled step. What is no array, such as a function, is closed over."""
    leaves, treedef = jax.tree.flatten(params)
    arrays = {i: x for i, x in enumerate(leaves) if isinstance(x, ARRAYS)}
    grads = {i: x for i, x in arrays.items() if is_floating(x)}
    functions = {name: x for name, x in extra.items() if callable(x)}
    values = {name: x for name, x in extra.items() if name not in functions}

    def described(arrays: Any, state: Any, grads: Any, values: Any) -> Any:
        ps = treedef.unflatten([arrays.get(i, x) for i, x in enumerate(leaves)])
        gs = treedef.unflatten([grads.get(i) for i in range(len(leaves))])
        new, state = apply(tx, gs, state, ps, **values, **functions)
        news = jax.tree.leaves(new)
        return {i: news[i] for i in arrays}, state

    arrays, grads = jax.tree.map(_shape, (arrays, grads))
    out = None
    state = jax.tree.map(lambda x, layout: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=layout), state, layouts)
    if mesh is not None:
        # Where axes are explicit, layouts are parts of the types.
        out = None if is_explicit(mesh) else ({i: x.sharding for i, x in arrays.items()}, layouts)
    return jax.jit(described, donate_argnums=(0, 1), out_shardings=out).lower(arrays, state, grads, values).compile()


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=_layout(x))


def _layout(x: Any) -> Any:
    """The layout of a parameter on a mesh; None for one on a single device."""
    layout = x.sharding if isinstance(x, (jax.Array, jax.ShapeDtypeStruct)) else None
    return layout if isinstance(layout, jax.NamedSharding) else None


def _of_one_device(on_host: bool) -> jax.sharding.SingleDeviceSharding:
    return jax.sharding.SingleDeviceSharding(jax.local_devices()[0], memory_kind="pinned_host" if on_host else None)


def _mesh(moving: list[Any]) -> Any:
    return next((layout.mesh for x in moving if (layout := _layout(x)) is not None), None)


def _found(x: Any) -> str:
    return f"{x.dtype}{list(x.shape)}" if isinstance(x, ARRAYS) else f"of type {type(x).__name__}"


def _bytes(x: Any) -> int:
    return x.size * x.dtype.itemsize
