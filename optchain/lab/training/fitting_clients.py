"""Whether the examples can be dealt to clients, and what these hand in fits the optimizer; see `fitting`."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from optchain.core.door import AXES
from optchain.core.numerics import wide
from optchain.core.transform import takes
from optchain.core.walk import definitions
from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task
from optchain.lab.models.gradients import ClientGradients
from optchain.lab.runs.config import Config
from optchain.lab.settings.train import Fixed
from optchain.lab.training.clients import local_chain
from optchain.lab.training.compressed import compressor

if TYPE_CHECKING:
    from optchain.lab.training.experiment import Experiment

Blamed = Callable[[Any], contextlib.AbstractContextManager[None]]


def require_dealt(config: Config, task: Task) -> None:
    """The training examples can be dealt to the clients, each with batches of its own."""
    table = config.gradient
    assert isinstance(table, ClientGradients)
    if table.clients > task.size:
        cure = f"expected at most {task.size}"
        raise InputError(f"gradient.clients: got {table.clients} for {task.size} training examples; {cure}")
    if task.stream is not None:
        cure = "expected a task whose examples are arrays"
        raise InputError(f"gradient.use: got 'clients', and the training examples are a stream; {cure}")
    for key, kept in (("control", "control variates do"), ("compress", "what compression has left does")):
        if config.grow and getattr(table, key):
            raise InputError(f"gradient.{key}: {kept} not grow with the model; leave out {key} or grow")
    if config.train.sampling == "balanced":
        cure = "expected 'epochs', of the examples of each client"
        raise InputError(f"train.sampling: got 'balanced', and the examples are those of clients; {cure}")
    policy = config.train.policy
    if not isinstance(policy, Fixed) or policy.micro or policy.scale_rate != "none":
        cure = "expected one number of examples"
        raise InputError(f"train.batch: got {policy}, and each local step of a client has as many examples; {cure}")
    if table.skew is not None and (task.classes is None or task.splits["train"].targets.ndim > 1):
        found = "got several targets" if task.heads else "an example of the task is of no one class"
        raise InputError(f"gradient.skew: {found}; leave it out, which deals the examples evenly")


def require_clients(experiment: "Experiment", carry: Any, blamed: Blamed) -> None:
    """The optimizer combines the updates of the clients of a round, and each client can train."""
    table = experiment.config.gradient
    assert isinstance(table, ClientGradients)
    local = local_chain(table)
    require_compressible(table, experiment.tx)
    for tx, key in ((experiment.tx, "optimizer"), (local, "gradient.local")):
        if oc.row_tables(tx):
            cure = "take it without `rows`"
            raise InputError(f"{key}: the gradients of touched rows are not made for each client; {cure}")
    if "clients" not in takes(experiment.tx):
        private = "examples" in takes(experiment.tx)
        one = "client_private_mean, which hides all examples of a client" if private else "client_mean"
        cure = f"expected one that combines them, such as {one}, before all others"
        raise InputError(f"optimizer: its first link does not take the updates of {table.round} clients; {cure}")
    for axis in AXES & takes(local):
        cure = f"expected it to step by one gradient; what combines several {axis} is left out"
        raise InputError(f"gradient.local: its first link combines the gradients of {axis}; {cure}")
    params = carry["params"]
    try:
        jax.eval_shape(lambda p: oc.apply(local, p, local.init(p), p, value=0.0), params)
    except (ValueError, TypeError) as error:
        raise InputError(f"gradient.local: {error}") from error
    updates = jax.tree.map(lambda p: jax.ShapeDtypeStruct((table.round, *p.shape), wide_dtype(p)), params)
    told = {"value": 0.0, "validation": 0.0, "client_weights": jnp.ones(table.round)}
    with blamed(experiment.config):
        place = experiment.layout.stepped
        step = lambda p, state, g: oc.apply(experiment.tx, g, state, place(p), **told)  # noqa: E731
        jax.eval_shape(step, params, carry["opt_state"], updates)


def require_compressible(table: ClientGradients, tx: optax.GradientTransformation) -> None:
    """What clients hand in can be compressed, and is not to be masked, which makes all of it random."""
    if not table.compress:
        return
    compressor(table)
    if any(link.name == "client_secure_mean" for _, link in definitions(tx)):
        reason = "client_secure_mean masks every entry, so that nothing less would be sent"
        raise InputError(f"gradient.compress: {reason}; leave one of them out")


def wide_dtype(x: Any) -> Any:
    """The dtype in which a client hands in its update of a parameter."""
    return jax.eval_shape(wide, x).dtype
