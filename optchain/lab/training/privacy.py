"""What a run has told of each of its clients, where a link of its optimizer hides them."""

from typing import Any

import jax

import optchain as oc
from optchain.core.walk import definitions
from optchain.lab.models.gradients import ClientGradients
from optchain.lab.training.compressed import averaged_of
from optchain.lab.training.experiment import Experiment

PRIVATE = "client_private_mean"


def spent(experiment: Experiment, rest: Any, steps: int) -> dict[str, Any]:
    """The entry `privacy` of a result: epsilon and delta, or why there is no epsilon; none without a private link.

    Args:
        experiment: of the run.
        rest: of the model.
        steps: made so far.
    """
    table = experiment.config.gradient
    link = next((link for _, link in definitions(experiment.tx) if link.name == PRIVATE), None)
    if link is None or not isinstance(table, ClientGradients):
        return {}
    if reason := _open(table, link, rest):
        return {"privacy": {"reason": reason}}
    delta = table.clients**-1.1 if table.delta is None else table.delta
    noise = link.numbers["noise_multiplier"]
    try:
        epsilon = oc.privacy_spent(noise, sampled=table.round, of=table.clients, steps=steps, delta=delta)
    except ImportError as error:
        return {"privacy": {"reason": str(error)}}
    return {"privacy": {"epsilon": epsilon, "delta": delta}}


def _open(table: ClientGradients, link: Any, rest: Any) -> str | None:
    """What is told of clients without noise, or why nobody knows how much noise there is."""
    noise = link.numbers["noise_multiplier"]
    if not isinstance(noise, float):
        return "noise_multiplier changes from step to step"
    if noise == 0:
        return "noise_multiplier is 0"
    if link.mask is not None:
        return "parameters outside of its mask are averaged without noise"
    if table.control:
        return "gradient.control: control variates are averaged without noise"
    if jax.tree.leaves(averaged_of(rest)):
        return "statistics of the model, such as those of batches, are averaged without noise"
    if table.skew is not None and link.rule.clients is None:
        return f"how many clients have examples is told; expected clients = {table.round} in {PRIVATE}"
    return None
