"""Where the arrays of a run lie: on one device, or on the devices of a mesh."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol

import jax
import optax
from jax.lax import with_sharding_constraint
from jax.sharding import AxisType, NamedSharding

import optchain as oc
from optchain.core.axes import entry
from optchain.core.paths import map_named, matches, named_leaves, nearest
from optchain.lab.base.errors import InputError
from optchain.lab.settings.mesh import AXES, Mesh

SPLIT = ("data", "fsdp")  # the axes that a batch is divided over


class Layout(Protocol):
    """What compiled functions are told of where their arrays lie."""

    @property
    def carry(self) -> Any:
        """The shardings of the carry between steps, None for the compiler's choice."""
        ...

    @property
    def steps(self) -> Any:
        """The shardings of the parameters while they are stepped, or None."""
        ...

    @property
    def replicated(self) -> Any:
        """The sharding of what each device has a copy of, or None."""
        ...

    @property
    def streamed(self) -> NamedSharding | None:
        """The sharding of the batches of a stream, [steps, examples, ...], or None."""
        ...

    def pinned(self, carry: Any) -> Any:
        """The carry as it lies between steps."""
        ...

    def used(self, params: Any) -> Any:
        """Parameters as the model uses them."""
        ...

    def stepped(self, tree: Any, stacked: bool = False) -> Any:
        """Gradients or parameters as the optimizer steps them; `stacked`, gradients with a leading axis for tasks."""
        ...

    def divided(self, examples: Any) -> Any:
        """Examples, or what there is of clients, of which each device has its share."""
        ...


class OneDevice:
    """All lies on one device, and nothing is to be told."""

    carry: Any = None
    steps: Any = None
    replicated: Any = None
    streamed: NamedSharding | None = None

    def pinned(self, carry: Any) -> Any:
        return carry

    def used(self, params: Any) -> Any:
        return params

    def stepped(self, tree: Any, stacked: bool = False) -> Any:
        return tree

    def divided(self, examples: Any) -> Any:
        return examples


ONE_DEVICE = OneDevice()


@dataclasses.dataclass(frozen=True)
class OnMesh:
    """All lies on the devices of a mesh. The compiler is told at each change, else it divides the matrix products as
    well, and gathers activations."""

    carry: Any
    replicated: NamedSharding
    params: Any  # shardings in use
    steps: Any
    examples: NamedSharding

    @property
    def streamed(self) -> NamedSharding:
        return NamedSharding(self.replicated.mesh, jax.P(None, SPLIT))

    def pinned(self, carry: Any) -> Any:
        # The rest may lack what is frozen, which is not carried from step to step.
        places = {
            name: self.carry[name] if name in ("params", "opt_state", "clients") else self.replicated for name in carry
        }
        return with_sharding_constraint(carry, places)

    def used(self, params: Any) -> Any:
        return with_sharding_constraint(params, self.params)

    def stepped(self, tree: Any, stacked: bool = False) -> Any:
        def placed(layout: NamedSharding, x: Any) -> Any:
            # The gradient of a table whose rows are touched is no array; its rows are few, and stay where they are.
            if not isinstance(x, jax.Array):
                return x
            place = NamedSharding(layout.mesh, jax.P(None, *layout.spec)) if stacked else layout
            return with_sharding_constraint(x, place)

        return jax.tree.map(placed, self.steps, tree)

    def divided(self, examples: Any) -> Any:
        parts = math.prod(self.replicated.mesh.shape[axis] for axis in SPLIT)
        fits = all(len(x) % parts == 0 for x in jax.tree.leaves(examples))  # not the last examples of an evaluation
        return with_sharding_constraint(examples, self.examples) if fits else examples


def layout_of(
    table: Mesh | None, tx: optax.GradientTransformation, carry: Callable[[], Any], names: Callable[[], dict[str, Any]]
) -> Layout:
    """The layout of a run.

    Args:
        table: of the configuration.
        tx: the optimizer.
        carry: gives the carry before the first step.
        names: gives the names that the module itself gives the axes of its parameters, by path.

    Raises:
        InputError: the devices do not suffice, or a rule fits no parameter or not the shape of one.
    """
    if table is None:
        return ONE_DEVICE
    mesh, shapes = mesh_of(table), jax.eval_shape(carry)
    specs = _specs(table, mesh, shapes["params"], names())
    in_use = {path: [tuple(x for x in group if x != "fsdp") for group in spec] for path, spec in specs.items()}
    kept = oc.split_over(_placed(shapes["params"], mesh, specs), "fsdp")
    steps = oc.split_over(kept, "data") if table.zero1 else kept
    replicated = NamedSharding(mesh, jax.P())
    own = {"params": _shardings(kept), "opt_state": oc.shardings(tx, steps)}
    if "clients" in shapes:
        own["clients"] = _by_client(shapes["clients"], mesh)
    whole = {name: own.get(name, jax.tree.map(lambda _: replicated, x)) for name, x in shapes.items()}
    used = _shardings(_placed(shapes["params"], mesh, in_use))
    return OnMesh(whole, replicated, used, _shardings(steps), NamedSharding(mesh, jax.P(SPLIT)))


