"""Whether workers can train what a configuration says, and what they hand in fits the optimizer; see `fitting`."""

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax

import optchain as oc
from optchain.core.transform import takes
from optchain.lab.base.errors import InputError
from optchain.lab.runs.config import Config
from optchain.lab.settings.train import Fixed
from optchain.lab.training.fitting_clients import wide_dtype
from optchain.lab.training.local import pieces_of, table_of

if TYPE_CHECKING:
    from optchain.lab.training.experiment import Experiment

MOST = 2**31  # examples that can be counted, and bytes that one message can have


def require_divided(config: Config) -> None:
    """The run can be divided into pieces that workers make on one device each.

    Raises:
        InputError: naming the key.
    """
    table, policy = table_of(config), config.train.policy
    for key, is_set in {"mesh": config.mesh, "grow": config.grow, "mup": config.mup}.items():
        if is_set:
            raise InputError(f"gradient.use: got 'workers' and a table [{key}]; leave one of the two out")
    if config.train.epochs is not None:
        cure = "expected train.steps, how often the server steps"
        raise InputError(f"train.epochs: got {config.train.epochs}, and workers divide the steps among them; {cure}")
    if not isinstance(policy, Fixed) or policy.scale_rate != "none":
        cure = "expected one number of examples"
        raise InputError(f"train.batch: got {policy}, and each local step of a worker has as many examples; {cure}")
    examples = pieces_of(config) * table.local_steps * policy.largest
    if examples >= MOST:
        what = "steps * together * local_steps * batch"
        raise InputError(f"train.steps: {what} = {examples} examples; expected fewer than 2**31")


def require_workers(
    experiment: "Experiment", carry: Any, blamed: Callable[[Any], contextlib.AbstractContextManager[None]]
) -> None:
    """The optimizer steps by what workers hand in, and one message holds the parameters.

    Raises:
        InputError: naming what does not fit.
    """
    config, tx, params = experiment.config, experiment.tx, carry["params"]
    if oc.row_tables(tx):
        raise InputError("optimizer: what workers hand in is dense, and no gradient of touched rows; leave `rows` out")
    for axis in {"tasks", "clients"} & takes(tx):
        cure = "leave that link out: the server takes the mean of what `together` workers hand in"
        raise InputError(f"optimizer: its first link combines the gradients of {axis}; {cure}")
    differences = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, wide_dtype(p)), params)
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves((differences, carry["rest"])))
    if size >= MOST:
        raise InputError(f"gradient.use: got 'workers' and a model of {size} bytes; expected fewer than 2**31")
    told = {"value": 0.0, "validation": 0.0, "staleness": 0}
    with blamed(config):
        step = lambda p, state, g, began: oc.apply(tx, g, state, p, stale_params=began, **told)  # noqa: E731
        jax.eval_shape(step, params, carry["opt_state"], differences, params)
