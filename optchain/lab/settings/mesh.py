"""The table `[mesh]`: the devices that compute a run together."""

from typing import Annotated

import pydantic
from pydantic import Field, PositiveInt

from optchain.lab.settings.table import Table

AXES = ("data", "fsdp", "tensor")
Dimension = Annotated[int, Field(strict=True)]


class Mesh(Table):
    """A grid of devices with three named axes; the product of their sizes is the number of devices.

    Each batch is divided over `data` and `fsdp`, so that their product divides the number of its examples. Along
    `data` the parameters are copies; along `fsdp` each device keeps its share of every matrix between steps, the
    largest axis of which is divided, and collects the whole ones for a step (ZeRO-3); along `tensor` the matrices are
    divided as `rules` or the module itself says, and stay so in use.

    With `owners` each matrix that the optimizer looks across (Muon, SOAP, Shampoo, ...) is stepped whole by one device
    along these axes, instead of by all of them; its slots are with its owner.

    `rules` says which axis of a parameter is divided: `{ "*/mlp/kernel" = { tensor = 1 } }`, from patterns on paths;
    the first that fits holds, and -1 is the last axis. Where none fits, the names count that the module gives its axes
    (`nn.with_partitioning`, `nnx.with_partitioning`): those of an axis of the mesh, or what `names` makes of them,
    `{ embed = "fsdp" }`.
    """

    data: PositiveInt | None = None  # all devices that the other axes leave, if left out
    fsdp: PositiveInt = 1
    tensor: PositiveInt = 1
    zero1: bool = False  # the optimizer's state is divided over `data`, too
    owners: list[str] = []  # axes along which the devices share out the matrices of the optimizer
    rules: dict[str, dict[str, Dimension]] = {}
    names: dict[str, str] = {}  # from the module's names to those of the mesh

    @pydantic.model_validator(mode="after")
    def _known_axes(self) -> "Mesh":
        used = [(f"rules.{pattern!r}", axis) for pattern, axes in self.rules.items() for axis in axes]
        used += [(f"names.{name}", axis) for name, axis in self.names.items()]
        for key, axis in [*used, *(("owners", axis) for axis in self.owners)]:
            if axis not in AXES:
                raise ValueError(f"{key}: got {axis!r}; expected one of {', '.join(AXES)}")
        if len(set(self.owners)) < len(self.owners):
            raise ValueError(f"owners: got {self.owners}, which names an axis more than once")
        return self