def mesh_of(table: Mesh) -> jax.sharding.Mesh:
    """The devices of a table as a grid.

    Raises:
        InputError: there are not as many.
    """
    devices, others = jax.devices(), table.fsdp * table.tensor
    data = table.data or max(1, len(devices) // others)
    said = f"mesh: {data} x {table.fsdp} x {table.tensor} (data, fsdp, tensor) are {data * others} devices"
    if data * others > len(devices) or (table.data is None and data * others != len(devices)):
        cure = "with --xla_force_host_platform_device_count=N in XLA_FLAGS a processor shows N"
        raise InputError(f"{said}; there are {len(devices)}" + (f" ({cure})" if devices[0].platform == "cpu" else ""))
    shape = (data, table.fsdp, table.tensor)
    return jax.make_mesh(shape, AXES, (AxisType.Auto,) * len(AXES), devices=devices[: data * others])


def parts_of(table: Mesh | None) -> int:
    """Over how many devices a batch is divided."""
    return 1 if table is None else math.prod(mesh_of(table).shape[axis] for axis in SPLIT)


def _by_client(kept: Any, mesh: jax.sharding.Mesh) -> Any:
    """What is kept of clients: each device has its share of those, as far as their number allows."""
    parts, share = math.prod(mesh.shape[axis] for axis in SPLIT), NamedSharding(mesh, jax.P(SPLIT))
    replicated = NamedSharding(mesh, jax.P())
    each = jax.tree.map(lambda x: share if len(x) % parts == 0 else replicated, kept.each)
    return jax.tree.map(lambda _: replicated, kept)._replace(each=each)


Spec = list[tuple[str, ...]]  # the axes of the mesh along each axis of a parameter


def _specs(table: Mesh, mesh: jax.sharding.Mesh, params: Any, names: dict[str, Any]) -> dict[str, Spec]:
    """What the rules, or else the module, say of each parameter."""
    shapes = {path: x.shape for path, x in named_leaves(params)}
    for pattern in table.rules:
        if not any(matches(path, pattern) for path in shapes):
            raise InputError(f"mesh.rules: {pattern!r} matches no parameter; {nearest(pattern, shapes)}")
    known = {name: name for name in AXES} | table.names
    specs = {}
    for path, shape in shapes.items():
        rule = next((pattern for pattern in table.rules if matches(path, pattern)), None)
        if rule is not None:
            specs[path] = _ruled(rule, table.rules[rule], path, shape)
        else:
            own = [(x,) if isinstance(x, str) or x is None else tuple(x) for x in names.get(path, ())]
            axes = [tuple(known[name] for name in group if name in known) for group in own]
            specs[path] = [*axes, *[()] * (len(shape) - len(axes))]
        for n, group in zip(shape, specs[path], strict=True):
            parts = math.prod(mesh.shape[axis] for axis in group)
            if n % parts:
                source = f"mesh.rules.{rule!r}" if rule else "the module"
                by = " and ".join(group)
                raise InputError(f"{source}: an axis of {path!r} has {n} entries, which {by} ({parts}) does not divide")
    return specs


def _ruled(pattern: str, rule: dict[str, int], path: str, shape: tuple[int, ...]) -> Spec:
    spec: Spec = [()] * len(shape)
    for axis, i in rule.items():
        if not -len(shape) <= i < len(shape):
            cure = f"expected an axis of {path!r}, from 0 to {len(shape) - 1}" if shape else f"{path!r} is one number"
            raise InputError(f"mesh.rules.{pattern!r}: got {axis} = {i}; {cure}")
        spec[i] = (*spec[i], axis)
    return spec


def _placed(params: Any, mesh: jax.sharding.Mesh, specs: dict[str, Spec]) -> Any:
    def placed(path: str, x: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, jax.P(*map(entry, specs[path]))))

    return map_named(placed, params)


def _shardings(placed: Any) -> Any:
    return jax.tree.map(lambda x: x.sharding, placed)
