"""Where a run diverged: the first leaf that was not finite, found by making the last steps again."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optchain as oc
from optchain.core.paths import named_leaves
from optchain.lab.base import processes
from optchain.lab.base.errors import InputError
from optchain.lab.models.gradients import ClientGradients, TaskGradients, WorkerGradients
from optchain.lab.runs.config import Config
from optchain.lab.runs.run import Run
from optchain.lab.training.checkpoints import Checkpoints
from optchain.lab.training.chunk import Carry, Parts, make_chunk
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.fitting_clients import wide_dtype
from optchain.lab.training.grow import staged
from optchain.lab.training.program import Program
from optchain.lab.training.resume import beginning, resume
from optchain.lab.training.rows import Diverged

SHOWN = 3  # paths in a sentence


def cause(
    error: Diverged,
    program: Program,
    experiment: Experiment,
    checkpoints: Checkpoints,
    run: Run,
    progress: dict[str, Any],
) -> str | None:
    """What was not finite first, in words. None if nothing but the loss was, or if the newest checkpoint is older than
    the last evaluation, so that many steps would have to be made again; or if several processes share the arrays.

    Args:
        error: where the run diverged.
        program: of the run.
        experiment: of the run, before its model has grown.
        checkpoints: of the run.
        run: the run.
        progress: at the last evaluation.
    """
    if isinstance(experiment.config.gradient, WorkerGradients):  # whose steps nobody can make again
        return None
    if processes.count() > 1 or error.above or (checkpoints.manager.latest_step() or 0) != progress["step"]:
        return None
    try:
        found = resume(checkpoints, experiment, run.folder, {}) if progress["step"] else None
        if found is not None and found[2]["stage"] != progress["stage"]:  # the model has grown since
            return None
        experiment = staged(experiment, progress["stage"])
        carry = (found or beginning(program, experiment.config))[0]
        return _first(program, experiment, carry, error.step, progress["control"])
    except (InputError, TypeError, ValueError):  # a gradient of the user's that needs its optimizer, or a lost file
        return None


def in_words(error: Diverged, checkpoints: Checkpoints, cause: str | None) -> str:
    """That a run diverged, what is kept of it, and what its cause was, if it is known."""
    saved = checkpoints.manager.latest_step()
    kept = f"the checkpoint of step {saved} is kept" if saved else "there is no checkpoint yet"
    said = f"{cause[0].upper()}{cause[1:]}. " if cause else ""
    return f"{error}; {kept}. {said}Try a lower learning rate."


def _first(program: Program, experiment: Experiment, carry: Carry, step: int, hyper: dict[str, float]) -> str | None:
    """See `cause`; `step` is the first whose loss was not finite, and the carry is of some step before."""
    config, made = experiment.config, int(carry["step"])
    if step - 2 > made:  # the step before the bad one may have made the parameters bad, and the one before that not
        carry, made = _advanced(program, config, carry, step - 2 - made, hyper), step - 2
    while made < step:
        made += 1
        for what in ("parameters", "gradients"):
            wrong = not_finite(carry["params"] if what == "parameters" else _gradients(program, experiment, carry))
            if wrong:
                return f"the {what} of {wrong} were not finite at step {made}"
        if made < step:
            carry = _advanced(program, config, carry, 1, hyper)
    return None


def not_finite(tree: Any) -> str:
    """The paths of the leaves with entries that are not finite; empty if there are none."""
    wrong = [path for path, x in named_leaves(tree) if not bool(jnp.isfinite(x).all())]
    more = f" and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
    return ", ".join(map(repr, wrong[:SHOWN])) + more


def _advanced(program: Program, config: Config, carry: Carry, steps: int, hyper: dict[str, float]) -> Carry:
    return program.run(config, carry, steps, hyper)[0]


def _gradients(program: Program, experiment: Experiment, carry: Carry) -> Any:
    """Those of the next step, which an optimizer that does not move keeps as its state."""
    table, leading, dtype = experiment.config.gradient, (), lambda p: p.dtype
    if isinstance(table, TaskGradients):
        leading = (len(experiment.task.loss.tasks),)
    elif isinstance(table, ClientGradients):
        leading, dtype = (table.round,), wide_dtype
    kept = optax.GradientTransformation(
        lambda params: jax.tree.map(lambda p: jnp.zeros((*leading, *p.shape), dtype(p)), params),
        lambda updates, state, params=None: (jax.tree.map(jnp.zeros_like, params), updates),
    )
    keeps = oc.chain(kept=kept)

    def parts(numbers: dict[str, Any]) -> Parts:
        found = experiment.parts(numbers)
        table = found.batch.table.model_copy(update={"scale_rate": "none", "base": None})
        return found._replace(tx=keeps, batch=type(found.batch)(table))

    chunk = make_chunk(experiment.task, parts)
    copied = jax.tree.map(lambda x: jnp.array(np.asarray(x)), carry | {"opt_state": keeps.init(carry["params"])})
    setting = program.setting(experiment.config)
    data, _ = next(program.examples(experiment.config, carry, 1))
    return chunk(copied, data, setting, steps=1)[0]["opt_state"]["links"]["kept"]
