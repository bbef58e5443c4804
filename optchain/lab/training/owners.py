"""Matrices that are stepped whole by their owners on a mesh, and the states that checkpoints keep of them."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import optax

import optchain as oc
from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task
from optchain.lab.runs.config import Config
from optchain.lab.training import assemble

if TYPE_CHECKING:
    from optchain.lab.training.experiment import Experiment

Turn = Callable[[Any, Any], Any]  # from a state and the parameters to a state of another form


def optimizer_of(config: Config, task: Task) -> optax.GradientTransformation:
    """The optimizer of a configuration, with owners for its matrices where the mesh has some.

    Raises:
        InputError: nothing in it looks across matrices.
        ValueError: naming the dotted key, see `optchain.from_config`.
    """
    tx = assemble.optimizer_of(config, task)
    if config.mesh is None or not config.mesh.owners:
        return tx
    try:
        return oc.distributed(tx, config.mesh.owners)
    except ValueError as error:
        raise InputError(f"mesh.owners: {error}") from error


def by_parameters(built: "Experiment", carry: dict[str, Any]) -> dict[str, Any]:
    """The carry as checkpoints keep it: any mesh can go on with that."""
    return _turned(built, carry, 0)


def by_owners(built: "Experiment", carry: dict[str, Any]) -> dict[str, Any]:
    """The carry as it is stepped."""
    return _turned(built, carry, 1)


def turns(built: "Experiment") -> tuple[Turn, Turn]:
    """What brings a state by owners to one by parameters, and back; each is compiled once."""
    layout, shapes = built.layout, jax.eval_shape(lambda: built.start()["params"])
    stepped = jax.tree.map(lambda x, at: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=at), shapes, layout.steps)

    def turn(function: Any, tx: Any) -> Turn:
        def turned(state: Any, params: Any) -> Any:
            return function(built.tx, state, layout.stepped(params))

        return jax.jit(turned, out_shardings=oc.shardings(tx, stepped))

    return turn(oc.state_by_parameters, assemble.optimizer_of(built.config, built.task)), turn(
        oc.state_by_owners, built.tx
    )


def _turned(built: "Experiment", carry: dict[str, Any], way: int) -> dict[str, Any]:
    if built.config.mesh is None or not built.config.mesh.owners:
        return carry
    return carry | {"opt_state": built.turns[way](carry["opt_state"], carry["params"])}
